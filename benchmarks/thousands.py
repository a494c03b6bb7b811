"""One manager and ten thousand workers that only pretend: the real feeder, dispatcher and ledger, at real time.

The engine is a mock: its workers ask for a chunk, are silent for as long as the chunk is said to take, and answer, all
by the messages of real ones, which are packed and unpacked as on any engine. So what is measured is the manager, on one
core, and what share of the workers' time it can keep them busy. What a network and Ray take comes on top (`ray.py`).
"""

from __future__ import annotations

import heapq
import selectors
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any, Final
from unittest import mock

import eisenmp
from benchmarks.contenders import Contender, Plan
from benchmarks.machine import check
from benchmarks.rounds import Contest, Goal
from benchmarks.work import modules
from eisenmp.engines.base import Event, Exit, Ready
from eisenmp.engines.waker import Waker, others
from eisenmp.payload import dumps
from eisenmp.wire import ANY_QUEUE, FOREVER, HAS_VALUE, Buffer, Decoder, Frame, Kind, encode

__all__ = ["run"]

WORKERS: Final = 10_000
ROUNDS: Final = 3  # chunks that each worker gets on an average, while the clock runs
ITEMS: Final = 100  # ints in a chunk; more only make it larger
DURATIONS: Final = (10.0, 3.0, 1.0)  # of a chunk
_HEAD: Final = struct.Struct("<BBHIQdIIIQ")
_ANSWER: Final = dumps(4950)


class _Handle:
    name = "pretender"
    pid = 0
    known_pid = None
    awaits = ""

    def __init__(self) -> None:
        self.exitcode: int | None = None

    def is_alive(self) -> bool:
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Pretenders:
    """An engine without workers; see :class:`eisenmp.engines.base.Engine`. `duration`: of each chunk, in seconds."""

    def __init__(self, duration: float) -> None:
        self.duration = duration
        self._selector = selectors.DefaultSelector()
        self._waker = Waker(self._selector)
        self._noted: deque[tuple[int, bytes]] = deque()
        self._due: list[tuple[float, int, int, int]] = []  # when, worker, queue, ticket
        self._events: deque[Event] = deque()
        self._handles: dict[int, _Handle] = {}
        self._decoder = Decoder(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
        self._requests = count(1)
        self._lock = threading.Lock()

    def equip(self, name: str, message: list[Buffer], files: Sequence[Any] = ()) -> None: ...

    def start(self, worker: int, name: str, setup: list[Buffer]) -> _Handle:
        self._handles[worker] = _Handle()
        self._say(worker, encode(Kind.UP, number=0.1), self._request())
        return self._handles[worker]

    def send(self, worker: int, pieces: list[Buffer], file: Any = None) -> None:
        self._noted.append((worker, bytes(pieces[0])))

    def flush(self) -> None:
        with self._lock:
            while self._noted:
                self._hear(*self._noted.popleft())

    def _hear(self, worker: int, head: bytes) -> None:
        kind, _, _, queue, serial, *_ = _HEAD.unpack_from(head)
        if kind == Kind.CHUNK:
            heapq.heappush(self._due, (time.monotonic() + self.duration, worker, queue, serial))
        elif kind == Kind.END:
            self._say(worker, encode(Kind.RETURNED))
            self._end(worker, 0)

    def _end(self, worker: int, code: int) -> None:
        if self._handles[worker].exitcode is None:
            self._handles[worker].exitcode = code
            self._events.append(Event(worker, Exit(code, f"exit code {code}")))
            self._waker.wake()

    def wait(self, timeout: float | None) -> Ready:
        with self._lock:
            if self._events:
                timeout = 0
            elif self._due:
                rest = max(0.0, self._due[0][0] - time.monotonic())
                timeout = rest if timeout is None else min(timeout, rest)
        return self._waker.heard(self._selector.select(timeout))

    def poll(self) -> Ready:
        return others(self._selector.select(0))

    def take(self, ready: Ready) -> list[Event]:
        with self._lock:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, worker, queue, serial = heapq.heappop(self._due)
                answer = encode(
                    Kind.ANSWER, _ANSWER, queue=queue, serial=serial, number=self.duration, tickets=1, flags=HAS_VALUE
                )
                self._say(worker, answer, self._request())
            events = list(self._events)
            self._events.clear()
            return events

    def wake(self) -> None:
        self._waker.wake()

    def kill(self, worker: int) -> None:
        self._end(worker, -9)

    def close(self) -> None:
        self._selector.close()
        self._waker.close()

    def _request(self) -> list[Buffer]:
        return encode(Kind.GET, queue=ANY_QUEUE, serial=next(self._requests), number=FOREVER)

    def _say(self, worker: int, *messages: list[Buffer]) -> None:
        self._events.extend([Event(worker, frame) for message in messages for frame in self._decoded(message)])

    def _decoded(self, message: list[Buffer]) -> list[Frame]:
        data = b"".join(message)
        self._decoder.room()[: len(data)] = data
        return self._decoder.advance(len(data))


def share_of_work(duration: float) -> float:
    """Percent of the workers' time in which they worked, once each of them has had a chunk."""
    engine = Pretenders(duration)
    with mock.patch("eisenmp.manager.make_engine", return_value=engine), eisenmp.Mp() as emp:
        emp.start(
            worker_modules=modules("chunk_sum"),
            NUM_PROCS=WORKERS,
            NUM_ROWS=ITEMS,
            WORKER_CALL="chunk",
            CONTROL_SOCKET=False,
        )
        stopped = threading.Event()

        def source() -> Iterator[int]:
            while not stopped.is_set():
                yield from range(ITEMS)

        emp.feed(source())
        begin = time.monotonic()
        for seen, outcome in enumerate(emp.results.outcomes(), 1):
            check(outcome.value, 4950, "the sum of a chunk")
            if seen == WORKERS:  # everybody has had one
                begin = time.monotonic()
            if seen == (1 + ROUNDS) * WORKERS:
                break
        seconds = time.monotonic() - begin
        stopped.set()
        emp.kill()
    return 100 * ROUNDS * duration / seconds


def run(plan: Plan) -> Iterator[Contest]:
    """The contest of this file."""
    field = [
        Contender(f"eisenmp, chunks of {duration:g} s", partial(share_of_work, duration)) for duration in DURATIONS
    ]
    turns = plan.compete(field, most=1, warm_up=False)
    title = f"one manager and {WORKERS:,} pretended workers: share of their time in which they have work"
    contest = turns.contest("thousands", title, "%", turns.values)
    contest.absolute(field[0].name, Goal(must=90), words=f"busy with chunks of {DURATIONS[0]:g} s")
    yield contest
