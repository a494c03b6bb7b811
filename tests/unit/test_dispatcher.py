"""The dispatcher's turn, with an engine that starts nothing: what is said, sent and booked, one event at a time."""

from __future__ import annotations

import math
import pickle
import threading
from typing import Any

import pytest

from eisenmp.constants import PERF_HEADER_ETA
from eisenmp.dispatcher import Dispatcher
from eisenmp.engines.base import Event, Exit
from eisenmp.errors import CrashError, RemoteTraceback, WorkerCallError, WorkerStartError
from eisenmp.payload import dumps, dumps_error, loads
from eisenmp.supervisor import Phase
from eisenmp.wire import ANY_QUEUE, FOREVER, HAS_VALUE, Frame, Kind, encode
from tests.unit.fakes import Reader, add_chunk, end_of, frames_of, make_job, message

Q = 0


class Bench:
    """A job of two workers, which are up."""

    def __init__(self, *, up: bool = True, **settings: Any) -> None:
        self.job, self.engine, self.heard, self.clock = make_job(RESULTS_STORE=True, **settings)
        self.queue = self.job.table[Q]
        self.over: list[bool] = []
        self.tools: list[Any] = []
        self.dispatcher = Dispatcher(self.job, self.tools, lambda: self.over.append(True))
        self.turning = self.turn()
        if up:
            for worker in list(self.engine.started):
                self.say(worker, Kind.UP)

    def turn(self) -> bool:
        return self.dispatcher._turn()

    def feed(self, chunks: int = 1) -> None:
        with self.job.lock:
            self.job.exchange.feeder_begins(self.queue)
            for _ in range(chunks):
                add_chunk(self.job.exchange, self.queue)

    def say(self, worker: int, kind: int, payload: Any = (), **fields: Any) -> None:
        """One message of a worker arrives."""
        self.engine.events.extend(Event(worker, frame) for frame in frames_of(encode(kind, payload, **fields)))
        self.turn()

    def get(self, worker: int, request: int, queue: int = Q, timeout: float = FOREVER) -> None:
        self.say(worker, Kind.GET, queue=queue, serial=request, number=timeout)

    def dies(self, worker: int, code: int = -9, text: str = 'signal SIGKILL') -> None:
        self.engine.gone(worker)
        self.engine.events.append(Event(worker, Exit(code, text)))
        self.turn()
        self.turn()  # what is due after it is started and said

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.turn()
        self.turn()

    def last(self, worker: int) -> Frame:
        return self.engine.sent[worker][-1]

    def chunk(self, worker: int) -> int:
        """The ticket that a worker was given last."""
        frame = self.last(worker)
        assert frame.kind == Kind.CHUNK
        return frame.serial

    def kinds(self, worker: int) -> list[int]:
        return [frame.kind for frame in self.engine.sent[worker]]


# ---- starts


def arrives(bench: Bench, worker: int, kind: int, payload: Any = (), **fields: Any) -> None:
    """A message is there, and the loop has not looked yet."""
    bench.engine.events.extend(Event(worker, frame) for frame in frames_of(encode(kind, payload, **fields)))


def test_workers_are_started_and_set_up_first() -> None:
    bench = Bench(up=False)
    assert bench.engine.started == [0, 1]
    assert bench.kinds(0) == [Kind.SETUP]


def test_modules_that_cannot_be_loaded_end_the_job_with_one_error() -> None:
    bench = Bench(up=False)
    body = pickle.dumps(('worker module w.py, line 3: SyntaxError: invalid syntax', 'Traceback …'))
    bench.say(0, Kind.START_ERROR, (body,))
    bench.say(1, Kind.START_ERROR, (body,))
    assert isinstance(bench.job.error, WorkerStartError)
    assert 'w.py, line 3' in str(bench.job.error)
    assert set(bench.engine.killed) == {0, 1}
    bench.dies(0, 1, 'exit code 1')
    bench.dies(1, 1, 'exit code 1')
    assert not bench.turn()
    assert len(bench.engine.started) == 2


def test_a_system_that_gives_no_process_ends_the_job() -> None:
    bench = Bench.__new__(Bench)
    bench.job, bench.engine, bench.heard, bench.clock = make_job()
    bench.engine.refuse = OSError(11, 'Resource temporarily unavailable')
    bench.dispatcher = Dispatcher(bench.job, [], lambda: None)
    turns = 0
    while bench.turn():  # three tries in a slot, later each time
        bench.clock.now += 1.0
        turns += 1
        assert turns < 5
    assert isinstance(bench.job.error, WorkerStartError)
    assert 'Resource temporarily unavailable' in str(bench.job.error)
    assert isinstance(bench.job.error.__cause__, OSError)


