"""From looks at a job to the states that pages and terminals get: plain objects, ready for JSON. Pure.

The time is that of the looks, and what processes use is asked through functions; so a test gives both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eisenmp.display.board import Board, Boards, QueueRow, StreamRow, WorkerRow, short
from eisenmp.display.usage import Used, used_by, used_here
from eisenmp.events import Snapshot
from eisenmp.live.failures import Failures
from eisenmp.live.lanes import Bar, Lanes
from eisenmp.snapshot import Look
from eisenmp.tap import Answer

__all__ = ["States"]

_SAMPLE = 250  # answers of one look that the latency is made of, at most


class States:
    """Makes a state of each look and remembers what it needs for the next.

    Args:
        facts: what stays as it is: ``name``, ``pid``, …
        usage: what processes use, by pid.
        here: what this process uses.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        usage: Callable[[Iterable[int]], Mapping[int, Used]] = used_by,
        here: Callable[[], Used | None] = used_here,
    ) -> None:
        self._facts = dict(facts)
        self._boards = Boards(usage)
        self._failures = Failures()
        self._names: Sequence[str] = ()
        self._lanes = Lanes(self._ticket)
        self._here = here
        self._spent: tuple[float, float] | None = None  # when, and seconds of CPU until then
        self._count = 0

    def make(
        self, look: Look, logs: list[dict[str, Any]], can: Iterable[str] = (), *, over: bool = False
    ) -> tuple[dict[str, Any], list[Bar]]:
        """The state at a look, which must not be older than the one before, and the bars of its lanes.

        Args:
            look: at the job.
            logs: what was heard since the last look.
            can: which actions the job can take now.
            over: this is the last one.
        """
        snapshot, tap = look.snapshot, look.tap
        self._names = look.names
        self._count += 1
        board = self._boards.make(snapshot)
        bars = self._lanes.advance(tap.answers, tap.phases, snapshot.workers, look.began, snapshot.seconds)
        pids = {worker.slot: worker.pid for worker in snapshot.workers}
        state = {
            "kind": "state",
            "n": self._count,
            "job": self._facts,
            "seconds": _rounded(snapshot.seconds),
            "over": over,
            "stopping": snapshot.stopping,
            **_totals(board, snapshot),
            "all": None if board.whole is None else _stream(board.whole),
            "streams": [_stream(row) for row in board.streams],
            "latency": _latency(tap.answers),
            "queues": [_queue(row) for row in board.queues],
            "workers": [_worker(row, pids.get(row.slot, 0)) for row in board.workers],
            "manager": self._manager(snapshot.seconds),
            "lanes": [bar.row() for bar in bars],
            "failures": self._failures.tell(tap.failures, tap.deaths, [short(name) for name in look.names], look.began),
            "logs": logs,
            "can": list(can),
        }
        return state, bars

    def _ticket(self, queue: int, serial: int) -> str:
        return f"{short(self._names[queue])}_TID_{serial}"

    def _manager(self, now: float) -> dict[str, Any]:
        used = self._here()
        cpu = None
        if used is not None:
            if self._spent is not None and now > self._spent[0]:
                cpu = max(0.0, 100 * (used.cpu_seconds - self._spent[1]) / (now - self._spent[0]))
            self._spent = (now, used.cpu_seconds)
        return {"pid": os.getpid(), "cpu": _rounded(cpu, 1), "memory": None if used is None else used.resident}


def _totals(board: Board, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "slots": board.slots,
        "wanted": snapshot.wanted,
        "up": board.up,
        "restarts": board.restarts,
        "chunks": {
            "done": snapshot.done,
            "failed": board.failed,
            "partly_failed": board.partly_failed,
            "set_aside": board.set_aside,
        },
    }


def _stream(row: StreamRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "done": row.done,
        "total": row.total,
        "made": row.made,
        "rate": _rounded(row.rate),
        "left": _rounded(row.left, 1),
        "feeders": row.feeders,
    }


def _queue(row: QueueRow) -> dict[str, Any]:
    return {"name": row.name, "fill": row.fill, "bound": row.bound, "full": row.full}


def _worker(row: WorkerRow, pid: int) -> dict[str, Any]:
    return {
        "slot": row.slot,
        "name": row.name,
        "pid": pid,
        "state": row.state,
        "ticket": row.ticket,
        "age": _rounded(row.age),
        "rate": _rounded(row.rate),
        "cpu": _rounded(row.cpu, 1),
        "memory": row.memory,
        "restarts": row.restarts,
    }


def _latency(answers: Sequence[Answer]) -> dict[str, Any]:
    """From being sent to the answer, of chunks, those that travelled together included."""
    every = max(1, len(answers) // _SAMPLE)
    spans = sorted([(answer.end - answer.sent, answer.tickets) for answer in list(answers)[::every]])
    tickets = sum([answer.tickets for answer in answers])
    return {"p50": _rounded(_quantile(spans, 0.5), 6), "p95": _rounded(_quantile(spans, 0.95), 6), "n": tickets}


def _quantile(weighted: Sequence[tuple[float, int]], share: float) -> float | None:
    """The least value that so large a share of the weight does not exceed. `weighted`: (value, weight), ascending."""
    rest = share * sum([weight for _, weight in weighted])
    for value, weight in weighted:
        rest -= weight
        if rest <= 0:
            return value
    return None


def _rounded(number: float | None, digits: int = 3) -> float | None:
    """For JSON, which knows no infinity and no NaN."""
    if number is None or number - number != 0:
        return None
    return round(number, digits)
