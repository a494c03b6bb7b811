"""A whole job under any order of events: only engine, clock and workers are the test's own.

Real are the ledger, the exchange, the supervisor, the crew, the desks, the dispatcher's turn, the manager's queues, the
intake and the results. Between the dispatcher and each worker of the model lie two wires, on which messages wait until
the machine lets the next one through: so they cross each other in every way they can. A worker of the model keeps to
what a real one does (eisenmp.worker.inbox): it answers a ticket when it asks the same queue again, takes first what was
handed out ahead, and gives that back when it does not get to it.
"""

from __future__ import annotations

import queue as std_queue
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eisenmp.dispatcher import Dispatcher
from eisenmp.engines.base import Event, Exit, ProcessHandle
from eisenmp.feeder import Cut, Feeder
from eisenmp.handles import ManagerQueue
from eisenmp.intake import Intake
from eisenmp.job import Job
from eisenmp.ledger import Chunk, State
from eisenmp.payload import dumps, dumps_error, loads
from eisenmp.results import OutcomeReader
from eisenmp.sources import source_of
from eisenmp.wire import ANY_QUEUE, FOREVER, HAS_VALUE, Buffer, Frame, Kind, encode
from tests.unit.fakes import Clock, FakeEngine, FakeHandle, frames_of, make_job

SLOTS = 2
CRASH_RETRIES = 1
SHORT, LONG = 0.0001, 1.0  # seconds of a chunk: more are handed out ahead, or none

Ticket = tuple[int, int]  # queue, serial
ENDED = (State.DONE, State.FAILED, State.SET_ASIDE)


class Worker:
    """A worker process of the model. What it sends waits in `out`, what is sent to it in `into`."""

    def __init__(self, number: int, *, plain: bool) -> None:
        self.number = number
        self.plain = plain
        self.into: deque[Frame] = deque()
        self.out: deque[Frame] = deque()
        self.ahead: dict[int, deque[Frame]] = {}
        self.refusing: set[int] = set()
        self.leases: dict[int, int] = {}  # queue -> serial: what its function is at work on
        self.asked: tuple[int, int, float] | None = None  # request, queue, timeout: it waits for the reply
        self.up = False
        self.returned = False
        self.ends: set[int] = set()  # queues whose end it was told
        self.messages: list[Any] = []
        self._requests = 0

    # ---- what a worker says

    def say(self, kind: int, payload: Any = None, **fields: Any) -> None:
        pieces = encode(kind, payload or (), **fields)
        self.out.extend(frames_of(pieces))

    def lives(self) -> bool:
        return self.up and not self.returned

    def free(self) -> bool:
        """Its function does not wait for a reply, so that it may do something."""
        return self.lives() and self.asked is None

    def at_work(self) -> bool:
        return self.free() and bool(self.leases)

    def has_ahead(self) -> bool:
        return not self.returned and any(self.ahead.values())

    def come_up(self) -> None:
        self.say(Kind.SETUP)
        self.out.clear()
        self.up = True
        self.say(Kind.UP)

    def get(self, queue: int, timeout: float, seconds: float) -> None:
        """Its function asks for the next chunk; that answers the one it had of the same queue."""
        for held in list(self.leases):
            if self.plain or held == queue:
                self.answer(held, seconds)
        self._take(queue, timeout)

    def answer(self, queue: int, seconds: float) -> None:
        serial = self.leases.pop(queue)
        self.say(Kind.ANSWER, dumps((queue, serial)), queue=queue, serial=serial, number=seconds, flags=HAS_VALUE)

    def fail(self) -> None:
        """Its function raises."""
        for queue, serial in list(self.leases.items()):
            self.say(Kind.FAILED, dumps_error(ValueError(f'{queue} {serial}')), queue=queue, serial=serial)
        self.leases.clear()

    def give_back(self) -> None:
        for key, frames in self.ahead.items():
            if frames:
                for frame in frames:
                    self.say(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial)
                frames.clear()
                self.refusing.add(key)

    def return_(self, seconds: float, *, keep: bool) -> None:
        """Its function returns something falsy; `keep`: a thread of its own goes on with the tickets."""
        for queue in [] if keep else list(self.leases):
            self.answer(queue, seconds)
        self.returned = True
        self.say(Kind.RETURNED)

    def _take(self, queue: int, timeout: float) -> None:
        waiting = self.ahead.get(queue)
        if waiting:
            frame = waiting.popleft()
            self.say(Kind.TAKEN, queue=frame.queue, serial=frame.serial)
            self.leases[frame.queue] = frame.serial
            return
        self._requests += 1
        self.asked = (self._requests, queue, timeout)
        self.say(Kind.GET, queue=queue, serial=self._requests, number=timeout)

    # ---- what it is told

    def read(self) -> None:
        """Take in the next message from the manager."""
        frame = self.into.popleft()
        key = ANY_QUEUE if self.plain else frame.queue
        if frame.kind == Kind.SETUP:
            self.come_up()
        elif frame.kind == Kind.CHUNK and not frame.number:
            if key in self.refusing:
                self.say(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial)
            else:
                self.ahead.setdefault(key, deque()).append(frame)
        else:
            self._reply(frame)

    def _reply(self, frame: Frame) -> None:
        assert self.asked is not None, f'a reply of kind {frame.kind} that nobody has asked for'
        request, queue, timeout = self.asked
        assert request == (frame.number if frame.kind == Kind.CHUNK else frame.serial)
        self.asked = None
        self.refusing.discard(queue)
        if frame.kind == Kind.CHUNK:
            assert queue in (ANY_QUEUE, frame.queue)
            assert frame.queue not in self.leases, 'a second chunk of a queue while the first is not answered'
            self.leases[frame.queue] = frame.serial
        elif frame.kind == Kind.AHEAD:
            self._take(queue, timeout)
        elif frame.kind == Kind.END:
            self.ends.add(queue)
        elif frame.kind == Kind.MESSAGE:
            assert queue != ANY_QUEUE, 'a plain function takes no messages'
            self.messages.append(loads(frame.payload))
        else:
            assert frame.kind == Kind.EMPTY
            assert timeout >= 0