def test_three_failed_starts_in_a_row_end_the_job() -> None:
    bench = Bench(up=False, NUM_PROCS=1)
    for worker in range(3):
        assert bench.engine.started == list(range(worker + 1))
        bench.dies(worker, 3, 'exit code 3')
        bench.pass_time(1.0)
    assert isinstance(bench.job.error, WorkerStartError)
    assert 'exit code 3' in str(bench.job.error)
    assert not bench.turn()
    assert bench.engine.started == [0, 1, 2]


def test_a_worker_that_does_not_come_up_is_named() -> None:
    bench = Bench(up=False)
    bench.say(0, Kind.UP)
    bench.pass_time(9.9)
    assert bench.heard.news_texts == []
    bench.pass_time(0.2)
    (text,) = bench.heard.news_texts
    assert text.startswith('Process-2 is not up after 10 s')


# ---- requests


def test_a_request_is_served_when_something_comes() -> None:
    bench = Bench()
    bench.get(0, 7)
    assert bench.kinds(0) == [Kind.SETUP]
    bench.feed()
    frame = bench.last(0)
    assert (frame.kind, frame.queue, frame.serial, frame.number) == (Kind.CHUNK, Q, 0, 7.0)
    assert loads(frame.payload) == [0]


def test_a_request_that_crosses_what_was_handed_out_ahead_is_sent_back_to_it() -> None:
    bench = Bench()
    bench.feed(3)
    with bench.job.lock:
        chunk = bench.job.exchange.next_chunk(bench.queue, 1)
        assert chunk is not None
        bench.job.ledger.lease(chunk, 0, 0.0, begun=False)
    for request, queue in ((1, Q), (2, ANY_QUEUE)):
        bench.get(0, request, queue=queue)
        assert (bench.last(0).kind, bench.last(0).serial) == (Kind.AHEAD, request)
    bench.get(0, 3, queue=1)  # another queue is another matter
    assert bench.last(0).kind == Kind.AHEAD
    bench.say(0, Kind.TAKEN, queue=Q, serial=0)
    bench.get(0, 4)
    assert bench.chunk(0) == 1


def test_a_request_is_served_in_vain_after_its_time() -> None:
    bench = Bench()
    bench.feed(0)
    bench.get(0, 7, timeout=0.5)
    bench.pass_time(0.4)
    assert bench.kinds(0) == [Kind.SETUP]
    bench.pass_time(0.2)
    assert (bench.last(0).kind, bench.last(0).serial) == (Kind.EMPTY, 7)
    with bench.job.lock:
        add_chunk(bench.job.exchange, bench.queue)
    assert bench.last(0).kind == Kind.EMPTY


@pytest.mark.parametrize('timeout', [math.inf, 1e300, 1e10, 3e6])
def test_a_very_long_time_out_is_no_harm(timeout: float) -> None:
    bench = Bench()
    bench.pass_time(11)  # nobody looks after its start any more
    bench.feed(0)
    bench.get(0, 7, timeout=timeout)
    bench.turn()
    wait = bench.engine.timeouts[-1]
    assert wait is None or 0 <= wait <= 1e6  # selectors take no more than 24.8 days
    with bench.job.lock:
        add_chunk(bench.job.exchange, bench.queue)
    assert bench.last(0).kind == Kind.CHUNK


def test_waiting_for_a_queue_that_is_fed_keeps_nothing() -> None:
    bench = Bench()
    bench.feed(0)
    bench.get(1, 1, queue=1, timeout=3.0)  # somebody waits for something else all the while
    before = len(bench.job.exchange._timers)
    for n in range(200):
        bench.get(0, n + 1)
        with bench.job.lock:
            add_chunk(bench.job.exchange, bench.queue)
        bench.say(0, Kind.ANSWER, queue=Q, serial=n, number=1.0)
    assert len(bench.job.exchange._timers) <= before + 5


