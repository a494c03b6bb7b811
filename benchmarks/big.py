"""A hundred different objects of 4 MiB through two workers: ours beside Pool, joblib and queues by hand.

``bytes`` are measured and looked at from both ends, arrays are summed. The objects are made before the clock starts,
and are all distinct, as joblib writes a repeated array once. Before the clock starts, a few of them go through
everybody's hands: fresh memory costs several times what the copies do, and belongs to the start.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import check, wait_until
from benchmarks.ours import up
from benchmarks.rounds import Contest, Goal
from benchmarks.work_big import ends, same_array, total

__all__ = ["run"]

COUNT = 100
SIZE = 4 << 20
WORKERS = 2
WARM = 12
AHEAD = 2 * WORKERS  # objects on their way at a time, where we have to see to it ourselves


@cache
def blocks() -> list[bytes]:
    """Different bytes; the first and the last one tell them apart."""
    return [bytes([n]) + n.to_bytes(4, "little") * (SIZE // 4 - 1) + bytes([0, 0, n]) for n in range(COUNT)]


@cache
def arrays() -> list[Any]:
    """Different arrays that belong to the caller, who may write to them."""
    import numpy as np

    return [np.arange(n, n + SIZE // 8, dtype="i8") for n in range(COUNT)]


def ours(ref: str, items: Sequence[Any]) -> float:
    """Seconds for all objects through eisenmp."""
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        path = str(Path(__file__).with_name("work_big.py"))
        emp.start(
            worker_modules=[{"WORKER_PATH": path, "WORKER_REF": ref}],
            NUM_PROCS=WORKERS,
            NUM_ROWS=1,
            WORKER_CALL="item",
        )
        wait_until(lambda: up(emp))
        gate = threading.Event()
        emp.feed(_flow(items, gate))
        for _ in range(WARM):
            next(reader)
        begin = time.perf_counter()
        gate.set()
        values = [outcome.value for outcome in reader]
        seconds = time.perf_counter() - begin
    check_values(ref, [value for rows in values for value in rows])
    return seconds


def _flow(items: Sequence[Any], gate: threading.Event) -> Iterator[Any]:
    yield from items[:WARM]
    gate.wait()
    yield from items


def pool(ref: str, items: Sequence[Any]) -> float:
    """The same through Pool."""
    function = FUNCTIONS[ref]
    with multiprocessing.Pool(WORKERS) as made:
        made.map(function, items[:WARM], chunksize=1)
        begin = time.perf_counter()
        values = list(made.imap_unordered(function, iter(items)))
        seconds = time.perf_counter() - begin
    check_values(ref, values)
    return seconds


def joblib(ref: str, items: Sequence[Any]) -> float:
    """The same through joblib, whose arrays go through files in shared memory."""
    from joblib import Parallel, delayed

    function = delayed(FUNCTIONS[ref])
    with Parallel(n_jobs=WORKERS, batch_size=1) as made:
        made(function(item) for item in items[:WARM])
        begin = time.perf_counter()
        values = made(function(item) for item in items)
        seconds = time.perf_counter() - begin
    check_values(ref, values)
    return seconds


def by_hand(make_queue: Callable[[], Any], ref: str, items: Sequence[Any]) -> float:
    """The same through two queues, one there and one back."""
    inbox, outbox = make_queue(), make_queue()
    processes = [multiprocessing.Process(target=_serve, args=(inbox, outbox, ref), daemon=True) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for _ in processes:
        outbox.get()
    _through(inbox, outbox, items[:WARM])
    begin = time.perf_counter()
    values = _through(inbox, outbox, items)
    seconds = time.perf_counter() - begin
    for process in processes:
        process.terminate()
        process.join()
    check_values(ref, values)
    return seconds


def _through(inbox: Any, outbox: Any, items: Sequence[Any]) -> list[Any]:
    values: list[Any] = []
    for at, item in enumerate(items):
        if at >= AHEAD:
            values.append(outbox.get())
        inbox.put(item)
    return values + [outbox.get() for _ in range(AHEAD)]


def _serve(inbox: Any, outbox: Any, ref: str) -> None:
    function = FUNCTIONS[ref]
    outbox.put("up")
    while True:
        try:
            item = inbox.get()
        except queue.Empty:  # faster-fifo wakes up in vain now and then
            continue
        outbox.put(function(item))


def _simple_queue() -> Any:
    return multiprocessing.SimpleQueue()


def _faster_fifo() -> Any:
    import faster_fifo

    return faster_fifo.Queue(max_size_bytes=2 * AHEAD * SIZE)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"ends": ends, "total": total, "same_array": same_array}


def check_values(ref: str, values: list[Any]) -> None:
    """A library that loses results must not look fast."""
    if ref == "same_array":
        values = [int(value.sum()) for value in values]
    wanted = [(SIZE, n, n) for n in range(COUNT)] if ref == "ends" else [int(array.sum()) for array in arrays()]
    check(sorted(values), sorted(wanted), f"results of {ref}")


def memcpy() -> float:
    """The limit: a copy of each object into memory that is warm."""
    room = memoryview(bytearray(SIZE))
    begin = time.perf_counter()
    for block in blocks():
        room[:] = block
    return time.perf_counter() - begin


def run(plan: Plan) -> Iterator[Contest]:
    """The contests of this file."""
    # numpy's threads spin for a while after each import. joblib turns them off in its workers, Pool forks without them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name, title, ref, make in CASES:
        if make is arrays and importlib.util.find_spec("numpy") is None:
            continue
        items = make()
        field = [
            Contender("eisenmp.Mp plain", partial(ours, ref, items)),
            Contender("Pool", partial(pool, ref, items)),
            Contender("SimpleQueue", partial(by_hand, _simple_queue, ref, items)),
            Contender("faster-fifo", partial(by_hand, _faster_fifo, ref, items), "faster_fifo"),
            Contender(LIMIT, memcpy),
        ]
        if ref == "same_array":  # both ways at once, a pipe each way stands still when both are full
            field = [contender for contender in field if contender.name != "SimpleQueue"]
        if make is arrays:
            field.append(Contender("joblib", partial(joblib, ref, items), "joblib"))
        turns = plan.compete(field)
        contest = turns.contest(f"big-{name}", title, "ms", seconds_of(turns))
        for peer, goal in GOALS[name].items():
            contest.against("eisenmp.Mp plain", peer, goal)
        yield contest


LIMIT: Final = "limit: memcpy"
CASES: Final[tuple[tuple[str, str, str, Callable[[], Sequence[Any]]], ...]] = (
    ("bytes", "100 different bytes of 4 MiB", "ends", blocks),
    ("arrays", "100 different arrays of 4 MiB, summed", "total", arrays),
    ("both-ways", "the same arrays there and back", "same_array", arrays),
)
GOALS: Final[dict[str, dict[str, Goal]]] = {
    "bytes": {"Pool": Goal(must=7.0), "faster-fifo": Goal(must=1.5), LIMIT: Goal(aim=0.5)},
    "arrays": {"Pool": Goal(must=7.0), "joblib": Goal(must=2.0), LIMIT: Goal(aim=0.5)},
    "both-ways": {},
}
