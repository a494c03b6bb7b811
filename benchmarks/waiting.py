"""What waiting costs: CPU seconds of all processes while two workers wait for a generator that sleeps.

Counted from a moment when everybody has worked and is idle again. Each run has a fresh interpreter.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan
from benchmarks.machine import apart, check, cpu_seconds, family
from benchmarks.rounds import Contest, Goal
from benchmarks.work import modules, square

__all__ = ["classic", "imap", "plain", "pool", "run"]

SECONDS: Final = 5.0
SETTLE: Final = 0.3  # seconds until everybody has gone to sleep
BURST: Final = 200  # items before the pause, so that whatever keeps workers supplied has been set going


def sleepy() -> Iterator[int]:
    """Some items, a long pause, the same items again."""
    yield from range(BURST)
    time.sleep(SECONDS + 2 * SETTLE)
    yield from range(BURST)


def plain() -> float:
    """CPU seconds of `Mp` in the plain style."""
    return _mp("square", "item", [[number * number] for number in range(BURST)])


def classic() -> float:
    """The same in the classic style."""
    return _mp("classic_sum", "toolbox", list(range(BURST)))


def _mp(ref: str, call: str, burst: list[Any]) -> float:
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes(ordered=True)
        emp.start(worker_modules=modules(ref), NUM_PROCS=2, NUM_ROWS=1, WORKER_CALL=call)
        emp.feed(sleepy())
        values = [outcome.value for outcome in islice(reader, BURST)]
        cpu = _over_the_wait()
        values += [outcome.value for outcome in reader]
    check(values, 2 * burst, "the results")
    return cpu


def imap() -> float:
    """The same of the short form."""
    with eisenmp.imap(square, sleepy(), max_workers=2, chunksize=1) as results:
        values = list(islice(results, BURST))
        cpu = _over_the_wait()
        values += results
    check(values, [number * number for number in range(BURST)] * 2, "the results")
    return cpu


def pool() -> float:
    """The same of Pool."""
    with multiprocessing.Pool(2) as made:
        results = made.imap(square, sleepy())
        values = list(islice(results, BURST))
        cpu = _over_the_wait()
        values += results
    check(values, [number * number for number in range(BURST)] * 2, "Pool's results")
    return cpu


def _over_the_wait() -> float:
    time.sleep(SETTLE)
    pids = family()
    before = cpu_seconds(pids)
    time.sleep(SECONDS)
    return cpu_seconds(pids) - before


def run(plan: Plan) -> Iterator[Contest]:
    """The contest of this file; few rounds, for each lasts long and hardly varies."""
    field = [
        Contender("eisenmp.imap", partial(apart, "waiting", "imap")),
        Contender("eisenmp.Mp plain", partial(apart, "waiting", "plain")),
        Contender("eisenmp.Mp classic", partial(apart, "waiting", "classic")),
        Contender("Pool", partial(apart, "waiting", "pool")),
    ]
    turns = plan.compete(field, most=3, warm_up=False)
    title = f"two workers wait {SECONDS:g} s for a generator"
    contest = turns.contest("waiting", title, "CPU s", turns.values)
    for contender in field[:3]:
        contest.absolute(contender.name, Goal(must=0.1, least=False))
    yield contest