def test_a_worker_that_waits_for_nobody_is_named_once() -> None:
    bench = Bench()
    bench.get(0, 1)
    bench.get(1, 1)
    bench.pass_time(4.9)
    assert bench.heard.news_texts == []
    bench.pass_time(0.2)
    bench.pass_time(100)
    (text,) = bench.heard.news_texts
    assert text.startswith("Process-1 has waited 5 s for queue 'mp_input_q (default)', which nobody feeds")


def test_a_worker_that_waits_for_a_slow_feeder_is_not_named() -> None:
    bench = Bench()
    bench.feed(0)
    bench.get(0, 1)
    bench.pass_time(100)
    assert bench.heard.news_texts == []


# ---- answers


def test_results_are_seen_together_with_the_answer() -> None:
    bench = Bench()
    bench.feed()
    bench.get(0, 1)
    bench.say(0, Kind.RESULT, dumps('first'), queue=Q, serial=0)
    bench.say(0, Kind.RESULT, dumps('second'), queue=Q, serial=0)
    assert bench.job.results['mp_input_q'][0].state == 'leased'
    assert bench.job.results['mp_input_q'][0].value is None
    bench.say(0, Kind.ANSWER, queue=Q, serial=0, number=0.25)
    outcome = bench.job.results['mp_input_q'][0]
    assert (outcome.state, outcome.value, outcome.slot, outcome.seconds) == ('done', 'first', 0, 0.25)


def test_the_first_result_wins_over_that_of_the_answer() -> None:
    bench = Bench()
    bench.feed()
    bench.get(0, 1)
    bench.say(0, Kind.RESULT, dumps('first'), queue=Q, serial=0)
    bench.say(0, Kind.ANSWER, dumps('second'), queue=Q, serial=0, flags=HAS_VALUE)
    assert bench.job.results['mp_input_q'][0].value == 'first'


def test_of_a_worker_that_dies_first_nothing_is_seen() -> None:
    bench = Bench()
    bench.feed()
    bench.get(0, 1)
    bench.say(0, Kind.RESULT, dumps('lost'), queue=Q, serial=0)
    bench.say(0, Kind.FORWARD, dumps('lost'), queue=Q, serial=0, number=float(Q))
    bench.dies(0)
    bench.get(1, 1)
    assert bench.chunk(1) == 0
    bench.say(1, Kind.ANSWER, dumps('mine'), queue=Q, serial=0, flags=HAS_VALUE)
    outcome = bench.job.results['mp_input_q'][0]
    assert (outcome.value, outcome.slot, outcome.attempts) == ('mine', 1, 2)
    assert not bench.queue.entries


def test_a_result_after_the_answer_still_counts_the_first_one_wins() -> None:
    bench = Bench()
    bench.feed()
    bench.get(0, 1)
    bench.say(0, Kind.ANSWER, queue=Q, serial=0)
    bench.say(0, Kind.RESULT, dumps('late'), queue=Q, serial=0)
    bench.say(0, Kind.RESULT, dumps('later'), queue=Q, serial=0)
    assert bench.job.results['mp_input_q'][0].value == 'late'


def test_what_is_forwarded_is_put_with_the_answer() -> None:
    bench = Bench()
    (target,) = bench.job.table.create([(None, 'target', 1)])
    bench.feed()
    bench.get(0, 1)
    for n in range(3):
        bench.say(0, Kind.FORWARD, dumps(n), queue=target.number, serial=0, number=float(Q))
    assert not target.entries
    bench.say(0, Kind.ANSWER, queue=Q, serial=0)
    assert [loads(entry.payload) for entry in target.entries] == [0, 1, 2]


@pytest.mark.parametrize('how', ['fails', 'forwarded for another ticket'])
def test_what_is_forwarded_for_a_ticket_that_is_not_answered_is_not_put(how: str) -> None:
    bench = Bench(ON_ERROR='skip', RETRIES=1)
    (target,) = bench.job.table.create([(None, 'target', 0)])
    bench.feed(2)
    bench.get(0, 1)
    bench.say(0, Kind.FORWARD, dumps('x'), queue=target.number, serial=0 if how == 'fails' else 1, number=float(Q))
    if how == 'fails':
        bench.say(0, Kind.FAILED, dumps_error(ValueError()), queue=Q, serial=0)
        bench.get(0, 2)
    bench.say(0, Kind.ANSWER, queue=Q, serial=0)
    assert bench.job.results['mp_input_q'].done == [0]
    assert not target.entries


