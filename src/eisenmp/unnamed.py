"""Files without a name: memory that several processes can map; and descriptors that are no standard stream's."""

from __future__ import annotations

import os
import sys

from eisenmp.wire import Buffer

__all__ = ["clear_of_streams", "fill_streams", "unnamed_file", "write_all"]


def unnamed_file(flags: int = 0, *folders: str) -> int:
    """The descriptor of a new one: in memory where the system can, else a temporary file that is unlinked at once.

    Args:
        flags: for ``memfd_create``, beside ``MFD_CLOEXEC``.
        folders: where to try next; the last is the folder of temporary files in any case.

    Raises:
        OSError: there is no room for a file anywhere.
    """
    # Android kills a process for a system call that is not on its list
    if hasattr(os, "memfd_create") and not hasattr(sys, "getandroidapilevel"):
        try:
            return clear_of_streams(os.memfd_create("eisenmp", os.MFD_CLOEXEC | flags))
        except OSError:
            pass  # an old kernel, or a sandbox that forbids it
    import tempfile

    for folder in folders:
        try:
            return _unlinked(*tempfile.mkstemp(prefix="eisenmp-", dir=folder))
        except OSError:
            pass  # there is no such folder, or no room in it
    return _unlinked(*tempfile.mkstemp(prefix="eisenmp-"))


def _unlinked(fd: int, path: str) -> int:
    os.unlink(path)
    return clear_of_streams(fd)


def fill_streams() -> None:
    """Where a standard stream is closed (``<&-``), its number would go to the next file or channel that is opened.

    The null device takes it; that ``sys.stdin`` or ``sys.stdout`` is None still tells.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def clear_of_streams(fd: int) -> int:
    """The descriptor, or another one for the same thing, if it has got the number of a standard stream.

    In a program that was started without its streams, 0 to 2 are free. What has such a number is read and written by
    whoever means the stream, and in a worker the stream takes its place.

    Raises:
        OSError: there is no other one; `fd` is closed in any case.
    """
    if fd > 2:
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def write_all(fd: int, data: Buffer, at: int) -> None:
    """Write all of it at that place of a file."""
    rest = memoryview(data).cast("B")
    while rest:
        count = os.pwrite(fd, rest, at)
        rest, at = rest[count:], at + count
