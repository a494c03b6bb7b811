"""The ticket desk: batches out and in, and workers that wait while a feeder reads a batch."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from eisenmp.credit import History
from eisenmp.engines.base import Event
from eisenmp.feeder import Feeder
from eisenmp.intake import Intake
from eisenmp.ledger import Chunk, State
from eisenmp.payload import dumps, dumps_error, nbytes
from eisenmp.sources import source_of
from eisenmp.wire import ANY_QUEUE, HAS_VALUE, LISTED, PICKLED, Kind
from eisenmp.worker.batch import Run, Work
from tests.unit.fakes import frames_of
from tests.unit.test_dispatcher import Bench as Dispatching

Q = 0


class Bench(Dispatching):
    """A job of two workers with batches."""

    def batch(self, tickets: int, *, rows: int = 2, nested: bool = False) -> Chunk:
        items = list(range(tickets * rows))
        pieces = [bytes(dumps(items[at : at + rows])[0]) for at in range(0, len(items), rows)]
        payload = dumps(pieces if nested else items)
        with self.job.lock:
            if not self.queue.feeders_seen:
                self.job.exchange.feeder_begins(self.queue)
            chunk = self.job.ledger.add(Q, len(items), payload, nbytes(payload), tickets, rows)
            chunk.nested = nested
            self.job.exchange.add_chunk(self.queue, chunk)
        return chunk

    def quick(self, worker: int, seconds: float = 0.000_001) -> None:
        """From now on its history says that chunks are short."""
        self.job.crew.workers[worker].histories[Q] = History(10, seconds)
        self.job.paces[Q] = History(10, seconds)

    def answer(self, worker: int, serial: int, values: list[Any]) -> None:
        fields = {'queue': Q, 'serial': serial, 'number': 0.001, 'tickets': len(values)}
        self.say(worker, Kind.ANSWER, dumps(values), flags=HAS_VALUE | LISTED, **fields)

    def states(self) -> list[str]:
        return [State.NAMES[state] for state in self.job.ledger.track(Q).states]

    def held(self, worker: int) -> list[tuple[int, int, bool, bool]]:
        """(serial, tickets, begun, sure) of all that it holds."""
        held = self.job.ledger.held.get(worker, {}).values()
        return sorted((chunk.serial, chunk.tickets, chunk.begun, chunk.sure) for chunk in held)


# ---- out


@pytest.mark.parametrize('nested', [False, True])
def test_a_worker_without_a_history_gets_one_ticket_of_a_batch(nested: bool) -> None:
    bench = Bench()
    bench.batch(5, nested=nested)
    bench.get(0, 1)
    bench.get(1, 1)
    frames = [bench.last(0), bench.last(1)]
    assert [(f.kind, f.serial, f.tickets, f.skip, f.rows, f.number) for f in frames] == [
        (Kind.CHUNK, 0, 1, 0, 2, 1.0),
        (Kind.CHUNK, 1, 1, 1, 2, 1.0),
    ]
    assert {frame.flags for frame in frames} == {PICKLED if nested else LISTED}
    assert bytes(frames[0].body) == bytes(frames[1].body)  # the whole payload, each time
    assert [(entry.serial, entry.tickets) for entry in bench.queue.entries if isinstance(entry, Chunk)] == [(2, 3)]
    assert bench.held(0) == [(0, 1, True, True)]


def test_a_quick_one_gets_the_batch() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(5)
    bench.get(0, 1)
    assert (bench.last(0).serial, bench.last(0).tickets) == (0, 5)
    assert bench.held(0) == [(0, 5, True, False)]  # who knows which of them it is at


def test_a_chunk_alone_says_nothing_of_rows() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    frame = bench.last(0)
    assert (frame.flags, frame.tickets, frame.skip, frame.rows) == (0, 1, 0, 0)


# ---- in


def test_one_answer_for_all() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(4)
    bench.get(0, 1)
    bench.answer(0, 0, ['a', 'b', 'c', 'd'])
    assert bench.states() == ['done'] * 4
    outcomes = bench.job.results['mp_input_q'][:]
    assert [outcome.value for outcome in outcomes] == ['a', 'b', 'c', 'd']
    assert [outcome.seconds for outcome in outcomes] == [pytest.approx(0.000_25)] * 4
    assert bench.held(0) == []
    assert bench.job.item_paces[Q].answers == 8
    assert bench.job.crew.workers[0].answered == 4


def test_answers_in_parts() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(6)
    bench.get(0, 1)
    bench.answer(0, 0, ['a', 'b'])
    assert bench.held(0) == [(2, 4, True, False)]
    bench.say(0, Kind.FAILED, dumps_error(ValueError('x')), queue=Q, serial=2)
    bench.answer(0, 3, ['d', 'e', 'f'])
    assert bench.states() == ['done', 'done', 'failed', 'done', 'done', 'done']


def test_what_is_given_back_goes_to_the_next() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(6)
    bench.get(0, 1)
    bench.get(1, 1)
    assert bench.kinds(1) == [Kind.SETUP]
    said = Run(
        bench.last(0), Work(sum, False), begins=[].append, stop_job=[].append
    )  # as a worker in a long call says it
    said._rest.popleft()
    said._rest.popleft()
    said._rest.popleft()
    said._results += ['a', 'b']
    bench.engine.events.extend(Event(0, frame) for pieces in said.hurry() for frame in frames_of(pieces))
    bench.turn()
    assert bench.states()[:3] == ['done', 'done', 'leased']
    assert bench.chunk(1) == 3
    assert bench.held(0) == [(2, 1, True, True)]
    assert bench.held(1) == [(3, 1, True, True)]
    assert bench.job.crew.workers[0].histories == {}  # it is no longer the quick one


def test_an_answer_counts_for_those_that_it_still_holds() -> None:
    """Part of what it answers was given to somebody else meanwhile, or was answered before."""
    bench = Bench()
    bench.quick(0)
    bench.batch(5)
    bench.get(0, 1)
    bench.answer(0, 2, ['c'])
    bench.answer(0, 0, ['A', 'B', 'C', 'D', 'E'])
    assert [outcome.value for outcome in bench.job.results['mp_input_q']] == ['A', 'B', 'c', 'D', 'E']
    assert bench.job.crew.workers[0].answered == 5


def test_an_answer_to_tickets_of_others_counts_for_nobody() -> None:
    bench = Bench()
    bench.batch(5)
    bench.get(0, 1)
    bench.answer(1, 0, ['A', 'B', 'C', 'D', 'E'])
    assert bench.states() == ['leased', *['queued'] * 4]
    assert Q not in bench.job.paces


def test_forwards_go_out_with_their_own_tickets() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(4)
    bench.get(0, 1)
    for serial in (0, 1, 3):
        bench.say(0, Kind.FORWARD, dumps(f'of {serial}'), queue=1, serial=serial, number=float(Q))
    out = bench.job.table[1]
    assert not out.entries
    bench.say(0, Kind.FAILED, dumps_error(ValueError('x')), queue=Q, serial=1)
    assert not out.entries
    bench.answer(0, 0, ['a'])
    assert len(out.entries) == 1
    bench.answer(0, 2, ['c', 'd'])
    assert len(out.entries) == 2
    assert bench.job.crew.workers[0].forwards == {}


def test_results_that_came_before_an_answer_of_several() -> None:
    """A classic worker whose result went in a message of its own."""
    bench = Bench()
    bench.quick(0)
    bench.batch(3)
    bench.get(0, 1)
    bench.say(0, Kind.RESULT, dumps('two'), queue=Q, serial=2)
    pieces = [bytes(dumps(value)[0]) for value in ('zero', 'one')]
    fields = {'queue': Q, 'tickets': 3, 'number': 0.1}
    bench.say(0, Kind.ANSWER, dumps([*pieces, None]), flags=HAS_VALUE | PICKLED, **fields)
    assert [outcome.value for outcome in bench.job.results['mp_input_q']] == ['zero', 'one', 'two']


# ---- who died at what


def test_a_batch_whose_worker_died_goes_on_ticket_by_ticket_and_nobody_is_blamed() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(4)
    bench.get(0, 1)
    bench.answer(0, 0, ['a'])
    bench.dies(0)
    entries = [entry for entry in bench.queue.entries if isinstance(entry, Chunk)]
    assert [(entry.serial, entry.tickets, entry.exits) for entry in entries] == [(1, 1, []), (2, 1, []), (3, 1, [])]
    assert bench.states() == ['done', 'queued', 'queued', 'queued']


def test_the_ticket_that_it_was_known_to_be_at_is_blamed() -> None:
    bench = Bench()
    bench.quick(0)
    bench.batch(4)
    bench.get(0, 1)
    bench.say(0, Kind.GIVE_BACK, queue=Q, serial=2, tickets=2)
    bench.answer(0, 0, ['a'])
    bench.say(0, Kind.TAKEN, queue=Q, serial=1, tickets=1)
    bench.dies(0)
    entries = [entry for entry in bench.queue.entries if isinstance(entry, Chunk)]
    assert [(entry.serial, entry.exits) for entry in entries] == [(1, ['signal SIGKILL']), (2, [])]


# ---- a worker waits while a feeder reads


class Reading(Feeder):
    """Has complete chunks, and reads on."""

    def __init__(self) -> None:
        super().__init__(source_of(()), Q, None)
        self.has = 0
        self.hurried = threading.Semaphore(0)

    @property
    def ripe(self) -> bool:
        return self.cutting and self.has > 0

    def hurry(self) -> None:
        self.hurried.release()

    def hurries(self) -> int:
        """How often since the last call."""
        count = 0
        while self.hurried.acquire(timeout=0.2 if not count else 0.0):
            count += 1
        return count


def reading(bench: Bench) -> Reading:
    feeder = Reading()
    bench.job.feeders.append(feeder)
    with bench.job.lock:
        bench.job.exchange.feeder_begins(bench.queue)
    return feeder


@pytest.mark.parametrize('queue', [Q, ANY_QUEUE])
@pytest.mark.parametrize('first', ['worker', 'feeder'])
def test_complete_chunks_are_fetched_for_a_worker_that_waits(first: str, queue: int) -> None:
    bench = Bench()
    feeder = reading(bench)
    if first == 'worker':
        bench.get(0, 1, queue)
    Intake(bench.job).begins_batch(feeder)
    if first == 'feeder':
        bench.get(0, 1, queue)
    feeder.has = 1
    bench.clock.now += 0.002
    bench.turn()
    assert feeder.hurries() == 0
    bench.pass_time(0.002)
    assert feeder.hurries() == 1


def test_nobody_looks_while_nobody_waits_or_reads() -> None:
    bench = Bench()
    feeder = reading(bench)
    before = bench.job.exchange.next_deadline()
    Intake(bench.job).begins_batch(feeder)
    assert bench.job.exchange.next_deadline() == before
    feeder.cutting = False
    bench.get(0, 1)
    assert bench.job.exchange.next_deadline() == before


def test_looks_become_rare_while_nothing_comes_and_end_with_the_batch() -> None:
    bench = Bench()
    feeder = reading(bench)
    for worker in (0, 1):
        bench.get(worker, 1)
    Intake(bench.job).begins_batch(feeder)
    looks = 0
    end = bench.clock.now + 2.0
    while (deadline := bench.job.exchange.next_deadline()) is not None and deadline < end:
        bench.clock.now = deadline
        bench.turn()
        looks += 1
    assert 30 < looks < 60  # two workers, and one look for both
    feeder.cutting = False
    bench.pass_time(0.1)
    deadline = bench.job.exchange.next_deadline()
    assert deadline is None or deadline > bench.clock.now + 1.0


def test_a_worker_that_asks_for_another_queue_does_not_count() -> None:
    bench = Bench()
    feeder = reading(bench)
    feeder.has = 1
    Intake(bench.job).begins_batch(feeder)
    bench.get(0, 1, queue=1)
    bench.pass_time(0.1)
    assert feeder.hurries() == 0
    bench.get(1, 1, timeout=0.05)
    bench.pass_time(0.04)
    assert feeder.hurries() == 1
    bench.pass_time(0.04)  # it has gone away
    feeder.hurries()
    bench.pass_time(1.0)
    assert feeder.hurries() == 0