def test_closing_values_count_when_the_worker_has_returned() -> None:
    bench = Bench()
    bench.say(0, Kind.CLOSING, dumps(7), queue=Q)
    bench.say(0, Kind.CLOSING, dumps(8), queue=Q)
    bench.say(1, Kind.CLOSING, dumps('lost'), queue=Q)
    assert bench.job.results.closing == {}
    bench.say(0, Kind.RETURNED)
    bench.dies(1)
    assert bench.job.results.closing == {0: 8}
    assert bench.job.results.closing.all == [('mp_input_q (default)', 0, 7), ('mp_input_q (default)', 0, 8)]


# ---- failures


def test_an_exception_ends_the_job_and_names_its_ticket() -> None:
    bench = Bench()
    bench.feed(2)
    bench.get(0, 1)
    bench.say(0, Kind.FAILED, dumps_error(ValueError('bad row')), queue=Q, serial=0, number=0.5)
    error = bench.job.error
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "_TID_0 of queue 'mp_input_q (default)', in Process-1" in error.__notes__[0]
    assert bench.job.exchange.stopping
    assert bench.job.results['mp_input_q'].failed == [0]
    assert bench.job.results['mp_input_q'].unread == [1]
    bench.pass_time(0.4)
    assert bench.engine.killed == []  # who is at work may reach the next queue call
    bench.pass_time(0.2)
    assert set(bench.engine.killed) == {0, 1}


def test_with_skip_the_job_goes_on() -> None:
    bench = Bench(ON_ERROR='skip')
    bench.feed(2)
    bench.get(0, 1)
    bench.say(0, Kind.FAILED, dumps_error(ValueError('bad row')), queue=Q, serial=0)
    bench.get(0, 2)
    assert bench.chunk(0) == 1
    assert bench.job.error is None


def test_a_retry_goes_ahead_of_the_queue() -> None:
    bench = Bench(RETRIES=1)
    bench.feed(3)
    bench.get(0, 1)
    bench.say(0, Kind.FAILED, dumps_error(ValueError()), queue=Q, serial=0)
    bench.get(1, 1)
    assert bench.chunk(1) == 0
    assert bench.job.error is None


def test_the_last_word_after_a_stop_is_the_failure_not_a_retry() -> None:
    bench = Bench(RETRIES=5, ON_ERROR='skip')
    bench.feed(1)
    bench.get(0, 1)
    with bench.job.lock:
        bench.job.stop()
    bench.say(0, Kind.FAILED, dumps_error(ValueError('the reason')), queue=Q, serial=0)
    outcome = bench.job.results['mp_input_q'][0]
    assert (outcome.state, str(outcome.error)) == ('failed', 'the reason')


def test_a_call_that_fails_without_a_ticket() -> None:
    bench = Bench()
    bench.say(0, Kind.FAILED, dumps_error(KeyError('x')), queue=ANY_QUEUE)
    assert isinstance(bench.job.error, WorkerCallError)
    assert isinstance(bench.job.error.__cause__, KeyError)


def test_with_skip_a_worker_may_fail_twice_without_a_ticket() -> None:
    bench = Bench(ON_ERROR='skip')
    for _ in range(2):
        bench.say(0, Kind.FAILED, dumps_error(KeyError('x')), queue=ANY_QUEUE)
        bench.say(1, Kind.FAILED, dumps_error(KeyError('x')), queue=ANY_QUEUE)
    assert bench.job.error is None
    bench.say(0, Kind.FAILED, dumps_error(KeyError('x')), queue=ANY_QUEUE)
    assert isinstance(bench.job.error, WorkerCallError)


# ---- deaths


def test_a_dead_worker_is_replaced_and_its_ticket_runs_elsewhere_at_once() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    bench.get(1, 1)
    bench.dies(0)
    assert (bench.last(1).kind, bench.last(1).serial) == (Kind.CHUNK, 0)
    assert bench.engine.started == [0, 1, 2]
    assert 'Process-1 died with signal SIGKILL; it is replaced' in bench.heard.news_texts


def test_what_a_dead_worker_waited_for_goes_to_others() -> None:
    bench = Bench()
    bench.feed(0)
    bench.get(0, 1)
    bench.dies(0)
    bench.get(1, 1)
    with bench.job.lock:
        add_chunk(bench.job.exchange, bench.queue)
    assert bench.last(1).kind == Kind.CHUNK


