"""What unit and property tests share: a clock set by hand, an engine that starts nothing, a job around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from selectors import SelectorKey
from typing import Any

from eisenmp.engines.base import Event, Exit, ProcessHandle, Ready
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.exchange import Exchange
from eisenmp.job import Job
from eisenmp.ledger import Chunk, Ledger
from eisenmp.parcel import SharedFile
from eisenmp.payload import dumps, nbytes
from eisenmp.queues import Getter, Message, NamedQueue, Putter, QueueTable
from eisenmp.results import Results
from eisenmp.settings import Settings
from eisenmp.wire import Buffer, Decoder, Frame, Kind, encode

__all__ = [
    'Clock',
    'FakeEngine',
    'FakeHandle',
    'Heard',
    'Reader',
    'Writer',
    'add_chunk',
    'end_of',
    'frames_of',
    'make_exchange',
    'make_job',
    'message',
]


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeHandle:
    """A process that is not there."""

    awaits = ''

    def __init__(self, name: str, worker: int) -> None:
        self.name = name
        self.worker = worker

    @property
    def pid(self) -> int:
        return 10_000 + self.worker

    @property
    def known_pid(self) -> int:
        return self.pid

    @property
    def exitcode(self) -> int | None:
        return None

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float | None = None) -> None:
        pass

    def terminate(self) -> None:
        pass

    def kill(self) -> None:
        pass


READY = (SelectorKey(0, 0, 0, None), 0)  # what a selector tells when something is there


class FakeEngine:
    """Starts nothing: keeps what is sent, decoded, and reports what the test tells it to."""

    ahead_bytes = 8 << 20

    def __init__(self) -> None:
        self.started: list[int] = []
        self.killed: list[int] = []
        self.sent: dict[int, list[Frame]] = {}  # decoded, per worker
        self.events: deque[Event] = deque()
        self.timeouts: list[float | None] = []
        self.refuse: OSError | None = None  # start() raises it
        self.closed = False
        self.files: list[HasDescriptor] = []  # that went along with a message
        self.woken = 0
        self._decoders: dict[int, Decoder] = {}

    def store(self, piece: memoryview) -> Buffer | None:
        return None

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None:
        pass

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        if self.refuse is not None:
            raise self.refuse
        self.started.append(worker)
        self.sent[worker] = []
        self._decoders[worker] = Decoder(1, Kind.LAST_TO_WORKER, 4096)
        self.send(worker, setup)
        return FakeHandle(name, worker)

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        if file is not None:
            self.files.append(file)
        if worker in self._decoders:
            self.sent[worker] += frames_of(pieces, self._decoders[worker])

    def flush(self) -> None:
        pass

    def wait(self, timeout: float | None) -> Ready:
        self.timeouts.append(timeout)
        return self.poll()

    def poll(self, timeout: float = 0.0) -> Ready:
        return [READY] if self.events else []

    def take(self, ready: Ready) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        return events

    def wake(self) -> None:
        self.woken += 1

    def kill(self, worker: int) -> None:
        self.killed.append(worker)

    def close(self) -> None:
        self.closed = True

    def gone(self, worker: int) -> None:
        """From now on it swallows what is sent to that worker."""
        self._decoders.pop(worker, None)


def frames_of(pieces: list[Buffer], decoder: Decoder | None = None) -> list[Frame]:
    """The frames that these pieces make."""
    decoder = decoder or Decoder(0, 255, 4096)
    frames: list[Frame] = []
    data = b''.join(bytes(piece) for piece in pieces)
    at = 0
    while at < len(data):
        room = decoder.room()
        count = min(len(room), len(data) - at)
        room[:count] = data[at : at + count]
        room.release()
        frames += decoder.advance(count)
        at += count
    return frames


def end_of(worker: int, code: int | None = -9, text: str = 'signal SIGKILL') -> Event:
    """A worker is gone."""
    return Event(worker, Exit(code, text))


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.news_texts: list[str] = []
        self.printed: list[tuple[str, bool]] = []
        self.logged: list[dict[str, Any]] = []
        self.warnings: list[dict[str, Any]] = []

    def lines(self, text: str, *, stderr: bool, worker: str = '') -> None:
        self.printed.append((text, stderr))

    def log(self, fields: dict[str, Any]) -> None:
        self.logged.append(fields)

    def warned(self, fields: dict[str, Any]) -> None:
        self.warnings.append(fields)

    def news(self, text: str) -> None:
        self.news_texts.append(text)


def make_exchange(*queues: tuple[str | None, str, int]) -> tuple[Exchange, list[NamedQueue]]:
    """An exchange with these queues, numbered from 5."""
    table = QueueTable()
    return Exchange(table, Ledger()), table.create(list(queues))


def make_job(**settings: Any) -> tuple[Job, FakeEngine, Heard, Clock]:
    """A job that starts nothing."""
    exchange = Exchange(QueueTable(), Ledger())
    known = Settings(**{'NUM_PROCS': 2, **settings})
    exchange.ledger.retries, exchange.ledger.crash_retries = known.RETRIES, known.CRASH_RETRIES
    results = Results(exchange, on_read=lambda _: None)
    results.keep(all_values=known.RESULTS_STORE, last=known.window_chunks)
    engine, heard, clock = FakeEngine(), Heard(), Clock()
    setup: Callable[[int, str], list[list[Buffer]]] = lambda slot, name: [encode(Kind.SETUP, (b'',))]  # noqa: E731
    job = Job(engine, known, exchange, results, heard, setup, clock)
    results.on_read = job.read
    return job, engine, heard, clock


def message(text: str = 'x') -> Message:
    """A message put by hand."""
    return Message(dumps(text))


def add_chunk(exchange: Exchange, queue: NamedQueue, items: int = 1) -> Chunk:
    """One more ticket, as a feeder makes it."""
    payload = dumps(list(range(items)))
    chunk = exchange.ledger.add(queue.number, items, payload, nbytes(payload))
    exchange.add_chunk(queue, chunk)
    return chunk


class Reader:
    """A getter that remembers what it was given; ``END`` for the end of the stream."""

    END = 'end'

    def __init__(self, worker: int | None = 1) -> None:
        self.got: list[Any] = []
        self.getter = Getter(worker, self._deliver)

    def _deliver(self, queue: NamedQueue, entry: Message | Chunk | None) -> None:
        self.got.append(self.END if entry is None else entry)

    @property
    def live(self) -> bool:
        return self.getter.live


class Writer:
    """A putter that remembers whether it was let in."""

    def __init__(self, text: str = 'x', worker: int | None = 1) -> None:
        self.accepted = False
        self.message = message(text)
        self.putter = Putter(worker, self.message, self._accepted)

    def _accepted(self) -> None:
        self.accepted = True
        self.putter.live = False
