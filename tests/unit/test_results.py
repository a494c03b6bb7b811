"""Results: the mapping, the words about it, and readers of outcomes as they come. The test plays the dispatcher."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eisenmp.errors import CrashError, ProtocolError, ResultsError
from eisenmp.exchange import Exchange
from eisenmp.ledger import Chunk, Ledger, State
from eisenmp.payload import Payload, dumps, dumps_error
from eisenmp.queues import QueueTable
from eisenmp.results import Form, Outcome, OutcomeReader, Record, Results
from eisenmp.results.sequence import _ranges


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


# ---- records of several tickets


def pickles(*values: Any) -> Payload:
    """Values that have a pickle each; None: no value."""
    return dumps([None if value is None else bytes(dumps(value)[0]) for value in values])


def many(bench: Bench, values: list[Any], form: int = Form.LIST, rows: int = 0, queue: int = 5) -> Record:
    """So many tickets are answered together."""
    count = len(values)
    chunk = bench.ledger.add(queue, count, (b'',), 0, count, 1)
    bench.lease(chunk)
    assert bench.ledger.done(1, queue, chunk.serial, 3, 0.5 * count, count) is chunk
    if form == Form.PICKLES:
        payload: Payload = pickles(*values)
    else:
        payload = dumps([value for part in values for value in part] if rows else values)
    record = Record(queue, chunk.serial, payload, None, count, form if count > 1 else Form.ONE, rows)
    if count == 1:
        record = Record(queue, chunk.serial, dumps(values[0]))
    with bench.exchange.lock:
        bench.results.record(record)
    return record


@pytest.mark.parametrize('rows', [0, 2])
def test_outcomes_opened_together_are_those_opened_one_by_one(rows: int) -> None:
    bench = Bench(store=True)
    record = many(bench, values_for(Form.LIST, rows, 6), rows=rows)
    bench.ledger.tracks[5].attempts[1] = 3
    together = bench.results.outcomes_of(record)
    assert together == [bench.results.outcome(record, at) for at in range(record.tickets)]
    assert [outcome.attempts for outcome in together[:2]] == [1, 3]
    assert {type(outcome) for outcome in together} == {Outcome}


SHAPES = [(Form.LIST, 0), (Form.LIST, 2), (Form.PICKLES, 0)]


def values_for(form: int, rows: int, count: int, first: int = 0) -> list[Any]:
    numbers = range(first, first + count)
    if rows:
        return [[n] * rows for n in numbers]
    return [{'number': n} if form == Form.PICKLES else n for n in numbers]


@pytest.mark.parametrize(('form', 'rows'), SHAPES)
@pytest.mark.parametrize('ordered', [False, True, 3])
def test_tickets_that_were_answered_together_are_read_one_by_one(form: int, rows: int, ordered: Any) -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=ordered)
    values = values_for(form, rows, 4)
    many(bench, values, form, rows)
    outcomes = take(reader, 4)
    assert [outcome.value for outcome in outcomes] == values
    assert [outcome.ticket for outcome in outcomes] == [0, 1, 2, 3]
    assert {(o.seconds, o.slot, o.items, o.attempts, o.state) for o in outcomes} == {(0.5, 3, 1, 1, 'done')}


@pytest.mark.parametrize(('form', 'rows'), SHAPES)
def test_tickets_that_were_answered_together_are_kept(form: int, rows: int) -> None:
    bench = Bench(store=True)
    values = values_for(form, rows, 5)
    many(bench, values[:2], form, rows)
    many(bench, values[2:], form, rows)
    of_a = bench.results['a']
    assert of_a.values() == values
    assert [outcome.ticket for outcome in of_a] == [0, 1, 2, 3, 4]
    assert [of_a[at].value for at in (3, 0, -1)] == [values[3], values[0], values[4]]
    assert bench.results.as_dict() == {'a': list(enumerate(values))}
    bench.end(None)
    for _ in range(2):
        assert [outcome.value for outcome in bench.results.outcomes()] == values


def test_kept_results_of_all_kinds_side_by_side() -> None:
    bench = Bench(store=True)
    many(bench, [1, 2, 3])
    bench.done(bench.add()[0], 'alone')
    bench.failed(bench.add()[0], ValueError('x'))
    many(bench, values_for(Form.PICKLES, 0, 2), Form.PICKLES)
    bench.add()
    assert [(o.value, o.state) for o in bench.results['a']] == [
        *((1, 'done'), (2, 'done'), (3, 'done'), ('alone', 'done'), (None, 'failed')),
        *(({'number': 0}, 'done'), ({'number': 1}, 'done'), (None, 'queued')),
    ]


def test_reading_what_was_kept_opens_each_record_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a million tickets in batches of a thousand would be a billion values."""
    bench = Bench(store=True)
    for n in range(10):
        many(bench, list(range(n, n + 50)))
    opened: list[int] = []
    values = Record.values

    def noted(record: Record) -> list[Any]:
        opened.append(record.serial)
        return values(record)

    monkeypatch.setattr(Record, 'values', noted)
    assert len(bench.results['a'].values()) == 500
    assert opened == list(range(0, 500, 50))


