"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

from eisenmp.errors import JobFileError

__all__ = ["written_whole"]


@contextlib.contextmanager
def written_whole(path: str) -> Iterator[str]:
    """A temporary path in the same folder, for the block to write; renamed at its end, removed when it raises.

    Raises:
        JobFileError: nothing can be written there.
    """
    target = os.path.realpath(path)  # a link stays one
    folder, name = os.path.split(target)
    if os.path.isdir(target):
        raise JobFileError(f"{path} is a folder; allowed: a file")
    if not os.path.isdir(folder):
        raise JobFileError(f"{path}: there is no folder {folder}")
    try:
        file, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
        os.close(file)
        try:
            yield temporary
            os.chmod(temporary, _mode(target))
            os.replace(temporary, target)
        finally:
            for left in (temporary, temporary + "-journal"):
                with contextlib.suppress(OSError):
                    os.unlink(left)
    except OSError as error:
        raise JobFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _mode(path: str) -> int:
    """That of the file in whose place it comes, or what a new file gets."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
