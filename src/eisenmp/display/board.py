"""From snapshots to the rows of the display: rates, times left, shares of a processor. Pure.

The time is that of the snapshots, and what processes use is asked through a function; so a test gives both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from eisenmp.constants import DEFAULT_SUFFIX
from eisenmp.display.progress import Rate, counts, failure_words
from eisenmp.display.usage import Used, used_by
from eisenmp.events import QueueView, Snapshot, WorkerView

__all__ = ["Board", "Boards", "Crowd", "QueueRow", "StreamRow", "WorkerRow", "fit"]

_USAGE_EVERY: Final = 1.0  # seconds between two looks at what processes use
_OPEN_EVERY: Final = 1.0  # seconds between two failures that are unpickled to be shown


@dataclass(frozen=True, slots=True)
class StreamRow:
    """What one queue is fed with, or what workers report under one name. ``total`` None: unknown."""

    name: str
    done: int
    total: int | None
    rate: float
    left: float | None  # seconds
    made: int = 0
    feeders: int = 1


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker. None: nobody knows."""

    slot: int
    name: str
    state: str
    ticket: str
    age: float | None
    rate: float  # chunks
    cpu: float | None  # percent of one processor
    memory: int | None  # bytes
    restarts: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """Workers for which there is no line of their own."""

    states: tuple[tuple[int, str], ...]  # how many, and what they are at
    rate: float
    cpu: float | None
    memory: int | None
    restarts: int

    @property
    def size(self) -> int:
        """How many they are."""
        return sum(count for count, _ in self.states)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """``bound`` 0: there is none."""

    name: str
    fill: int
    bound: int
    full: bool


@dataclass(frozen=True, slots=True)
class Board:
    """All that is shown at one time."""

    seconds: float
    whole: StreamRow | None  # of all streams together, where there are several
    streams: tuple[StreamRow, ...]
    workers: tuple[WorkerRow, ...]
    queues: tuple[QueueRow, ...]
    up: int
    slots: int
    restarts: int
    failed: int
    partly_failed: int
    set_aside: int
    failure: str
    crowd: Crowd | None = None
    more_streams: int = 0


class Boards:
    """Makes a board of each snapshot and remembers what it needs for the next.

    Args:
        usage: what processes use, by pid.
    """

    def __init__(self, usage: Callable[[Iterable[int]], Mapping[int, Used]] = used_by) -> None:
        self._usage = usage
        self._rates: dict[object, Rate] = {}
        self._looked: float | None = None
        self._cpu_seconds: dict[int, tuple[float, float]] = {}  # pid -> when, how many
        self._shown: dict[int, tuple[float | None, int]] = {}  # pid -> percent, bytes
        self._failure: tuple[tuple[str, int] | None, float, str] = (None, 0.0, "")

    def make(self, snapshot: Snapshot) -> Board:
        """The board of a snapshot, which must not be older than the one before."""
        self._look(snapshot)
        streams = self._streams(snapshot)
        workers = snapshot.workers
        return Board(
            seconds=snapshot.seconds,
            whole=self._whole(snapshot) if len(streams) > 1 or snapshot.info_total else None,
            streams=streams,
            workers=tuple(self._worker(worker, snapshot) for worker in workers),
            queues=tuple(_queue(queue) for queue in snapshot.queues),
            up=sum(1 for worker in workers if worker.phase == "up"),
            slots=len(workers),
            restarts=sum(worker.restarts for worker in workers),
            failed=snapshot.failed,
            partly_failed=snapshot.partly_failed,
            set_aside=snapshot.set_aside,
            failure=self._failure_words(snapshot),
        )

    # ---- streams

    def _streams(self, snapshot: Snapshot) -> tuple[StreamRow, ...]:
        rows: dict[str, StreamRow] = {}
        for feeder in snapshot.feeders:
            total = feeder.made if feeder.finished else feeder.total
            row = rows.get(feeder.queue)
            if row is None:
                rows[feeder.queue] = StreamRow(short(feeder.queue), feeder.done, total, 0.0, None, feeder.made)
                continue
            both = None if row.total is None or total is None else row.total + total
            rows[feeder.queue] = replace(row, total=both, made=row.made + feeder.made, feeders=row.feeders + 1)
        told = [StreamRow(name or "reported", done, None, 0.0, None, done, 0) for name, done in snapshot.info.items()]
        return tuple(self._with_rate(row, snapshot.seconds) for row in [*rows.values(), *told])

    def _whole(self, snapshot: Snapshot) -> StreamRow:
        done, total = counts(snapshot)
        made = sum(feeder.made for feeder in snapshot.feeders)
        return self._with_rate(StreamRow("all", done, total, 0.0, None, made, 0), snapshot.seconds, whole=True)

    def _with_rate(self, row: StreamRow, now: float, *, whole: bool = False) -> StreamRow:
        rate = self._rate(("all",) if whole else (row.name, row.feeders > 0), now, row.done)
        left = None
        if row.total is not None and row.total > row.done and rate:
            left = (row.total - row.done) / rate
        return replace(row, rate=rate, left=left)

    def _rate(self, key: object, now: float, count: int, since: float = 0.0) -> float:
        if key not in self._rates:
            self._rates[key] = Rate(since)
        return self._rates[key].at(now, count)

    # ---- workers

    def _worker(self, worker: WorkerView, snapshot: Snapshot) -> WorkerRow:
        cpu, memory = self._shown.get(worker.pid, (None, None))
        at_work = bool(worker.at) and worker.phase in ("up", "returned", "leaving")
        return WorkerRow(
            slot=worker.slot,
            name=worker.name,
            state=("working" if at_work else "idle") if worker.phase == "up" else worker.phase,
            ticket=short(worker.at) if at_work else "",
            age=worker.oldest_seconds if at_work else None,
            rate=self._rate(worker.slot, snapshot.seconds, worker.answered),
            cpu=cpu,
            memory=memory,
            restarts=worker.restarts,
        )

    def _look(self, snapshot: Snapshot) -> None:
        """Ask what the processes use, now and then."""
        now = snapshot.seconds
        if self._looked is not None and now - self._looked < _USAGE_EVERY:
            return
        self._looked = now
        used = self._usage([worker.pid for worker in snapshot.workers if worker.pid and worker.phase != "gone"])
        before, self._cpu_seconds, self._shown = self._cpu_seconds, {}, {}
        for pid, (cpu_seconds, resident) in used.items():
            self._cpu_seconds[pid] = (now, cpu_seconds)
            then, spent = before.get(pid, (now, cpu_seconds))
            share = 100 * (cpu_seconds - spent) / (now - then) if now > then else None
            self._shown[pid] = (share, resident)

    # ---- failures

    def _failure_words(self, snapshot: Snapshot) -> str:
        """What failed last. Opened once, and not many times a second."""
        failure = snapshot.last_failure
        if failure is None:
            return ""
        known, when, words = self._failure
        which = (failure.queue, failure.ticket)
        if known != which and (known is None or snapshot.seconds - when >= _OPEN_EVERY):
            words = failure_words(failure)
            self._failure = (which, snapshot.seconds, words)
        return words