def test_a_poison_ticket_is_set_aside_with_its_exits_and_the_others_are_done() -> None:
    bench = Bench(CRASH_RETRIES=1)
    bench.feed(2)
    bench.get(0, 1)
    bench.dies(0, -11, 'signal SIGSEGV')
    bench.get(1, 1)
    bench.dies(1, 3, 'exit code 3')
    outcome = bench.job.results['mp_input_q'][0]
    assert outcome.state == 'set aside'
    assert isinstance(outcome.error, CrashError)
    assert outcome.error.exits == ['signal SIGSEGV', 'exit code 3']
    assert bench.job.error is None
    assert any('_TID_0' in text and 'set aside' in text for text in bench.heard.news_texts)
    bench.say(2, Kind.UP)
    bench.get(2, 1)
    assert bench.chunk(2) == 1


def test_a_server_s_ticket_goes_to_its_replacement() -> None:
    bench = Bench(NUM_PROCS=1)
    bench.feed(1)
    with bench.job.lock:
        bench.job.exchange.feeder_ends(bench.queue)
    bench.get(0, 1)
    bench.say(0, Kind.RETURNED)  # its threads serve on
    bench.pass_time(10)
    assert bench.over == [True]


def test_a_server_that_returned_and_dies_is_replaced_while_others_still_work() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    bench.say(0, Kind.RETURNED)
    assert bench.job.results['mp_input_q'][0].state == 'leased'
    bench.clock.now += 10
    bench.dies(0)
    assert bench.engine.started == [0, 1, 2]
    bench.say(2, Kind.UP)
    bench.get(2, 1)
    assert bench.chunk(2) == 0


# ---- CHUNK_TIMEOUT


def test_a_worker_over_its_time_is_killed_and_counts_as_dead() -> None:
    bench = Bench(CHUNK_TIMEOUT=2.0)
    bench.feed(1)
    bench.get(0, 1)
    bench.pass_time(1.9)
    assert bench.engine.killed == []
    bench.pass_time(0.2)
    assert bench.engine.killed == [0]
    bench.dies(0)
    bench.get(1, 1)
    assert bench.chunk(1) == 0
    assert any('CHUNK_TIMEOUT of 2 s' in text for text in bench.heard.news_texts)


def test_time_is_counted_for_each_chunk_anew() -> None:
    bench = Bench(CHUNK_TIMEOUT=2.0)
    bench.feed(5)
    for n in range(5):
        bench.get(0, n + 1)
        bench.pass_time(1.5)
        bench.say(0, Kind.ANSWER, queue=Q, serial=n, number=1.5)
    bench.pass_time(100)
    assert bench.engine.killed == []  # idle is not hanging
    bench.feed(1)
    bench.get(0, 9)
    bench.pass_time(2.1)
    assert bench.engine.killed == [0]


def test_what_lies_ahead_has_not_begun_its_time() -> None:
    bench = Bench(CHUNK_TIMEOUT=2.0, NUM_PROCS=1)
    bench.feed(10)
    for n in range(2):
        bench.get(0, n + 1)
        bench.say(0, Kind.ANSWER, queue=Q, serial=n, number=0.0001)
    bench.get(0, 3)
    chunks = [(frame.serial, frame.number) for frame in bench.engine.sent[0] if frame.kind == Kind.CHUNK]
    assert chunks[2:4] == [(2, 3.0), (3, 0.0)]
    bench.pass_time(1.5)
    bench.say(0, Kind.ANSWER, queue=Q, serial=2, number=1.5)
    bench.say(0, Kind.TAKEN, queue=Q, serial=3)
    bench.pass_time(1.5)
    assert bench.engine.killed == []
    bench.pass_time(0.6)
    assert bench.engine.killed == [0]


# ---- the end


def test_the_job_is_over_when_every_worker_has_returned() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    bench.say(0, Kind.RETURNED)
    bench.turn()
    assert not bench.job.over.is_set()
    bench.say(1, Kind.RETURNED)
    bench.turn()
    assert bench.over == [True]
    assert bench.job.over.is_set()
    assert bench.job.results['mp_input_q'][0].state == 'done'  # left in good order
    assert not bench.job.ended.is_set()
    for worker in (0, 1):
        bench.dies(worker, 0, 'exit code 0')
    assert not bench.turn()
    assert bench.engine.started == [0, 1]


