"""400 chunks of 2 ms and one of a second anywhere among them: how good is the schedule?

Measured against greedy list scheduling: each chunk, in order, to the worker that is free first. That is computed from
the durations which the workers themselves have measured, so that what is left is the library's own.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from benchmarks.contenders import Contender, Plan
from benchmarks.machine import check
from benchmarks.ours import IMAP, PLAIN
from benchmarks.peers import EXECUTOR, JOBLIB, POOL, SIMPLE_QUEUE
from benchmarks.rounds import Contest, Goal
from benchmarks.streams import Gate, Stream, Streamer
from benchmarks.work import rest, spin

__all__ = ["greedy", "run"]

SHORT: Final = 400
SECONDS: Final = 0.002
LONG: Final = 1.0
WORKERS: Final = 2


def greedy(durations: Sequence[float], workers: int) -> float:
    """The makespan when each task, in order, goes to the worker that is free first."""
    free = [0.0] * workers
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def tasks(place: int, gate: Gate | None = None) -> Iterator[tuple[int, float]]:
    """(number, seconds) of each, with the long one at its place."""
    if gate is not None:
        yield from gate.warm
        gate.wait()
    for number in range(SHORT + 1):
        yield number, LONG if number == place else SECONDS


class Scheduled:
    """A contender with the places of the long chunk, the same for all: one for each round."""

    def __init__(self, streamer: Streamer, function: Callable[[Any], Any], seed: str) -> None:
        self._streamer = streamer
        self._function = function
        self._random = random.Random(seed)

    def __call__(self) -> float:
        """The makespan in that of greedy list scheduling."""
        items = partial(tasks, self._random.randint(0, SHORT))
        run = self._streamer.run(Stream(self._function, False, items, 1, (-1, 0.0), workers=WORKERS))
        took = dict(run.values)
        check(len(run.values), SHORT + 1, "how many results")
        check(sorted(took), list(range(SHORT + 1)), "which tasks were done")
        return run.seconds / greedy([took[number] for number in range(SHORT + 1)], WORKERS)


def contest(plan: Plan, name: str, streamers: list[Streamer], function: Callable[[Any], Any], words: str) -> Contest:
    """One of them for each kind of work."""
    field = [Contender(s.name, Scheduled(s, function, name), s.needs) for s in streamers]
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"{SHORT} chunks of 2 ms and one of a second anywhere, {words}: the makespan in greedy scheduling's"
    contest = turns.contest(name, title, "x", turns.values)
    for ours in (IMAP.name, PLAIN.name):
        contest.absolute(ours, Goal(must=1.06, aim=1.02, least=False))
    return contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    peers = [POOL, SIMPLE_QUEUE, EXECUTOR, JOBLIB]
    yield contest(plan, "makespan-sleeping", [IMAP, PLAIN, *peers], rest, "workers sleep")
    yield contest(plan, "makespan-busy", [IMAP, PLAIN, POOL], spin, "workers compute")
