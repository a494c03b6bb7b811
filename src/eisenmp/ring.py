"""Shared memory between the manager and one worker, re-used: large pieces of messages lie here, the socket tells where.

One file without a name, mapped by both; its first half carries what goes to the worker, its second half what comes
back. Whoever sends in a half owns it: takes a slot, writes, says where; the other side says when it is done with it.
Slots are not a queue: one that is kept for ever costs its own room and no other.

The worker reads in place. What it gets is its own and may be written to: the manager keeps the payload itself, and
never reads a slot again. The manager copies out at once, so nothing that it keeps depends on a worker.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import threading
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Final

from eisenmp.errors import ProtocolError
from eisenmp.unnamed import unnamed_file, write_all
from eisenmp.wire import Buffer

__all__ = ["HALF", "Copier", "Lender", "Memory", "Shelf", "Slots", "Writer", "close_all", "packed", "shelf", "unpacked"]

HALF: Final = 32 << 20  # bytes each way; only what was ever used takes memory
_TRIES: Final = 16  # of the views that were given away, so many are tried at a time
_GRAIN: Final = 4096  # slots begin at multiples of it, as arrays like it


class Slots:
    """Which parts of a memory are taken. Pure.

    The lowest place that fits is taken, so that a few warm pages are used again and again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken: dict[int, int] = {}  # offset -> size
        self._holes: list[tuple[int, int]] = [(0, size)]  # (offset, size), by offset, never side by side

    def take(self, size: int) -> int | None:
        """The offset of `size` bytes that nobody has; None when there is no such place."""
        size = max(1, -(-size // _GRAIN)) * _GRAIN
        for at, (offset, room) in enumerate(self._holes):
            if room >= size:
                self._holes[at : at + 1] = [(offset + size, room - size)] if room > size else []
                self.taken[offset] = size
                return offset
        return None

    def give(self, offset: int) -> None:
        """A slot is free again.

        Raises:
            ProtocolError: there is no such slot.
        """
        size = self.taken.pop(offset, None)
        if size is None:
            raise ProtocolError(f"a slot at {offset} that is not taken")
        at = bisect_left(self._holes, (offset, 0))
        end = offset + size
        if at < len(self._holes) and self._holes[at][0] == end:
            end += self._holes.pop(at)[1]
        if at and sum(self._holes[at - 1]) == offset:
            at -= 1
            offset = self._holes.pop(at)[0]
        self._holes.insert(at, (offset, end - offset))


class Memory:
    """The file and its mapping, in one of the two processes."""

    def __init__(self, fd: int) -> None:
        """Map the file behind the descriptor, which is ours from now on.

        Raises:
            OSError, ValueError: it cannot be mapped.
        """
        self.fd = fd  # closed: -1
        try:
            os.set_inheritable(fd, False)
            self.half = os.fstat(fd).st_size // 2
            self._map = mmap.mmap(fd, 2 * self.half)
        except BaseException:
            os.close(fd)
            raise
        self.view = memoryview(self._map)
        _open.add(self)

    @classmethod
    def new(cls, half: int = HALF) -> Memory:
        """Make a new one.

        Raises:
            OSError: the system gives none.
        """
        fd = _new_file()
        try:
            os.ftruncate(fd, 2 * half)
            _seal(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def fileno(self) -> int:
        """Its descriptor; -1 once it is closed."""
        return self.fd

    def close(self) -> None:
        """Give it up; memory that somebody still looks at stays until they are done."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        _open.discard(self)
        try:
            self.view.release()
            self._map.close()
        except BufferError:
            pass


_open: weakref.WeakSet[Memory] = weakref.WeakSet()


def close_all() -> None:
    """In a forked worker: it has no part in what the manager shares with others, nor in its shelves."""
    for memory in list(_open):
        memory.close()
    _for_life.extend(_shelves.values())
    _shelves.clear()


def _new_file() -> int:
    return unnamed_file(getattr(os, "MFD_ALLOW_SEALING", 0), "/dev/shm")


def _seal(fd: int) -> None:
    """See to it that nobody can shorten the file: touching what is no longer there would end the other process."""
    try:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except (ImportError, AttributeError, OSError):
        pass  # a file of another kind


class Writer:
    """The sending side of one half.

    Args:
        memory: shared with the other process.
        base: where the half begins.
    """

    def __init__(self, memory: Memory, base: int) -> None:
        self._memory = memory
        self._base = base
        self._slots = Slots(memory.half)
        self._lock = threading.Lock()  # slots are taken by who sends and given back by who receives
        self._used = 0  # up to here the file has its blocks
        self.broken = False

    def put(self, pieces: Sequence[Buffer], size: int) -> int | None:
        """Lay the pieces down in a row; return where, or None when there is no room now. One thread at a time."""
        with self._lock:
            at = None if self.broken else self._slots.take(size)
        if at is None:
            return None
        try:
            self._write(at, pieces, size)
        except OSError:  # the disk is full: no more of this
            self.broken = True
            self.free([at])
            return None
        return at

    def _write(self, at: int, pieces: Sequence[Buffer], size: int) -> None:
        if at + size > self._used:
            _reserve(self._memory.fd, self._base + self._used, at + size - self._used)
            self._used = at + size
        to = self._base + at
        for piece in pieces:
            end = to + len(piece)
            self._memory.view[to:end] = piece
            to = end

    def free(self, offsets: Sequence[int]) -> None:
        """The other side is done with these.

        Raises:
            ProtocolError: with something that it never had.
        """
        with self._lock:
            for offset in offsets:
                self._slots.give(offset)


def _reserve(fd: int, offset: int, size: int) -> None:
    """Give this part of the file its blocks: here a full disk is an error, in a mapping it ends the process.

    Raises:
        OSError: there are none.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, offset, size)
        return
    write_all(fd, bytes(size), offset)


class _Half:
    """The receiving side of one half."""

    def __init__(self, memory: Memory, base: int) -> None:
        self._view = memory.view
        self._base = base
        self._size = memory.half

    def part(self, offset: int, size: int) -> memoryview:
        """The memory of a slot.

        Raises:
            ProtocolError: there is none.
        """
        if offset + size > self._size:
            raise ProtocolError(f"{size} bytes at {offset} of {self._size} shared ones")
        return self._view[self._base + offset : self._base + offset + size]


class Copier(_Half):
    """Copies out at once."""

    def __init__(self, memory: Memory, base: int) -> None:
        super().__init__(memory, base)
        self._shelf = shelf("results")
        self._done: deque[tuple[int, int]] = deque()  # offset, size; appended to by who receives, emptied by who sends

    def open(self, offset: int, size: int) -> Buffer:
        """A copy of what lies there.

        Raises:
            ProtocolError: nothing can lie there. The other side cannot use a slot again before it was told that we are
                done with it: pieces that are more than the memory, all together, would be copies of the same bytes.
        """
        part = self.part(offset, size)
        slots = [(offset, size), *self._done]
        if sum([max(size, _GRAIN) for _, size in slots]) > self._size:
            raise ProtocolError(f"{len(slots)} pieces that are larger than the shared memory they are said to lie in")
        copy = self._shelf.copy(part)
        self._done.append((offset, size))
        return copy

    def done(self) -> list[int]:
        """Slots that are no longer needed, each told once."""
        offsets = []
        while self._done:
            offsets.append(self._done.popleft()[0])
        return offsets


class _Loans:
    """Views that were given away, and which of them are back: nothing looks at the memory through them any more.

    Views of a view count as views of the same object, so a plain one would not tell when the last of them goes. Through
    a PickleBuffer, a part becomes that object: it can be released as soon as nothing made of the new view is left.
    The garbage collector of Python before 3.12.9 crashes over a memoryview with views of its own that it takes for
    garbage. So parts are held and tried, not watched by weak references, and whoever has loans lives on: a shelf and a
    worker's lender until the process ends.
    """

    def __init__(self) -> None:
        self._lent: deque[tuple[int, memoryview]] = deque()  # appended to by one thread, tried by another
        self._kept: list[tuple[int, memoryview]] = []

    def lend(self, offset: int, part: memoryview) -> memoryview:
        """A view of the same memory."""
        view = pickle.PickleBuffer(part).raw()
        self._lent.append((offset, part))
        return view

    def back(self, tries: int | None = None) -> list[int]:
        """Offsets of those that are back, each told once. Of many, only some are tried: the next ones next time."""
        found = []
        for _ in range(len(self._lent) if tries is None else min(tries, len(self._lent))):
            offset, part = self._lent.popleft()
            try:
                part.release()
            except BufferError:
                self._lent.append((offset, part))
            else:
                found.append(offset)
        return found

    def keep(self) -> None:
        """What is lent now counts as lent for ever."""
        while self._lent:
            self._kept.append(self._lent.popleft())


class Lender(_Half):
    """Gives views, and knows when the last one is gone: arrays made of one, slices of it, whatever looks at it."""

    def __init__(self, memory: Memory, base: int) -> None:
        super().__init__(memory, base)
        self._loans = _Loans()

    def open(self, offset: int, size: int) -> memoryview:
        """A writable view of what lies there."""
        return self._loans.lend(offset, self.part(offset, size))

    def done(self) -> list[int]:
        """Slots that are no longer needed, each told once. One thread at a time."""
        return self._loans.back(_TRIES)

    def live_on(self) -> None:
        """Stay until the process ends, and look after its forks."""
        _for_life.append(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self.pin)

    def pin(self) -> None:
        """This process forks: its child may go on looking at what we have now, which is never used again."""
        self._loans.keep()


class Shelf:
    """Memory of this process for large copies that come and go: pages fresh from the system cost more than the copy."""

    def __init__(self, size: int) -> None:
        self._view = memoryview(mmap.mmap(-1, size, access=mmap.ACCESS_COPY))  # nothing that a forked child would share
        self._slots = Slots(size)
        self._loans = _Loans()
        self._lock = threading.Lock()

    def copy(self, raw: memoryview) -> Buffer:
        """A writable copy; on the shelf, while it has room, and while nobody else is at it."""
        size = raw.nbytes
        if not self._lock.acquire(blocking=False):
            return bytearray(raw)
        try:
            at = self._take(size, _TRIES)
            if at is None:
                at = self._take(size, None)
            if at is None:
                return bytearray(raw)
            part = self._view[at : at + size]
            part[:] = raw
            return self._loans.lend(at, part)
        finally:
            self._lock.release()

    def _take(self, size: int, tries: int | None) -> int | None:
        for at in self._loans.back(tries):
            self._slots.give(at)
        return self._slots.take(size)


_for_life: list[Lender | Shelf] = []
_shelves: dict[str, Shelf] = {}


def shelf(use: str) -> Shelf:
    """The one of this process for ``'payloads'``, which wait; ``'results'`` and ``'received'`` have come."""
    if use not in _shelves:
        _shelves[use] = Shelf(2 * HALF)
    return _shelves[use]


def packed(offsets: Sequence[int]) -> bytes:
    """Offsets as the body of a message."""
    return struct.pack(f"<{len(offsets)}Q", *offsets)


def unpacked(body: Buffer) -> tuple[int, ...]:
    """The offsets in the body of a message.

    Raises:
        ProtocolError: these are none.
    """
    if len(body) % 8:
        raise ProtocolError(f"a list of offsets of {len(body)} bytes")
    return struct.unpack(f"<{len(body) // 8}Q", body)