def test_chunks_that_nobody_read_are_told_of() -> None:
    bench = Bench()
    bench.feed(3)
    for worker in (0, 1):
        bench.say(worker, Kind.RETURNED)
    bench.turn()
    assert any('3 chunks (3 items) were never read' in text for text in bench.heard.news_texts)
    assert bench.job.results['mp_input_q'].unread == [0, 1, 2]


def test_chunks_given_back_at_a_return_go_to_others() -> None:
    bench = Bench()
    bench.feed(1)
    with bench.job.lock:
        chunk = bench.job.exchange.next_chunk(bench.queue, 1)
        assert chunk is not None
        bench.job.ledger.lease(chunk, 0, 0.0, begun=False)
    bench.get(1, 1)
    bench.say(0, Kind.RETURNED)
    assert bench.chunk(1) == 0


def test_what_lay_ahead_in_a_worker_that_left_was_never_run() -> None:
    bench = Bench()
    bench.feed(1)
    bench.say(0, Kind.RETURNED)  # its threads go on, and were given one more
    with bench.job.lock:
        chunk = bench.job.exchange.next_chunk(bench.queue, 1)
        assert chunk is not None
        bench.job.ledger.lease(chunk, 0, 0.0, begun=False)
    bench.say(1, Kind.RETURNED)
    for worker in (0, 1):
        bench.dies(worker, 0, 'exit code 0')
    assert not bench.turn()
    assert bench.job.results['mp_input_q'].unread == [0]


def test_the_first_hit_is_the_answer() -> None:
    bench = Bench()
    bench.feed(3)
    bench.get(0, 1)
    bench.say(0, Kind.STOP_JOB, dumps('found'))
    bench.say(1, Kind.STOP_JOB, dumps('found too'))
    assert bench.job.results.answer == 'found'
    assert bench.job.exchange.stopping
    bench.get(1, 1)
    assert bench.last(1).kind == Kind.END
    bench.say(0, Kind.ANSWER, dumps('kept'), queue=Q, serial=0, flags=HAS_VALUE)
    assert bench.job.results['mp_input_q'][0].value == 'kept'


def test_a_hit_after_the_user_s_stop_is_still_the_answer() -> None:
    bench = Bench()
    with bench.job.lock:
        bench.job.stop()
    bench.say(0, Kind.STOP_JOB, dumps('found'))
    assert bench.job.results.answer == 'found'


def test_nobody_is_heard_after_a_kill() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    with bench.job.lock:
        bench.job.kill()
    bench.say(0, Kind.ANSWER, dumps('late'), queue=Q, serial=0, flags=HAS_VALUE)
    assert bench.job.results['mp_input_q'][0].state == 'leased'
    for worker in (0, 1):
        bench.dies(worker)
    assert not bench.turn()
    assert bench.engine.started == [0, 1]


# ---- messages


def test_a_put_that_wants_an_answer_waits_for_room() -> None:
    bench = Bench()
    (bounded,) = bench.job.table.create([(None, 'bounded', 1)])
    bench.say(0, Kind.PUT, dumps(1), queue=bounded.number, serial=1, number=FOREVER)
    assert bench.last(0).kind == Kind.ACCEPTED
    bench.say(0, Kind.PUT, dumps(2), queue=bounded.number, serial=2, number=0.5)
    assert bench.last(0).serial == 1
    bench.pass_time(0.6)
    assert (bench.last(0).kind, bench.last(0).serial) == (Kind.FULL, 2)
    assert not bounded.putters
    bench.say(0, Kind.PUT, dumps(3), queue=bounded.number, serial=3, number=FOREVER)
    bench.get(1, 1, queue=bounded.number)
    assert (bench.last(0).kind, bench.last(0).serial) == (Kind.ACCEPTED, 3)
    assert loads(bench.last(1).payload) == 1


def test_what_a_dead_worker_wanted_to_put_is_not_put() -> None:
    bench = Bench()
    (bounded,) = bench.job.table.create([(None, 'bounded', 1)])
    for n in (1, 2):
        bench.say(0, Kind.PUT, dumps(n), queue=bounded.number, serial=n, number=FOREVER)
    bench.dies(0)
    bench.get(1, 1, queue=bounded.number)
    assert not bounded.entries


