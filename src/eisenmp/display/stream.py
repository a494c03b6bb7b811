"""Writing to a stream that may lack letters, be closed, or not be there at all."""

from __future__ import annotations

from typing import TextIO

__all__ = ["write"]


def write(stream: TextIO | None, text: str) -> None:
    """Write and flush; letters that the stream's encoding lacks are escaped. No stream (daemons have none): no text.

    Raises:
        OSError, ValueError: the stream takes nothing (a full disk, a reader that has left, a closed file).
    """
    if stream is None:
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
