"""A million ints in chunks of 1000 through two workers: ours beside Pool.imap_unordered and a pool of SimpleQueues.

All processes are up before the clock starts: start-up has a benchmark of its own.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import eisenmp
from benchmarks.figures import Figure, paired, ratio_figure, wait_until
from benchmarks.work import chunk_sum, square

__all__ = ["run"]

COUNT = 1_000_000
ROWS = 1000
WORKERS = 2
SUM = COUNT * (COUNT - 1) // 2
SQUARES = (COUNT - 1) * COUNT * (2 * COUNT - 1) // 6


def numbers() -> Iterator[int]:
    """A generator, not a range: it has to be read item by item."""
    yield from range(COUNT)


def chunks() -> Iterator[list[int]]:
    """The same, cut for the peers that take no chunks of their own."""
    source = numbers()
    while rows := list(islice(source, ROWS)):
        yield rows


def ours(ref: str, call: str, expected: int, window: int | None) -> float:
    """Seconds for the whole stream through eisenmp."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(
            worker_modules=[{"WORKER_PATH": str(Path(__file__).with_name("work.py")), "WORKER_REF": ref}],
            NUM_PROCS=WORKERS,
            NUM_ROWS=ROWS,
            WORKER_CALL=call,
            BUFFER_CHUNKS=window,
        )
        wait_until(lambda: all(worker.phase == "up" for worker in emp.snapshot().workers))
        begin = time.perf_counter()
        emp.feed(numbers())
        values = [outcome.value for outcome in reader]
        seconds = time.perf_counter() - begin
    check(sum(sum(value) if isinstance(value, list) else value for value in values), expected)
    return seconds


def pool_chunks() -> float:
    """Seconds for the same through Pool, a function of the chunk."""
    with multiprocessing.Pool(WORKERS) as pool:
        pool.map(chunk_sum, [[1], [2]], chunksize=1)
        begin = time.perf_counter()
        total = sum(list(pool.imap_unordered(chunk_sum, chunks())))
        seconds = time.perf_counter() - begin
    check(total, SUM)
    return seconds


def pool_items() -> float:
    """Seconds for the same through Pool, a function of the item."""
    with multiprocessing.Pool(WORKERS) as pool:
        pool.map(square, [1, 2], chunksize=1)
        begin = time.perf_counter()
        values = list(pool.imap_unordered(square, numbers(), chunksize=ROWS))
        seconds = time.perf_counter() - begin
    check(sum(values), SQUARES)
    return seconds


def simple_queues() -> float:
    """Seconds for the same through two SimpleQueues, the fastest that the standard library offers by hand."""
    context = multiprocessing.get_context()
    inbox: Any = context.SimpleQueue()
    outbox: Any = context.SimpleQueue()
    processes = [context.Process(target=_by_hand, args=(inbox, outbox), daemon=True) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for _ in processes:
        outbox.get()
    begin = time.perf_counter()
    values: list[int] = []
    ahead = 0
    for rows in chunks():
        inbox.put(rows)
        ahead += 1
        if ahead > 8 * WORKERS:
            values.append(outbox.get())
            ahead -= 1
    values += [outbox.get() for _ in range(ahead)]
    seconds = time.perf_counter() - begin
    for _ in processes:
        inbox.put(None)
    for process in processes:
        process.join()
    check(sum(values), SUM)
    return seconds


def _by_hand(inbox: Any, outbox: Any) -> None:
    outbox.put("up")
    while (rows := inbox.get()) is not None:
        outbox.put(chunk_sum(rows))


def check(got: int, expected: int) -> None:
    """A library that loses results must not look fast."""
    if got != expected:
        raise AssertionError(f"the results add up to {got}, not to {expected}")


def run(rounds: int) -> list[Figure]:
    """All figures of this file."""
    figures = []
    cases: list[tuple[str, Callable[[], float], Callable[[], float], str, float | None]] = [
        ("stream, plain", lambda: ours("chunk_sum", "chunk", SUM, 64), pool_chunks, "Pool", 1.0),
        ("stream, plain, default window", lambda: ours("chunk_sum", "chunk", SUM, None), pool_chunks, "Pool", 1.0),
        ("stream, classic", lambda: ours("classic_sum", "toolbox", SUM, 64), pool_chunks, "Pool", 1.0),
        ("stream, per item", lambda: ours("square", "item", SQUARES, 64), pool_items, "Pool", 1.0),
        ("stream, by hand", lambda: ours("chunk_sum", "chunk", SUM, 64), simple_queues, "SimpleQueue", None),
    ]
    for name, mine, peer, peer_name, goal in cases:
        figures.append(ratio_figure(name, *paired(mine, peer, rounds), peer_name, goal))
    return figures
