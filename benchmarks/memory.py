"""Does memory stay flat? An endless generator of 1 MiB items before slow workers, and before a slow reader of results.

Growth of the manager's resident memory above what it was before the feeding, and how much of that came in the second
half.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import eisenmp
from benchmarks.figures import Figure, resident_mib

__all__ = ["run"]

SECONDS = 8.0
GOAL = 96.0


def endless() -> Iterator[bytes]:
    """Distinct items of a mebibyte, for ever."""
    while True:
        yield os.urandom(1 << 20)


def slow_workers(rows: int | None) -> tuple[float, float]:
    """(growth, growth in the second half), in MiB, of a job whose workers are slow."""
    with eisenmp.Mp() as emp:
        _start(emp, "slow_length", rows)
        growth = _watch(lambda: time.sleep(0.05))
        emp.kill()
    return growth


def slow_reader(rows: int | None) -> tuple[float, float]:
    """The same for a job whose results are read slowly, each as large as its item."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        _start(emp, "chunk_length", rows)

        def read() -> None:
            next(reader)
            time.sleep(0.05)

        growth = _watch(read)
        reader.close()
        emp.kill()
    return growth


def _start(emp: eisenmp.Mp, ref: str, rows: int | None) -> None:
    path = str(Path(__file__).with_name("work.py"))
    emp.start(
        worker_modules=[{"WORKER_PATH": path, "WORKER_REF": ref}], NUM_PROCS=2, NUM_ROWS=rows, WORKER_CALL="chunk"
    )
    emp.feed(endless())


def _watch(meanwhile: Callable[[], None]) -> tuple[float, float]:
    begin, before = time.monotonic(), resident_mib()
    most = [before, before]
    while (passed := time.monotonic() - begin) < SECONDS:
        meanwhile()
        half = int(passed > SECONDS / 2)
        most[half] = max(most[half], resident_mib())
    return max(most) - before, max(0.0, most[1] - most[0])


CASES: dict[str, Callable[[], tuple[float, float]]] = {
    "slow workers, 1 item a chunk": lambda: slow_workers(1),
    "slow workers, default chunks": lambda: slow_workers(None),
    "slow reader, 1 item a chunk": lambda: slow_reader(1),
    "slow reader, default chunks": lambda: slow_reader(None),
}


def alone(name: str) -> tuple[float, float]:
    """Measure one case in a fresh process: memory that an earlier case has left behind would hide the growth."""
    command = [sys.executable, "-m", "benchmarks.memory", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    grown, late = json.loads(done.stdout)
    return grown, late


def run(rounds: int) -> list[Figure]:
    """All figures of this file, three runs each: the largest growth counts."""
    figures = []
    for name in CASES:
        runs = [alone(name) for _ in range(3)]
        grown, late = max(runs)[0], max(late for _, late in runs)
        figures.append(
            Figure(
                f"memory, {name}",
                f"{grown:.0f} MiB",
                f"{min(runs)[0]:.0f} … {grown:.0f}",
                f"second half {late:+.0f} MiB",
                f"< {GOAL:g} MiB, then flat",
                grown < GOAL and late < 8,
            )
        )
    return figures


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]]()))