def test_one_value_of_several_that_does_not_open_harms_no_other() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    chunk = bench.ledger.add(5, 3, (b'',), 0, 3, 1)
    bench.lease(chunk)
    bench.ledger.done(1, 5, 0, 0, 0.0, 3)
    pieces = [bytes(dumps('good')[0]), b'\x80\x05cno_such_module\nThing\n.', None]
    with bench.exchange.lock:
        bench.results.record(Record(5, 0, dumps(pieces), None, 3, Form.PICKLES))
    good, broken, none = take(reader, 3)
    assert (good.value, none.value, none.error) == ('good', None, None)
    assert isinstance(broken.error, ResultsError)
    assert '_TID_1' in str(broken.error)


def test_tickets_that_were_answered_together_without_a_value() -> None:
    bench = Bench(store=True)
    reader = bench.results.outcomes()
    chunk = bench.ledger.add(5, 3, (b'',), 0, 3, 1)
    bench.lease(chunk)
    bench.ledger.done(1, 5, 0, 0, 0.0, 3)
    with bench.exchange.lock:
        bench.results.record(Record(5, 0, tickets=3))
    assert [(o.ticket, o.value) for o in take(reader, 3)] == [(0, None), (1, None), (2, None)]
    bench.late(5, 1, 0, dumps('late'))
    assert bench.results['a'].values() == [None, 'late', None]


# ---- in order


def test_records_of_several_in_ticket_order() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=True)
    parts = [bench.ledger.add(5, count, (b'',), 0, count, 1) for count in (3, 1, 4)]
    for part in (parts[2], parts[0], parts[1]):
        bench.lease(part)
        bench.ledger.done(1, 5, part.serial, 0, 0.0, part.tickets)
        values = list(range(part.serial, part.end))
        form = Form.LIST if part.tickets > 1 else Form.ONE
        value = dumps(values if part.tickets > 1 else values[0])
        with bench.exchange.lock:
            bench.results.record(Record(5, part.serial, value, None, part.tickets, form))
    assert [(o.ticket, o.value) for o in take(reader, 8)] == [(n, n) for n in range(8)]
    bench.end(None)
    assert list(reader) == []


def test_a_result_waits_for_its_elders_no_longer_than_was_asked() -> None:
    """It is followed by three others: it goes ahead."""
    bench = Bench()
    reader = bench.results.outcomes(ordered=3)
    chunks = bench.add(8)
    for n in (1, 2, 3):
        bench.done(chunks[n], n)
    assert not reader._stream.ready
    bench.done(chunks[4], 4)
    assert [outcome.ticket for outcome in take(reader, 4)] == [1, 2, 3, 4]
    bench.done(chunks[0], 0)  # the others have not waited for it
    assert next(reader).ticket == 0
    bench.done(chunks[6], 6)
    assert not reader._stream.ready
    bench.done(chunks[5], 5)
    assert [outcome.ticket for outcome in take(reader, 2)] == [5, 6]
    bench.done(chunks[7], 7)
    assert next(reader).ticket == 7


