"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from eisenmp.errors import JobFileError
from eisenmp.wholefile import begin, put_in_place

__all__ = ["written_whole"]


@contextlib.contextmanager
def written_whole(path: str) -> Iterator[str]:
    """A temporary path in the same folder, for the block to write; renamed at its end, removed when it raises.

    Raises:
        JobFileError: nothing can be written there.
    """
    target = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise JobFileError(f"{path} is a folder; allowed: a file")
    if not os.path.isdir(folder):
        raise JobFileError(f"{path}: there is no folder {folder}")
    try:
        file, temporary = begin(target)
        try:
            yield temporary
            put_in_place(temporary, target)
        finally:
            os.close(file)
            for left in (temporary, temporary + "-journal"):
                with contextlib.suppress(OSError):
                    os.unlink(left)
    except OSError as error:
        raise JobFileError(f"{path} cannot be written: {error.strerror or error}") from error
