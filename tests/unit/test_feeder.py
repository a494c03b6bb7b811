"""The feeder, called directly on this thread: how an iterable becomes chunks, and what goes wrong on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import count
from typing import Any

import numpy
import pytest

from eisenmp.errors import PayloadError
from eisenmp.feeder import Cut, Feeder
from eisenmp.payload import Payload, loads
from eisenmp.sources import Items, source_of
from eisenmp.wire import LARGE, Buffer
from tests.support import ALARM


class FakeSink:
    """Takes what comes, up to `room` chunks."""

    def __init__(self, room: int = 10**9, most: int = 1) -> None:
        self.room = room
        self.most = most
        self.chunks: list[Any] = []
        self.batches: list[int] = []
        self.nested: list[bool] = []
        self.buffers: list[int] = []
        self.order: list[Any] = []  # first items of chunks of one, and 'spoiled'
        self.spoiled: list[tuple[int, PayloadError]] = []
        self.done: list[BaseException | None] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.stored: list[bytes] | None = None  # a place for large pieces, if there is one

    def wait_for_room(self, feeder: Feeder) -> int:
        assert not self.done
        self.on_wait()
        return min(self.most, self.room - len(self.chunks) - len(self.spoiled))

    def begins_batch(self, feeder: Feeder) -> None:
        feeder.cutting = True

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
        self.nested.append(cut.nested)
        self.buffers.append(len(payload) - 1)
        self.order += [chunk[0] for chunk in chunks if len(chunk) == 1]
        return len(self.chunks) + len(self.spoiled) < self.room

    def add_again(self, feeder: Feeder, serial: int, items: int, payload: Payload) -> bool:
        raise AssertionError('nothing is known of earlier runs')

    def add_spoiled(self, feeder: Feeder, items: int, error: PayloadError, serial: int | None = None) -> bool:
        self.spoiled.append((items, error))
        self.order.append('spoiled')
        return len(self.chunks) + len(self.spoiled) < self.room

    def store(self, piece: memoryview) -> Buffer | None:
        if self.stored is None:
            return None
        self.stored.append(bytes(piece))
        return self.stored[-1]

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


# ---- batches


class Tick:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def batches(
    items: Iterable[Any], sink: FakeSink, *, rows: int = 1, most: int = 8, clock: Callable[[], float] | None = None
) -> Feeder:
    """Feed with room for `most` chunks at a time."""
    sink.most = most
    feeder = Feeder(source_of(items), 5, None, clock or Tick())
    feeder.rows = rows
    feeder._run(sink)
    return feeder


def test_a_batch_is_as_large_as_there_is_room_for() -> None:
    sink = FakeSink()
    batches(iter(range(30)), sink)
    assert sink.batches == [8, 8, 8, 6]
    assert sink.nested == [True, False, False, False]  # what items are is known after some of them
    assert sink.chunks == [[n] for n in range(30)]
    assert sink.done == [None]


@pytest.mark.parametrize('rows', [1, 2, 3, 7])
@pytest.mark.parametrize('count', [1, 6, 29, 30])
@pytest.mark.parametrize(
    'make',
    [list, iter, lambda items: iter(list(items)), tuple, range],
    ids=['list', 'iterator of a range', 'iterator of a list', 'tuple', 'range'],
)
def test_batches_of_chunks_of_many_sizes(make: Callable[[Any], Any], count: int, rows: int) -> None:
    sink = FakeSink()
    items = range(count)
    feeder = batches(items if make is range else make(items), sink, rows=rows)
    assert [list(chunk) for chunk in sink.chunks] == [list(items[at : at + rows]) for at in range(0, count, rows)]
    assert feeder.made == count
    assert sink.done == [None]
    assert rows * 3 > count or max(sink.batches) > 1


def test_items_that_are_no_plain_data_have_a_pickle_a_ticket() -> None:
    sink = FakeSink()
    batches((Fraction(n) for n in range(14)), sink, rows=2)
    assert sink.chunks == [[2 * n, 2 * n + 1] for n in range(7)]
    assert all(isinstance(item, Fraction) for chunk in sink.chunks for item in chunk)
    assert sink.batches == [7]
    assert sink.nested == [True]


def test_one_that_is_not_among_many_that_are() -> None:
    sink = FakeSink()
    batches([*range(10), Fraction(10), *range(11, 15)], sink)
    assert [item for (item,) in sink.chunks] == list(range(15))
    assert sink.nested == [True, True]


class Stays:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError('this one stays at home')


@pytest.mark.parametrize(
    'make', [list, iter, lambda items: numpy.array(items, dtype=object)], ids=['list', 'iter', 'ndarray']
)
@pytest.mark.parametrize('at', [0, 1, 7, 8, 14])
def test_an_item_of_a_batch_that_cannot_be_pickled_spoils_its_own_ticket(make: Callable[[Any], Any], at: int) -> None:
    sink = FakeSink()
    items: list[Any] = list(range(15))
    items[at] = Stays()
    batches(make(items), sink)
    assert [item for (item,) in sink.chunks] == [n for n in range(15) if n != at]
    ((count, error),) = sink.spoiled
    assert count == 1
    assert 'a Stays' in str(error)
    assert 'stays at home' in str(error)
    assert sink.order == [*range(at), 'spoiled', *range(at + 1, 15)]
    assert sink.done == [None]


def test_arrays_of_objects_do_not_share_a_pickle() -> None:
    """One of them that explodes where it is opened must not take its neighbours along."""
    sink = FakeSink()
    batches(numpy.array([None, *[Fraction(n) for n in range(6)]], dtype=object), sink)
    assert sink.nested == [True]
    assert [chunk[0] for chunk in sink.chunks] == [None, *range(6)]


class Lazy:
    """A space some of whose slices do not pickle."""

    __eisenmp_slices__ = True
    size = 20

    def __getitem__(self, at: slice) -> Any:
        rows = list(range(20)[at])
        return [Stays() if row == 5 else row for row in rows]


def test_a_slice_that_cannot_be_pickled_spoils_its_own_ticket_too() -> None:
    sink = FakeSink()
    batches(Lazy(), sink)  # type: ignore[arg-type]
    assert [item for (item,) in sink.chunks] == [n for n in range(20) if n != 5]
    assert len(sink.spoiled) == 1
    assert sink.done == [None]


def test_large_buffers_go_alone() -> None:
    sink = FakeSink()
    items = [Fraction(1), Fraction(2), numpy.zeros(10_000), Fraction(3), numpy.zeros(3), Fraction(4), Fraction(5)]
    batches(items, sink)
    assert [chunk[0].sum() if isinstance(chunk[0], numpy.ndarray) else chunk[0] for chunk in sink.chunks] == [
        *(1, 2, 0, 3, 0, 4, 5)
    ]
    assert sink.batches == [2, 1, 4]
    assert sink.buffers == [0, 1, 0]


def test_rows_of_an_array_travel_as_one_array() -> None:
    sink = FakeSink()
    batches(numpy.arange(60).reshape(15, 4), sink, rows=2)
    assert sink.nested == [False]
    assert sink.batches == [8]
    assert numpy.concatenate(sink.chunks).tolist() == numpy.arange(60).reshape(15, 4).tolist()


def test_chunks_of_default_size_travel_in_batches_too() -> None:
    sink = FakeSink(most=8)
    feeder = Feeder(source_of(iter(range(25_500))), 5, None, Tick())
    feeder.rows, feeder._exact = 1000, False
    feeder._run(sink)
    assert sizes(sink) == [*[1000] * 25, 500]
    assert sink.batches == [8, 8, 8, 2]


def test_the_end_of_the_iterable_in_the_middle_of_a_batch() -> None:
    sink = FakeSink()
    error = OSError('the disk is gone')
    feeder = batches(numbers_then(error, 12), sink)
    assert [item for (item,) in sink.chunks] == list(range(12))
    assert sink.done == [error]
    assert feeder.made == 12


def test_a_sink_that_wants_no_more_ends_it() -> None:
    taken: list[int] = []
    sink = FakeSink(room=4)
    batches(noted(count(), taken), sink)
    assert len(sink.chunks) == 4
    assert len(taken) == 4


def test_the_size_of_a_chunk_and_of_an_item_are_told() -> None:
    sink = FakeSink()
    feeder = batches((bytes(1000) for _ in range(30)), sink, rows=2)
    assert 2000 < feeder.chunk_bytes < 2200
    assert 1000 < feeder.item_bytes < 1100


# ---- a batch must not hold its first chunk back for long


def test_chunks_of_a_slow_generator_are_cut_one_by_one() -> None:
    clock = Tick()

    def slow() -> Iterator[int]:
        for item in range(20):
            clock.now += 0.002
            yield item

    sink = FakeSink()
    batches(slow(), sink, clock=clock)
    assert sink.batches == [1] * 20


def test_a_generator_that_slows_down_and_recovers() -> None:
    clock = Tick()

    def uneven() -> Iterator[int]:
        for item in range(200):
            clock.now += 0.001 if 60 <= item < 100 else 0.000_001
            yield item

    sink = FakeSink()
    batches(uneven(), sink, most=16, clock=clock)
    assert sum(sink.batches) == 200
    starts = [sum(sink.batches[:at]) for at in range(len(sink.batches))]
    during = [size for start, size in zip(starts, sink.batches, strict=True) if 60 <= start < 100]
    assert during == [1] * len(during)
    assert len(during) >= 30
    assert max(size for start, size in zip(starts, sink.batches, strict=True) if start >= 100) == 16


@pytest.mark.parametrize(('seconds', 'sizes_'), [(0.000_4, [3, 3, 3, 3]), (0.000_1, [8, 8, 8, 8])])
def test_how_quick_is_quick(seconds: float, sizes_: list[int]) -> None:
    """A batch is read for a millisecond, about."""
    clock = Tick()

    def steady() -> Iterator[int]:
        for item in range(40):
            clock.now += seconds
            yield item

    sink = FakeSink()
    batches(steady(), sink, clock=clock)
    assert sink.batches[:4] == sizes_


# ---- chunks of automatic size


def auto(items: Iterable[Any], sink: FakeSink, rows: list[int], clock: Callable[[], float] | None = None) -> Feeder:
    """Feed chunks whose size somebody else decides."""
    feeder = Feeder(source_of(items), 5, None, clock or Tick())
    feeder.rows, feeder.auto = 1, True
    wanted = iter(rows)

    def resize() -> None:
        feeder.rows = next(wanted, feeder.rows)

    sink.on_wait = resize
    feeder._run(sink)
    return feeder


@pytest.mark.parametrize('make', [iter, list])
def test_chunks_are_as_large_as_the_sink_wants_them(make: Callable[[Any], Any]) -> None:
    sink = FakeSink()
    feeder = auto(make(range(100)), sink, [1, 8, 20, 3])
    assert sizes(sink)[:4] == [1, 8, 20, 3]
    assert [item for chunk in sink.chunks for item in chunk] == list(range(100))
    assert set(sink.batches) == {1}
    assert feeder.made == 100
    assert sink.done == [None]


def test_a_slow_generator_is_not_waited_for() -> None:
    clock = Tick()

    def slow() -> Iterator[int]:
        for item in range(20):
            clock.now += 0.1 if item > 5 else 0.0
            yield item

    sink = FakeSink()
    auto(slow(), sink, [4, 1000], clock)
    assert [item for chunk in sink.chunks for item in chunk] == list(range(20))
    assert sizes(sink)[0] == 4
    assert max(sizes(sink)[2:]) == 1
    assert sink.done == [None]


def test_a_slow_generator_that_raises_gives_what_came_before() -> None:
    sink = FakeSink()
    error = OSError('the disk is gone')
    auto(numbers_then(error, 12), sink, [1000])
    assert [item for chunk in sink.chunks for item in chunk] == list(range(12))
    assert sink.done == [error]


# ---- hurry: somebody waits for chunks that are complete


class Gate:
    """A generator that stands still at some items, until the test lets it go on."""

    def __init__(self, items: int, stops: set[int]) -> None:
        self._items = items
        self._stops = stops
        self.stands = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def __iter__(self) -> Iterator[int]:
        for item in range(self._items):
            if item in self._stops:
                self.stands.release()
                assert self.go_on.acquire(timeout=ALARM)
            yield item


def start_gated(gate: Gate, sink: FakeSink, **how: Any) -> tuple[Feeder, threading.Thread]:
    feeder = Feeder(source_of(gate), 5, None, Tick())
    for name, value in how.items():
        setattr(feeder, name, value)
    thread = threading.Thread(target=feeder._run, args=(sink,))
    thread.start()
    return feeder, thread


def test_complete_chunks_are_shipped_while_the_generator_is_waited_for() -> None:
    gate = Gate(20, {6, 8})
    sink = FakeSink(most=8)
    feeder, thread = start_gated(gate, sink, rows=2, _batch=8)
    assert gate.stands.acquire(timeout=ALARM)
    assert (feeder.cutting, feeder.ripe) == (True, True)
    feeder.hurry()
    assert sink.chunks == [[0, 1], [2, 3], [4, 5]]
    assert feeder.made == 6
    assert (feeder.cutting, feeder.ripe) == (True, False)
    feeder.hurry()
    assert len(sink.chunks) == 3
    gate.go_on.release()
    assert gate.stands.acquire(timeout=ALARM)
    feeder.hurry()
    assert sink.chunks[3:] == [[6, 7]]
    gate.go_on.release()
    thread.join(ALARM)
    assert sink.chunks == [[n, n + 1] for n in range(0, 20, 2)]
    assert feeder.made == 20
    assert (feeder.cutting, feeder.ripe) == (False, False)
    assert sink.done == [None]


def test_an_incomplete_chunk_stays_unless_its_size_is_automatic() -> None:
    for automatic in (False, True):
        gate = Gate(20, {3})
        sink = FakeSink(most=8)
        feeder, thread = start_gated(gate, sink, rows=4, _batch=8, auto=automatic)
        assert gate.stands.acquire(timeout=ALARM)
        assert feeder.ripe is automatic
        feeder.hurry()
        assert sink.chunks == ([[0, 1, 2]] if automatic else [])
        gate.go_on.release()
        thread.join(ALARM)
        assert [item for chunk in sink.chunks for item in chunk] == list(range(20))
        assert sink.done == [None]


class Held(Items):
    """Somebody who takes a part stands in the middle of it, until the rest is taken too, or for a moment."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__(items)
        self.stands = threading.Event()
        self.rest_taken = threading.Event()

    def part(self, multiple: int) -> list[Any]:
        part = self._rows[: len(self._rows) // multiple * multiple]
        self.stands.set()
        self.rest_taken.wait(0.2)
        del self._rows[: len(part)]
        return part

    def rest(self) -> list[Any]:
        rows = super().rest()
        self.rest_taken.set()
        return rows


def test_who_hurried_before_chunks_are_cut_apart_ships_nothing_twice() -> None:
    source = Held(iter(range(8)))
    sink = FakeSink(most=4)
    feeder = Feeder(source, 5, None, Tick())
    feeder.rows, feeder._sink = 2, sink
    source.read(2)
    hurry = threading.Thread(target=feeder.hurry)
    hurry.start()
    assert source.stands.wait(ALARM)
    feeder._run(sink)
    hurry.join(ALARM)
    assert sorted(item for chunk in sink.chunks for item in chunk) == list(range(8))


@pytest.mark.parametrize('stop', [1000, 1003, 1999, 2000, 2500])
def test_chunks_of_default_size_keep_it_whoever_hurries(stop: int) -> None:
    gate = Gate(5000, {stop})
    sink = FakeSink(most=4)
    feeder, thread = start_gated(gate, sink, rows=1000, _batch=4, _exact=False)
    assert gate.stands.acquire(timeout=ALARM)
    feeder.hurry()
    assert sizes(sink) == [1000] * (stop // 1000)
    gate.go_on.release()
    thread.join(ALARM)
    assert sizes(sink) == [1000] * 5
    assert [item for chunk in sink.chunks for item in chunk] == list(range(5000))
    assert sink.done == [None]


class Looks:
    feeder: Feeder

    @property
    def nbytes(self) -> int:
        self.feeder.hurry()
        return 64


def test_a_chunk_that_is_shipped_while_its_size_is_looked_at() -> None:
    """Looking at an item may run code of the user's, and so let another thread in."""

    sink = FakeSink(most=4)
    feeder = Looks.feeder = Feeder(source_of(Looks() for _ in range(300)), 5, None, Tick())
    feeder.rows, feeder._exact = 30, False
    feeder._run(sink)
    assert sink.done == [None]
    assert sizes(sink) == [30] * 10


class Weighs:
    """Three of them are read in two steps."""

    nbytes = 1_500_000

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize('stop', range(3, 9))
def test_chunks_that_are_read_in_steps_keep_their_size_whoever_hurries(stop: int) -> None:
    gate = Gate(12, {stop})
    sink = FakeSink(most=8)
    feeder = Feeder(source_of(Weighs(n) for n in gate), 5, None, Tick())
    feeder.rows, feeder._exact, feeder._step = 3, False, 2
    thread = threading.Thread(target=feeder._run, args=(sink,))
    thread.start()
    assert gate.stands.acquire(timeout=ALARM)
    feeder.hurry()
    assert sizes(sink) == [3] * (stop // 3)
    gate.go_on.release()
    thread.join(ALARM)
    assert [[item.number for item in chunk] for chunk in sink.chunks] == [[n, n + 1, n + 2] for n in range(0, 12, 3)]
    assert sink.done == [None]


def test_a_chunk_that_is_shipped_before_it_is_looked_at() -> None:
    sink = FakeSink(most=8)
    feeder = Feeder(source_of(Weighs(n) for n in range(12)), 5, None, Tick())
    feeder.rows, feeder._exact, feeder._step = 3, False, 3
    read = feeder._source.read

    def read_and_hurry(count: int) -> None:
        read(count)
        feeder.hurry()

    feeder._source.read = read_and_hurry  # type: ignore[method-assign]
    feeder._run(sink)
    assert sizes(sink) == [3] * 4
    assert sink.done == [None]


def test_what_goes_wrong_in_a_hurry_is_told_by_the_feeder() -> None:
    class Leaves:
        def __reduce__(self) -> Any:
            raise SystemExit(3)

    def items() -> Iterator[Any]:
        yield from range(8)  # that many, and chunks are read together
        yield Leaves()
        yield from Gate.__iter__(gate)

    gate = Gate(5, {0})
    sink = FakeSink(most=8)
    feeder = Feeder(source_of(items()), 5, None, Tick())
    feeder.rows = 1
    thread = threading.Thread(target=feeder._run, args=(sink,))
    thread.start()
    assert gate.stands.acquire(timeout=ALARM)
    feeder.hurry()
    gate.go_on.release()
    thread.join(ALARM)
    (error,) = sink.done
    assert isinstance(error, SystemExit)


def test_nobody_waits_for_another_that_ships_already() -> None:
    """A thread more at each look would be a storm of threads while the sink has no room."""
    gate, shipping, go_on = Gate(20, {6}), threading.Event(), threading.Event()

    class Full(FakeSink):
        def add_chunk(self, feeder: Feeder, items: int, payload: Payload, cut: Cut) -> bool:
            shipping.set()
            assert go_on.wait(ALARM)
            return super().add_chunk(feeder, items, payload, cut)

    sink = Full(most=8)
    feeder, thread = start_gated(gate, sink, rows=2, _batch=8)
    assert gate.stands.acquire(timeout=ALARM)
    first = threading.Thread(target=feeder.hurry)
    first.start()
    assert shipping.wait(ALARM)
    assert not feeder.ripe
    feeder.hurry()  # comes back at once
    go_on.set()
    gate.go_on.release()
    first.join(ALARM)
    thread.join(ALARM)
    assert sink.chunks == [[n, n + 1] for n in range(0, 20, 2)]


def test_whoever_hurries_all_the_time_disturbs_nothing() -> None:
    for exact in (True, False):
        sink = FakeSink(most=16)
        feeder = Feeder(source_of(n for n in range(3001)), 5, None)
        feeder.rows, feeder._exact = 3, exact
        over = threading.Event()

        def hurry(feeder: Feeder = feeder, over: threading.Event = over) -> None:
            while not over.is_set():
                if feeder.cutting:
                    feeder.hurry()

        feeder._sink = sink
        thread = threading.Thread(target=hurry)
        thread.start()
        feeder._run(sink)
        over.set()
        thread.join(ALARM)
        assert [item for chunk in sink.chunks for item in chunk] == list(range(3001))
        assert set(sizes(sink)[:-1]) == {3}
        assert sink.done == [None]


def test_copies_of_large_arrays_lie_where_the_sink_keeps_them() -> None:
    """The array is filled anew for each item; small ones, and what cannot change, the sink is not asked to keep."""
    sink = FakeSink()
    sink.stored = []
    array = numpy.zeros(LARGE // 8, 'i8')
    small = numpy.zeros(LARGE // 16, 'i8')
    constant = numpy.frombuffer(bytes(LARGE), 'i8')

    def items() -> Iterator[Any]:
        for n in range(3):
            array[:] = n
            yield array, small, constant

    feed(items(), sink, rows=1)
    assert sink.stored == [numpy.full(LARGE // 8, n, 'i8').tobytes() for n in range(3)]
    assert [int(chunk[0][0].sum()) for chunk in sink.chunks] == [n * LARGE // 8 for n in range(3)]
    assert sink.buffers == [3] * 3
