"""A million tickets of one item against ten thousand: does a ticket stay as cheap, in time and in memory?

Each run has a fresh interpreter. Results are read and dropped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import apart, check, folder, noted, resident_bytes, wait_until
from benchmarks.ours import up
from benchmarks.rounds import Contest, Goal
from benchmarks.streams import Gate
from benchmarks.work import modules, note, square

__all__ = ["measure", "run"]

FEW: Final = 10_000
MANY: Final = 1_000_000
WORKERS: Final = 2
TIMES: Final = 5  # jobs of FEW tickets; the median counts


def items(count: int, gate: Gate) -> Iterator[int]:
    """Some to warm up, then `count`."""
    yield from gate.warm
    gate.wait()
    yield from range(count)


@contextmanager
def by_imap(count: int, gate: Gate) -> Iterator[Iterable[int]]:
    """Results of the short form."""
    with (
        folder() as path,
        eisenmp.imap(
            square,
            items(count, gate),
            max_workers=WORKERS,
            chunksize=1,
            ordered=False,
            initializer=note,
            initargs=(path,),
        ) as results,
    ):
        wait_until(lambda: noted(path, WORKERS))
        yield results


@contextmanager
def by_mp(count: int, gate: Gate) -> Iterator[Iterable[int]]:
    """Results of `Mp` in the plain style."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(worker_modules=modules("square"), NUM_PROCS=WORKERS, NUM_ROWS=1, WORKER_CALL="item")
        wait_until(lambda: up(emp))
        emp.feed(items(count, gate))
        yield (outcome.value[0] for outcome in reader)


WAYS: Final = {"imap": by_imap, "mp": by_mp}


def measure(way: str, count: int) -> dict[str, float]:
    """Seconds a ticket, and bytes a ticket: how far the manager has grown since the first FEW of them."""
    if count == FEW:
        return {"seconds": statistics.median(_job(way, count)["seconds"] for _ in range(TIMES)), "bytes": 0.0}
    return _job(way, count)


def _job(way: str, count: int) -> dict[str, float]:
    gate = Gate([0] * 20)
    total = read = early = 0
    with WAYS[way](count, gate) as results:
        reader = iter(results)
        for _ in gate.warm:
            next(reader)
        begin = time.perf_counter()
        gate.open()
        for value in reader:
            total += value
            read += 1
            if read == FEW:
                early = resident_bytes()
        seconds = time.perf_counter() - begin
        late = resident_bytes()
    check(read, count, "how many results")
    check(total, (count - 1) * count * (2 * count - 1) // 6, "the sum of the results")
    return {"seconds": seconds / count, "bytes": (late - early) / max(1, count - FEW)}


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    field: list[Contender[dict[str, Any]]] = []
    ours = {"eisenmp.imap": "imap", "eisenmp.Mp plain": "mp"}
    for name, way in ours.items():
        for count in (MANY, FEW):
            field.append(Contender(f"{name}, {count:,}", partial(apart, "tickets", "measure", way, count)))
    turns = plan.compete(field, most=5, warm_up=False)
    seconds = turns.contest("tickets-time", "tickets of one item: time of one", "µs", part(turns, "seconds", 1e6))
    growth = turns.contest("tickets-memory", f"the manager's growth by a ticket, after the first {FEW:,}", "bytes", {})
    every = part(turns, "bytes")
    for name in ours:
        many, few = f"{name}, {MANY:,}", f"{name}, {FEW:,}"
        seconds.part_of(
            many, few, Goal(must=1.25, aim=1.05, least=False), words=f"{name}, a million as part of ten thousand's"
        )
        if many in every:
            growth.values[many] = every[many]
            growth.absolute(many, Goal(must=120, aim=2, least=False))
    yield seconds
    yield growth
