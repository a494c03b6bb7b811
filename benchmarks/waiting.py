"""What waiting costs: workers wait five seconds for a generator that sleeps; CPU of all processes during the wait."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import eisenmp
from benchmarks.figures import Figure, cpu_seconds, most_figure, wait_until
from benchmarks.work import square

__all__ = ["run"]

SECONDS = 5.0


def sleepy() -> Iterator[int]:
    """One item, a long pause, one item."""
    yield 1
    time.sleep(SECONDS + 1)
    yield 2


def ours(ref: str, call: str) -> float:
    """CPU seconds of manager and workers while they wait."""
    with eisenmp.Mp() as emp:
        path = str(Path(__file__).with_name("work.py"))
        emp.start(worker_modules=[{"WORKER_PATH": path, "WORKER_REF": ref}], NUM_PROCS=2, NUM_ROWS=1, WORKER_CALL=call)
        emp.feed(sleepy())
        wait_until(lambda: len(emp.results["mp_input_q"].done) == 1)
        time.sleep(0.2)
        return _over_the_wait([os.getpid(), *[handle.pid for handle in emp.proc_list]])


def pool() -> float:
    """The same for Pool."""
    with multiprocessing.Pool(2) as made:
        results = made.imap_unordered(square, sleepy())
        next(results)
        time.sleep(0.2)
        cpu = _over_the_wait([os.getpid(), *[child.pid or 0 for child in multiprocessing.active_children()]])
        next(results)
    return cpu


def _over_the_wait(pids: list[int]) -> float:
    before = cpu_seconds(pids)
    time.sleep(SECONDS - 0.5)
    return (cpu_seconds(pids) - before) * SECONDS / (SECONDS - 0.5)


def run(rounds: int) -> list[Figure]:
    """All figures of this file; few rounds, each lasts six seconds and hardly varies."""
    peer = f"Pool {pool():.2f} s"
    return [
        most_figure(f"waiting {SECONDS:g} s, {name}", [ours(ref, call)], "CPU s", 0.1, peer)
        for name, ref, call in (("plain", "square", "item"), ("classic", "classic_sum", "toolbox"))
    ]