def short(name: str) -> str:
    """A queue's or a ticket's name without the words that mark the default queue."""
    return name.replace(DEFAULT_SUFFIX, "", 1)


def _queue(queue: QueueView) -> QueueRow:
    if queue.window:
        return QueueRow(short(queue.name), queue.under_way, queue.window, queue.under_way >= queue.window)
    return QueueRow(short(queue.name), queue.fill, queue.maxsize, 0 < queue.maxsize <= queue.fill)


# ---- too many for the terminal


def fit(board: Board, lines: int) -> Board:
    """As much of the board as fits into that many lines: one for the head, one for the queues, one for what failed.

    Streams come first; of workers that have no place, one line tells in sum.
    """
    lines -= 1 + bool(board.queues) + bool(board.failure) + (board.whole is not None)
    streams = board.streams
    most = max(1, lines // 2)
    if len(streams) > most:
        streams = streams[: max(1, most - 1)]
    more = len(board.streams) - len(streams)
    lines -= len(streams) + bool(more)
    workers, crowd = board.workers, None
    if len(workers) + 1 > lines:  # 1: the titles of the columns
        workers = _who_matter(workers, max(0, lines - 2))
        chosen = {worker.slot for worker in workers}
        crowd = _crowd([worker for worker in board.workers if worker.slot not in chosen])
    return replace(board, streams=streams, workers=workers, crowd=crowd, more_streams=more)


def _who_matter(workers: Iterable[WorkerRow], count: int) -> tuple[WorkerRow, ...]:
    """Those that are longest at one ticket, by whole seconds, so that rows do not jump; in the order of their slots."""
    first = sorted(workers, key=lambda worker: (-int(worker.age or 0), worker.slot))[:count]
    return tuple(sorted(first, key=lambda worker: worker.slot))


def _crowd(workers: list[WorkerRow]) -> Crowd:
    states: dict[str, int] = {}
    for worker in workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    cpu = [worker.cpu for worker in workers if worker.cpu is not None]
    memory = [worker.memory for worker in workers if worker.memory is not None]
    return Crowd(
        states=tuple((count, state) for state, count in sorted(states.items(), key=lambda item: -item[1])),
        rate=sum(worker.rate for worker in workers),
        cpu=sum(cpu) if cpu else None,
        memory=sum(memory) if memory else None,
        restarts=sum(worker.restarts for worker in workers),
    )