def test_without_patience_a_result_waits_for_nobody() -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=0)
    chunks = bench.add(3)
    for n in (2, 0, 1):
        bench.done(chunks[n])
        assert next(reader).ticket == n


@given(st.permutations(range(12)), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_whatever_the_patience_none_is_overtaken_by_more(order: list[int], patience: int) -> None:
    bench = Bench()
    reader = bench.results.outcomes(ordered=patience)
    chunks = bench.add(12)
    read: list[int] = []
    for n, serial in enumerate(order):
        bench.done(chunks[serial])
        while reader._stream.ready:
            read.append(next(reader).ticket)
        waiting = set(order[: n + 1]) - set(read)
        assert not waiting or max(waiting) - min(waiting) < patience
        assert not waiting or min(waiting) > min(set(range(12)) - set(order[: n + 1]))
        assert bench.results.unread_by(5) == len(waiting)
    bench.end(None)
    read += [outcome.ticket for outcome in reader]
    assert sorted(read) == list(range(12))


# ---- parts of a record


@pytest.mark.parametrize(('form', 'rows'), SHAPES)
def test_the_rest_of_a_record(form: int, rows: int) -> None:
    bench = Bench()
    values = values_for(form, rows, 4)
    record = many(bench, values, form, rows)
    for count in range(1, 5):
        rest = record.rest(count)
        assert (rest.serial, rest.tickets, rest.queue) == (4 - count, count, 5)
        assert rest.values() == values[4 - count :]
        assert [rest.value_at(at) for at in range(4 - count, 4)] == values[4 - count :]
        assert rest.size == sum(len(piece) for piece in rest.value or ())


@pytest.mark.parametrize(('form', 'rows'), SHAPES)
def test_a_record_apart(form: int, rows: int) -> None:
    bench = Bench()
    values = values_for(form, rows, 4)
    record = many(bench, values, form, rows)
    assert record.front().values() == values[:1]
    parts = record.apart()
    assert [(part.serial, part.tickets, part.form) for part in parts] == [(at, 1, Form.ONE) for at in range(4)]
    assert [part.values() for part in parts] == [[value] for value in values]


def test_the_last_of_several_lists_may_be_short() -> None:
    record = Record(5, 7, dumps([0, 1, 2, 3, 4, 5, 6]), None, 3, Form.LIST, 3)
    assert record.values() == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.values() for part in record.apart()] == [[[0, 1, 2]], [[3, 4, 5]], [[6]]]
    assert record.rest(2).values() == [[3, 4, 5], [6]]
    assert record.rest(1).values() == [[6]]


def test_parts_of_a_record_without_a_value() -> None:
    record = Record(5, 7, None, None, 3, Form.PICKLES)
    assert record.values() == [None] * 3
    assert [(part.serial, part.values()) for part in record.apart()] == [(7, [None]), (8, [None]), (9, [None])]
    some = Record(5, 7, pickles('a', None, 'c'), None, 3, Form.PICKLES)
    assert [part.values() for part in some.apart()] == [['a'], [None], ['c']]
    assert [part.value for part in some.apart()][1] is None


def test_a_record_of_one_is_its_own_front() -> None:
    assert Record(5, 7, dumps('x')).front().values() == ['x']
    assert Record(5, 7).front().values() == [None]


@pytest.mark.parametrize('late', [False, True])
def test_a_value_is_put_to_its_ticket(late: bool) -> None:
    record = Record(5, 7, None, None, 3)
    record.put(8, dumps('b'), late=late)
    assert record.values() == [None, 'b', None]
    record.put(7, dumps(b'x' * 10_000), late=late)
    record.put(8, dumps('B'), late=late)
    assert record.values() == [b'x' * 10_000, 'b' if late else 'B', None]
    alone = Record(5, 7, dumps('a'))
    alone.put(7, dumps('A'), late=late)
    assert alone.values() == ['a' if late else 'A']


