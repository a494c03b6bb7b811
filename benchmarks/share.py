"""One large object in four workers: how soon all of them have used it, and what memory that takes.

Each run has a fresh interpreter. The manager makes the object; its memory up to here is not counted. Then the clock
starts: workers start, get the object, and use all of it. When all have, the memory of all processes is added up
(a page that several share is counted once), and what the manager had before is taken off.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import apart, check, family, folder, noted, pss_mib, wait_until
from benchmarks.rounds import Contest, Goal
from benchmarks.work import adopt, modules, rest, use

__all__ = ["measure", "run"]

WORKERS: Final = 4
ARRAY_MIB: Final = 100
STRINGS: Final = 500_000
SETTLE: Final = 0.2  # seconds until what was only needed on the way has been given back

TIME: Final = {"array": Goal(must=0.6, aim=0.3, least=False), "dict": Goal(must=1.4, aim=0.8, least=False)}
MEMORY: Final = {"array": Goal(must=150, aim=125, least=False), "dict": Goal(must=160, aim=130, least=False)}
TITLES: Final = {"array": f"a {ARRAY_MIB} MiB ndarray", "dict": f"a dict of {STRINGS:,} strings"}


def make(kind: str) -> Any:
    """The object."""
    if kind == "dict":
        return {f"key {number}": f"value {number}" for number in range(STRINGS)}
    import numpy as np

    return np.ones(ARRAY_MIB << 17, dtype=np.float64)


@contextmanager
def by_share(thing: Any, path: str, method: str) -> Iterator[None]:
    """``Mp.share``; a classic worker uses the object in its first call."""
    with eisenmp.Mp() as emp:
        emp.share("thing", thing)
        emp.start(worker_modules=modules("classic_use"), NUM_PROCS=WORKERS, START_METHOD=method, note_folder=path)
        yield
        emp.kill()


@contextmanager
def by_imap(thing: Any, path: str, method: str) -> Iterator[None]:
    """``imap``'s initializer. The source holds on until the block is left, or the workers would be gone before."""
    held = threading.Event()

    def items() -> Iterator[tuple[int, float]]:
        yield 0, 0.0
        held.wait()

    with eisenmp.imap(
        rest,
        items(),
        max_workers=WORKERS,
        chunksize=1,
        initializer=adopt,
        initargs=(thing, path),
        start_method=method,
    ):
        try:
            yield
        finally:
            held.set()


@contextmanager
def by_pool(thing: Any, path: str, method: str) -> Iterator[None]:
    """Pool's initializer."""
    with multiprocessing.get_context(method).Pool(WORKERS, adopt, (thing, path)):
        yield


WAYS: Final[dict[str, Callable[[Any, str, str], AbstractContextManager[None]]]] = {
    "share": by_share,
    "imap": by_imap,
    "pool": by_pool,
}


def measure(kind: str, way: str, method: str) -> dict[str, float]:
    """Seconds and MiB of one way."""
    thing = make(kind)
    expected = str(use(thing))
    before = pss_mib([os.getpid()])
    with folder() as path:
        begin = time.perf_counter()
        with WAYS[way](thing, path, method):
            wait_until(lambda: noted(path, WORKERS))
            seconds = time.perf_counter() - begin
            time.sleep(SETTLE)
            memory = pss_mib(family()) - before
        told = [file.read_text(encoding="ascii") for file in Path(path).iterdir()]
    check(told, [expected] * WORKERS, "what the workers made of the object")
    return {"seconds": seconds, "memory": memory}


def contest(plan: Plan, kind: str) -> Iterator[Contest]:
    """Two of them for each kind of object."""

    def entrant(name: str, way: str, method: str) -> Contender[dict[str, float]]:
        return Contender(f"{name}, {method}", partial(apart, "share", "measure", kind, way, method))

    field = [
        entrant("eisenmp.Mp.share", "share", "forkserver"),
        entrant("eisenmp.Mp.share", "share", "spawn"),
        entrant("eisenmp.imap initargs", "imap", "forkserver"),
        entrant("Pool initargs", "pool", "fork"),
        entrant("Pool initargs", "pool", "spawn"),
    ]
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"{TITLES[kind]} in {WORKERS} workers"
    seconds = turns.contest(f"share-{kind}-time", f"{title}: time to use", "s", part(turns, "seconds"))
    memory = turns.contest(f"share-{kind}-memory", f"{title}: memory", "MiB", part(turns, "memory"))
    goals_of = ["eisenmp.Mp.share, forkserver", "eisenmp.imap initargs, forkserver"]
    if kind == "array":
        goals_of.append("eisenmp.Mp.share, spawn")
    for name in goals_of:
        seconds.absolute(name, TIME[kind])
        memory.absolute(name, MEMORY[kind])
    yield seconds
    yield memory


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    yield from contest(plan, "array")
    yield from contest(plan, "dict")
