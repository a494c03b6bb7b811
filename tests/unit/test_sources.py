"""What is cut by slices and what is iterated, and how both are read."""

from __future__ import annotations

import gc
import itertools
import mmap
import sys
import threading
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp import spaces
from eisenmp.sources import Items, Slices, is_sliceable, size_of, source_of
from tests.support import ALARM

HUGE = 10**30


class Lazy:
    """What says that its slices are small and lazy."""

    __eisenmp_slices__ = True

    def __init__(self, size: int) -> None:
        self.size = size

    def __getitem__(self, at: Any) -> Any:
        return (at.start, at.stop) if isinstance(at, slice) else at


class SlowList(list[int]):
    """Nobody knows what its slices are."""


class Silent:
    """Can be iterated, and nothing else."""

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])


SLICED = [
    range(3),
    range(HUGE),
    [1, 2],
    (1, 2),
    'ab',
    b'ab',
    bytearray(b'ab'),
    array('d', [1.0]),
    numpy.arange(3),
    numpy.zeros((3, 2)),
    spaces.Range(3),
    spaces.Product('ab', repeat=3),
    Lazy(7),
]


@pytest.mark.parametrize('whole', SLICED, ids=lambda whole: type(whole).__name__)
def test_what_is_cut_by_slices(whole: Any) -> None:
    assert is_sliceable(whole)
    assert isinstance(source_of(whole), Slices)


@pytest.mark.parametrize(
    'whole',
    [iter([1]), {1}, {1: 2}, deque([1]), SlowList([1]), Silent(), numpy.arange(3).flat, memoryview(b'ab'), zip('ab')],
    ids=lambda whole: type(whole).__name__,
)
def test_what_is_iterated(whole: Any) -> None:
    assert not is_sliceable(whole)
    source = source_of(whole)
    assert isinstance(source, Items)
    source.read(10)
    assert len(source.rest()) in (1, 2, 3)


@pytest.mark.parametrize('whole', [None, 7, object(), numpy.array(7), numpy.float64(2.5), len], ids=type)
def test_what_is_neither(whole: Any) -> None:
    assert not is_sliceable(whole)
    with pytest.raises(TypeError):
        source_of(whole)


def test_a_text_of_a_subclass_is_iterated() -> None:
    class Text(str):
        pass

    source = source_of(Text('ab'))
    source.read(5)
    assert source.rest() == ['a', 'b']


# ---- slices


def chunks_of(source: Any, rows: int) -> Iterator[Any]:
    while True:
        source.read(rows)
        if not source.count():
            return
        yield source.rest()


@pytest.mark.parametrize('rows', [1, 3, 10, 100])
def test_slices_in_a_row(rows: int) -> None:
    whole = list(range(25))
    chunks = list(chunks_of(source_of(whole), rows))
    assert chunks == [whole[at : at + rows] for at in range(0, 25, rows)]


@given(st.lists(st.integers(0, 7), max_size=20), st.integers(0, 60))
def test_any_reads_give_all_in_order(reads: list[int], size: int) -> None:
    whole = list(range(size))
    sliced, iterated = source_of(whole), source_of(iter(whole))
    for read in reads:
        for source in (sliced, iterated):
            source.read(read)
        assert sliced.count() == iterated.count()
        if sliced.count():
            assert sliced.item(0) == iterated.item(0)
            assert sliced.item(sliced.count() - 1) == iterated.item(iterated.count() - 1)
        if read % 2:
            assert sliced.rest() == iterated.rest()
    assert sliced.rest() == iterated.rest()


def test_reads_add_up() -> None:
    source = source_of(range(10))
    source.read(3)
    source.read(4)
    assert source.count() == 7
    assert source.item(6) == 6
    assert source.part(2) == ()  # nothing of it waits for anything
    assert source.rest() == range(7)
    assert len(source.rest()) == 0


@pytest.mark.parametrize('whole', [range(10, 20), (1, 2, 3), 'abc', b'abc', bytearray(b'abc'), array('b', [1, 2, 3])])
def test_slices_are_of_the_kind_of_the_whole(whole: Any) -> None:
    source = source_of(whole)
    source.read(2)
    assert source.rest() == whole[:2]
    assert type(source.rest()) is type(whole)


def test_rows_of_an_array() -> None:
    whole = numpy.arange(12).reshape(4, 3)
    first, second = chunks_of(source_of(whole), 3)
    assert first.shape == (3, 3)
    assert second.tolist() == [[9, 10, 11]]
    assert first.base is not None  # no copy


def test_an_array_without_a_dimension_is_refused_as_numpy_refuses_it() -> None:
    with pytest.raises(TypeError, match='0-d'):
        source_of(numpy.array(7))


def test_an_empty_array() -> None:
    assert list(chunks_of(source_of(numpy.zeros((0, 5))), 3)) == []


def test_a_list_that_grows_while_it_is_fed() -> None:
    whole = [1, 2, 3]
    source = source_of(whole)
    source.read(2)
    assert source.rest() == [1, 2]
    whole += [4, 5]
    source.read(2)
    assert source.rest() == [3, 4]
    whole.append(6)
    source.read(9)
    assert source.rest() == [5, 6]
    source.read(9)
    assert source.rest() == []


def test_a_list_that_shrinks_while_it_is_fed() -> None:
    whole = list(range(10))
    source = source_of(whole)
    source.read(5)
    assert source.rest() == [0, 1, 2, 3, 4]
    del whole[2:]
    source.read(5)
    assert source.count() == 0
    assert source.rest() == []


