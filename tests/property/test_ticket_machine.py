"""The dispatcher's books under any order of events: a hypothesis machine plays feeders, workers, deaths and the clock.

The real ledger, exchange, supervisor, crew and desks are at work; only the engine is a fake, which delivers at once.
Each worker of the model knows what it was handed, as a real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eisenmp.dispatcher import Dispatcher
from eisenmp.engines.base import Event, Exit, Ready
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.exchange import Exchange
from eisenmp.feeder import Cut, Feeder
from eisenmp.intake import Intake
from eisenmp.job import Job
from eisenmp.ledger import Chunk, Ledger, State
from eisenmp.parcel import SharedFile
from eisenmp.payload import dumps, dumps_error
from eisenmp.queues import QueueTable
from eisenmp.results import Record, Results
from eisenmp.settings import Settings
from eisenmp.sources import source_of
from eisenmp.supervisor import Phase
from eisenmp.wire import ANY_QUEUE, FOREVER, Buffer, Decoder, Frame, Kind

RETRIES = 1
CRASH_RETRIES = 1
SLOTS = 3
QUEUE = 0
ITEMS = 4


@dataclass
class FakeWorker:
    """What a real worker would know."""

    number: int
    up: bool = False
    asking: int = 0  # request under way
    requests: int = 0
    hands: list[int] = field(default_factory=list)  # begun
    ahead: list[int] = field(default_factory=list)
    ended: bool = False  # it was told the end of the stream


class FakeHandle:
    """Stands in for a process."""

    name = "fake"
    awaits = ""
    pid = 1
    known_pid = 1
    exitcode = None

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float | None = None) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class FakeEngine:
    """Delivers at once, to the workers of the model."""

    ahead_bytes = 8 << 20

    def __init__(self) -> None:
        self.workers: dict[int, FakeWorker] = {}
        self.killed: list[int] = []

    def store(self, piece: memoryview) -> Buffer | None:
        return None

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None: ...

    def start(self, worker: int, name: str, setup: list[Buffer]) -> FakeHandle:
        self.workers[worker] = FakeWorker(worker)
        return FakeHandle()

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        decoder = Decoder(1, Kind.LAST_TO_WORKER)
        data = b"".join(bytes(piece) for piece in pieces)
        decoder.room()[: len(data)] = data
        (frame,) = decoder.advance(len(data))
        if worker in self.workers:
            self._arrive(self.workers[worker], frame)

    def _arrive(self, worker: FakeWorker, frame: Frame) -> None:
        if frame.kind == Kind.CHUNK and frame.number:
            assert frame.number == worker.asking
            worker.asking = 0
            worker.hands.append(frame.serial)
        elif frame.kind == Kind.CHUNK:
            worker.ahead.append(frame.serial)
        elif frame.kind in (Kind.END, Kind.AHEAD):
            assert frame.serial == worker.asking
            worker.asking = 0
            worker.ended = frame.kind == Kind.END
            assert frame.kind == Kind.END or worker.ahead

    def kill(self, worker: int) -> None:
        self.killed.append(worker)

    def flush(self) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...
    def wait(self, timeout: float | None) -> Ready:
        return []

    def poll(self, timeout: float = 0.0) -> Ready:
        return []

    def take(self, ready: Ready) -> list[Event]:
        return []


class Deaf:
    """A listener that does not listen."""

    def lines(self, text: str, *, stderr: bool, worker: str = '') -> None: ...
    def log(self, fields: dict[str, Any]) -> None: ...
    def warned(self, fields: dict[str, Any]) -> None: ...
    def news(self, text: str) -> None: ...


class Books(Results):
    """Results that count the outcomes of each ticket."""

    counts: dict[int, int]

    def record(self, record: Record) -> None:
        if record.parts:
            places = [at for part, _ in record.parts for at in range(part.first, part.first + part.items)]
            assert places == list(range(self.ledger.tracks[QUEUE].items[record.serial])), "each item once"
            assert [bool(part.exits) for part, _ in record.parts] == [crash is not None for _, crash in record.parts]
        self.counts[record.serial] = self.counts.get(record.serial, 0) + 1
        super().record(record)


class TicketMachine(RuleBasedStateMachine):
    """See the module's text."""

    @initialize(plain=st.booleans())
    def begin(self, plain: bool) -> None:
        self.now = 0.0
        self.asks = ANY_QUEUE if plain else QUEUE
        self.engine = FakeEngine()
        self.plain = plain
        exchange = Exchange(QueueTable(), Ledger(RETRIES, CRASH_RETRIES, halves=plain))
        results = Books(exchange, on_read=lambda _: None)
        results.counts = {}
        self.results = results
        self.job = Job(
            engine=self.engine,
            settings=Settings(NUM_PROCS=SLOTS, ON_ERROR="skip", BUFFER_CHUNKS=1000),
            exchange=exchange,
            results=results,
            listener=Deaf(),
            setup=lambda *_: [[b""]],
            clock=lambda: self.now,
        )
        self.dispatcher = Dispatcher(self.job, [], lambda: None)
        self.intake = Intake(self.job)
        self.feeder = Feeder(source_of(()), QUEUE, None)
        self.feeding = True
        self.begun_deaths: dict[int, int] = {}
        exchange.feeder_begins(exchange.table[QUEUE])
        self.turn()

    # ---- helpers

    def turn(self) -> None:
        with self.job.lock:
            self.dispatcher.tickets.hand_ahead()
            self.job.exchange.due(self.now)
            self.dispatcher._start_due()

    def tell(self, worker: FakeWorker, kind: int, **fields: Any) -> None:
        given: dict[str, Any] = {
            "flags": 0,
            "queue": QUEUE,
            "serial": 0,
            "number": 0.0,
            "tickets": 0,
            "skip": 0,
            "rows": 0,
        }
        given |= {"body": b"", "buffers": (), **fields}
        with self.job.lock:
            self.dispatcher._take(Event(worker.number, Frame(kind, **given)))

    def pick(self, data: st.DataObject, want: str) -> FakeWorker | None:
        conditions: dict[str, Callable[[FakeWorker], Any]] = {
            "starting": lambda w: not w.up,
            "idle": lambda w: w.up and not w.asking and not w.ended,
            "busy": lambda w: w.hands,
            "ahead": lambda w: w.ahead and not w.asking,
            "any": lambda w: True,
        }
        workers = [worker for worker in self.engine.workers.values() if conditions[want](worker)]
        return data.draw(st.sampled_from(workers), label=want) if workers else None

    # ---- what may happen

    @precondition(lambda self: self.feeding)
    @rule(chunks=st.integers(1, 12), items=st.integers(1, ITEMS))
    def feed(self, chunks: int, items: int) -> None:
        for _ in range(chunks):
            self.intake.add_chunk(self.feeder, items, dumps([1] * items), Cut())

    @precondition(lambda self: self.feeding)
    @rule()
    def feeder_ends(self) -> None:
        self.feeding = False
        self.intake.feeder_done(self.feeder, None)

    @rule(data=st.data())
    def comes_up(self, data: st.DataObject) -> None:
        if worker := self.pick(data, "starting"):
            worker.up = True
            self.tell(worker, Kind.UP)

    @rule(data=st.data())
    def asks_for_more(self, data: st.DataObject) -> None:
        if worker := self.pick(data, "idle"):
            worker.requests += 1
            worker.asking = worker.requests
            self.tell(worker, Kind.GET, queue=self.asks, serial=worker.asking, number=FOREVER)

    @rule(data=st.data(), seconds=st.sampled_from([0.0001, 0.003, 1.0]), batch=st.booleans())
    def answers(self, data: st.DataObject, seconds: float, batch: bool) -> None:
        if worker := self.pick(data, "busy"):
            serial = data.draw(st.sampled_from(worker.hands))
            worker.hands.remove(serial)
            self.tell(worker, Kind.RESULT, serial=serial, body=dumps(serial)[0])
            self.tell(worker, Kind.ANSWER, serial=serial, number=seconds)
            self.tell(worker, Kind.ANSWER, serial=serial, number=seconds)  # twice: the second is not counted
            if not batch:
                self.turn()

    @rule(data=st.data(), text=st.sampled_from(["", "17"]))
    def opens_its_items(self, data: st.DataObject, text: str) -> None:
        if worker := self.pick(data, "busy"):
            self.tell(worker, Kind.OPENED, serial=data.draw(st.sampled_from(worker.hands)), body=text.encode())

    @rule(data=st.data(), serial=st.integers(0, 5))
    def answers_what_it_does_not_hold(self, data: st.DataObject, serial: int) -> None:
        worker = self.pick(data, "any")
        if worker and serial not in worker.hands + worker.ahead:
            self.tell(worker, Kind.ANSWER, serial=serial, number=0.1)
            self.tell(worker, Kind.TAKEN, serial=serial)
            self.tell(worker, Kind.GIVE_BACK, serial=serial)

    @rule(data=st.data(), chunks=st.integers(3, 6))
    def works_on(self, data: st.DataObject, chunks: int) -> None:
        """A worker that does short chunk after short chunk earns more of them ahead."""
        worker = self.pick(data, "any")
        for _ in range(3 * chunks if worker else 0):
            if worker and not worker.asking:
                self.go_on(worker)
                self.turn()

    @rule(data=st.data())
    def takes_what_came_ahead(self, data: st.DataObject) -> None:
        if worker := self.pick(data, "ahead"):
            serial = worker.ahead.pop(0)
            worker.hands.append(serial)
            self.tell(worker, Kind.TAKEN, serial=serial)

    @rule(data=st.data())
    def gives_back(self, data: st.DataObject) -> None:
        if worker := self.pick(data, "ahead"):
            given, worker.ahead = worker.ahead, []
            for serial in given:
                self.tell(worker, Kind.GIVE_BACK, serial=serial)

    @rule(data=st.data())
    def fails(self, data: st.DataObject) -> None:
        if worker := self.pick(data, "busy"):
            serial = data.draw(st.sampled_from(worker.hands))
            worker.hands.remove(serial)
            worker.ended = False  # after an exception the worker's loop calls its function again, which asks again
            self.tell(worker, Kind.FAILED, serial=serial, body=dumps_error(ValueError("x"))[0])

    @rule(data=st.data(), passed=st.sampled_from([0.01, 5.0]))
    def dies(self, data: st.DataObject, passed: float) -> None:
        if worker := self.pick(data, "any"):
            self.now += passed
            for serial in worker.hands:
                self.begun_deaths[serial] = self.begun_deaths.get(serial, 0) + 1
            del self.engine.workers[worker.number]
            with self.job.lock:
                self.dispatcher._take(Event(worker.number, Exit(-9, "signal SIGKILL")))
            self.tell(worker, Kind.ANSWER, serial=0)  # what a dead worker's number says is not heard
            self.turn()

    @rule(passed=st.sampled_from([0.05, 3.0]))
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.turn()

    @rule()
    def the_loop_turns(self) -> None:
        self.turn()

    # ---- what always holds

    @invariant()
    def books_and_hands_agree(self) -> None:
        if not hasattr(self, "job") or self.job.killed:  # a killed job keeps its leases: they tell what was under way
            return
        ledger = self.job.ledger
        track = ledger.track(QUEUE)
        queued = [entry.serial for entry in self.job.table[QUEUE].entries if isinstance(entry, Chunk)]
        held = {number: sorted(serial for _, serial in chunks) for number, chunks in ledger.held.items()}
        for worker in self.engine.workers.values():
            assert held.pop(worker.number, []) == sorted(worker.hands + worker.ahead)
        assert not held, "a lease of a worker that is gone"
        leased = [serial for w in self.engine.workers.values() for serial in w.hands + w.ahead]
        assert len(queued + leased) == len(set(queued + leased)), "a ticket in two places"
        assert sorted(queued + leased) == sorted(track.live)
        assert track.ahead == sum(len(worker.ahead) for worker in self.engine.workers.values())
        assert queued == sorted(queued), "what comes back goes ahead of the queue"
        for serial, state in enumerate(track.states):
            assert self.results.counts.get(serial, 0) == (state in (State.DONE, State.FAILED, State.SET_ASIDE))
            assert (serial in queued) == (state == State.QUEUED)
            assert (serial in leased) == (state == State.LEASED)
            deaths = self.begun_deaths.get(serial, 0)
            if self.plain:  # they are halved after that, down to the last item
                assert deaths <= CRASH_RETRIES + 1 + 3 * ITEMS
                assert state != State.SET_ASIDE or deaths > CRASH_RETRIES
            else:
                assert deaths <= CRASH_RETRIES + 1
                assert (state == State.SET_ASIDE) == (deaths == CRASH_RETRIES + 1)

    @invariant()
    def somebody_is_there_or_the_job_has_ended(self) -> None:
        if not hasattr(self, "job") or self.job.killed:
            return
        slots = self.job.crew.supervisor.slots
        assert all(slot.phase != Phase.GONE for slot in slots)
        assert max(slot.failed_starts for slot in slots) < 3

    def teardown(self) -> None:
        """Left alone, every job comes to its end, with one outcome for each ticket."""
        if not hasattr(self, "job") or self.job.killed:
            return
        if self.feeding:
            self.intake.feeder_done(self.feeder, None)
        for _ in range(10_000):
            self.now += 3.0
            self.turn()
            workers = list(self.engine.workers.values())
            if len(workers) == SLOTS and all(worker.ended and not worker.hands for worker in workers):
                break
            for worker in workers:
                self.go_on(worker)
        states = self.job.ledger.track(QUEUE).states
        assert all(state in (State.DONE, State.FAILED, State.SET_ASIDE) for state in states)
        assert all(self.results.counts[serial] == 1 for serial in range(len(states)))

    def go_on(self, worker: FakeWorker) -> None:
        """One step of a worker that does what it should."""
        if not worker.up:
            worker.up = True
            self.tell(worker, Kind.UP)
        elif worker.hands:
            self.tell(worker, Kind.ANSWER, serial=worker.hands.pop(0), number=0.001)
        elif worker.ahead:
            serial = worker.ahead.pop(0)
            worker.hands.append(serial)
            self.tell(worker, Kind.TAKEN, serial=serial)
        elif not worker.asking and not worker.ended:
            worker.requests += 1
            worker.asking = worker.requests
            self.tell(worker, Kind.GET, queue=self.asks, serial=worker.asking, number=FOREVER)


TestTickets = TicketMachine.TestCase
TestTickets.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