def test_a_value_with_a_buffer_of_its_own_is_put() -> None:
    import numpy

    record = Record(5, 7, None, None, 2)
    payload = dumps(numpy.arange(10_000))
    assert len(payload) == 2
    record.put(8, payload)
    first, second = record.values()
    assert first is None
    assert second.sum() == sum(range(10_000))


@pytest.mark.parametrize('rows', [0, 2])
def test_a_value_is_put_among_plain_ones(rows: int) -> None:
    record = Record(5, 7, dumps([0, 1, 2, 3][: 4 if rows else 2]), None, 2, Form.LIST, rows)
    before = record.values()
    record.put(8, dumps('late'), late=True)
    assert record.values() == before  # the first one wins
    record.put(8, dumps('first'))
    assert record.values() == [before[0], 'first']


# ---- readers and records of several


def test_outcomes_are_counted_by_ticket_and_a_record_is_read_when_all_of_it_is() -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    record = many(bench, [1, 2, 3])
    bench.done(bench.add()[0], 'x')
    size = record.size + len(dumps('x')[0])
    assert (bench.results.unread_by(5), bench.results.unread_bytes_by(5)) == (4, size)
    take(reader, 2)
    assert bench.results.unread_by(5) == 4
    assert bench.read == []
    next(reader)
    assert (bench.results.unread_by(5), bench.results.unread_bytes_by(5)) == (1, size - record.size)
    assert bench.read == [5]
    next(reader)
    assert (bench.results.unread_by(5), bench.results.unread_bytes_by(5)) == (0, 0)


@pytest.mark.parametrize(('form', 'rows'), SHAPES)
@pytest.mark.parametrize('how', ['closed', 'dropped', 'block'])
@pytest.mark.parametrize('read', [0, 1, 3, 4, 5])
def test_a_reader_that_leaves_in_the_middle_of_a_record_leaves_the_rest(
    read: int, how: str, form: int, rows: int
) -> None:
    bench = Bench()
    reader = bench.results.outcomes()
    values = values_for(form, rows, 4)
    many(bench, values, form, rows)
    many(bench, values_for(form, rows, 2, 4), form, rows)
    seen = take(reader, read)
    if how == 'closed':
        reader.close()
    elif how == 'block':
        with reader:
            pass
    else:
        del reader
        gc.collect()
    assert (bench.results.unread_by(5), bench.results.unread_bytes_by(5)) == (0, 0)
    second = bench.results.outcomes()
    bench.end(None)
    assert bench.results.unread_by(5) == 6 - read
    everything = [*seen, *second]
    assert [outcome.ticket for outcome in everything] == list(range(6))
    assert [outcome.value for outcome in everything] == [*values, *values_for(form, rows, 2, 4)]
    assert bench.results.unread_by(5) == 0


def test_of_what_nobody_reads_the_last_few_are_kept_by_ticket() -> None:
    bench = Bench(keep=5)
    for n in range(4):
        many(bench, [10 * n, 10 * n + 1, 10 * n + 2])
    assert len(bench.results._recent) == 2  # five tickets, and none of a record is dropped by itself
    with pytest.raises(ResultsError, match='6 results were not kept'):
        bench.results.outcomes()


def test_a_late_value_finds_its_ticket_among_several() -> None:
    for reading in (False, True):
        bench = Bench()
        reader = bench.results.outcomes(ordered=True) if reading else None
        (elder,) = bench.add()
        many(bench, [None, None, 'c'], Form.PICKLES)
        bench.late(5, 2, 3, dumps('late'))
        bench.late(5, 3, 3, dumps('late'))
        bench.done(elder, 'a')
        reader = reader or bench.results.outcomes()
        got = {outcome.ticket: outcome.value for outcome in take(reader, 4)}
        assert got == {0: 'a', 1: None, 2: 'late', 3: 'c'}


