"""Shared memory of a worker: which parts are taken, who looks at what, and what is no such memory."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eisenmp.errors import ProtocolError
from eisenmp.ring import Copier, Lender, Memory, Shelf, Slots, Writer, close_all, packed, unpacked

PAGE = 4096
HALF = 16 * PAGE


# ---- which parts are taken


def test_a_slot_that_is_kept_costs_its_own_room_and_no_other() -> None:
    slots = Slots(4 * PAGE)
    kept = slots.take(PAGE)
    assert kept == 0
    for _ in range(100):
        at = slots.take(3 * PAGE)
        assert at == PAGE
        assert slots.take(1) is None
        slots.give(at)


def test_neighbours_that_are_free_become_one_place() -> None:
    slots = Slots(3 * PAGE)
    first, second, third = [slots.take(PAGE) for _ in range(3)]
    assert (first, second, third) == (0, PAGE, 2 * PAGE)
    for at in (0, 2 * PAGE, PAGE):
        slots.give(at)
    assert slots.take(3 * PAGE) == 0


@pytest.mark.parametrize('offset', [PAGE, 1, -PAGE, 1 << 70])
def test_only_what_is_taken_can_be_given(offset: int) -> None:
    slots = Slots(4 * PAGE)
    slots.take(2 * PAGE)
    with pytest.raises(ProtocolError, match='not taken'):
        slots.give(offset)


class SlotsMachine(RuleBasedStateMachine):
    """Takes and gives in any order, beside a plain map of the pages."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(16 * PAGE)
        self.pages: list[int | None] = [None] * 16
        self.mine: dict[int, int] = {}

    @rule(size=st.integers(1, 8 * PAGE))
    def take(self, size: int) -> None:
        need = -(-size // PAGE)
        at = self.slots.take(size)
        runs = [n for n in range(17 - need) if self.pages[n : n + need] == [None] * need]
        if at is None:
            assert not runs, 'there was room'
            return
        assert at == runs[0] * PAGE, 'not the lowest place'
        self.pages[runs[0] : runs[0] + need] = [at] * need
        self.mine[at] = size

    @precondition(lambda self: self.mine)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(sorted(self.mine)))
        self.slots.give(at)
        del self.mine[at]
        self.pages = [None if page == at else page for page in self.pages]

    @invariant()
    def books_agree(self) -> None:
        assert set(self.slots.taken) == set(self.mine)
        assert sum(self.slots.taken.values()) == PAGE * sum(page is not None for page in self.pages)


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# ---- the memory


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory.new(HALF)
    yield made
    made.close()


def no_memfd(*_: Any, **__: Any) -> int:
    raise OSError(errno.ENOSYS, 'not here')


@pytest.mark.parametrize('way', ['memfd', 'refused', 'no memfd', 'no /dev/shm'])
def test_memory_without_a_name(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == 'refused':
        monkeypatch.setattr(os, 'memfd_create', no_memfd)
    elif way != 'memfd':
        monkeypatch.delattr(os, 'memfd_create', raising=False)
    if way == 'no /dev/shm':
        make = tempfile.mkstemp

        def elsewhere(*args: Any, **kwargs: Any) -> tuple[int, str]:
            if kwargs.get('dir') == '/dev/shm':
                raise FileNotFoundError(kwargs['dir'])
            return make(*args, **kwargs)

        monkeypatch.setattr(tempfile, 'mkstemp', elsewhere)
    memory = Memory.new(HALF)
    other = Memory(os.dup(memory.fd))
    at = Writer(memory, memory.half).put([b'hello ', b'there'], 11)
    assert at == 0
    assert bytes(other.view[HALF : HALF + 11]) == b'hello there'
    assert os.fstat(memory.fd).st_nlink == 0
    memory.close()
    memory.close()
    other.close()


def test_no_folder_for_files_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    monkeypatch.setattr(tempfile, 'mkstemp', no_memfd)
    with pytest.raises(OSError):
        Memory.new(HALF)


def test_nobody_can_shorten_it(memory: Memory) -> None:
    """A process that touches what is no longer there would be ended by the system."""
    if hasattr(os, 'memfd_create'):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.fd, 0)


def test_what_cannot_be_mapped_is_closed() -> None:
    read, write = os.pipe()
    os.close(write)
    with pytest.raises((OSError, ValueError)):
        Memory(read)
    with pytest.raises(OSError):
        os.fstat(read)


