"""A private Ray cluster of this machine: ENGINE='ray' beside Ray's own tasks and its queue, and our local engine.

Chunks of 1000 ints, arrays of 4 MiB, and a job whose workers are killed. Ray's peers are written as its manual advises:
tasks with a bounded number of them under way (``ray.wait``), and actors that loop over a ``ray.util.queue``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import eisenmp
from benchmarks import big
from benchmarks.contenders import Contender, Plan
from benchmarks.machine import check, wait_until
from benchmarks.ours import PLAIN, up
from benchmarks.rounds import Contest, Goal, Turns
from benchmarks.stream import ROWS, numbers
from benchmarks.streams import Stream
from benchmarks.work import chunk_sum, modules
from benchmarks.work_big import total

__all__ = ["run"]

WORKERS: Final = 2
CHUNKS: Final = 1000
QUEUED: Final = 100  # chunks for those who take milliseconds for one
WINDOW: Final = 8 * WORKERS  # tasks under way; more are no faster
ARRAYS_WINDOW: Final = 4 * WORKERS
KILLED_CHUNKS: Final = 2000
EVERY: Final = 2.0  # seconds between two kills
SLICE: Final = 0.008  # seconds of work in a chunk
ON_RAY: Final = "eisenmp.Mp on Ray"
LOCAL: Final = "eisenmp.Mp, local engine"
TASKS: Final = "Ray tasks"
QUEUE: Final = "ray.util.queue"


def ours(engine: str) -> float:
    """Microseconds a chunk."""
    stream = Stream(chunk_sum, True, numbers, ROWS, 0)
    with eisenmp.override(ENGINE=engine):
        result = PLAIN.run(stream)
    check(len(result.values), CHUNKS, "how many results")
    return result.seconds / CHUNKS * 1e6


def tasks(function: Callable[[Any], Any], items: Sequence[Any], window: int) -> tuple[float, list[Any]]:
    """Seconds, and results, of one task an item."""
    import ray

    remote = ray.remote(num_cpus=1)(function)
    ray.get([remote.remote(item) for item in items[: 2 * WORKERS]])
    begin = time.perf_counter()
    values: list[Any] = []
    pending: list[Any] = []
    for item in items:
        if len(pending) >= window:
            done, pending = ray.wait(pending)
            values += ray.get(done)
        pending.append(remote.remote(item))
    values += ray.get(pending)
    return time.perf_counter() - begin, values


def chunk_tasks() -> float:
    """Microseconds a chunk."""
    chunks = list(Stream(chunk_sum, True, numbers, ROWS, 0).chunks())
    seconds, values = tasks(chunk_sum, chunks, WINDOW)
    check(len(values), CHUNKS, "how many results")
    return seconds / CHUNKS * 1e6


def queued() -> float:
    """Microseconds a chunk."""
    import ray
    from ray.util.queue import Queue

    def serve(inbox: Any, outbox: Any) -> None:
        outbox.put("up")
        while (rows := inbox.get()) is not None:
            outbox.put(sum(rows))

    options = {"num_cpus": 0.1}
    inbox, outbox = Queue(WINDOW, actor_options=options), Queue(actor_options=options)
    serving = [ray.remote(num_cpus=0.5)(serve).remote(inbox, outbox) for _ in range(WORKERS)]
    for _ in serving:
        outbox.get()
    chunks = list(Stream(chunk_sum, True, numbers, ROWS, 0).chunks())[:QUEUED]
    begin = time.perf_counter()
    for chunk in chunks:
        inbox.put(chunk)
    for _ in chunks:
        outbox.get()
    seconds = time.perf_counter() - begin
    for _ in serving:
        inbox.put(None)
    ray.get(serving)
    for queue in (inbox, outbox):
        queue.shutdown()
    return seconds / QUEUED * 1e6


def our_arrays(engine: str) -> float:
    """GB a second, there."""
    with eisenmp.override(ENGINE=engine):
        return _speed(big.ours("total", big.arrays()))


def array_tasks() -> float:
    """The same."""
    seconds, values = tasks(total, big.arrays(), ARRAYS_WINDOW)
    big.check_values("total", values)
    return _speed(seconds)


def _speed(seconds: float) -> float:
    return big.COUNT * big.SIZE / seconds / 1e9


def killed() -> float:
    """How many of the chunks are missing or there twice, when a worker is killed every two seconds."""
    seen: Counter[int] = Counter()
    kills = 0
    over = threading.Event()
    with eisenmp.override(ENGINE="ray", CRASH_RETRIES=100), eisenmp.Mp() as emp:
        emp.start(worker_modules=modules("slow_number"), NUM_PROCS=WORKERS, NUM_ROWS=1, WORKER_CALL="item")
        reader = emp.results.outcomes()
        wait_until(lambda: up(emp))
        emp.feed((n, SLICE) for n in range(KILLED_CHUNKS))

        def strike() -> None:
            nonlocal kills
            while not over.wait(EVERY):
                pid = emp.proc_list[kills % WORKERS].pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1

        killer = threading.Thread(target=strike)
        killer.start()
        try:
            for outcome in reader:
                seen.update(outcome.value or ())
        finally:
            over.set()
            killer.join()
    check(kills > 1, True, "whether any worker was killed")
    return float(sum(1 for n in range(KILLED_CHUNKS) if seen[n] != 1))


def run(plan: Plan) -> Iterator[Contest]:
    """The contests of this file."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    field = [
        Contender(ON_RAY, partial(ours, "ray"), "ray"),
        Contender(TASKS, chunk_tasks, "ray"),
        Contender(QUEUE, queued, "ray"),
        Contender(LOCAL, partial(ours, "local")),
    ]
    turns = plan.compete(field)
    contest = turns.contest("ray-chunks", "chunks of 1000 ints, function of the chunk", "us", turns.values)
    contest.against(ON_RAY, TASKS, Goal(must=3.0))
    contest.against(ON_RAY, QUEUE, Goal(aim=10.0))
    yield contest
    arrays: Turns[float] = plan.compete(
        [
            Contender(ON_RAY, partial(our_arrays, "ray"), "ray"),
            Contender(TASKS, array_tasks, "ray"),
            Contender(LOCAL, partial(our_arrays, "local")),
        ]
    )
    contest = arrays.contest("ray-arrays", "100 different arrays of 4 MiB, summed", "GB/s", arrays.values)
    contest.part_of(ON_RAY, TASKS, Goal(must=0.9), words=f"{ON_RAY}, part of the speed of {TASKS}")
    yield contest
    turns = plan.compete([Contender(ON_RAY, killed, "ray")], most=2, warm_up=False)
    title = f"{KILLED_CHUNKS} chunks, a worker killed every {EVERY:g} s: missing or there twice"
    contest = turns.contest("ray-killed", title, "chunks", turns.values)
    contest.absolute(ON_RAY, Goal(must=0, least=False, worst=True), words="chunks missing or there twice")
    yield contest