def test_tools_reach_every_worker_there_is_and_those_to_come() -> None:
    bench = Bench()
    bench.say(0, Kind.PUT, dumps('tool'), queue=bench.job.table.find('mp_tools_q').number, number=FOREVER)
    assert [loads(bench.last(worker).payload) for worker in (0, 1)] == ['tool', 'tool']
    assert [frame.kind for pieces in bench.tools for frame in frames_of(pieces)] == [Kind.TOOL]


INFO = 3


def test_progress_of_workers_is_summed_up_by_name() -> None:
    bench = Bench()
    for rows in (5, 7.0):
        bench.say(0, Kind.PUT, dumps([PERF_HEADER_ETA + 'a', rows]), queue=INFO, number=FOREVER)
    bench.say(0, Kind.PUT, dumps([PERF_HEADER_ETA + 'b', 1]), queue=INFO, number=FOREVER)
    assert bench.dispatcher.messages.info == {'a': 12, 'b': 1}
    assert not bench.job.table[INFO].entries


@pytest.mark.parametrize(
    'odd',
    [
        [PERF_HEADER_ETA + 'a', math.nan],
        [PERF_HEADER_ETA + 'a', math.inf],
        [PERF_HEADER_ETA + 'a', 'many'],
        ['another header', 3],
        'text',
        [1, 2, 3],
        None,
    ],
    ids=repr,
)
def test_odd_progress_is_no_harm(odd: Any) -> None:
    bench = Bench()
    bench.say(0, Kind.PUT, dumps(odd), queue=INFO, number=FOREVER)
    bench.say(0, Kind.PUT, dumps([PERF_HEADER_ETA + 'a', 2]), queue=INFO, number=FOREVER)
    assert bench.dispatcher.messages.info == {'a': 2}


def test_asking_how_many_there_are() -> None:
    bench = Bench()
    with bench.job.lock:
        bench.job.exchange.add_message(bench.queue, message())
    bench.say(0, Kind.ASK, queue=Q, serial=5)
    assert (bench.last(0).kind, bench.last(0).serial, bench.last(0).number, bench.last(0).flags) == (
        Kind.COUNT,
        5,
        1.0,
        0,
    )


def test_asking_with_patience_is_answered_after_a_while() -> None:
    bench = Bench()
    bench.feed(0)
    bench.say(0, Kind.ASK, queue=Q, serial=5, number=0.005)
    assert bench.kinds(0) == [Kind.SETUP]
    bench.pass_time(0.006)
    assert (bench.last(0).kind, bench.last(0).number, bench.last(0).flags) == (Kind.COUNT, 0.0, 0)
    with bench.job.lock:
        bench.job.exchange.feeder_ends(bench.queue)
    bench.say(0, Kind.ASK, queue=Q, serial=6, number=60.0)
    assert (bench.last(0).serial, bench.last(0).flags) == (6, 1)  # the end is there at once


def test_prints_and_records_are_told_when_the_lock_is_free() -> None:
    bench = Bench()
    bench.say(0, Kind.PRINT, ('größer\n'.encode(),))
    bench.say(0, Kind.PRINT, (b'\xff broken',), flags=1)
    bench.say(0, Kind.LOG, (pickle.dumps({'name': 'x', 'msg': 'y'}),))
    bench.turn()
    assert bench.heard.printed == [('größer\n', False), ('\ufffd broken', True)]
    assert bench.heard.logged == [{'name': 'x', 'msg': 'y'}]


# ---- bytes that cannot be understood

MISSING = b'\x80\x05cno_such_module\nThing\n.'


@pytest.mark.parametrize('body', [b'', b'rubbish', MISSING, b'\x80\x05cbuiltins\nint\n(S"x"\ntR.'], ids=repr)
@pytest.mark.parametrize(
    'kind', [Kind.LOG, Kind.START_ERROR, Kind.STOP_JOB, Kind.CLOSING, Kind.FAILED, Kind.PUT, Kind.RESULT, Kind.PRINT]
)
def test_bytes_that_cannot_be_understood_end_no_loop(kind: int, body: bytes) -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(0, 1)
    bench.say(0, kind, (body,), queue=INFO if kind == Kind.PUT else Q, number=FOREVER if kind == Kind.PUT else 0.0)
    if kind == Kind.CLOSING:
        bench.say(0, Kind.RETURNED)
    bench.turn()
    assert bench.turn()


def test_a_queue_that_is_not_there_ends_the_worker_that_named_it() -> None:
    bench = Bench()
    bench.get(0, 1, queue=999)
    assert bench.engine.killed == [0]
    bench.turn()
    assert any('broken message' in text for text in bench.heard.news_texts)