def test_how_many_items_came_before_a_ticket() -> None:
    bench = Bench()
    bench.ledger.add(5, 7, (b'',), 0, 3, 3)
    bench.ledger.add(5, 5, (b'',), 0)
    bench.ledger.add(5, 1, (b'',), 0)
    assert [bench.results.first_item('a', at) for at in range(6)] == [0, 3, 6, 7, 12, 13]
    assert [bench.results.first_item('a', at, (3, 7)) for at in range(6)] == [0, 3, 6, 7, 12, 13]


def test_what_a_reader_leaves_counts_by_its_tickets() -> None:
    bench = Bench(keep=3)
    reader = bench.results.outcomes()
    many(bench, [1, 2, 3])
    many(bench, [4, 5, 6])
    reader.close()
    with pytest.raises(ResultsError, match='3 results were not kept'):
        bench.results.outcomes()


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


@pytest.mark.parametrize('value', [b'noise', dumps([1])[0], dumps([1, 2, 3])[0], dumps(5)[0]])
def test_a_list_of_results_that_is_none_costs_its_tickets_only(value: bytes) -> None:
    """A worker that says so is out of order; whoever reads its results is told, and goes on."""
    bench = Bench(store=True)
    reader = bench.results.outcomes()
    chunk = bench.ledger.add(5, 2, (b'',), 0, tickets=2, rows=1)
    bench.lease(chunk)
    assert bench.ledger.done(1, 5, 0, 1, 0.5, tickets=2) is chunk
    with bench.exchange.lock:
        bench.results.record(Record(5, 0, (value,), None, 2, Form.LIST))
    outcomes = list(bench.results['a'])
    assert [outcome.ticket for outcome in outcomes] == [0, 1]
    assert isinstance(outcomes[1].error, ResultsError) or value == dumps([1, 2, 3])[0]
    assert [next(reader).ticket for _ in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ('form', 'value', 'fits'),
    [
        (Form.ONE, (b'anything',), False),
        (Form.LIST, dumps([1, 2]), True),
        (Form.LIST, dumps([1, 2, 3]), False),
        (Form.LIST, dumps((1, 2)), False),
        (Form.LIST, (b'noise',), False),
        (Form.LIST, dumps([Exception, 2]), False),
        (Form.PICKLES, dumps([b'one', None]), True),
        (Form.PICKLES, dumps([b'one']), False),
        (Form.PICKLES, dumps([b'one', 2]), False),
        (Form.LIST, None, True),
    ],
)
def test_what_can_be_taken_apart(form: int, value: Payload | None, fits: bool) -> None:
    record = Record(5, 0, value, None, 2, form)
    if fits:
        record.check()
    else:
        with pytest.raises(ProtocolError):
            record.check()


def test_lists_of_several_results_a_ticket_can_be_taken_apart() -> None:
    Record(5, 0, dumps([1, 2, 3, 4, 5]), None, 2, Form.LIST, 3).check()
    with pytest.raises(ProtocolError):
        Record(5, 0, dumps([1, 2, 3]), None, 2, Form.LIST, 3).check()


class Bomb:
    """Comes with a buffer of its own, and explodes where it is opened."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _explode, (pickle.PickleBuffer(bytearray(10_000)),)


def _explode(_: Any) -> None:
    raise SystemExit('a bomb was opened')


def test_a_value_that_is_laid_in_is_not_opened() -> None:
    """The dispatcher does that; what opening the value would do is for whoever reads it."""
    record = Record(5, 0, None, None, 2)
    array = np.arange(2000)
    assert len(dumps(array)) == len(dumps(Bomb())) == 2
    record.put(0, dumps(array))
    record.put(1, dumps(Bomb()))
    assert record.value_at(0).tolist() == array.tolist()
    assert record.value_at(0).flags.writeable
    with pytest.raises(SystemExit):
        record.value_at(1)
