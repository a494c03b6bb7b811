"""64 workers on whatever cores there are: start, work, stop, and nothing left behind. Timed, but without a goal."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import eisenmp
from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import apart, check, children, wait_until
from benchmarks.ours import up
from benchmarks.rounds import Contest
from benchmarks.work import modules, square

__all__ = ["ours", "pool", "run"]

WORKERS: Final = 64
ITEMS: Final = 64_000
EXPECTED: Final = (ITEMS - 1) * ITEMS * (2 * ITEMS - 1) // 6


def ours(method: str) -> float:
    """Seconds until the last process is gone. Every worker has to come up and to end by itself."""
    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(
            worker_modules=modules("square"), NUM_PROCS=WORKERS, NUM_ROWS=100, WORKER_CALL="item", START_METHOD=method
        )
        wait_until(lambda: up(emp), 60.0)
        emp.feed(iter(range(ITEMS)))
        total = sum(sum(outcome.value) for outcome in reader)
        restarts = sum(worker.restarts for worker in emp.snapshot().workers)
    seconds = time.perf_counter() - begin
    check(total, EXPECTED, "the sum of the results")
    check(restarts, 0, "workers that were replaced")
    check([process.exitcode for process in emp.proc_list], [0] * WORKERS, "exit codes")
    wait_until(lambda: not children(), 5.0)
    return seconds


def pool() -> float:
    """The same by Pool, which is closed, not terminated."""
    begin = time.perf_counter()
    made = multiprocessing.get_context("spawn").Pool(WORKERS)
    total = sum(made.imap_unordered(square, iter(range(ITEMS)), chunksize=100))
    made.close()
    made.join()
    seconds = time.perf_counter() - begin
    check(total, EXPECTED, "the sum of Pool's results")
    return seconds


def run(plan: Plan) -> Iterator[Contest]:
    """The contest of this file."""
    field = [
        Contender("eisenmp.Mp plain, spawn", partial(apart, "crowd", "ours", "spawn")),
        Contender("eisenmp.Mp plain, forkserver", partial(apart, "crowd", "ours", "forkserver")),
        Contender("Pool, spawn", partial(apart, "crowd", "pool")),
    ]
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"{WORKERS} workers: start, {ITEMS:,} items, stop"
    yield turns.contest("crowd", title, "ms", seconds_of(turns))
