"""The feeder, called directly on this thread: how an iterable becomes chunks, and what goes wrong on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import pytest

from eisenmp.errors import PayloadError
from eisenmp.feeder import Cut, Feeder
from eisenmp.payload import Payload, loads
from eisenmp.sources import source_of


class FakeSink:
    """Takes what comes, up to `room` chunks."""

    def __init__(self, room: int = 10**9, most: int = 1) -> None:
        self.room = room
        self.most = most
        self.chunks: list[Any] = []
        self.batches: list[int] = []
        self.spoiled: list[tuple[int, PayloadError]] = []
        self.done: list[BaseException | None] = []
        self.on_wait: Callable[[], None] = lambda: None

    def wait_for_room(self, feeder: Feeder) -> int:
        assert not self.done
        self.on_wait()
        return min(self.most, self.room - len(self.chunks) - len(self.spoiled))

    def add_chunk(self, feeder: Feeder, items: int, payload: Payload, cut: Cut) -> bool:
        whole = loads(payload)
        if cut.nested:
            chunks = [loads((piece,)) for piece in whole]
        elif cut.tickets > 1:
            chunks = [whole[at : at + cut.rows] for at in range(0, len(whole), cut.rows)]
        else:
            chunks = [whole]
        assert len(chunks) == cut.tickets
        assert sum(map(len, chunks)) == items
        self.chunks += chunks
        self.batches.append(cut.tickets)
        return len(self.chunks) + len(self.spoiled) < self.room

    def add_spoiled(self, feeder: Feeder, items: int, error: PayloadError) -> bool:
        self.spoiled.append((items, error))
        return len(self.chunks) + len(self.spoiled) < self.room

    def feeder_done(self, feeder: Feeder, error: BaseException | None) -> None:
        assert feeder.done
        self.done.append(error)


def feed(items: Iterable[Any], sink: FakeSink, *, rows: int = 10, exact: bool = True) -> Feeder:
    feeder = Feeder(source_of(items), 5, None)
    feeder.rows, feeder._exact = rows, exact
    feeder._run(sink)
    return feeder


def sizes(sink: FakeSink) -> list[int]:
    return [len(chunk) for chunk in sink.chunks]


@pytest.mark.parametrize('exact', [True, False])
def test_the_last_chunk_is_short(exact: bool) -> None:
    sink = FakeSink()
    feeder = feed(range(25), sink, exact=exact)
    assert sizes(sink) == [10, 10, 5]
    assert [item for chunk in sink.chunks for item in chunk] == list(range(25))
    assert sink.done == [None]
    assert (feeder.made, feeder.done) == (25, True)


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize(('items', 'chunks'), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (20, [10, 10])])
def test_no_chunk_is_empty(items: int, chunks: list[int], exact: bool) -> None:
    sink = FakeSink()
    feed(range(items), sink, exact=exact)
    assert sizes(sink) == chunks
    assert sink.done == [None]


def numbers_then(error: BaseException, after: int) -> Iterator[int]:
    yield from range(after)
    raise error


@pytest.mark.parametrize('exact', [True, False])
@pytest.mark.parametrize('after', [0, 3, 10, 14])
def test_what_came_before_an_exception_is_fed(after: int, exact: bool) -> None:
    sink = FakeSink()
    error = OSError('the disk is gone')
    feeder = feed(numbers_then(error, after), sink, exact=exact)
    assert [item for chunk in sink.chunks for item in chunk] == list(range(after))
    assert sink.done == [error]
    assert sink.done[0] is error
    assert feeder.made == after


@pytest.mark.parametrize('error', [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), RuntimeError('x')], ids=repr)
def test_any_exception_of_the_generator_is_told(error: BaseException) -> None:
    sink = FakeSink()
    feed(numbers_then(error, 3), sink)
    assert sizes(sink) == [3]
    assert sink.done == [error]


def test_the_iterable_is_read_no_further_than_there_is_room() -> None:
    taken: list[int] = []

    sink = FakeSink(room=2)
    feed(noted(count(), taken), sink)
    assert len(taken) == 20
    assert sink.done == [None]


def noted(items: Iterable[int], taken: list[int]) -> Iterator[int]:
    for item in items:
        taken.append(item)
        yield item


def test_room_is_awaited_before_the_items_are_taken() -> None:
    taken: list[int] = []
    seen: list[int] = []
    sink = FakeSink()
    sink.on_wait = lambda: seen.append(len(taken))
    feed(noted(range(25), taken), sink)
    assert seen == [0, 10, 20, 25]


def test_no_room_at_all_takes_nothing() -> None:
    taken: list[int] = []
    sink = FakeSink(room=0)
    feed(noted(range(25), taken), sink)
    assert taken == []
    assert sink.done == [None]


# ---- items that cannot be pickled


def test_an_item_that_cannot_be_pickled_is_named_with_its_place_and_type() -> None:
    sink = FakeSink()
    lock = threading.Lock()
    feed([*range(13), lock, *range(16)], sink)
    assert sizes(sink) == [10, 10]
    ((items, error),) = sink.spoiled
    assert items == 10
    assert str(error).startswith('item 3 of the chunk, a lock: ')
    assert '_thread.lock' in str(error)
    assert sink.done == [None]  # the chunks after it are fed


class AloneOnly:
    """Pickles alone, and not as the second of two in one go (plain, and by value)."""

    calls = 0

    def __reduce__(self) -> Any:
        AloneOnly.calls += 1
        if AloneOnly.calls in (2, 4):
            raise TypeError('one at a time')
        return int, ()


def test_a_chunk_that_cannot_be_pickled_though_its_items_can_fails_all_the_same() -> None:
    AloneOnly.calls = 0
    sink = FakeSink()
    feed([AloneOnly(), AloneOnly()], sink)
    assert sizes(sink) == []
    ((items, error),) = sink.spoiled
    assert items == 2
    assert 'one at a time' in str(error)


class Leaves:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


def test_whatever_pickling_raises_the_end_of_the_feeder_is_told_with_it() -> None:
    sink = FakeSink()
    try:
        feed([1, Leaves()], sink)
    except SystemExit:
        pytest.fail('it left the feeder, and items were lost without a word')
    assert sink.done != [None] or len(sink.spoiled) == 1


# ---- how large a chunk is


def test_large_items_cut_a_chunk_of_default_size_short() -> None:
    sink = FakeSink()
    feed((bytes(1 << 20) for _ in range(40)), sink, rows=1000, exact=False)
    assert sum(sizes(sink)) == 40
    assert max(sizes(sink)) <= 16
    assert max(sum(len(item) for item in chunk) for chunk in sink.chunks) <= 16 << 20


def test_a_single_item_beyond_the_aim_is_a_chunk_of_its_own() -> None:
    sink = FakeSink()
    feed([bytes(9 << 20), bytes(9 << 20), b'small'], sink, rows=1000, exact=False)
    assert sizes(sink) == [1, 1, 1]


class Sized:
    def __init__(self, size: Any) -> None:
        self.size = size

    @property
    def nbytes(self) -> Any:
        if isinstance(self.size, Exception):
            raise self.size
        return self.size


def test_items_tell_their_size_by_nbytes() -> None:
    sink = FakeSink()
    feed([Sized(3 << 20) for _ in range(9)], sink, rows=1000, exact=False)
    assert max(sizes(sink)) <= 5


@pytest.mark.parametrize('size', [None, 'much', -5, 1e9, ValueError('closed')], ids=repr)
def test_an_odd_nbytes_is_no_harm(size: Any) -> None:
    sink = FakeSink()
    feed([Sized(size) for _ in range(25)], sink, rows=10, exact=False)
    assert sizes(sink) == [10, 10, 5]
    assert sink.done == [None]


def test_large_bytes_inside_a_tuple_are_noticed_too() -> None:
    sink = FakeSink()
    feed(((f'file {n}', bytes(1 << 20)) for n in range(40)), sink, rows=1000, exact=False)
    assert sum(sizes(sink)) == 40
    assert max(sizes(sink)) <= 16


def test_rows_that_were_asked_for_are_kept_to() -> None:
    sink = FakeSink()
    feed((bytes(1 << 20) for _ in range(40)), sink, rows=30, exact=True)
    assert sizes(sink) == [30, 10]


def test_small_items_soon_fill_whole_chunks() -> None:
    sink = FakeSink()
    feed(range(5000), sink, rows=1000, exact=False)
    assert sizes(sink) == [1000] * 5


def test_items_that_grow_large_on_the_way_are_noticed() -> None:
    sink = FakeSink()
    small = [b'x'] * 2000
    feed([*small, *[bytes(1 << 20)] * 64], sink, rows=1000, exact=False)
    assert sizes(sink)[:2] == [1000, 1000]
    assert sum(sizes(sink)) == 2064