def test_a_forked_worker_gives_up_all_of_them() -> None:
    memories = [Memory.new(HALF) for _ in range(3)]
    looked_at = memories[0].view[:10]
    close_all()
    assert [memory.fd for memory in memories] == [-1] * 3
    looked_at.release()


# ---- there and back


def test_the_writer_takes_what_fits_and_says_no_to_the_rest(memory: Memory) -> None:
    writer = Writer(memory, 0)
    offsets = [writer.put([bytes([n]) * (5 * PAGE)], 5 * PAGE) for n in range(4)]
    assert offsets == [0, 5 * PAGE, 10 * PAGE, None]
    reader = Lender(memory, 0)
    assert [bytes(reader.open(5 * PAGE * n, 5 * PAGE)) == bytes([n]) * (5 * PAGE) for n in range(3)] == [True] * 3
    writer.free([5 * PAGE])
    assert writer.put([b'a', b'', b'bc'], 3) == 5 * PAGE
    assert bytes(reader.open(5 * PAGE, 3)) == b'abc'
    with pytest.raises(ProtocolError):
        writer.free([7 * PAGE])


@pytest.mark.parametrize('reserves', [True, False])
def test_a_full_disk_ends_the_use_of_the_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, reserves: bool
) -> None:
    if not reserves:
        monkeypatch.delattr(os, 'posix_fallocate', raising=False)
    writer = Writer(memory, 0)
    assert writer.put([b'x' * PAGE], PAGE) == 0

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, 'no space left')

    monkeypatch.setattr(os, 'posix_fallocate' if reserves else 'pwrite', full)
    assert writer.put([b'y' * PAGE], PAGE) is None
    writer.free([0])
    assert writer.put([b'z'], 1) is None
    assert writer.broken


def test_the_copier_copies_and_is_done_at_once(memory: Memory) -> None:
    writer = Writer(memory, HALF)
    reader = Copier(memory, HALF)
    at = writer.put([b'abc'], 3)
    assert at == 0
    copy = reader.open(at, 3)
    assert reader.done() == [0]
    assert reader.done() == []
    writer.free([0])
    writer.put([b'xyz'], 3)
    assert copy == b'abc'


def test_copies_of_the_same_bytes_over_and_over_are_refused(memory: Memory) -> None:
    """A message of some bytes would otherwise cost a copy of the whole half for each piece that it says it has."""
    reader = Copier(memory, HALF)
    assert len(reader.open(0, HALF)) == HALF
    for offset, size in [(0, HALF), (4096, 100), (0, 0)]:
        with pytest.raises(ProtocolError):
            reader.open(offset, size)
    assert reader.done() == [0]
    assert len(reader.open(0, HALF - 8192)) == HALF - 8192
    for _ in range(2):
        reader.open(0, 0)
    with pytest.raises(ProtocolError):
        reader.open(0, 0)
    assert reader.done() == [0, 0, 0]


@pytest.mark.parametrize(('offset', 'size'), [(0, HALF + 1), (HALF, 1), (1 << 63, 5), (HALF - 2, 3), (0, 1 << 39)])
def test_nonsense_about_the_memory_is_refused(memory: Memory, offset: int, size: int) -> None:
    for reader in (Copier(memory, HALF), Lender(memory, 0)):
        with pytest.raises(ProtocolError):
            reader.open(offset, size)
        assert reader.done() == []


KEEPERS: dict[str, Any] = {
    'the view': lambda view: view,
    'a slice': lambda view: view[5:10],
    'a view of a slice': lambda view: memoryview(view[5:10]).toreadonly(),
    'another shape': lambda view: view.cast('H', (10, 5)),
    'an array': lambda view: np.frombuffer(view, 'u1'),
    'a part of an array': lambda view: np.frombuffer(view, 'u2')[3:7].reshape(2, 2).T,
    'a view of an array': lambda view: memoryview(np.frombuffer(view, 'u1')[::3]),  # type: ignore[arg-type]
    'an object that holds it': lambda view: {'deep': [(np.frombuffer(view, 'u1'),)]},
}


@pytest.mark.parametrize('keeper', KEEPERS)
def test_a_slot_is_free_when_nothing_looks_at_it_any_more(memory: Memory, keeper: str) -> None:
    Writer(memory, 0).put([bytes(range(100))], 100)
    reader = Lender(memory, 0)
    kept = KEEPERS[keeper](reader.open(0, 100))
    gc.collect()
    assert reader.done() == []
    del kept
    gc.collect()
    assert reader.done() == [0]
    assert reader.done() == []


