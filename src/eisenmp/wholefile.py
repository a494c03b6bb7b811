"""A file that is there whole or not at all: written under another name in its folder, and renamed at the end."""

from __future__ import annotations

import contextlib
import os
import stat

__all__ = ["begin", "put_in_place"]


def begin(target: str) -> tuple[int, str]:
    """A new file beside `target`, opened, and its path. It counts as in use as long as it is open.

    What programs that were killed have left of the same target is removed.

    Raises:
        OSError: nothing can be written there.
    """
    import tempfile  # takes milliseconds that a pipe need not spend

    folder, name = os.path.split(target)
    _tidy(folder, name)
    file, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
    _hold(file)
    return file, temporary


def put_in_place(temporary: str, target: str) -> None:
    """All is written. Raises OSError."""
    os.chmod(temporary, _mode(target))
    os.replace(temporary, target)


def _mode(path: str) -> int:
    """That of the file in whose place it comes, or what a new file gets."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _hold(file: int) -> bool:
    """Mark it as ours while it is open; False: somebody has it, or that cannot be told."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _tidy(folder: str, name: str) -> None:
    for other in os.listdir(folder):
        if other.startswith(f".{name}.") and other.endswith(".part"):
            with contextlib.suppress(OSError):
                file = os.open(os.path.join(folder, other), os.O_RDWR)
                if _hold(file):
                    os.unlink(os.path.join(folder, other))
                os.close(file)
