"""A whole job under any order of events: only engine, clock and workers are the test's own.

Real are the ledger, the exchange, the supervisor, the crew, the desks, the dispatcher's turn, the manager's queues, the
intake and the results. Between the dispatcher and each worker of the model lie two wires, on which messages wait until
the machine lets the next one through: so they cross each other in every way they can. A worker of the model keeps to
what a real one does (eisenmp.worker.inbox): it answers a ticket when it asks the same queue again, takes first what was
handed out ahead, and gives that back when it does not get to it. Of a batch it takes one ticket after the other; a
plain one keeps its results until the end of the batch, or until it takes long.
"""

from __future__ import annotations

import queue as std_queue
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eisenmp.dispatcher import Dispatcher
from eisenmp.engines.base import Event, Exit, ProcessHandle
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.errors import JobOver
from eisenmp.feeder import Cut, Feeder
from eisenmp.handles import ManagerQueue
from eisenmp.intake import Intake
from eisenmp.job import Job
from eisenmp.ledger import Chunk, State
from eisenmp.payload import dumps, dumps_error, loads
from eisenmp.results import OutcomeReader
from eisenmp.sources import source_of
from eisenmp.supervisor import Phase
from eisenmp.wire import ANY_QUEUE, FOREVER, HAS_VALUE, LISTED, PICKLED, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import Batch
from tests.unit.fakes import Clock, FakeEngine, FakeHandle, frames_of, make_job

