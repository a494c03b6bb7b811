"""md5 over all words of five letters: a search space cut by slices, beside plain loops that share no work."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import check, folder, noted, wait_until
from benchmarks.ours import up
from benchmarks.peers import POOL
from benchmarks.rounds import Contest, Goal
from benchmarks.streams import Gate, Stream, entered
from benchmarks.work import count_md5, modules, note_and_wait

__all__ = ["run"]

LETTERS: Final = "abcdefghijklmnopqrstuv"  # 22: a run takes a second or two
LENGTH: Final = 5
WORKERS: Final = 2
LOOPS: Final = "limit: two plain loops"


def words(gate: Gate | None = None) -> Iterator[tuple[str, ...]]:
    """All candidates, made in the manager."""
    if gate is not None:
        yield from gate.warm
        gate.wait()
    yield from itertools.product(LETTERS, repeat=LENGTH)


@cache
def hits() -> int:
    """What the search has to come to."""
    return count_md5(words())


def product_space() -> Any:
    """The candidates as a space that can be sliced."""
    return eisenmp.spaces.Product(LETTERS, repeat=LENGTH)


def by_slices() -> float:
    """``imap_chunks`` over a space; its workers are held back in their initializer until the clock starts."""
    with folder() as path:
        go = f"{path}.go"
        try:
            with eisenmp.imap_chunks(
                count_md5,
                product_space(),
                max_workers=WORKERS,
                ordered=False,
                initializer=note_and_wait,
                initargs=(path, go),
            ) as results:
                wait_until(lambda: noted(path, WORKERS))
                begin = time.perf_counter()
                open(go, "w").close()
                found = sum(results)
                seconds = time.perf_counter() - begin
        finally:
            if os.path.exists(go):
                os.unlink(go)
    check(found, hits(), "hits")
    return seconds


def by_mp() -> float:
    """`Mp` in the plain style, fed with the space; chunks of automatic size."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(worker_modules=modules("count_md5"), NUM_PROCS=WORKERS, NUM_ROWS="auto", WORKER_CALL="chunk")
        wait_until(lambda: up(emp))
        begin = time.perf_counter()
        emp.feed(product_space())
        found = sum(outcome.value for outcome in reader)
        seconds = time.perf_counter() - begin
    check(found, hits(), "hits")
    return seconds


def by_shipping() -> float:
    """`Mp` in the plain style, the candidates made in the manager and sent."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(worker_modules=modules("count_md5"), NUM_PROCS=WORKERS, WORKER_CALL="chunk")
        wait_until(lambda: up(emp))
        begin = time.perf_counter()
        emp.feed(words())
        found = sum(outcome.value for outcome in reader)
        seconds = time.perf_counter() - begin
    check(found, hits(), "hits")
    return seconds


def plain_loops() -> float:
    """Two processes at once, each with a loop over half of the words; nothing passes between them but the end."""
    half = len(LETTERS) // 2
    pipes = []
    processes = []
    for first in (LETTERS[:half], LETTERS[half:]):
        here, there = multiprocessing.Pipe()
        processes.append(multiprocessing.Process(target=_loop, args=(first, there), daemon=True))
        pipes.append(here)
    for process in processes:
        process.start()
    for pipe in pipes:
        pipe.recv()
    begin = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    found = sum(pipe.recv() for pipe in pipes)
    seconds = time.perf_counter() - begin
    for process in processes:
        process.join()
    check(found, hits(), "hits of the loops")
    return seconds


def _loop(first: str, pipe: Any) -> None:
    candidates: Iterable[tuple[str, ...]] = itertools.product(first, *[LETTERS] * (LENGTH - 1))
    pipe.send("up")
    pipe.recv()
    pipe.send(count_md5(candidates))


def run(plan: Plan) -> Iterator[Contest]:
    """The contest of this file."""

    def judge(values: list[Any], seconds: float) -> float:
        check(sum(values), hits(), "hits")
        return seconds

    shipped = Stream(count_md5, True, words, 1000, ("a",))
    field = [
        Contender("eisenmp.imap_chunks, space", by_slices),
        Contender("eisenmp.Mp plain, space", by_mp),
        Contender("eisenmp.Mp plain, words shipped", by_shipping),
        *entered([POOL], shipped, judge),
        Contender(LOOPS, plain_loops),
    ]
    turns = plan.compete(field, most=5)
    title = f"md5 over {len(LETTERS)}**{LENGTH} words"
    contest = turns.contest("search", title, "ms", seconds_of(turns))
    for name in ("eisenmp.imap_chunks, space", "eisenmp.Mp plain, space"):
        contest.against(name, LOOPS, Goal(must=0.93, aim=0.98), words=f"{name}, part of the loops' speed")
    yield contest