class Wires(FakeEngine):
    """The engine: keeps what is sent to each worker until that worker reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[int, Worker] = {}
        self.plain = False
        self.on_chunk: Callable[[Frame], None] = lambda _: None
        self.on_loss: Callable[[Frame], None] = lambda _: None

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        self.workers[worker] = Worker(worker, plain=self.plain)
        self.send(worker, setup)
        return FakeHandle(name, worker)

    def send(self, worker: int, pieces: list[Buffer]) -> None:
        for frame in frames_of(pieces):
            if frame.kind == Kind.CHUNK:
                self.on_chunk(frame)
            if worker in self.workers:
                self.workers[worker].into.append(frame)
            else:  # it has died, and the dispatcher does not know yet
                self.on_loss(frame)


class JobMachine(RuleBasedStateMachine):
    """See the module's text."""

    job: Job

    @initialize(
        plain=st.booleans(),
        bound=st.sampled_from([0, 1, 3]),
        strict=st.booleans(),
        limit=st.sampled_from([None, 2.0]),
        retries=st.sampled_from([0, 1]),
        warm=st.booleans(),
        fed=st.sampled_from([0, 5, 20]),
    )
    def begin(
        self, plain: bool, bound: int, strict: bool, limit: float | None, retries: int, warm: bool, fed: int
    ) -> None:
        made: tuple[Job, FakeEngine, Any, Clock] = make_job(
            NUM_PROCS=SLOTS,
            RETRIES=retries,
            CRASH_RETRIES=CRASH_RETRIES,
            ON_ERROR='raise' if strict else 'skip',
            BUFFER_CHUNKS=10_000,
            CHUNK_TIMEOUT=limit,
        )
        self.job, _, self.heard, self.clock = made
        self.engine = self.job.engine = self.job.crew.engine = Wires()
        self.engine.plain = self.plain = plain
        self.engine.on_chunk = self.handed_out
        self.engine.on_loss = self.never_arrives
        self.job.lock.after = None
        (second,) = self.job.table.create([(None, 'second', bound)])
        self.queues = [self.job.table[0], second]
        self.handles = [ManagerQueue(self.job.exchange, queue) for queue in self.queues]
        self.intake = Intake(self.job)
        self.feeders: list[Feeder] = []
        self.over = False
        self.turning = True
        self.dispatcher = Dispatcher(self.job, [], self.is_over)
        self.reader: OutcomeReader = self.job.results.outcomes()
        self.ordered: OutcomeReader = self.job.results.outcomes(ordered=True)
        self.blames: Counter[Ticket] = Counter()
        self.begun_maybe: Counter[Ticket] = Counter()
        self.put: list[Any] = []
        self.lost: list[Any] = []  # messages on the way to a worker that died
        self.got: list[Any] = []
        for queue in self.queues:
            self.open_feeder(queue.number)
        self.turn()
        for worker in self.engine.workers.values():
            worker.read()
        if warm:
            self.warm_up()
        for feeder in self.feeders:
            self.add_chunks(feeder, fed)

    # ---- helpers

    def is_over(self) -> None:
        self.over = True

    def handed_out(self, frame: Frame) -> None:
        assert not self.job.exchange.feeding_over, 'a chunk starts after the end of the feeding'

    def never_arrives(self, frame: Frame) -> None:
        """A worker had died before it could read this."""
        if frame.kind == Kind.MESSAGE:
            self.lost.append(loads(frame.payload))
        elif frame.kind == Kind.CHUNK and frame.number:
            self.begun_maybe[frame.queue, frame.serial] += 1  # it may have read it, for all that the manager knows

    def open_feeder(self, number: int) -> None:
        feeder = Feeder(source_of(()), number, None)
        self.feeders.append(feeder)
        self.job.feeders.append(feeder)
        with self.job.lock:
            self.job.exchange.feeder_begins(self.job.table[number])

    def turn(self) -> None:
        """One round of the dispatcher's loop."""
        self.turning = self.turning and self.dispatcher._turn()
        self.turned_at = self.clock.now

    def pick_queue(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([queue.number for queue in self.queues]), label='queue')

    def deliver(self, worker: Worker, count: int) -> None:
        """The next messages of a worker reach the dispatcher."""
        for _ in range(min(count, len(worker.out))):
            self.engine.events.append(Event(worker.number, worker.out.popleft()))

    def ends_with(self, worker: Worker, end: Exit) -> None:
        """All that it managed to send is heard first; what was on the way to it is lost."""
        self.deliver(worker, len(worker.out))
        del self.engine.workers[worker.number]
        self.got += worker.messages
        for frame in worker.into:
            self.never_arrives(frame)
        if end.code != 0:
            self.blames.update(worker.leases.items())
            self.begun_maybe.update(worker.leases.items())
        self.engine.events.append(Event(worker.number, end))

    def warm_up(self) -> None:
        """Every worker has had some short chunks of each queue, so that more are handed out ahead."""
        for worker in self.engine.workers.values():
            for feeder in self.feeders:
                for _ in range(3):
                    self.add_chunks(feeder, 1)
                    self.work(worker, feeder.queue, 1)

    def add_chunks(self, feeder: Feeder, count: int) -> None:
        queue = self.job.table[feeder.queue]
        for _ in range(count):
            over = self.job.exchange.feeding_over
            if over or self.intake._has_room(queue):  # else it would wait
                assert self.intake.add_chunk(feeder, 2, dumps([1, 2]), Cut()) is not over

    def work(self, worker: Worker, queue: int, rounds: int) -> None:
        """Some short chunks in a row, with nothing in between."""
        for _ in range(rounds):
            self.deliver(worker, len(worker.out))
            self.turn()
            while worker.into:
                worker.read()
            if worker.free():
                worker.get(ANY_QUEUE if self.plain else queue, FOREVER, SHORT)

    # ---- rules: feeding

    @precondition(lambda self: any(not feeder.done for feeder in self.feeders))
    @rule(data=st.data(), chunks=st.integers(1, 12))
    def feed(self, data: st.DataObject, chunks: int) -> None:
        feeder = data.draw(st.sampled_from([feeder for feeder in self.feeders if not feeder.done]), label='feeder')
        self.add_chunks(feeder, chunks)

    @precondition(lambda self: any(not feeder.done for feeder in self.feeders))
    @rule(data=st.data())
    def feeder_ends(self, data: st.DataObject) -> None:
        feeder = data.draw(st.sampled_from([feeder for feeder in self.feeders if not feeder.done]), label='feeder')
        feeder.done = True
        self.intake.feeder_done(feeder, None)

    @precondition(lambda self: len(self.feeders) < 4 and not self.job.exchange.feeding_over)
    @rule(data=st.data())
    def another_feeder(self, data: st.DataObject) -> None:
        self.open_feeder(self.pick_queue(data))

    # ---- rules: workers

    @precondition(lambda self: self.engine.workers)
    @rule(data=st.data())
    def workers_act(self, data: st.DataObject) -> None:
        """Some of what the workers can do now: no step is wasted on what cannot be."""
        for _ in range(data.draw(st.integers(1, 6), label='acts')):
            can = [(act, worker) for worker in self.engine.workers.values() for act in self.acts_of(worker)]
            if can:
                act, worker = data.draw(st.sampled_from(can), label='act')
                act(self, data, worker)

    @precondition(lambda self: self.engine.workers)
    @rule(data=st.data())
    def workers_act_again(self, data: st.DataObject) -> None:
        """The same: hypothesis leaves out some rules of each run, and rarely both of two."""
        self.workers_act(data)

    def acts_of(self, worker: Worker) -> list[Callable[[JobMachine, st.DataObject, Worker], None]]:
        fits = [
            (JobMachine.asks, worker.free(), 3),
            (JobMachine.works_on, worker.lives(), 4),
            (JobMachine.reads, bool(worker.into), 3),
            (JobMachine.is_heard, bool(worker.out), 3),
            (JobMachine.gives_back, worker.has_ahead(), 2),
            (JobMachine.fails, worker.at_work(), 1),
            (JobMachine.returns, worker.free(), 1),
            (JobMachine.leaves, worker.returned, 2),
            (JobMachine.crashes, worker.at_work(), 1),
            (JobMachine.dies, True, 1),
        ]
        return [act for act, fit, weight in fits for _ in range(weight if fit else 0)]

    def asks(self, data: st.DataObject, worker: Worker) -> None:
        seconds = data.draw(st.sampled_from([SHORT, SHORT, LONG]), label='seconds')
        timeout = data.draw(st.sampled_from([FOREVER, 0.5]), label='timeout')
        worker.get(ANY_QUEUE if self.plain else self.pick_queue(data), timeout, seconds)

    def works_on(self, data: st.DataObject, worker: Worker) -> None:
        self.work(worker, self.pick_queue(data), data.draw(st.integers(1, 6), label='chunks'))

    def fails(self, data: st.DataObject, worker: Worker) -> None:
        worker.fail()

    def gives_back(self, data: st.DataObject, worker: Worker) -> None:
        worker.give_back()

    def returns(self, data: st.DataObject, worker: Worker) -> None:
        if data.draw(st.integers(0, 2), label='chance') == 0:
            worker.return_(SHORT, keep=data.draw(st.booleans(), label='keep'))

    def reads(self, data: st.DataObject, worker: Worker) -> None:
        for _ in range(data.draw(st.integers(1, len(worker.into)), label='messages')):
            worker.read()

    def is_heard(self, data: st.DataObject, worker: Worker) -> None:
        self.deliver(worker, data.draw(st.integers(1, len(worker.out)), label='messages'))
        if data.draw(st.booleans(), label='at once'):
            self.turn()

    def dies(self, data: st.DataObject, worker: Worker) -> None:
        self.clock.now += data.draw(st.sampled_from([0.01, 5.0]), label='passed')
        self.ends_with(worker, Exit(-9, 'signal SIGKILL'))
        self.turn()

    def crashes(self, data: st.DataObject, worker: Worker) -> None:
        self.ends_with(worker, Exit(-11, 'signal SIGSEGV'))
        self.turn()

    def leaves(self, data: st.DataObject, worker: Worker) -> None:
        """A worker that has returned ends in good order."""
        self.ends_with(worker, Exit(0, 'exit code 0'))
        self.turn()

    @precondition(lambda self: self.engine.workers)
    @rule(data=st.data())
    def says_something_wrong(self, data: st.DataObject) -> None:
        """A second answer, an answer to a ticket of another worker: none of it counts."""
        worker = data.draw(st.sampled_from(list(self.engine.workers.values())), label='worker')
        queue = self.pick_queue(data)
        serial = data.draw(st.integers(0, 8), label='ticket')
        if self.job.ledger.holding(worker.number, queue, serial) is not None:
            return  # then it would count
        before = list(self.job.ledger.track(queue).states)
        for kind in (Kind.ANSWER, Kind.FAILED, Kind.GIVE_BACK, Kind.TAKEN, Kind.RESULT):
            body = dumps_error(ValueError()) if kind == Kind.FAILED else dumps((queue, serial))
            (frame,) = frames_of(encode(kind, body, queue=queue, serial=serial, number=SHORT, flags=HAS_VALUE))
            with self.job.lock:
                self.dispatcher._take(Event(worker.number, frame))
        assert list(self.job.ledger.track(queue).states) == before

    # ---- rules: time

    @rule(passed=st.sampled_from([0.01, 0.6, 3.0]))
    def time_passes(self, passed: float) -> None:
        self.clock.now += passed
        self.turn()

    @rule()
    def the_loop_turns(self) -> None:
        self.turn()

    # ---- rules: the manager

    @precondition(lambda self: len(self.put) < 20)
    @rule(data=st.data())
    def the_manager_puts(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.handles), label='queue')
        try:
            handle.put_nowait(len(self.put))
        except std_queue.Full:
            return
        self.put.append(len(self.put))

    @rule(data=st.data())
    def the_manager_gets(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.handles), label='queue')
        try:
            entry = handle.get_nowait()
        except std_queue.Empty:
            return
        if isinstance(entry, int):
            self.got.append(entry)

    @rule(chance=st.integers(0, 9))
    def the_manager_stops_the_job(self, chance: int) -> None:
        if chance == 0:
            with self.job.lock:
                self.job.stop()

    # ---- what always holds

    @invariant()
    def each_ticket_is_in_one_place(self) -> None:
        ledger = self.job.ledger
        for queue in self.queues:
            track = ledger.track(queue.number)
            queued = [entry.serial for entry in queue.entries if isinstance(entry, Chunk)]
            held = [serial for chunks in ledger.held.values() for number, serial in chunks if number == queue.number]
            assert sorted(queued + held) == sorted(track.live), 'a ticket in two places, or in none'
            assert queued == sorted(queued), 'what comes back goes ahead of the queue'
            assert track.ahead == sum(
                not chunk.begun
                for chunks in ledger.held.values()
                for (number, _), chunk in chunks.items()
                if number == queue.number
            )
            for serial, state in enumerate(track.states):
                assert (serial in queued) == (state == State.QUEUED)
                assert (serial in held) == (state == State.LEASED)

    @invariant()
    def leases_are_held_by_workers_that_live(self) -> None:
        if not self.job.killed:
            assert set(self.job.ledger.held) <= set(self.job.crew.workers)

    @invariant()
    def what_a_worker_is_at_is_leased_to_it(self) -> None:
        if self.dispatcher._finishing or self.job.killed:
            return  # every function has returned, what their threads still hold is answered; or nobody is heard
        for worker in self.engine.workers.values():
            for queue, serial in worker.leases.items():
                chunk = self.job.ledger.holding(worker.number, queue, serial)
                said = {(f.kind, f.queue, f.serial) for f in worker.out} | {
                    (e.what.kind, e.what.queue, e.what.serial)
                    for e in self.engine.events
                    if e.worker == worker.number and isinstance(e.what, Frame)
                }
                assert chunk is not None, 'two workers may be at the same ticket'
                assert chunk.begun or (Kind.TAKEN, queue, serial) in said

    @invariant()
    def only_those_are_blamed_whom_a_worker_was_at(self) -> None:
        if self.job.killed or any(isinstance(event.what, Exit) for event in self.engine.events):
            return  # nobody is blamed any more; or the death is not booked yet
        for queue in self.queues:
            track = self.job.ledger.track(queue.number)
            for serial, chunk in track.live.items():
                ticket = (queue.number, serial)
                assert self.blames[ticket] <= len(chunk.exits) <= self.begun_maybe[ticket]
                assert len(chunk.exits) <= CRASH_RETRIES
                assert chunk.failures <= self.job.settings.RETRIES
            for serial, state in enumerate(track.states):
                if state == State.SET_ASIDE:
                    assert self.begun_maybe[queue.number, serial] >= CRASH_RETRIES + 1
                if not self.job.killed:
                    assert self.blames[queue.number, serial] <= CRASH_RETRIES + 1

    @invariant()
    def whoever_is_over_its_time_is_killed(self) -> None:
        limit = self.job.settings.CHUNK_TIMEOUT
        if limit is None or self.engine.events:
            return
        for worker, chunks in self.job.ledger.held.items():
            since = [chunk.since for chunk in chunks.values() if chunk.begun]
            late = bool(since) and min(since) + limit <= self.turned_at
            assert not late or worker in self.engine.killed

    @invariant()
    def restarts_are_within_budget(self) -> None:
        supervisor = self.job.crew.supervisor
        assert all(slot.failed_starts <= supervisor.start_limit for slot in supervisor.slots)
        if max(slot.failed_starts for slot in supervisor.slots) == supervisor.start_limit:
            assert self.job.killed
            assert self.job.error is not None
        alive = [worker for worker in self.engine.workers if worker in self.job.crew.workers]
        assert len(alive) <= SLOTS

    # ---- the end

    def teardown(self) -> None:
        """Left alone, every job comes to its end, and every ticket has had one outcome."""
        if not hasattr(self, 'job'):
            return
        for feeder in self.feeders:
            if not feeder.done:
                feeder.done = True
                self.intake.feeder_done(feeder, None)
        rounds = 0
        while self.turning:
            rounds += 1
            assert rounds < 500, f'it does not end: {self.state()}'
            self.clock.now += 1.0
            self.turn()
            for worker in list(self.engine.workers.values()):
                self.go_on(worker)
        self.dispatcher._end()
        assert self.over or self.job.killed
        assert self.job.over.is_set()
        self.check_the_end()

    def state(self) -> str:
        workers = {
            number: (worker.up, worker.asked, worker.leases, worker.returned, list(worker.into))
            for number, worker in self.engine.workers.items()
        }
        return f'{self.job.results.summary()}; {workers}; {[slot.phase for slot in self.job.crew.supervisor.slots]}'

    def go_on(self, worker: Worker) -> None:
        """A worker does what it should: all of it, once."""
        if worker.number in self.engine.killed:
            self.ends_with(worker, Exit(-9, 'signal SIGKILL'))
            return
        while worker.into:
            worker.read()
        queues = [ANY_QUEUE] if self.plain else [queue.number for queue in self.queues]
        left = [queue for queue in queues if queue not in worker.ends]
        if worker.returned:
            self.deliver(worker, len(worker.out))
            self.ends_with(worker, Exit(0, 'exit code 0'))
            return
        if worker.free():
            if left:
                worker.get(left[0], FOREVER, SHORT)
            else:
                worker.return_(SHORT, keep=False)
        else:
            worker.give_back()  # what lies there while its function waits on another queue, others may wait for
        self.deliver(worker, len(worker.out))

    def check_the_end(self) -> None:
        ledger = self.job.ledger
        known = {queue.number: queue.name for queue in self.queues}
        ended: Counter[tuple[str, int]] = Counter()
        for number, name in known.items():
            for serial, state in enumerate(ledger.track(number).states):
                if state in ENDED:
                    ended[name, serial] += 1
                elif self.job.killed:
                    assert state in (State.UNREAD, State.LEASED)
                else:
                    assert state == State.UNREAD, f'{name} {serial} is {State.NAMES[state]}'
                    assert self.stopped_early(), 'unread without a reason'
        assert Counter((o.queue, o.ticket) for o in self.take_all(self.reader)) == ended
        in_order = self.take_all(self.ordered)
        assert Counter((o.queue, o.ticket) for o in in_order) == ended
        for outcome in in_order:
            if outcome.value is not None:
                assert known[outcome.value[0]] == outcome.queue
                assert outcome.value[1] == outcome.ticket
        self.check_messages()

    def stopped_early(self) -> bool:
        """Somebody stopped it, or all workers had returned before the queues were empty."""
        return self.job.exchange.stopping

    def take_all(self, reader: OutcomeReader) -> list[Any]:
        outcomes: list[Any] = []
        while True:
            try:
                outcomes.append(next(reader))
            except StopIteration:
                return outcomes
            except Exception as raised:
                if raised is not self.job.error:
                    raise

    def check_messages(self) -> None:
        """Delivered once: to a worker, to the manager, or to a worker that died before it read them."""
        still = [loads(entry.payload) for queue in self.queues for entry in queue.entries]
        assert sorted(self.got + self.lost + still) == self.put


TestJob = JobMachine.TestCase
TestJob.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