SLOTS = 2
MOST = 4
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
        self.sure: set[int] = set()  # queues of whose lease the manager knows which ticket it is
        self.opened: dict[int, deque[int]] = {}  # queue -> tickets of its batch that are not begun
        self.finished: list[int] = []  # tickets of a plain worker's batch whose results were not sent yet
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
        return not self.returned and (any(self.ahead.values()) or (not self.plain and any(self.opened.values())))

    def in_batch(self) -> bool:
        """A plain one that has more tickets in hand than the one it is at."""
        return self.plain and self.at_work() and (any(self.opened.values()) or bool(self.finished))

    def come_up(self) -> None:
        self.say(Kind.SETUP)
        self.out.clear()
        self.up = True
        self.say(Kind.UP)

    def get(self, queue: int, timeout: float, seconds: float) -> None:
        """Its function asks for the next chunk; that answers the one it had of the same queue."""
        while self.plain and self.leases:
            if not self.go_on():
                self.flush(seconds)
        if queue in self.leases:
            self.answer(queue, seconds)
        if self.opened.get(queue):
            self.leases[queue] = self.opened[queue].popleft()
            return
        self._take(queue, timeout)

    def go_on(self) -> bool:
        """A plain function is done with a ticket of a batch and gets the next one. False: it was the last."""
        ((queue, serial),) = self.leases.items()
        self.finished.append(serial)
        if self.opened.get(queue):
            self.leases[queue] = self.opened[queue].popleft()
            self.sure.discard(queue)
            return True
        return False

    def flush(self, seconds: float) -> None:
        """Send the results of a plain function; when nothing of the batch is left, its lease is over."""
        ((queue, serial),) = self.leases.items()
        self.say_answer(queue, self.finished, seconds)
        if serial in self.finished:
            del self.leases[queue]
            self.sure.discard(queue)
        self.finished = []

    def answer(self, queue: int, seconds: float) -> None:
        self.sure.discard(queue)
        self.say_answer(queue, [self.leases.pop(queue)], seconds)

    def say_answer(self, queue: int, serials: list[int], seconds: float) -> None:
        """One message for tickets in a row."""
        values: list[Any] = [(queue, serial) for serial in serials]
        if not values:
            return
        flags, value = HAS_VALUE, dumps(values[0])
        if len(values) > 1 and self.plain:
            flags, value = HAS_VALUE | LISTED, dumps(values)
        elif len(values) > 1:
            flags, value = HAS_VALUE | PICKLED, dumps([bytes(dumps(one)[0]) for one in values])
        fields = {'queue': queue, 'serial': serials[0], 'tickets': len(serials)}
        self.say(Kind.ANSWER, value, number=seconds * len(serials), flags=flags, **fields)

    def hurry(self, seconds: float) -> None:
        """It takes long: a plain worker parts with all but the ticket it is at, and names that."""
        ((queue, serial),) = self.leases.items()
        self.say_answer(queue, self.finished, seconds)
        self.finished = []
        self.give_back_opened(queue)
        self.say(Kind.TAKEN, queue=queue, serial=serial, tickets=1)
        self.sure.add(queue)

    def give_back_opened(self, queue: int) -> None:
        opened = list(self.opened.pop(queue, ()))
        if opened and self.plain:
            self.say(Kind.GIVE_BACK, queue=queue, serial=opened[0], tickets=len(opened))
        elif opened:
            for serial in opened:
                self.say(Kind.GIVE_BACK, queue=queue, serial=serial)
            self.refusing.add(queue)

    def fail(self) -> None:
        """Its function raises."""
        for queue, serial in list(self.leases.items()):
            if self.finished:
                self.say_answer(queue, self.finished, SHORT)
                self.finished = []
            self.say(Kind.FAILED, dumps_error(ValueError(f'{queue} {serial}')), queue=queue, serial=serial)
            self.sure.discard(queue)
            if self.plain and self.opened.get(queue):
                self.leases[queue] = self.opened[queue].popleft()
            else:
                del self.leases[queue]

    def give_back(self) -> None:
        if not self.plain:  # whose run does it: see hurry
            for queue in list(self.opened):
                self.give_back_opened(queue)
        for key, frames in self.ahead.items():
            if frames:
                for frame in frames:
                    self.say(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial, tickets=frame.tickets)
                frames.clear()
                self.refusing.add(key)

    def return_(self, seconds: float, *, keep: bool) -> None:
        """Its function returns something falsy; `keep`: a thread of its own goes on with the tickets."""
        if self.plain and self.leases:
            self.hurry(seconds)
        for queue in [] if keep else list(self.leases):
            self.answer(queue, seconds)
        self.give_back()
        self.returned = True
        self.say(Kind.RETURNED)

    def _take(self, queue: int, timeout: float) -> None:
        waiting = self.ahead.get(queue)
        if waiting:
            frame = waiting.popleft()
            self.say(Kind.TAKEN, queue=frame.queue, serial=frame.serial, tickets=frame.tickets)
            self._open(frame)
            return
        self._requests += 1
        self.asked = (self._requests, queue, timeout)
        self.say(Kind.GET, queue=queue, serial=self._requests, number=timeout)

    def _open(self, frame: Frame) -> None:
        assert frame.queue not in self.leases, 'a second chunk of a queue while the first is not answered'
        assert not self.opened.get(frame.queue)
        first, *rest = range(frame.serial, frame.serial + frame.tickets)
        self.leases[frame.queue] = first
        if rest:
            self.opened[frame.queue] = deque(rest)
        else:
            self.sure.add(frame.queue)

    # ---- what it is told

    def read(self) -> None:
        """Take in the next message from the manager."""
        frame = self.into.popleft()
        key = ANY_QUEUE if self.plain else frame.queue
        if frame.kind == Kind.SETUP:
            self.come_up()
        elif frame.kind == Kind.LEAVING:
            pass  # what it is told next is what counts
        elif frame.kind == Kind.CHUNK and not frame.number:
            if key in self.refusing:
                self.say(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial, tickets=frame.tickets)
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
            self._open(frame)
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

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
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
        batched=st.booleans(),
    )
    def begin(
        self,
        plain: bool,
        bound: int,
        strict: bool,
        limit: float | None,
        retries: int,
        warm: bool,
        fed: int,
        batched: bool,
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
        self.dispatcher.leaving._handles_sigterm = lambda worker: False  # type: ignore[method-assign]
        self.reader: OutcomeReader = self.job.results.outcomes()
        self.ordered: OutcomeReader = self.job.results.outcomes(ordered=True)
        self.blames: Counter[Ticket] = Counter()
        self.begun_maybe: Counter[Ticket] = Counter()
        self.held_at_end: dict[int, set[int]] = {}  # by worker that is to leave: tickets of its first queue
        self.stand_ins: set[int] = set()
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
            if batched:
                self.add_batch(feeder, 12, short=False, nested=not plain)

    # ---- helpers

    def is_over(self) -> None:
        self.over = True

    def handed_out(self, frame: Frame) -> None:
        assert not self.job.exchange.feeding_over, 'a chunk starts after the end of the feeding'
        assert frame.tickets >= 1
        batch = Batch(frame)
        for at in range(frame.tickets):
            assert set(batch.items(at)) == {frame.serial + at}, 'the items of another ticket'

    def never_arrives(self, frame: Frame) -> None:
        """A worker had died before it could read this."""
        if frame.kind == Kind.MESSAGE:
            self.lost.append(loads(frame.payload))
        elif frame.kind == Kind.CHUNK and frame.number and frame.tickets == 1:
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
        if end.code != 0:  # of a batch nobody knows which ticket it was, unless the worker has told
            known = [(queue, serial) for queue, serial in worker.leases.items() if queue in worker.sure]
            self.blames.update(known)
            self.begun_maybe.update(known)
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
                serial = len(self.job.ledger.track(feeder.queue))
                assert self.intake.add_chunk(feeder, 2, dumps([serial, serial]), Cut()) is not over

    def add_batch(self, feeder: Feeder, tickets: int, *, short: bool, nested: bool) -> None:
        """Several tickets at once; as every item tells its ticket, so does every message that carries it."""
        over = self.job.exchange.feeding_over
        if self.job.table[feeder.queue].maxsize and not over:
            return  # its bound counts chunks: they are cut one by one
        first = len(self.job.ledger.track(feeder.queue))
        chunks = [[serial, serial] for serial in range(first, first + tickets)]
        if short:
            chunks[-1].pop()
        items = [item for rows in chunks for item in rows]
        payload = dumps([bytes(dumps(rows)[0]) for rows in chunks] if nested else items)
        assert self.intake.add_chunk(feeder, len(items), payload, Cut(tickets, 2, nested)) is not over

    def work(self, worker: Worker, queue: int, rounds: int, *, hold: bool = False) -> None:
        """Some short chunks in a row, with nothing in between; `hold`: at the end, or in a batch, it is at work."""
        for _ in range(rounds):
            self.deliver(worker, len(worker.out))
            self.turn()
            while worker.into:
                worker.read()
            if hold and worker.free() and any(worker.opened.values()):
                return
            if worker.free():
                worker.get(ANY_QUEUE if self.plain else queue, FOREVER, SHORT)
        if hold:
            self.deliver(worker, len(worker.out))
            self.turn()
            while worker.into:
                worker.read()

    # ---- rules: feeding

    @precondition(lambda self: any(not feeder.done for feeder in self.feeders))
    @rule(data=st.data(), chunks=st.integers(1, 12))
    def feed(self, data: st.DataObject, chunks: int) -> None:
        feeder = data.draw(st.sampled_from([feeder for feeder in self.feeders if not feeder.done]), label='feeder')
        self.add_chunks(feeder, chunks)

    @precondition(lambda self: any(not feeder.done for feeder in self.feeders))
    @rule(data=st.data(), tickets=st.integers(2, 12), short=st.booleans(), nested=st.booleans())
    def feed_a_batch(self, data: st.DataObject, tickets: int, short: bool, nested: bool) -> None:
        feeder = data.draw(st.sampled_from([feeder for feeder in self.feeders if not feeder.done]), label='feeder')
        self.add_batch(feeder, tickets, short=short, nested=nested)

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

    @precondition(lambda self: any(not feeder.done for feeder in self.feeders) and self.engine.workers)
    @rule(data=st.data(), tickets=st.integers(2, 12), nested=st.booleans())
    def a_worker_is_in_a_batch(self, data: st.DataObject, tickets: int, nested: bool) -> None:
        """In the middle of one, and then something happens to it."""
        feeder = data.draw(st.sampled_from([feeder for feeder in self.feeders if not feeder.done]), label='feeder')
        worker = data.draw(st.sampled_from(list(self.engine.workers.values())), label='worker')
        self.add_batch(feeder, tickets, short=False, nested=nested)
        self.work(worker, feeder.queue, 60, hold=True)
        if worker.in_batch():
            self.goes_on(data, worker)
        if worker.in_batch() and data.draw(st.booleans(), label='takes long'):
            self.takes_long(data, worker)
        what = data.draw(st.sampled_from(['crashes', 'an act', 'an act', 'nothing']), label='what')
        if worker.at_work() and what != 'nothing':
            acts = self.acts_of(worker) if what == 'an act' else [JobMachine.crashes]
            data.draw(st.sampled_from(acts), label='act')(self, data, worker)

    def acts_of(self, worker: Worker) -> list[Callable[[JobMachine, st.DataObject, Worker], None]]:
        fits = [
            (JobMachine.asks, worker.free(), 3),
            (JobMachine.works_on, worker.lives(), 4),
            (JobMachine.reads, bool(worker.into), 3),
            (JobMachine.is_heard, bool(worker.out), 3),
            (JobMachine.gives_back, worker.has_ahead(), 2),
            (JobMachine.goes_on, worker.in_batch(), 8),
            (JobMachine.takes_long, worker.in_batch(), 5),
            (JobMachine.fails, worker.in_batch(), 2),
            (JobMachine.crashes, worker.in_batch(), 3),
            (JobMachine.answers_too_much, worker.at_work() and not worker.in_batch(), 1),
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
        hold = data.draw(st.booleans(), label='hold')
        self.work(worker, self.pick_queue(data), data.draw(st.integers(1, 6), label='chunks'), hold=hold)

    def fails(self, data: st.DataObject, worker: Worker) -> None:
        worker.fail()

    def goes_on(self, data: st.DataObject, worker: Worker) -> None:
        """Some tickets of its batch further; the results stay with it, or are sent."""
        for _ in range(data.draw(st.integers(1, 4), label='tickets')):
            if not worker.go_on():
                worker.flush(SHORT)
                return

    def takes_long(self, data: st.DataObject, worker: Worker) -> None:
        worker.hurry(SHORT)

    def answers_too_much(self, data: st.DataObject, worker: Worker) -> None:
        """It answers its neighbours' tickets along with its own: only its own one counts.

        Tickets that were never made are no neighbours: who answers them is ended, and its own answer is not heard.
        """
        queue, serial = data.draw(st.sampled_from(list(worker.leases.items())), label='lease')
        made = len(self.job.ledger.track(queue))
        serials = [n for n in (serial - 1, serial, serial + 1) if 0 <= n < made]
        if any(n != serial and self.job.ledger.holding(worker.number, queue, n) for n in serials):
            return
        if worker.ahead.get(ANY_QUEUE if worker.plain else queue) or worker.into:
            return  # they may be its own by the time that this arrives
        del worker.leases[queue]
        worker.sure.discard(queue)
        worker.say_answer(queue, serials, SHORT)

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
        suspects = [*worker.leases.items(), *[(queue, n) for queue in worker.leases for n in worker.finished]]
        suspects += [(queue, serial) for queue, serials in worker.opened.items() for serial in serials]
        self.ends_with(worker, Exit(-11, 'signal SIGSEGV'))
        self.turn()
        for queue, serial in [] if self.job.exchange.feeding_over else suspects:
            entries = [entry for entry in self.job.table[queue].entries if isinstance(entry, Chunk)]
            assert all(entry.tickets == 1 for entry in entries if entry.serial <= serial < entry.end)

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
        tickets = data.draw(st.integers(1, 4), label='tickets')
        if any(self.job.ledger.holding(worker.number, queue, serial + at) is not None for at in range(tickets)):
            return  # then it would count
        before = list(self.job.ledger.track(queue).states)
        for kind in (Kind.ANSWER, Kind.FAILED, Kind.GIVE_BACK, Kind.TAKEN, Kind.RESULT):
            body = dumps_error(ValueError()) if kind == Kind.FAILED else dumps([(queue, serial)] * tickets)
            fields = {'queue': queue, 'serial': serial, 'tickets': tickets, 'flags': HAS_VALUE | LISTED}
            (frame,) = frames_of(encode(kind, body, number=SHORT, **fields))
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

    @rule(workers=st.integers(1, MOST))
    def the_manager_resizes_the_job(self, workers: int) -> None:
        with self.job.lock:
            try:
                self.dispatcher.resizing.check(workers)
            except JobOver:
                return
            self.dispatcher.resizing.resize(workers)
            assert self.job.workers == workers

    @rule(failed=st.booleans(), set_aside=st.booleans())
    def the_manager_tries_again(self, failed: bool, set_aside: bool) -> None:
        before = {queue.number: bytes(self.job.ledger.track(queue.number).states) for queue in self.queues}
        with self.job.lock:
            try:
                count = self.dispatcher.retrying.retry(failed=failed, set_aside=set_aside)
            except JobOver:
                return
        wanted = [state for state, on in ((State.FAILED, failed), (State.SET_ASIDE, set_aside)) if on]
        tickets = [(number, n) for number, states in before.items() for n, one in enumerate(states) if one in wanted]
        assert count == len(tickets), 'nobody has read anything yet'
        for ticket in tickets:
            del self.blames[ticket]

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
            waiting = [entry for entry in queue.entries if isinstance(entry, Chunk)]
            leased = [
                chunk
                for chunks in ledger.held.values()
                for (number, _), chunk in chunks.items()
                if number == queue.number
            ]
            queued, held = tickets_of(waiting), tickets_of(leased)
            assert sorted(queued + held) == sorted(tickets_of(track.live.values())), (
                'a ticket in two places, or in none'
            )
            assert queued == sorted(queued), 'what comes back goes ahead of the queue'
            assert all(track.live[chunk.serial] is chunk for chunk in waiting + leased)
            assert track.ahead == sum(chunk.tickets - chunk.begun for chunk in leased)
            assert track.live_tickets == len(queued) + len(held)
            assert track.live_bytes == sum(chunk.nbytes for chunk in waiting + leased)
            for chunk in waiting + leased:
                assert chunk.items == sum(track.items[chunk.serial : chunk.end]), 'items of another ticket'
            for serial, state in enumerate(track.states):
                assert (serial in queued) == (state == State.QUEUED)
                assert (serial in held) == (state == State.LEASED)

    @invariant()
    def the_ticket_at_work_is_known_only_where_it_is_one(self) -> None:
        for chunk in self.job.ledger.leased():
            assert not chunk.sure or (chunk.begun and chunk.tickets == 1)
            assert chunk.sure or not (chunk.begun and chunk.tickets == 1 and not chunk.rows), 'it came alone'
        for queue in self.queues:
            for entry in queue.entries:
                assert not isinstance(entry, Chunk) or not (entry.begun or entry.sure)

    @invariant()
    def leases_are_held_by_workers_that_live(self) -> None:
        if not self.job.killed:
            assert set(self.job.ledger.held) <= set(self.job.crew.workers)

    @invariant()
    def what_a_worker_is_at_is_leased_to_it(self) -> None:
        if self.dispatcher._finishing or self.job.killed:
            return  # every function has returned, what their threads still hold is answered; or nobody is heard
        for worker in self.engine.workers.values():
            events = [event.what for event in self.engine.events if event.worker == worker.number]
            said = [*worker.out, *[frame for frame in events if isinstance(frame, Frame)]]
            begun = {(f.queue, f.serial + at) for f in said if f.kind == Kind.TAKEN for at in range(f.tickets)}
            mine = [*worker.leases.items(), *[(queue, n) for queue in worker.leases for n in worker.finished]]
            mine += [(queue, serial) for queue, serials in worker.opened.items() for serial in serials]
            for queue, serial in mine:
                chunk = self.job.ledger.holding(worker.number, queue, serial)
                assert chunk is not None, 'two workers may be at the same ticket'
                assert chunk.begun or (queue, serial) in begun

    @invariant()
    def only_those_are_blamed_whom_a_worker_was_at(self) -> None:
        if self.job.killed or any(isinstance(event.what, Exit) for event in self.engine.events):
            return  # nobody is blamed any more; or the death is not booked yet
        for queue in self.queues:
            track = self.job.ledger.track(queue.number)
            for serial, chunk in [(n, live) for live in track.live.values() for n in range(live.serial, live.end)]:
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
        if any(slot.failed_starts == supervisor.start_limit and not slot.on_trial for slot in supervisor.slots):
            assert self.job.killed
            assert self.job.error is not None
        alive = [worker for number in self.engine.workers if (worker := self.job.crew.workers.get(number))]
        assert len({worker.slot for worker in alive}) == len(alive), 'two processes in one slot'

    @invariant()
    def who_is_too_many_gets_no_chunk(self) -> None:
        crew = self.job.crew
        kept = [slot.phase for slot in crew.supervisor.slots[: self.job.workers]]
        for worker in crew.workers.values():
            if worker.slot >= self.job.workers and (Phase.UP in kept or Phase.STARTING in kept):
                assert worker.leaving or self.job.exchange.feeding_over or worker.number in self.stand_ins
            if worker.ending:
                held = self.job.ledger.held.get(worker.number, {}).values()
                lead = [chunk for chunk in held if chunk.queue == worker.lead]
                tickets = set(tickets_of(lead))
                assert worker.lead is not None or not held
                assert tickets <= self.held_at_end.setdefault(worker.number, tickets)
            if worker.slot >= self.job.workers and not worker.leaving:
                self.stand_ins.add(worker.number)  # it was started for work that nobody else was there to do

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
            for queue in [queue for queue, opened in worker.opened.items() if opened and not self.plain]:
                while worker.opened[queue]:
                    worker.get(queue, FOREVER, SHORT)
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


def tickets_of(chunks: Iterable[Chunk]) -> list[int]:
    return [serial for chunk in chunks for serial in range(chunk.serial, chunk.end)]


TestJob = JobMachine.TestCase
TestJob.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
