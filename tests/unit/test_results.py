"""Results: the mapping, the words about it, and readers of outcomes as they come. The test plays the dispatcher."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eisenmp.errors import CrashError, ResultsError
from eisenmp.exchange import Exchange
from eisenmp.ledger import Chunk, Ledger, State
from eisenmp.payload import Payload, dumps, dumps_error
from eisenmp.queues import QueueTable
from eisenmp.results import Outcome, OutcomeReader, Record, Results
from eisenmp.results.memory import _ranges


class Bench:
    """Results with the ledger in the test's own hands."""

    def __init__(self, *, store: bool = False, keep: int = 100) -> None:
        self.table = QueueTable()
        self.a, self.b = self.table.create([(None, 'a', 0), (None, 'b', 0)])
        self.ledger = Ledger(crash_retries=0)
        self.exchange = Exchange(self.table, self.ledger)
        self.read: list[int] = []
        self.results = Results(self.exchange, on_read=self.read.append)
        self.results.keep(all_values=store, last=keep)

    def add(self, count: int = 1, queue: int = 5) -> list[Chunk]:
        return [self.ledger.add(queue, 1, (b'',), 0) for _ in range(count)]

    def lease(self, *chunks: Chunk, worker: int = 1) -> None:
        for chunk in chunks:
            self.ledger.lease(chunk, worker, 0.0, begun=True)

    def done(self, chunk: Chunk, value: Any = None, *, slot: int = 1, seconds: float = 0.5) -> None:
        if chunk.owner is None:
            self.lease(chunk)
        assert chunk.owner is not None
        assert self.ledger.done(chunk.owner, chunk.queue, chunk.serial, slot, seconds) is chunk
        payload = None if value is None else dumps(value)
        with self.exchange.lock:
            self.results.record(Record(chunk.queue, chunk.serial, value=payload))

    def failed(self, chunk: Chunk, error: Exception, *, slot: int = 1) -> None:
        self.lease(chunk)
        assert self.ledger.failed(1, chunk.queue, chunk.serial, slot, 0.25) == (chunk, False)
        with self.exchange.lock:
            self.results.record(Record(chunk.queue, chunk.serial, error=dumps_error(error)))

    def end(self, error: BaseException | None) -> None:
        with self.exchange.lock:
            self.results.end(error)

    def late(self, queue: int, serial: int, slot: int, value: Payload) -> None:
        with self.exchange.lock:
            self.results.late_value(queue, serial, slot, value)

    def set_aside(self, chunk: Chunk) -> None:
        self.lease(chunk)
        _, (aside,) = self.ledger.died(1, 0, 'signal SIGSEGV')
        error = CrashError('a', aside.serial, aside.exits)
        with self.exchange.lock:
            self.results.record(Record(chunk.queue, chunk.serial, error=error))


def tickets(outcomes: list[Outcome]) -> list[tuple[str, int]]:
    return [(outcome.queue, outcome.ticket) for outcome in outcomes]


def take(reader: OutcomeReader, count: int) -> list[Outcome]:
    return [next(reader) for _ in range(count)]


# ---- the mapping


def test_nothing_yet() -> None:
    results = Bench().results
    assert (len(results), list(results), results.complete) == (0, [], True)
    assert results.summary() == 'no tickets'
    assert repr(results) == '<results: no tickets>'
    assert results.as_dict() == {}
    assert len(results['a']) == 0
    assert 'a' not in results


def test_queues_with_tickets_are_in_the_mapping() -> None:
    bench = Bench()
    bench.add(2, queue=0)
    bench.add(1, queue=6)
    results = bench.results
    assert list(results) == ['mp_input_q (default)', 'b']
    assert (len(results), len(results['b']), len(results['mp_input_q'])) == (2, 1, 2)
    assert 'mp_input_q' in results
    assert 'a' not in results
    assert not results.__contains__(7)
    with pytest.raises(KeyError, match='no queue .c.; there are'):
        results['c']
    assert results.get('c') is None


def test_an_outcome_tells_all() -> None:
    bench = Bench(store=True)
    (chunk,) = bench.add()
    bench.done(chunk, {'sum': 7}, slot=3, seconds=0.5)
    assert bench.results['a'][0] == Outcome('a', 0, {'sum': 7}, None, 1, 3, 0.5, 'done', 1)