class Holder:
    pass


@pytest.fixture
def small_heap() -> Iterator[None]:
    """The collector looks at nothing that was there before: all that thousands of tests have left takes it long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures('small_heap')
def test_views_in_circles_of_garbage(memory: Memory) -> None:
    """Older Pythons crash over a memoryview with views of its own that the garbage collector takes for garbage."""
    Writer(memory, 0).put([bytes(100)], 100)
    reader, shelf = Lender(memory, 0), Shelf(HALF)
    for n in range(200):
        views = [reader.open(0, 100), shelf.copy(memoryview(b'a' * PAGE))]
        holder: Any = Holder()
        holder.views, holder.parts, holder.me = views, [memoryview(view)[5:] for view in views], holder
        holder.array = np.frombuffer(views[0], 'u1')
        del views, holder
        if n % 3 == 0:
            gc.collect()
    gc.collect()
    assert set(reader.done()) == {0}


def test_of_many_views_each_is_tried_in_its_turn(memory: Memory) -> None:
    reader = Lender(memory, 0)
    views = [reader.open(n, 1) for n in range(100)]
    del views[50]
    told: list[int] = []
    for _ in range(7):
        told += reader.done()
    assert told == [50]


def test_a_view_may_be_written_to(memory: Memory) -> None:
    Writer(memory, 0).put([bytes(100)], 100)
    array = np.frombuffer(Lender(memory, 0).open(0, 100), 'u1')
    array += 7
    assert array.sum() == 700


def test_what_a_forking_process_looks_at_is_never_free_again(memory: Memory) -> None:
    writer, reader = Writer(memory, 0), Lender(memory, 0)
    for size in (10, 20):
        writer.put([bytes(size)], size)
    before, after = reader.open(0, 10), None
    reader.pin()
    after = reader.open(PAGE, 20)
    del before, after
    assert reader.done() == [PAGE]


def test_lists_of_offsets() -> None:
    assert unpacked(packed([])) == ()
    assert unpacked(packed([0, PAGE, 2**64 - 1])) == (0, PAGE, 2**64 - 1)
    with pytest.raises(ProtocolError):
        unpacked(b'12345')


# ---- the shelf


def test_copies_on_the_shelf_use_the_same_memory_again() -> None:
    shelf = Shelf(4 * PAGE)
    source = bytearray(b'a' * (2 * PAGE))
    first = shelf.copy(memoryview(source))
    source[:] = b'b' * (2 * PAGE)
    second = shelf.copy(memoryview(source))
    third = shelf.copy(memoryview(source))
    assert isinstance(third, bytearray), 'no room: memory of its own'
    assert (bytes(first), bytes(second), bytes(third)) == (b'a' * 2 * PAGE, *[b'b' * 2 * PAGE] * 2)
    kept = memoryview(first)[:1]
    del first
    assert isinstance(shelf.copy(memoryview(source)), bytearray)
    del kept
    assert isinstance(shelf.copy(memoryview(source)), memoryview)
    assert bytes(second) == b'b' * 2 * PAGE


def test_the_shelf_keeps_nobody_waiting() -> None:
    shelf = Shelf(4 * PAGE)
    shelf._lock.acquire()  # another thread is at it, or the garbage collector in the middle of it
    assert shelf.copy(memoryview(b'abc')) == b'abc'
    shelf._lock.release()


def test_many_threads_at_one_shelf() -> None:
    shelf = Shelf(64 * PAGE)
    wrong: list[int] = []

    def work(seed: int) -> None:
        kept: list[tuple[Any, int]] = []
        for n in range(300):
            value = (seed * 31 + n) % 256
            kept.append((shelf.copy(memoryview(bytes([value]) * (PAGE * (1 + n % 5)))), value))
            if n % 3:
                copy, expected = kept.pop(n % len(kept))
                wrong.extend([value for value in set(bytes(copy)) if value != expected])
            if len(kept) > 20:
                kept.clear()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.filterwarnings('ignore:This process:DeprecationWarning')
def test_the_shelf_is_private() -> None:
    """A forked child must not write into its parent's copies."""
    shelf = Shelf(4 * PAGE)
    copy = shelf.copy(memoryview(b'parent'))
    pid = os.fork()
    if not pid:
        memoryview(copy)[:] = b'child!'
        os._exit(0)
    os.waitpid(pid, 0)
    assert bytes(copy) == b'parent'
