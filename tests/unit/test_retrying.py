"""Chunks that have failed are tried again: who goes, what is forgotten, and that each ticket keeps to one outcome."""

from __future__ import annotations

import pytest

from eisenmp.errors import JobOver
from eisenmp.ledger import Chunk, State
from eisenmp.payload import dumps, dumps_error
from eisenmp.results import Record
from eisenmp.results.shelf import Shelf
from eisenmp.snapshot import take_snapshot
from eisenmp.wire import WITH_ERRORS, Kind
from tests.unit.test_tickets import Bench as Tickets

Q = 0


class Bench(Tickets):
    """A job in which chunks fail."""

    def fails(self, worker: int, request: int = 1) -> int:
        """It gets a chunk and fails it; which one."""
        self.get(worker, request)
        serial = self.chunk(worker)
        self.say(worker, Kind.FAILED, dumps_error(ValueError('no')), queue=Q, serial=serial, number=0.5)
        return serial

    def retry(self, *, failed: bool = True, set_aside: bool = True) -> int:
        with self.job.lock:
            return self.dispatcher.retrying.retry(failed=failed, set_aside=set_aside)


def failed(serial: int, size: int = 10) -> tuple[Chunk, Record]:
    return Chunk(Q, serial, 1, (bytes(size),), size), Record(Q, serial, error=ValueError())


# ---- the shelf


def test_the_newest_are_kept() -> None:
    shelf = Shelf(most=3)
    for serial in range(5):
        shelf.put(*failed(serial))
    assert [record.serial for _, record in shelf] == [2, 3, 4]
    shelf = Shelf(size=100)
    for serial in range(5):
        shelf.put(*failed(serial, 40))
    assert [record.serial for _, record in shelf] == [3, 4]
    shelf.put(*failed(9, 1000))
    assert len(shelf) == 0, 'larger than all the room'


def test_what_was_read_takes_no_room() -> None:
    shelf = Shelf()
    rows = [failed(serial) for serial in range(4)]
    for row in rows[:3]:
        shelf.put(*row)
    rows[0][1].read = rows[1][1].read = True
    shelf.put(*rows[3])
    assert [record.serial for _, record in shelf] == [2, 3]
    shelf.were_read(Q, 0, 3)
    assert [record.serial for _, record in shelf] == [3]


# ---- the job


def test_a_failed_chunk_goes_ahead_of_the_queue_with_all_its_tries() -> None:
    bench = Bench(ON_ERROR='skip', RETRIES=1)
    bench.feed(3)
    assert [bench.fails(0), bench.fails(0, 2)] == [0, 0]
    assert bench.states() == ['failed', 'queued', 'queued']
    with bench.job.lock:
        assert take_snapshot(bench.job, {}).retriable == 1
    assert bench.retry() == 1
    assert bench.retry() == 0
    track = bench.job.ledger.track(Q)
    assert bench.states() == ['queued'] * 3
    assert (track.items_done, track.live_tickets, track.attempts) == (0, 3, {})
    assert bench.job.results.last_failure is None
    assert [bench.fails(1), bench.fails(1, 2)] == [0, 0], 'RETRIES count from the beginning'
    assert bench.retry() == 1
    bench.get(0, 3)
    bench.answer(0, 0, ['done'])
    (outcome,) = bench.job.results['mp_input_q'][:1]
    assert (outcome.value, outcome.attempts, outcome.error) == ('done', 1, None)


def test_one_that_was_set_aside_gets_as_many_workers_as_before() -> None:
    bench = Bench(CRASH_RETRIES=1)
    bench.feed(2)
    for worker in (0, 2):
        bench.get(worker, 1)
        assert bench.chunk(worker) == 0
        bench.dies(worker)
        bench.say(worker + 2 if worker else 2, Kind.UP)
    assert bench.states() == ['set aside', 'queued']
    assert bench.retry(set_aside=False) == 0
    assert bench.retry(failed=False) == 1
    bench.get(1, 1)
    assert bench.chunk(1) == 0
    bench.dies(1)
    assert bench.states() == ['queued', 'queued'], 'one death is forgiven again'


def test_whoever_waits_gets_it_at_once() -> None:
    bench = Bench(ON_ERROR='skip')
    bench.feed(1)
    bench.fails(0)
    bench.get(1, 1)
    assert bench.retry() == 1
    assert bench.chunk(1) == 0