@pytest.mark.parametrize('kind', [Kind.PUT, Kind.ANSWER, Kind.RESULT, Kind.GIVE_BACK, Kind.TAKEN, Kind.CLOSING])
def test_any_queue_is_no_queue_where_one_is_needed(kind: int) -> None:
    bench = Bench()
    bench.say(0, kind, dumps(1), queue=ANY_QUEUE, serial=3)
    bench.say(0, Kind.RETURNED)
    assert bench.turn()


def test_a_listener_that_raises_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def lines(text: str, *, stderr: bool, worker: str = '') -> None:
        raise OSError('no more')

    monkeypatch.setattr(bench.heard, 'lines', lines)
    bench.say(0, Kind.PRINT, (b'x\n',))
    assert bench.turn()


def test_events_of_a_worker_that_has_gone_are_not_heard() -> None:
    bench = Bench()
    bench.dies(0)
    bench.get(0, 1)
    bench.engine.events.append(end_of(0))
    bench.turn()
    assert len(bench.engine.started) == 3
    assert bench.job.crew.supervisor.slots[0].phase == Phase.STARTING


# ---- a feeder takes a turn


def test_a_feeder_takes_in_what_has_come() -> None:
    bench = Bench()
    bench.feed(2)
    arrives(bench, 0, Kind.GET, queue=Q, serial=1, number=FOREVER)
    bench.dispatcher.assist()
    assert bench.chunk(0) == 0
    assert not bench.engine.events


def test_a_feeder_starts_no_process_the_loop_does() -> None:
    """Linux ends a worker together with the thread that has started it, and a feeder's ends with its iterable."""
    bench = Bench()
    bench.feed()
    bench.get(0, 1)
    bench.engine.gone(0)
    bench.engine.events.append(end_of(0))
    woken = bench.engine.woken
    bench.dispatcher.assist()
    assert bench.engine.started == [0, 1]
    assert bench.engine.woken > woken
    bench.turn()
    assert bench.engine.started == [0, 1, 2]
    assert any('Process-1 died' in text for text in bench.heard.news_texts)


def test_a_deadline_that_a_feeder_has_set_is_kept_by_the_loop() -> None:
    bench = Bench()
    arrives(bench, 0, Kind.GET, queue=Q, serial=1, number=0.5)
    woken = bench.engine.woken
    bench.dispatcher.assist()
    assert bench.engine.woken > woken, 'it sleeps for longer'
    bench.turn()
    assert bench.engine.timeouts[-1] == pytest.approx(0.5)


def test_what_fails_while_a_feeder_drives_is_told_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def broken() -> None:
        raise RuntimeError('a bug')

    monkeypatch.setattr(bench.dispatcher.tickets, 'hand_ahead', broken)
    arrives(bench, 0, Kind.GET, queue=Q, serial=1, number=FOREVER)
    bench.dispatcher.assist()
    with pytest.raises(RuntimeError, match='a bug'):
        bench.turn()


def test_a_feeder_that_drives_often_is_left_alone_by_the_loop() -> None:
    bench = Bench()
    waits = len(bench.engine.timeouts)
    bench.dispatcher.assist()
    bench.dispatcher.assist()
    assert bench.turn()
    assert len(bench.engine.timeouts) == waits, 'it slept a moment'
    assert bench.turn()
    assert len(bench.engine.timeouts) == waits + 1


# ---- a reader takes a turn


def test_whatever_ends_a_readers_turn_the_loop_listens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    drive = bench.job.exchange.drive
    assert drive is not None
    monkeypatch.setattr(bench.dispatcher._turns, '_aside', True)  # the loop makes way
    polls: list[float] = []

    def poll(timeout: float = 0.0) -> Any:
        polls.append(timeout)
        raise RuntimeError('of the selector')

    def read() -> None:  # not in the main thread, where pytest handles signals
        with pytest.raises(RuntimeError, match='selector'), bench.job.lock:
            drive(Reader(None).getter, [], None)

    with monkeypatch.context() as broken:
        broken.setattr(bench.engine, 'poll', poll)
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(polls) == 1
    bench.dispatcher._turns.end()  # the turn itself is over
    waits = len(bench.engine.timeouts)
    assert bench.turn()
    assert len(bench.engine.timeouts) == waits + 1, 'it listens'
