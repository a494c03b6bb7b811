"""A batch in a worker: its tickets, what becomes of each of them, and what is parted with when it takes long."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eisenmp.errors import PayloadError, StopJob
from eisenmp.payload import dumps, loads, loads_error
from eisenmp.results import Form, Record
from eisenmp.results.outcome import item_failures
from eisenmp.wire import HAS_VALUE, LISTED, PICKLED, WITH_ERRORS, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import Batch, Run, Work
from tests.contract.things import Bomb, Unpicklable
from tests.unit.fakes import frames_of

Q = 5
FIRST = 70  # ticket of the batches here


def flat(items: Any, rows: int, *, skip: int = 0, tickets: int | None = None, serial: int = FIRST) -> Frame:
    """A CHUNK message of tickets of `rows` items, the first `skip` of which are not meant."""
    count = -(-len(items) // rows) - skip if tickets is None else tickets
    fields = {'queue': Q, 'serial': serial, 'number': 1.0, 'tickets': count, 'skip': skip, 'rows': rows}
    (frame,) = frames_of(encode(Kind.CHUNK, dumps(items), flags=LISTED, **fields))  # type: ignore[arg-type]
    return frame


def nested(chunks: list[Any], *, skip: int = 0, rows: int = 2) -> Frame:
    """The same of tickets that are a pickle each."""
    pieces = [chunk if isinstance(chunk, bytes) else bytes(dumps(chunk)[0]) for chunk in chunks]
    fields = {'queue': Q, 'serial': FIRST, 'number': 1.0, 'tickets': len(chunks) - skip, 'skip': skip, 'rows': rows}
    (frame,) = frames_of(encode(Kind.CHUNK, dumps(pieces), flags=PICKLED, **fields))  # type: ignore[arg-type]
    return frame


def single(items: Any) -> Frame:
    """A chunk that travels alone."""
    (frame,) = frames_of(encode(Kind.CHUNK, dumps(items), queue=Q, serial=FIRST, number=1.0, tickets=1))
    return frame


class Bench:
    """A run, what was said of its tickets in the order it was said, and what the function was called with."""

    def __init__(
        self, frame: Frame, call: Callable[[Any], Any], *, per_item: bool = False, retries: int | None = None
    ) -> None:
        self.function = call
        self.called: list[Any] = []
        self.begun: list[Any] = []
        self.stopped: list[Any] = []
        self.frames: list[Frame] = []
        self.refuse_answer = False
        work = Work(self._call, per_item, retries)
        self.run = Run(frame, work, begins=self.begun.append, stop_job=self._stop_job)

    def _call(self, what: Any) -> Any:
        self.called.append(what)
        return self.function(what)

    def _stop_job(self, value: Any) -> None:
        if self.refuse_answer:
            raise PayloadError('the answer cannot be pickled')
        self.stopped.append(value)

    def said(self, messages: list[list[Buffer]]) -> list[Frame]:
        frames = [frame for pieces in messages for frame in frames_of(pieces)]
        self.frames += frames
        return frames

    def hurry(self) -> list[Frame]:
        return self.said(self.run.hurry())

    def work(self) -> Bench:
        self.said(self.run.work())
        return self

    # ---- what the manager makes of it

    def outcomes(self) -> dict[int, Any]:
        """What was said last of each ticket: its value, its error, or GIVE_BACK."""
        found: dict[int, Any] = {}
        for frame in self.frames:
            assert frame.queue == Q
            if frame.kind == Kind.FAILED:
                assert frame.tickets in (0, 1)
                found[frame.serial] = loads_error(frame.payload)
            elif frame.kind == Kind.GIVE_BACK:
                found.update(dict.fromkeys(range(frame.serial, frame.serial + frame.tickets), 'given back'))
            elif frame.kind == Kind.ANSWER:
                found.update(values_of(frame))
        return found

    def times(self) -> Counter[int]:
        """How often each ticket was answered, failed, or given back."""
        count: Counter[int] = Counter()
        for frame in self.frames:
            if frame.kind != Kind.TAKEN:
                count.update(range(frame.serial, frame.serial + (frame.tickets or 1)))
        return count

    def kinds(self) -> list[tuple[int, int, int]]:
        return [(frame.kind, frame.serial, frame.tickets or 1) for frame in self.frames]


def values_of(answer: Frame) -> dict[int, Any]:
    """Ticket -> value, read as the manager reads it."""
    form = Form.PICKLES if answer.flags & PICKLED else Form.LIST if answer.flags & LISTED else Form.ONE
    tickets = answer.tickets or 1
    assert answer.number >= 0
    if not answer.flags & HAS_VALUE:  # of a hit
        assert tickets == 1
        return {answer.serial: None}
    payload = answer.payload
    if answer.flags & WITH_ERRORS:
        payload, failed = payload[:-1], item_failures(payload[-1:])
        assert (tickets, answer.rows) == (1, len(failed))
    values = Record(Q, answer.serial, payload, None, tickets, form, answer.rows).values()
    assert len(values) == tickets
    for at, error in failed if answer.flags & WITH_ERRORS else ():
        assert values[0][at] is None
        values[0][at] = error
    return {answer.serial + at: value for at, value in enumerate(values)}


def tickets(*values: Any) -> dict[int, Any]:
    return {FIRST + at: value for at, value in enumerate(values)}


# ---- the items of a batch


def test_a_chunk_that_came_alone() -> None:
    batch = Batch(single([1, 2, 3]))
    assert (batch.queue, batch.serial, batch.tickets, batch.rows, batch.nested, batch.flat) == (
        Q,
        FIRST,
        1,
        0,
        False,
        False,
    )
    assert batch.items(0) == [1, 2, 3]


def test_a_frame_that_names_no_number_of_tickets_is_one() -> None:
    (frame,) = frames_of(encode(Kind.CHUNK, dumps([7]), queue=Q, serial=FIRST))
    assert Batch(frame).tickets == 1
    assert Batch(frame).items(0) == [7]


def test_items_of_tickets_in_a_row() -> None:
    batch = Batch(flat(list(range(8)), 3))
    assert (batch.tickets, batch.flat) == (3, True)
    assert [batch.items(at) for at in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert batch.items(0, 2) == [0, 1, 2, 3, 4, 5]
    assert batch.items(1, 2) == [3, 4, 5, 6, 7]


def test_tickets_that_are_not_meant_are_skipped() -> None:
    batch = Batch(flat(list(range(8)), 3, skip=1))
    assert batch.tickets == 2
    assert [batch.items(at) for at in range(2)] == [[3, 4, 5], [6, 7]]
    assert batch.items(0, 2) == [3, 4, 5, 6, 7]


def test_items_of_a_ticket_each_in_a_pickle_of_its_own() -> None:
    batch = Batch(nested([[1, 2], [3, 4], [5]], skip=1))
    assert (batch.tickets, batch.nested, batch.flat) == (2, True, False)
    assert [batch.items(at) for at in range(2)] == [[3, 4], [5]]


def test_a_pickle_that_explodes_harms_its_own_ticket_only() -> None:
    batch = Batch(nested([[1, 2], [Bomb()], [5]]))
    assert batch.items(0) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        batch.items(1)
    assert batch.items(2) == [5]


@pytest.mark.parametrize('whole', [range(10, 18), tuple(range(10, 18)), b'abcdefgh', 'abcdefgh'], ids=repr)
def test_slices_of_other_kinds(whole: Any) -> None:
    batch = Batch(flat(whole, 3))
    assert [list(batch.items(at)) for at in range(3)] == [list(whole[:3]), list(whole[3:6]), list(whole[6:])]


# ---- all goes well


@pytest.mark.parametrize('rows', [1, 2, 3, 8, 100])
def test_a_function_of_the_chunk(rows: int) -> None:
    items = list(range(8))
    chunks = [items[at : at + rows] for at in range(0, 8, rows)]
    bench = Bench(flat(items, rows), lambda chunk: sum(chunk)).work()
    assert bench.called == bench.begun == chunks
    assert bench.outcomes() == tickets(*map(sum, chunks))
    assert set(bench.times().values()) == {1}
    assert len(bench.frames) == 1


@pytest.mark.parametrize('retries', [None, 0, 2])
@pytest.mark.parametrize('rows', [1, 2, 3, 8, 100])
def test_a_function_of_the_item(rows: int, retries: int | None) -> None:
    items = list(range(8))
    chunks = [items[at : at + rows] for at in range(0, 8, rows)]
    bench = Bench(flat(items, rows), lambda item: 10 * item, per_item=True, retries=retries).work()
    assert bench.called == items
    assert bench.outcomes() == tickets(*[[10 * item for item in chunk] for chunk in chunks])
    assert len(bench.frames) == 1


@pytest.mark.parametrize('per_item', [False, True])
def test_tickets_that_are_not_meant_are_not_worked_on(per_item: bool) -> None:
    bench = Bench(flat(list(range(8)), 2, skip=2), lambda what: what, per_item=per_item).work()
    assert bench.outcomes() == tickets([4, 5], [6, 7])
    assert bench.called == ([4, 5, 6, 7] if per_item else [[4, 5], [6, 7]])


@pytest.mark.parametrize('per_item', [False, True])
def test_a_chunk_alone(per_item: bool) -> None:
    bench = Bench(single([1, 2, 3]), lambda what: what, per_item=per_item).work()
    assert bench.outcomes() == tickets([1, 2, 3])
    assert bench.begun == [[1, 2, 3]]
    assert [(frame.kind, frame.flags) for frame in bench.frames] == [(Kind.ANSWER, HAS_VALUE)]


def test_an_empty_chunk() -> None:
    assert Bench(single([]), str, per_item=True).work().outcomes() == tickets([])


@pytest.mark.parametrize('per_item', [False, True])
def test_tickets_with_a_pickle_each(per_item: bool) -> None:
    bench = Bench(nested([[Fraction(1), Fraction(2)], [Fraction(3)]]), lambda what: what, per_item=per_item).work()
    assert bench.outcomes() == tickets([1, 2], [3])


def test_plain_results_of_items_that_travelled_apart_keep_the_shape_of_their_tickets() -> None:
    bench = Bench(nested([[Fraction(1), Fraction(2)], [Fraction(3)]]), int, per_item=True).work()
    assert bench.outcomes() == tickets([1, 2], [3])


@pytest.mark.parametrize(('whole', 'kind'), [(range(4), list), ((1, 2, 3, 4), list), ('abcd', list), (b'abcd', bytes)])
def test_a_function_of_the_chunk_gets_lists_where_slices_would_be_strange(whole: Any, kind: type) -> None:
    bench = Bench(flat(whole, 2), lambda chunk: len(chunk)).work()
    assert [type(chunk) for chunk in bench.called] == [kind, kind]
    assert bench.outcomes() == tickets(2, 2)


def test_a_result_of_none_is_a_result() -> None:
    assert Bench(flat([1, 2], 1), lambda _: None).work().outcomes() == tickets(None, None)
    assert Bench(flat([1, 2], 1), lambda _: None, per_item=True).work().outcomes() == tickets([None], [None])


# ---- exceptions


def raises_at(*bad: Any) -> Callable[[Any], Any]:
    def call(what: Any) -> Any:
        if what in bad:
            raise ValueError(what)
        return what

    return call


@pytest.mark.parametrize('bad', [0, 1, 3])
def test_an_exception_costs_its_ticket_only(bad: int) -> None:
    bench = Bench(flat(list(range(4)), 1), raises_at([bad])).work()
    outcomes = bench.outcomes()
    assert isinstance(outcomes.pop(FIRST + bad), ValueError)
    assert outcomes == {FIRST + n: [n] for n in range(4) if n != bad}
    assert bench.called == [[0], [1], [2], [3]]
    assert set(bench.times().values()) == {1}
    assert [frame.serial for frame in bench.frames] == sorted(frame.serial for frame in bench.frames)


@pytest.mark.parametrize('rows', [1, 2, 3])
@pytest.mark.parametrize('bad', [0, 4, 7])
def test_an_exception_of_an_item_costs_its_ticket_where_items_are_not_retried(rows: int, bad: int) -> None:
    bench = Bench(flat(list(range(8)), rows), raises_at(bad), per_item=True).work()
    outcomes = bench.outcomes()
    ticket = bad // rows
    assert isinstance(outcomes.pop(FIRST + ticket), ValueError)
    chunks = [list(range(8))[at : at + rows] for at in range(0, 8, rows)]
    assert outcomes == {FIRST + at: chunk for at, chunk in enumerate(chunks) if at != ticket}
    assert set(bench.times().values()) == {1}
    # the rest of its ticket is not called, as of a chunk that travels alone
    assert bench.called == [n for n in range(8) if n // rows != ticket or n <= bad]


@pytest.mark.parametrize('error', [KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
def test_whatever_is_raised_is_an_exception(error: BaseException) -> None:
    def call(item: int) -> int:
        if item == 1:
            raise error
        return item

    outcomes = Bench(flat([0, 1, 2], 1), call, per_item=True).work().outcomes()
    assert type(outcomes.pop(FIRST + 1)) is type(error)
    assert outcomes == {FIRST: [0], FIRST + 2: [2]}


def test_items_that_explode_fail_their_own_ticket() -> None:
    bench = Bench(nested([[1], [Bomb()], [3]]), sum).work()
    outcomes = bench.outcomes()
    error = outcomes.pop(FIRST + 1)
    assert isinstance(error, PayloadError)
    assert 'a bomb was opened' in str(error)
    assert outcomes == {FIRST: 1, FIRST + 2: 3}
    assert bench.called == [[1], [3]]


def test_a_batch_that_does_not_open_at_all_fails_all_its_tickets() -> None:
    broken = b'\x80\x05cno_such_module\nThing\n.'
    fields = {'queue': Q, 'serial': FIRST, 'tickets': 3, 'rows': 1, 'flags': LISTED}
    (frame,) = frames_of(encode(Kind.CHUNK, (broken,), **fields))
    bench = Bench(frame, str).work()
    outcomes = bench.outcomes()
    assert list(outcomes) == [FIRST, FIRST + 1, FIRST + 2]
    assert all(isinstance(error, PayloadError) and 'no_such_module' in str(error) for error in outcomes.values())
    assert bench.hurry() == []
    assert bench.called == []


# ---- retries of items


class Flaky:
    """Raises the first few times that it is called with an item."""

    def __init__(self, times: dict[int, int]) -> None:
        self.left = dict(times)

    def __call__(self, item: int) -> int:
        if self.left.get(item, 0):
            self.left[item] -= 1
            raise ValueError(f'{item}, {self.left[item]} to go')
        return 10 * item


@pytest.mark.parametrize('rows', [1, 3])
def test_an_item_that_raised_is_tried_again_at_once(rows: int) -> None:
    bench = Bench(flat(list(range(6)), rows), Flaky({1: 2, 4: 1}), per_item=True, retries=2).work()
    assert bench.called == [0, 1, 1, 1, 2, 3, 4, 4, 5]
    assert [n for values in bench.outcomes().values() for n in values] == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize('rows', [1, 3])
@pytest.mark.parametrize('retries', [0, 2])
def test_an_item_without_a_try_left_fails_alone(rows: int, retries: int) -> None:
    bench = Bench(flat(list(range(6)), rows), Flaky({1: retries + 1}), per_item=True, retries=retries).work()
    assert bench.called.count(1) == retries + 1
    values = [n for values in bench.outcomes().values() for n in values]
    error = values.pop(1)
    assert isinstance(error, ValueError)
    assert str(error) == '1, 0 to go'  # of the last try
    assert 'Traceback' in str(error.__cause__)
    assert values == [0, 20, 30, 40, 50]
    told = [frame for frame in bench.frames if frame.serial <= FIRST + 1 // rows < frame.serial + (frame.tickets or 1)]
    assert all(frame.flags & WITH_ERRORS for frame in told)


def test_an_error_that_does_not_travel_stands_for_its_item_all_the_same() -> None:
    def call(item: int) -> int:
        if item == 1:
            error = ValueError('with a lock')
            error.lock = threading.Lock()  # type: ignore[attr-defined]
            raise error
        return item

    values = Bench(flat([0, 1, 2], 3), call, per_item=True, retries=0).work().outcomes()[FIRST]
    assert 'with a lock' in str(values[1])
    assert values[::2] == [0, 2]


# ---- results that travel badly


@pytest.mark.parametrize('rows', [1, 2, 4])
def test_a_result_that_cannot_be_pickled_costs_its_item_where_items_fail_alone(rows: int) -> None:
    def call(item: int) -> Any:
        return Unpicklable() if item == 2 else item

    bench = Bench(flat(list(range(8)), rows), call, per_item=True, retries=0).work()
    values = [value for part in bench.outcomes().values() for value in part]
    assert 'this one stays at home' in str(values.pop(2))
    assert values == [0, 1, 3, 4, 5, 6, 7]
    assert any(frame.flags & WITH_ERRORS for frame in bench.frames)


@pytest.mark.parametrize('bad', [0, 2, 3])
@pytest.mark.parametrize('per_item', [False, True])
def test_a_result_that_cannot_be_pickled_costs_its_ticket_only(per_item: bool, bad: int) -> None:
    def call(what: Any) -> Any:
        return Unpicklable() if what in (bad, [bad]) else what

    bench = Bench(flat(list(range(4)), 1), call, per_item=per_item).work()
    outcomes = bench.outcomes()
    error = outcomes.pop(FIRST + bad)
    assert isinstance(error, PayloadError)
    assert 'this one stays at home' in str(error)
    assert outcomes == {FIRST + n: [n] for n in range(4) if n != bad}
    assert set(bench.times().values()) == {1}


def test_results_that_are_no_plain_data_have_a_pickle_each() -> None:
    """So that one which does not open in the manager harms nobody else."""
    bench = Bench(flat([0, 1, 2], 1), lambda rows: Bomb() if rows == [1] else Fraction(rows[0])).work()
    assert [(frame.kind, frame.serial, frame.tickets or 1) for frame in bench.frames] == [(Kind.ANSWER, FIRST, 3)]
    pieces = loads(bench.frames[0].payload)
    assert [loads((pieces[at],)) for at in (0, 2)] == [0, 2]
    with pytest.raises(ZeroDivisionError):
        loads((pieces[1],))


def test_large_buffers_travel_apart() -> None:
    import numpy

    bench = Bench(flat([1, 2], 1), lambda rows: numpy.full(10_000, rows[0])).work()
    assert [len(frame.buffers) for frame in bench.frames] == [1, 1]
    assert [values.sum() for values in bench.outcomes().values()] == [10_000, 20_000]


# ---- first hit


@pytest.mark.parametrize(('per_item', 'rows'), [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_a_hit_in_the_middle_answers_its_ticket_and_gives_the_rest_back(per_item: bool, rows: int) -> None:
    def call(what: Any) -> Any:
        if 4 in ([what] if per_item else what):
            raise StopJob('found')
        return what

    bench = Bench(flat(list(range(10)), rows), call, per_item=per_item).work()
    hit = 4 // rows
    count = 10 // rows
    assert bench.stopped == ['found']
    outcomes = bench.outcomes()
    assert [outcomes[FIRST + at] for at in range(hit)] == [list(range(n, n + rows)) for n in range(0, hit * rows, rows)]
    assert outcomes[FIRST + hit] is None
    assert [outcomes[FIRST + at] for at in range(hit + 1, count)] == ['given back'] * (count - hit - 1)
    assert set(bench.times()) == {FIRST + at for at in range(count)}
    assert set(bench.times().values()) == {1}
    assert max(bench.called) in (4, [4], [4, 5])


def test_a_hit_is_not_taken_for_an_error_of_its_item() -> None:
    def call(item: int) -> int:
        if item == 1:
            raise StopJob('found')
        return item

    bench = Bench(flat([0, 1, 2], 1), call, per_item=True, retries=3).work()
    assert bench.stopped == ['found']
    assert bench.called == [0, 1]


def test_a_hit_when_an_item_is_tried_again() -> None:
    calls: list[int] = []

    def call(item: int) -> int:
        calls.append(item)
        if len(calls) == 2:
            raise StopJob('found')
        raise ValueError

    bench = Bench(flat([0, 1, 2], 1), call, per_item=True, retries=3).work()
    assert bench.stopped == ['found']
    assert calls == [0, 0]


def test_an_answer_that_cannot_be_pickled_fails_its_ticket() -> None:
    def call(rows: list[int]) -> Any:
        if rows == [1]:
            raise StopJob('an answer')
        return rows

    bench = Bench(flat([0, 1, 2], 1), call)
    bench.refuse_answer = True
    outcomes = bench.work().outcomes()
    assert isinstance(outcomes[FIRST + 1], PayloadError)
    assert outcomes[FIRST] == [0]
    assert outcomes[FIRST + 2] == 'given back'


# ---- while it is at work


@pytest.mark.parametrize(('per_item', 'rows'), [(False, 1), (False, 2), (True, 1), (True, 2), (True, 3)])
def test_it_tells_which_ticket_is_at_work(per_item: bool, rows: int) -> None:
    """What goes with a ticket (a forward, a log record) must not be taken for its neighbour's."""
    seen: list[tuple[int, int]] = []

    def call(what: Any) -> Any:
        item = what if per_item else what[0]
        seen.append((item // rows, bench.run.current() - FIRST))
        if item // rows == 1:
            raise ValueError
        return item

    bench = Bench(flat(list(range(8)), rows), call, per_item=per_item)
    bench.work()
    assert [there for there, _ in seen] == [told for _, told in seen]
    assert seen[-1][0] == -(-8 // rows) - 1


def test_it_tells_which_nested_ticket_is_at_work() -> None:
    seen: list[int] = []

    def call(item: Fraction) -> int:
        seen.append(bench.run.current() - FIRST)
        return int(item)

    bench = Bench(nested([[Fraction(1), Fraction(2)], [Fraction(3), Fraction(4)]]), call, per_item=True)
    bench.work()
    assert seen == [0, 0, 1, 1]


@pytest.mark.parametrize('at', [0, 1, 3])
def test_when_it_takes_long_all_but_the_ticket_at_work_is_parted_with(at: int) -> None:
    def call(rows: list[int]) -> list[int]:
        if rows == [at]:
            bench.hurry()
        return rows

    bench = Bench(flat(list(range(4)), 1), call)
    bench.work()
    told = bench.kinds()
    done = [(Kind.ANSWER, FIRST, at)] if at else []
    rest = [(Kind.GIVE_BACK, FIRST + at + 1, 3 - at)] if at < 3 else []
    assert told == [*done, *rest, (Kind.TAKEN, FIRST + at, 1), (Kind.ANSWER, FIRST + at, 1)]
    assert bench.called == [[n] for n in range(at + 1)]


def test_the_only_ticket_needs_no_naming() -> None:
    bench = Bench(single([1]), lambda rows: bench.hurry())
    bench.work()
    assert bench.kinds() == [(Kind.ANSWER, FIRST, 1)]


def test_before_it_has_begun_all_is_given_back() -> None:
    bench = Bench(flat(list(range(4)), 2), str)
    assert [(f.kind, f.serial, f.tickets) for f in bench.hurry()] == [(Kind.GIVE_BACK, FIRST, 2)]
    assert bench.work().called == []
    assert len(bench.frames) == 1


@pytest.mark.parametrize('per_item', [False, True])
def test_after_its_end_nothing_is_said_twice(per_item: bool) -> None:
    """The thread that hurries it may come a moment late."""
    bench = Bench(flat(list(range(4)), 1), lambda what: what, per_item=per_item)
    answers = bench.run.work()
    late = bench.run.hurry()
    bench.said(answers)
    bench.said(late)
    assert set(bench.times().values()) == {1}
    assert len(bench.times()) == 4


EVENTS = ['fine', 'fine', 'fine', 'hurry', 'hurry twice', 'raise', 'hurry, raise', 'raise, hurry', 'bad result']


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    """A batch and what happens at each call of the function."""
    count = draw(st.integers(1, 9), label='tickets')
    rows = draw(st.integers(1, 4), label='rows')
    short = draw(st.integers(0, rows - 1), label='missing in the last')
    size = count * rows - short
    skip = draw(st.integers(0, count - 1), label='skip')
    kind = draw(st.sampled_from(['flat', 'nested', 'plain items']), label='kind')
    what = st.sampled_from(EVENTS)
    events = draw(st.lists(what, min_size=size, max_size=size), label='events')
    stop = draw(st.one_of(st.none(), st.integers(0, size - 1)), label='stop')
    return {
        'rows': rows,
        'size': size,
        'skip': skip,
        'nested': kind == 'nested',
        'foreign': kind != 'plain items',
        'events': events,
        'stop': stop,
        'per_item': draw(st.booleans(), label='per item'),
        'retries': draw(st.sampled_from([None, 0, 1]), label='retries'),
        'hurried before': draw(st.integers(0, 20), label='hurried before') == 20,
    }


class Told:
    """A story that is played, and what must have been said of its tickets."""

    def __init__(self, story: dict[str, Any]) -> None:
        self.story = story
        self.rows, self.skip, self.per_item = story['rows'], story['skip'], story['per_item']
        items = list(range(story['size']))
        self.chunks = [items[at : at + self.rows] for at in range(0, len(items), self.rows)]
        self.first = FIRST - self.skip  # so that the ticket of chunk n is first + n
        self.wrong: set[int] = set()  # chunks that failed, or have an item that did
        self.hits: set[int] = set()
        self.hurried = story['hurried before']
        self.retries = story['retries'] if self.per_item else None
        if story['nested']:
            frame = nested(self.chunks, skip=self.skip, rows=self.rows)
        else:
            frame = flat(items, self.rows, skip=self.skip)
        self.bench = Bench(frame, self.call, per_item=self.per_item, retries=self.retries)

    def play(self) -> None:
        if self.hurried:
            self.bench.hurry()
        self.bench.work()
        assert self.bench.hurry() == []

    def call(self, what: Any) -> Any:
        item = what if self.per_item else what[0]
        chunk = item // self.rows
        assert self.bench.run.current() == self.first + chunk
        event = self.story['events'][item]
        if event.startswith('hurry'):
            self.hurry(chunk)
        if event == 'hurry twice':
            assert [frame for frame in self.bench.hurry() if frame.kind != Kind.TAKEN] == []
        if item == self.story['stop']:
            self.hits.add(chunk)
            raise StopJob(item)
        if 'raise' in event:
            self.wrong.add(chunk)
            if event.endswith('hurry'):
                self.hurry(chunk)
            raise ValueError(item)
        if event == 'bad result':
            self.wrong.add(chunk)
            return Unpicklable()
        return Fraction(item) if self.story['foreign'] else item

    def hurry(self, chunk: int) -> None:
        self.hurried = True
        for frame in self.bench.hurry():
            assert frame.kind != Kind.TAKEN or (frame.serial, frame.tickets) == (self.first + chunk, 1)

    def check(self) -> None:
        outcomes = self.bench.outcomes()
        assert self.bench.times() == Counter({self.first + at: 1 for at in range(self.skip, len(self.chunks))})
        for ticket, outcome in outcomes.items():
            self.check_one(ticket - self.first, outcome)
        assert len(self.bench.stopped) == len(self.hits)
        assert self.hurried or self.hits or 'given back' not in outcomes.values()

    def check_one(self, chunk: int, outcome: Any) -> None:
        rows = self.chunks[chunk]
        if outcome == 'given back':
            assert not any((item if self.per_item else rows) in self.bench.called for item in rows)
        elif chunk in self.hits:
            assert outcome is None
        elif chunk not in self.wrong:
            assert outcome == (rows if self.per_item else rows[0])
        elif isinstance(outcome, list):
            assert self.retries is not None
            wrong = ('raise', 'bad result')
            fine = [item for item in rows if not any(event in self.story['events'][item] for event in wrong)]
            assert [item for item in outcome if not isinstance(item, BaseException)] == fine
        else:
            assert isinstance(outcome, ValueError | PayloadError)


@given(stories())
@settings(max_examples=400, deadline=None)
def test_whatever_happens_each_ticket_is_told_of_once(story: dict[str, Any]) -> None:
    told = Told(story)
    told.play()
    told.check()


def test_two_threads_one_works_and_one_hurries() -> None:
    """The real thing, often: no ticket is lost or told of twice where both come together."""
    for _ in range(100):
        bench = Bench(flat(list(range(200)), 1), lambda item: item, per_item=True)
        over = threading.Event()
        hurried: list[list[Buffer]] = []
        thread = threading.Thread(target=_hurry_until, args=(over, bench.run, hurried))
        thread.start()
        answers = bench.run.work()
        over.set()
        thread.join()
        bench.said(hurried)
        bench.said(answers)
        assert bench.times() == Counter({FIRST + at: 1 for at in range(200)})


def _hurry_until(over: threading.Event, run: Run, hurried: list[list[Buffer]]) -> None:
    while not over.is_set():
        hurried += run.hurry()
