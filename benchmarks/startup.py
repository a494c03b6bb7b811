"""What start-up costs: imports in fresh interpreters, and the time to the first result beside Pool by spawn."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import eisenmp
from benchmarks.figures import Figure, most_figure, paired, ratio_figure
from benchmarks.work import square

__all__ = ["run"]


def fresh(statement: str) -> float:
    """Milliseconds of a fresh interpreter that runs the statement."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return 1000 * (time.perf_counter() - begin)


def import_cost(statement: str, goal: float, rounds: int) -> Figure:
    """An interpreter that imports beside one that does not, in turn."""
    fresh(statement)  # writes the bytecode
    return most_figure(statement, [fresh(statement) - fresh("pass") for _ in range(rounds)], "ms", goal)


def ours(method: str) -> float:
    """Seconds from nothing to the first result, two workers."""
    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        path = str(Path(__file__).with_name("work.py"))
        emp.start(
            worker_modules=[{"WORKER_PATH": path, "WORKER_REF": "square"}],
            NUM_PROCS=2,
            NUM_ROWS=1,
            WORKER_CALL="item",
            START_METHOD=method,
        )
        emp.feed([3])
        value = next(reader).value
        seconds = time.perf_counter() - begin
    if value != [9]:
        raise AssertionError(f"the first result is {value}")
    return seconds


def pool() -> float:
    """The same for Pool by spawn."""
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2) as made:
        value = next(made.imap_unordered(square, [3]))
        seconds = time.perf_counter() - begin
    if value != 9:
        raise AssertionError(f"the first result is {value}")
    return seconds


def run(rounds: int) -> list[Figure]:
    """All figures of this file."""
    # The package loads its parts when they are asked for, so the manager is asked for here.
    cases = [("import eisenmp", 60.0), ("from eisenmp import Mp", 60.0), ("import eisenmp.worker.main", 40.0)]
    figures = [import_cost(statement, goal, max(11, rounds)) for statement, goal in cases]
    figures.append(ratio_figure("first result, spawn", *paired(lambda: ours("spawn"), pool, rounds), "Pool"))
    figures.append(ratio_figure("first result, forkserver", *paired(lambda: ours("forkserver"), pool, rounds), "Pool"))
    return figures