def test_a_file_that_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / 'data'
    path.write_bytes(b'abcdefghij')
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        assert list(chunks_of(source_of(whole), 4)) == [b'abcd', b'efgh', b'ij']
        assert size_of(whole) == 10


def test_a_mapped_file_that_is_closed_too_early_is_no_empty_one(tmp_path: Path) -> None:
    path = tmp_path / 'data'
    path.write_bytes(b'abcdefghij')
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        source = source_of(whole)
        source.read(4)
        assert source.rest() == b'abcd'
    with pytest.raises(ValueError, match='closed'):
        source.read(4)


# ---- how large


@pytest.mark.parametrize(
    ('whole', 'size'),
    [
        ([1, 2], 2),
        ({1: 2}, 1),
        (range(5), 5),
        (iter([1]), None),
        (itertools.count(), None),
        (range(HUGE), HUGE),
        (spaces.Range(HUGE), HUGE),
        (spaces.Product(range(10), repeat=40), 10**40),
        (numpy.zeros((3, 9)), 3),
        (numpy.array(7), None),
        (Lazy(HUGE), HUGE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_many_items(whole: Any, size: int | None) -> None:
    assert size_of(whole) == size


class Liar:
    def __len__(self) -> int:
        raise OSError('cannot be told')

    def __iter__(self) -> Iterator[int]:
        return iter([1])


def test_a_size_that_cannot_be_told() -> None:
    assert size_of(Liar()) is None
    source = source_of(Liar())
    source.read(3)
    assert source.rest() == [1]


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool), st.sampled_from([1, HUGE]))
def test_the_size_of_any_range(start: int, stop: int, step: int, scale: int) -> None:
    small = range(start, stop, step)
    assert size_of(range(start * scale, stop * scale, step * scale)) == len(small)


@pytest.mark.parametrize('whole', [range(7, HUGE), spaces.Range(7, HUGE), spaces.Product(range(7, 10), repeat=99)])
def test_what_is_longer_than_len_can_tell(whole: Any) -> None:
    assert size_of(whole) > sys.maxsize  # type: ignore[operator]
    source = source_of(whole)
    source.read(3)
    assert source.count() == 3
    first = source.rest()
    source.read(2)
    assert [*first, *source.rest()] == list(itertools.islice(whole, 5))


def test_the_end_of_what_is_longer_than_len_can_tell() -> None:
    source = source_of(range(HUGE))
    source._start = source._stop = HUGE - 3  # type: ignore[union-attr]
    source.read(10)
    assert list(source.rest()) == [HUGE - 3, HUGE - 2, HUGE - 1]
    source.read(10)
    assert source.count() == 0


# ---- what may share a pickle


@pytest.mark.parametrize(
    ('whole', 'own'),
    [
        ([1], True),
        ((1,), True),
        (iter([1]), True),
        (numpy.array([object()]), True),
        (numpy.array([(1, None)], dtype=[('a', int), ('b', object)]), True),
        (numpy.arange(3), False),
        (range(3), False),
        (b'ab', False),
        (spaces.Range(3), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whose_items_may_share_a_pickle(whole: Any, own: bool) -> None:
    assert source_of(whole).own_pickle is own


# ---- an iterator


def test_what_came_before_an_error_is_there() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError('the disk is gone')

    source = source_of(items())
    with pytest.raises(OSError, match='disk'):
        source.read(10)
    assert source.rest() == [0, 1, 2]


def test_a_part_is_a_multiple() -> None:
    source = source_of(iter(range(8)))
    source.read(8)
    assert source.part(3) == [0, 1, 2, 3, 4, 5]
    assert source.part(3) == []
    assert source.count() == 2
    assert source.item(1) == 7
    assert source.rest() == [6, 7]


def test_a_part_while_another_thread_waits_for_the_iterator() -> None:
    asked, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def items() -> Iterator[int]:
        for item in range(10):
            if item in (4, 7):
                asked.release()
                assert go_on.acquire(timeout=ALARM)
            yield item

    source = source_of(items())
    thread = threading.Thread(target=source.read, args=(9,))
    thread.start()
    assert asked.acquire(timeout=ALARM)
    assert source.count() == 4
    assert source.part(3) == [0, 1, 2]
    assert source.part(3) == []
    go_on.release()
    assert asked.acquire(timeout=ALARM)
    assert source.part(2) == [3, 4, 5, 6]
    go_on.release()
    thread.join(ALARM)
    assert not thread.is_alive()
    assert source.rest() == [7, 8]
    source.read(5)
    assert source.rest() == [9]


@pytest.mark.parametrize('multiple', [1, 3])
def test_parts_taken_by_one_thread_while_another_reads_lose_nothing(multiple: int) -> None:
    """Often, and with items of a generator, so that both threads run at once."""
    for _ in range(20):
        source = source_of(n for n in range(5000))
        parts: list[int] = []
        over = threading.Event()
        thread = threading.Thread(target=_take_parts, args=(source, multiple, parts, over))
        thread.start()
        for _ in range(6):
            source.read(1000)
        over.set()
        thread.join(ALARM)
        assert parts + source.rest() == list(range(5000))
        assert len(parts) % multiple == 0
    gc.collect()


def _take_parts(source: Items, multiple: int, parts: list[int], over: threading.Event) -> None:
    while not over.is_set():
        parts += source.part(multiple)
