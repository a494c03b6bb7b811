"""Does memory stay flat? An endless generator of 1 MiB items before slow workers, and before a slow reader of results.

Growth of the manager's resident memory above what it was before the feeding, and how much of that came in the second
half. Each run has a fresh interpreter: memory that an earlier case has left behind would hide the growth. There is no
peer here: ``Pool.imap_unordered`` would read the generator until the machine has no memory left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import apart, resident_bytes
from benchmarks.rounds import Contest, Goal
from benchmarks.work import modules

__all__ = ["measure", "run"]

SECONDS: Final = 8.0
CASES: Final[dict[str, tuple[str, int | None]]] = {
    "eisenmp, slow workers, 1 item a chunk": ("slow_length", 1),
    "eisenmp, slow workers, default chunks": ("slow_length", None),
    "eisenmp, slow reader, 1 item a chunk": ("chunk_length", 1),
    "eisenmp, slow reader, default chunks": ("chunk_length", None),
}


def endless() -> Iterator[bytes]:
    """Distinct items of a mebibyte, for ever."""
    while True:
        yield os.urandom(1 << 20)


def measure(ref: str, rows: int | None) -> dict[str, float]:
    """MiB that the manager grows, and MiB of that in the second half."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes() if ref == "chunk_length" else None
        emp.start(worker_modules=modules(ref), NUM_PROCS=2, NUM_ROWS=rows, WORKER_CALL="chunk")
        emp.feed(endless())

        def read() -> None:
            if reader is not None:
                next(reader)
            time.sleep(0.05)

        growth, late = _watch(read)
        moved = sum(worker.answered for worker in emp.snapshot().workers)
        if reader is not None:
            reader.close()
        emp.kill()
    if not moved:
        raise AssertionError("nothing came through: this memory proves nothing")
    return {"growth": growth, "late": late}


def _watch(meanwhile: Callable[[], None]) -> tuple[float, float]:
    begin, before = time.monotonic(), resident_bytes()
    most = [before, before]
    while (passed := time.monotonic() - begin) < SECONDS:
        meanwhile()
        half = int(passed > SECONDS / 2)
        most[half] = max(most[half], resident_bytes())
    return (max(most) - before) / 2**20, max(0, most[1] - most[0]) / 2**20


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file; three rounds, of which the worst counts."""
    field = [Contender(name, partial(apart, "memory", "measure", *case)) for name, case in CASES.items()]
    turns = plan.compete(field, most=3, warm_up=False)
    title = "an endless generator of 1 MiB items: the manager's growth"
    growth = turns.contest("memory-growth", title, "MiB", part(turns, "growth"))
    late = turns.contest("memory-late", f"{title}, what of it came in the second half", "MiB", part(turns, "late"))
    for name in CASES:
        growth.absolute(name, Goal(must=96, least=False, worst=True))
        late.absolute(name, Goal(must=8, least=False, worst=True))
    yield growth
    yield late