def test_what_somebody_was_told_of_stays_as_it_is() -> None:
    bench = Bench(ON_ERROR='skip')
    reader, other = bench.job.results.outcomes(), bench.job.results.outcomes(ordered=True)
    bench.feed(3)
    bench.fails(0)
    assert isinstance(next(reader).error, ValueError)
    bench.fails(0, 2)
    assert bench.retry() == 1
    assert bench.states() == ['failed', 'queued', 'queued']
    bench.get(0, 3)
    bench.answer(0, 1, ['done'])
    assert [next(reader).value] == ['done']
    assert [(outcome.ticket, outcome.value) for outcome in (next(other), next(other))] == [(0, None), (1, 'done')]
    assert (reader._stream.unread(Q), other._stream.unread(Q)) == (0, 0)
    assert bench.job.results.unread_bytes_by(Q) == 0


def test_a_reader_in_ticket_order_waits_for_it_no_longer_than_for_others() -> None:
    """It was due, had not been read, and was taken back: its followers do not wait for it."""
    bench = Bench(ON_ERROR='skip')
    ordered = bench.job.results.outcomes(ordered=True)
    bench.feed(2)
    bench.fails(0)
    bench.retry()
    bench.get(0, 2)
    bench.get(1, 1)
    bench.answer(1, 1, ['one'])
    bench.answer(0, 0, ['zero'])
    assert sorted(next(ordered).value for _ in range(2)) == ['one', 'zero']


def test_a_reader_that_left_was_told_what_it_was_told() -> None:
    bench = Bench(ON_ERROR='skip')
    bench.feed(3)
    with bench.job.results.outcomes() as reader:
        bench.fails(0)
        next(reader)
        bench.fails(0, 2)
    assert bench.retry() == 1
    assert bench.states()[:2] == ['failed', 'queued']


def test_when_a_reader_is_faster_the_others_get_theirs() -> None:
    bench = Bench(ON_ERROR='skip')
    first, second = bench.job.results.outcomes(), bench.job.results.outcomes()
    bench.feed(1)
    bench.fails(0)
    stream = second._stream
    stream.take_back = lambda record: False  # type: ignore[method-assign]
    assert bench.retry() == 0
    assert bench.states() == ['failed']
    assert next(first).ticket == 0
    assert first._stream.unread(Q) == 0


def test_without_a_reader_and_without_a_store() -> None:
    bench = Bench(ON_ERROR='skip')
    bench.job.results.store = False
    bench.feed(2)
    bench.fails(0)
    bench.fails(0, 2)
    assert bench.retry() == 2
    bench.get(0, 3)
    bench.answer(0, 0, ['zero'])
    with bench.job.results.outcomes() as reader:
        assert next(reader).value == 'zero'


def test_some_items_of_a_chunk() -> None:
    bench = Bench(ON_ERROR='skip', WORKER_CALL='item')
    bench.feed(1)
    bench.get(0, 1)
    errors = dumps([(0, [bytes(piece) for piece in dumps_error(ValueError('no'))])])
    payload = (*dumps([None]), *errors)
    bench.say(0, Kind.ANSWER, payload, queue=Q, serial=0, number=0.5, flags=WITH_ERRORS, tickets=1, rows=1)
    assert bench.job.results.partly_failed == 1
    assert bench.retry() == 1
    assert (bench.job.results.partly_failed, bench.states()) == (0, ['queued'])


def test_a_search_begins_anew() -> None:
    """Of a chunk that is handed out in parts nothing is kept."""
    bench = Bench(CRASH_RETRIES=0, WORKER_CALL='chunk')
    bench.job.ledger.halves = True
    chunk = bench.batch(1)
    worker = 0
    for _ in range(5):
        bench.get(worker, 1)
        bench.dies(worker)
        worker = bench.engine.started[-1]
        bench.say(worker, Kind.UP)
        bench.clock.now += 10
        if bench.states() == ['set aside']:
            break
    assert bench.states() == ['set aside']
    assert bench.retry() == 1
    assert (chunk.search, chunk.exits, chunk.attempts) == (None, [], 0)


def test_what_cannot_be() -> None:
    bench = Bench(ON_ERROR='skip')
    bench.feed(1)
    bench.fails(0)
    with bench.job.lock:
        bench.job.exchange.feeder_ends(bench.queue)
    for worker in (0, 1):
        bench.get(worker, 7)
        assert bench.last(worker).kind == Kind.END
    with pytest.raises(JobOver, match='every worker has read the end'):
        bench.retry()
    assert bench.states() == ['failed'], 'and it has its outcome still'
    with bench.job.lock:
        bench.job.stop()
    with pytest.raises(JobOver, match='over, or about to be'):
        bench.retry()
    assert bench.job.ledger.track(Q).counts[State.FAILED] == 1
