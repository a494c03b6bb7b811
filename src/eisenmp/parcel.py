"""Objects for many processes: pickled once, and a large one laid down once, in a file that every process maps.

The file has no name and is mapped copy-on-write: pages that a process only reads exist once on the machine, and what it
writes is its own. Where there is no such file, the bytes travel in each process's own message instead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from eisenmp.payload import dumps, loads, nbytes
from eisenmp.unnamed import unnamed_file, write_all
from eisenmp.wire import Buffer, Pieces

__all__ = ["Parcel", "Place", "SharedFile", "open_place", "pack"]

# the bytes themselves (a view of what others look at as well stays read-only), or (descriptor, sizes of the pieces)
Place = list[bytes] | list[memoryview] | tuple[int, list[int]]

_LARGE: Final = 1 << 20  # bytes from which a file is worth it
_ALIGNED: Final = 64  # pieces begin at multiples of it, as arrays like it


class SharedFile:
    """Bytes in an anonymous file. It lives as long as this object or a mapping of it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Give up the descriptor; who has mapped the file keeps its bytes."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class Parcel:
    """One pickled object. ``place`` is what goes into messages, ``file`` what has to go along."""

    def __init__(self, place: Place, file: SharedFile | None = None) -> None:
        self.place = place
        self.file = file

    @property
    def files(self) -> tuple[SharedFile, ...]:
        """What a process needs beside the message."""
        return () if self.file is None else (self.file,)

    def pieces(self) -> list[bytes] | list[memoryview]:
        """All of it, for a process that no descriptor can be handed to."""
        if isinstance(self.place, list):
            return self.place
        fd, sizes = self.place
        offsets, _ = _layout(sizes)
        return [_read_all(fd, size, at) for at, size in zip(offsets, sizes, strict=True)]


def pack(obj: Any, *, in_file: bool = True) -> Parcel:
    """Pickle `obj`; it may be changed afterwards.

    Args:
        obj: anything.
        in_file: whether it may be laid down in a file, if it is large.

    Raises:
        PayloadError: it cannot be pickled.
    """
    pieces = [bytes(piece) if isinstance(piece, Pieces) else piece for piece in dumps(obj)]
    if in_file and nbytes(pieces) >= _LARGE:
        sizes = [memoryview(piece).nbytes for piece in pieces]
        file = _lay_down(pieces, sizes)
        if file is not None:
            return Parcel((file.fileno(), sizes), file)
    return Parcel([bytes(piece) for piece in pieces])


def open_place(place: Place) -> Any:
    """Rebuild the object, in any process that has the descriptor."""
    if isinstance(place, list):
        # an array may be written to, as one in a file may
        return loads([place[0], *[piece if type(piece) is memoryview else bytearray(piece) for piece in place[1:]]])
    import mmap  # only where something large is shared

    fd, sizes = place
    offsets, total = _layout(sizes)
    view = memoryview(mmap.mmap(fd, total, access=mmap.ACCESS_COPY))
    return loads([view[at : at + size] for at, size in zip(offsets, sizes, strict=True)])


def _layout(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Where each piece begins, and how long the file is."""
    ends = list(accumulate(-(-size // _ALIGNED) * _ALIGNED for size in sizes))
    return [0, *ends[:-1]], ends[-1]


def _lay_down(pieces: Sequence[Buffer], sizes: Sequence[int]) -> SharedFile | None:
    """Write the pieces into a new anonymous file; None where that cannot be had."""
    if os.name != "posix":
        return None  # a descriptor cannot be handed on
    offsets, total = _layout(sizes)
    try:
        file = SharedFile(unnamed_file())
    except OSError:
        return None
    try:
        os.ftruncate(file.fileno(), total)
        for piece, at in zip(pieces, offsets, strict=True):
            write_all(file.fileno(), piece, at)
    except OSError:  # no room there
        file.close()
        return None
    return file


def _read_all(fd: int, size: int, at: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += os.pread(fd, size - len(data), at + len(data))
    return bytes(data)