def test_outcomes_of_all_kinds_in_ticket_order() -> None:
    bench = Bench(store=True)
    chunks = bench.add(6)
    bench.done(chunks[2], 'two')
    bench.done(chunks[0], 'zero')
    bench.failed(chunks[1], ValueError('bad row'))
    bench.set_aside(chunks[3])
    bench.lease(chunks[4], worker=2)
    of_a = bench.results['a']
    assert [outcome.state for outcome in of_a] == ['done', 'failed', 'done', 'set aside', 'leased', 'queued']
    assert [outcome.value for outcome in of_a] == ['zero', None, 'two', None, None, None]
    assert isinstance(of_a[1].error, ValueError)
    assert 'Traceback' in str(of_a[1].error.__cause__) or 'bad row' in str(of_a[1].error.__cause__)
    assert isinstance(of_a[3].error, CrashError)
    assert of_a[3].error.exits == ['signal SIGSEGV']
    assert (of_a.done, of_a.failed, of_a.set_aside) == ([0, 2], [1], [3])
    assert (of_a.unread, of_a.missing) == ([5], [4, 5])
    assert not of_a.complete
    bench.ledger.unread(chunks[5])
    assert (of_a[5].state, of_a.unread, of_a.missing) == ('unread', [5], [4, 5])


def test_a_sequence_as_sequences_are() -> None:
    bench = Bench(store=True)
    for n, chunk in enumerate(bench.add(5)):
        bench.done(chunk, n)
    of_a = bench.results['a']
    assert of_a[-1].value == 4
    assert [outcome.value for outcome in of_a[1:4]] == [1, 2, 3]
    assert [outcome.value for outcome in of_a[::-2]] == [4, 2, 0]
    assert [outcome.value for outcome in reversed(of_a)] == [4, 3, 2, 1, 0]
    for at in (5, -6):
        with pytest.raises(IndexError):
            of_a[at]


def test_values() -> None:
    bench = Bench(store=True)
    chunks = bench.add(3)
    for n in (2, 0):
        bench.done(chunks[n], n)
    with pytest.raises(ResultsError, match='2 of 3 tickets done'):
        bench.results['a'].values()
    bench.done(chunks[1], 1)
    assert bench.results['a'].values() == [0, 1, 2]
    assert bench.results['b'].values() == []


def test_values_that_were_not_kept() -> None:
    bench = Bench()
    bench.done(bench.add()[0], 'x')
    with pytest.raises(ResultsError, match='RESULTS_STORE'):
        bench.results['a'].values()
    assert bench.results['a'][0].value is None
    assert bench.results['a'].complete
    assert bench.results.as_dict() == {'a': []}


def test_failures_are_kept_whatever_the_settings_say() -> None:
    bench = Bench()
    bench.failed(bench.add()[0], KeyError('lost'))
    assert isinstance(bench.results['a'][0].error, KeyError)


def test_as_dict() -> None:
    bench = Bench(store=True)
    chunks = bench.add(3)
    bench.done(chunks[2], 'c')
    bench.failed(chunks[1], ValueError())
    bench.done(chunks[0])
    (other,) = bench.add(queue=6)
    bench.done(other, [1])
    assert bench.results.as_dict() == {'a': [(0, None), (2, 'c')], 'b': [(0, [1])]}


def test_attempts_are_told() -> None:
    bench = Bench(store=True)
    bench.ledger.crash_retries = 1
    (chunk,) = bench.add()
    bench.lease(chunk)
    bench.ledger.died(1, 0, 'x')
    bench.done(chunk, 'at last')
    assert bench.results['a'][0].attempts == 2


def test_a_result_that_cannot_be_unpickled_here_is_an_error_of_that_outcome() -> None:
    bench = Bench(store=True)
    chunks = bench.add(2)
    bench.lease(*chunks)
    for chunk in chunks:
        bench.ledger.done(1, 5, chunk.serial, 0, 0.0)
    bench.results.record(Record(5, 0, value=(b'\x80\x05cno_such_module\nThing\n.',)))
    bench.results.record(Record(5, 1, value=dumps('good')))
    broken, good = bench.results['a']
    assert isinstance(broken.error, ResultsError)
    assert '_TID_0' in str(broken.error)
    assert 'no_such_module' in str(broken.error)
    assert good.value == 'good'


# ---- in words


def test_summaries() -> None:
    bench = Bench()
    chunks = bench.add(12)
    for n in (0, 1, 2, 7):
        bench.done(chunks[n])
    bench.failed(chunks[3], ValueError())
    bench.set_aside(chunks[4])
    bench.lease(chunks[5], chunks[6])
    bench.ledger.unread(chunks[8])
    bench.ledger.unread(chunks[9])
    text = bench.results.summary()
    assert text == (
        'a: 4 of 12 tickets done, 2 queued (10-11), 2 leased (5-6), 1 failed (3), 1 set aside (4), 2 unread (8-9)'
    )
    assert repr(bench.results['a']) == f'<results: {text}>'
    (other,) = bench.add(queue=6)
    bench.done(other)
    assert bench.results.summary() == f'{text}; b: all 1 tickets done'


@pytest.mark.parametrize(
    ('numbers', 'text'),
    [
        ([], ''),
        ([4], '4'),
        ([0, 1], '0-1'),
        ([0, 1, 2, 3, 7, 9, 10, 11], '0-3, 7, 9-11'),
        ([0, 2, 4, 6, 8, 10], '0, 2, 4, 6, 8, 10'),
        ([0, 2, 4, 6, 8, 10, 12], '0, 2, 4, 6, 8, 10, …'),
        (list(range(0, 1000, 2)), '0, 2, 4, 6, 8, 10, …'),
        (list(range(1000)), '0-999'),
    ],
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert _ranges(numbers) == text


# ---- outcomes as they come


def test_a_reader_gets_outcomes_as_they_come() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    assert iter(reader) is reader
    chunks = bench.add(3)
    bench.done(chunks[2], 'two')
    bench.done(chunks[0], 'zero')
    assert [(o.ticket, o.value) for o in take(reader, 2)] == [(2, 'two'), (0, 'zero')]
    bench.failed(chunks[1], ValueError('one'))
    (last,) = take(reader, 1)
    assert (last.ticket, last.state, str(last.error)) == (1, 'failed', 'one')
    bench.end(None)
    with pytest.raises(StopIteration):
        next(reader)
    with pytest.raises(StopIteration):
        next(reader)


def test_in_ticket_order_by_queue() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    of_a, of_b = bench.add(3), bench.add(2, queue=6)
    for chunk in (of_a[2], of_a[1], of_b[0], of_b[1], of_a[0]):
        bench.done(chunk)
    bench.end(None)
    assert tickets(list(reader)) == [('b', 0), ('b', 1), ('a', 0), ('a', 1), ('a', 2)]


def test_in_ticket_order_failures_have_their_place_too() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    chunks = bench.add(3)
    bench.done(chunks[2])
    bench.set_aside(chunks[1])
    bench.failed(chunks[0], ValueError())
    assert [outcome.state for outcome in take(reader, 3)] == ['failed', 'set aside', 'done']


def test_what_waits_for_elders_that_never_come_is_due_at_the_end() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    chunks = bench.add(5)
    for n in (0, 2, 4):
        bench.done(chunks[n])
    (other,) = bench.add(queue=6)
    bench.done(other)
    bench.ledger.unread(chunks[1])
    bench.end(None)
    assert tickets(list(reader)) == [('a', 0), ('b', 0), ('a', 2), ('a', 4)]


def test_an_error_of_the_job_comes_after_the_outcomes() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    bench.done(bench.add()[0], 'x')
    bench.end(RuntimeError('the job broke'))
    assert next(reader).value == 'x'
    with pytest.raises(RuntimeError, match='the job broke'):
        next(reader)
    with pytest.raises(StopIteration):
        next(reader)


def test_several_readers_get_everything_each() -> None:
    bench = Bench()
    plain, ordered = bench.results.outcomes(), bench.results.outcomes(ordered=True)
    for chunk in reversed(bench.add(3)):
        bench.done(chunk)
    bench.end(None)
    assert [outcome.ticket for outcome in plain] == [2, 1, 0]
    assert [outcome.ticket for outcome in ordered] == [0, 1, 2]


def test_the_last_few_are_kept_until_a_reader_comes() -> None:
    bench = Bench(keep=3)
    chunks = bench.add(4)
    for chunk in chunks[:3]:
        bench.done(chunk, chunk.serial)
    reader = bench.results.outcomes()
    bench.done(chunks[3], 3)
    bench.end(None)
    assert [outcome.value for outcome in reader] == [0, 1, 2, 3]


def test_a_reader_that_comes_too_late_is_told_so() -> None:
    bench = Bench(keep=3)
    for chunk in bench.add(5):
        bench.done(chunk)
    with pytest.raises(ResultsError, match='2 results were not kept.*RESULTS_STORE'):
        bench.results.outcomes()


def test_with_results_stored_no_reader_is_too_late() -> None:
    bench = Bench(store=True, keep=1)
    for chunk in reversed(bench.add(4)):
        bench.done(chunk, chunk.serial)
    bench.end(None)
    for _ in range(2):
        assert [outcome.value for outcome in bench.results.outcomes(ordered=True)] == [0, 1, 2, 3]
    assert sorted(outcome.value for outcome in bench.results.outcomes()) == [0, 1, 2, 3]


@pytest.mark.parametrize('how', ['closed', 'dropped'])
def test_a_second_reader_misses_nothing_without_being_told(how: str) -> None:
    bench = Bench(keep=3)
    first = bench.results.outcomes()
    chunks = bench.add(6)
    bench.done(chunks[0], 0)
    assert next(first).value == 0
    bench.done(chunks[1], 1)
    if how == 'closed':
        first.close()
    else:
        del first
        gc.collect()
    bench.done(chunks[2], 2)
    try:
        second = bench.results.outcomes()
    except ResultsError:
        return  # told
    bench.done(chunks[3], 3)
    bench.end(None)
    assert [outcome.value for outcome in second] in ([0, 1, 2, 3], [1, 2, 3])


# ---- holding back


def test_outcomes_that_nobody_took_are_counted_by_queue() -> None:
    bench = Bench()
    assert bench.results.unread_by(5) == 0
    reader = bench.results.outcomes()
    for chunk in [*bench.add(3), *bench.add(1, queue=6)]:
        bench.done(chunk)
    assert (bench.results.unread_by(5), bench.results.unread_by(6)) == (3, 1)
    take(reader, 2)
    assert (bench.results.unread_by(5), bench.results.unread_by(6)) == (1, 1)
    assert bench.read == [5, 5]


def test_the_slowest_reader_counts() -> None:
    bench = Bench()
    fast, slow = bench.results.outcomes(), bench.results.outcomes()
    for chunk in bench.add(3):
        bench.done(chunk)
    take(fast, 3)
    take(slow, 1)
    assert bench.results.unread_by(5) == 2


def test_what_waits_for_its_elders_counts_too() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    chunks = bench.add(4)
    for chunk in chunks[1:]:
        bench.done(chunk)
    assert bench.results.unread_by(5) == 3
    bench.done(chunks[0])
    take(reader, 4)
    assert bench.results.unread_by(5) == 0


def test_a_reader_that_is_closed_holds_nobody_back() -> None:
    bench = Bench()
    with bench.results.outcomes() as reader:
        for chunk in bench.add(3):
            bench.done(chunk)
        next(reader)
        bench.read.clear()
    assert bench.results.unread_by(5) == 0
    assert 5 in bench.read  # the feeders hear of it
    with pytest.raises(StopIteration):
        next(reader)
    bench.done(*bench.add())
    assert bench.results.unread_by(5) == 0


def test_a_reader_that_is_dropped_holds_nobody_back() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    for chunk in bench.add(3):
        bench.done(chunk)
    del reader
    gc.collect()
    assert bench.results.unread_by(5) == 0
    assert 5 in bench.read


def test_a_thread_that_waits_for_the_job_does_not_hold_it_back_by_its_readers() -> None:
    import threading

    bench = Bench()
    reader = bench.results.outcomes()
    for chunk in bench.add(2):
        bench.done(chunk)
    bench.results.release(threading.get_ident() + 1)
    assert bench.results.unread_by(5) == 2
    bench.results.release(threading.get_ident())
    assert bench.results.unread_by(5) == 0
    bench.end(None)
    assert len(list(reader)) == 2  # nothing is lost by it


def test_a_reader_that_leaves_in_the_middle_costs_no_other_its_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is garbage may be collected on the dispatcher's own thread, at any moment."""
    bench = Bench()
    readers = [bench.results.outcomes() for _ in range(3)]
    first = readers[0]._stream
    monkeypatch.setattr(first, 'give', lambda _: bench.results.detach(first))
    bench.done(bench.add()[0], 'x')
    assert [next(reader).value for reader in readers[1:] if reader._stream.ready] == ['x', 'x']


# ---- late values


def test_a_late_result_counts_when_the_ticket_has_none() -> None:
    bench = Bench(store=True)
    (chunk,) = bench.add()
    bench.done(chunk, slot=1)
    bench.late(5, 0, 1, dumps('late'))
    assert bench.results['a'][0].value == 'late'
    bench.late(5, 0, 1, dumps('later'))
    assert bench.results['a'][0].value == 'late'  # the first one wins


def test_a_late_result_does_not_replace_one() -> None:
    bench = Bench(store=True)
    (chunk,) = bench.add()
    bench.done(chunk, 'first', slot=1)
    bench.late(5, 0, 1, dumps('late'))
    assert bench.results['a'][0].value == 'first'


def test_a_late_result_of_somebody_else_or_for_no_done_ticket_does_not_count() -> None:
    bench = Bench(store=True)
    chunks = bench.add(3)
    bench.done(chunks[0], slot=1)
    bench.failed(chunks[1], ValueError(), slot=1)
    for queue, serial, slot in ((5, 0, 2), (5, 1, 1), (5, 2, 1), (5, 99, 1), (99, 0, 1)):
        bench.late(queue, serial, slot, dumps('late'))
    assert [outcome.value for outcome in bench.results['a']] == [None] * 3


def test_a_late_result_reaches_a_reader_that_has_not_taken_the_outcome() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    (chunk,) = bench.add()
    bench.done(chunk, slot=1)
    bench.late(5, 0, 1, dumps('late'))
    assert next(reader).value == 'late'


def test_a_late_result_reaches_a_reader_to_come() -> None:
    bench = Bench()
    (chunk,) = bench.add()
    bench.done(chunk, slot=1)
    bench.late(5, 0, 1, dumps('late'))
    assert next(bench.results.outcomes()).value == 'late'


# ---- what the manager takes itself


def test_a_chunk_that_the_manager_took_has_its_outcome() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    mine, other = bench.add(2)
    bench.done(other)
    bench.ledger.lease(mine, -1, 0.0, begun=True)
    bench.ledger.done(-1, 5, 0, -1, 0.0)
    bench.exchange.on_manager_read(5, 0)
    assert [(o.ticket, o.state, o.slot) for o in take(reader, 2)] == [(0, 'done', -1), (1, 'done', 1)]


def test_closing_values() -> None:
    closing = Bench().results.closing
    assert closing == {}
    assert closing.all == []


# ---- any order


@given(st.permutations(range(8)), st.lists(st.integers(0, 3), min_size=8, max_size=8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_whatever_the_order_each_outcome_is_read_once(order: list[int], reads: list[int], ordered: bool) -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=ordered)
    chunks = bench.add(8)
    got: list[int] = []
    for serial, count in zip(order, reads, strict=True):
        bench.done(chunks[serial], serial)
        given_so_far = order[: order.index(serial) + 1]
        ready = len(given_so_far)
        if ordered:
            ready = next((n for n in range(9) if n not in given_so_far), 8)
        got += [outcome.ticket for outcome in take(reader, min(count, ready - len(got)))]
        assert bench.results.unread_by(5) == len(given_so_far) - len(got)
    bench.end(None)
    got += [outcome.ticket for outcome in reader]
    assert got == (sorted(order) if ordered else list(order))
    assert all(state == State.DONE for state in bench.ledger.tracks[5].states)
