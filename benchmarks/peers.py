"""The neighbours' ways to take a stream, each as its users have it, with the options that suit a stream best.

Every pool is made anew for each run and is warm before the clock starts: all its workers have met, and have run the
function. Start methods are the libraries' own defaults.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from queue import Empty
from typing import Any, Final

from benchmarks.machine import folder
from benchmarks.streams import Run, Stream, Streamer
from benchmarks.work import meet

__all__ = ["ALL", "EXECUTOR", "FASTER_FIFO", "JOBLIB", "MPIRE", "PEBBLE", "POOL", "SIMPLE_QUEUE"]

AHEAD: Final = 8  # chunks a worker that a pool made by hand has on their way
GROUP_BYTES: Final = 8 << 20  # room in a queue of faster-fifo


def _timed(results: Callable[[], Iterable[Any]]) -> Run:
    begin = time.perf_counter()
    values = list(results())
    return Run(time.perf_counter() - begin, values)


# ---- multiprocessing


def pool(stream: Stream) -> Run:
    """``Pool.imap_unordered``."""
    with folder() as path, multiprocessing.Pool(stream.workers) as made:
        made.starmap(meet, [(path, stream.workers)] * stream.workers, chunksize=1)
        made.map(stream.function, stream.warm_tasks, chunksize=1)
        return _timed(lambda: made.imap_unordered(stream.function, stream.tasks(), chunksize=stream.task_chunksize))


def simple_queue(stream: Stream) -> Run:
    """Two SimpleQueues: the least that can be done by hand. No window, no tickets, no news of a worker's death."""
    inbox: Any = multiprocessing.SimpleQueue()
    outbox: Any = multiprocessing.SimpleQueue()
    with _by_hand(stream, _from_simple_queue, (inbox, outbox)) as count:
        for _ in range(count):
            outbox.get()  # it is up, and has run the function
        run = _timed(lambda: _pipelined(stream, inbox.put, outbox.get))
        for _ in range(count):
            inbox.put(None)
    inbox.close()
    outbox.close()
    return _flat(stream, run)


def _from_simple_queue(work: Callable[[Any], Any], warm: list[Any], inbox: Any, outbox: Any) -> None:
    outbox.put(work(warm))
    while (rows := inbox.get()) is not None:
        outbox.put(work(rows))


def _pipelined(stream: Stream, put: Callable[[Any], None], get: Callable[[], Any]) -> Iterator[Any]:
    under_way = 0
    for rows in stream.chunks():
        put(rows)
        under_way += 1
        if under_way > AHEAD * stream.workers:
            yield get()
            under_way -= 1
    for _ in range(under_way):
        yield get()


@contextmanager
def _by_hand(stream: Stream, target: Callable[..., None], queues: tuple[Any, Any]) -> Iterator[int]:
    """So many processes, which end by themselves when their queue tells them to."""
    arguments = (stream.of_chunk(), [stream.warm], *queues)
    processes = [multiprocessing.Process(target=target, args=arguments, daemon=True) for _ in range(stream.workers)]
    for process in processes:
        process.start()
    yield len(processes)
    for process in processes:
        process.join()


def _flat(stream: Stream, run: Run) -> Run:
    return run if stream.by_chunk else Run(run.seconds, list(chain.from_iterable(run.values)))


# ---- concurrent.futures


def executor(stream: Stream) -> Run:
    """``ProcessPoolExecutor.map``; it reads the whole source first."""
    with folder() as path, ProcessPoolExecutor(stream.workers) as made:
        list(made.map(meet, [path] * stream.workers, [stream.workers] * stream.workers))
        list(made.map(stream.function, stream.warm_tasks))
        return _timed(lambda: made.map(stream.function, stream.tasks(), chunksize=stream.task_chunksize))


# ---- others


def joblib(stream: Stream) -> Run:
    """A `Parallel` of its own for each call, as joblib's users have it; its workers stay up between two calls.

    Where a task is a message, ``batch_size`` stays at its default, 'auto', by which joblib soon puts hundreds of
    tasks into one message.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    size: Any = "auto" if stream.task_chunksize == 1 else stream.task_chunksize
    function = delayed(stream.function)

    def through(tasks: Iterable[Any]) -> Iterable[Any]:
        return Parallel(n_jobs=stream.workers, batch_size=size)(tasks)  # type: ignore[no-any-return]

    try:
        with folder() as path:
            through([delayed(meet)(path, stream.workers)] * stream.workers)
        through([function(task) for task in stream.warm_tasks])
        return _timed(lambda: through(function(task) for task in stream.tasks()))
    finally:
        get_reusable_executor().shutdown(wait=True)


def mpire(stream: Stream) -> Run:
    """``WorkerPool.imap_unordered``. It would spread a list over the function's parameters, so each is wrapped."""
    from mpire import WorkerPool

    def through(function: Callable[..., Any], tasks: Iterable[Any], size: int) -> Iterable[Any]:
        return made.imap_unordered(function, tasks, chunk_size=size)  # type: ignore[no-any-return]

    with folder() as path, WorkerPool(stream.workers, keep_alive=True) as made:
        list(through(meet, [(path, stream.workers)] * stream.workers, 1))
        list(through(stream.function, [(task,) for task in stream.warm_tasks], 1))
        return _timed(lambda: through(stream.function, ((task,) for task in stream.tasks()), stream.task_chunksize))


def pebble(stream: Stream) -> Run:
    """``ProcessPool.map``; it reads the whole source first."""
    from pebble import ProcessPool

    with folder() as path, ProcessPool(max_workers=stream.workers) as made:
        list(made.map(meet, [path] * stream.workers, [stream.workers] * stream.workers).result())
        list(made.map(stream.function, stream.warm_tasks).result())
        return _timed(lambda: made.map(stream.function, stream.tasks(), chunksize=stream.task_chunksize).result())


def faster_fifo(stream: Stream) -> Run:
    """Two of its queues by hand; with its ``put_many`` and ``get_many`` where chunks are shorter than 64 items."""
    from faster_fifo import Queue

    inbox, outbox = Queue(GROUP_BYTES), Queue(GROUP_BYTES)
    group = max(1, 64 // stream.chunksize)
    with _by_hand(stream, _from_faster_fifo, ((inbox, group), outbox)) as count:
        for _ in range(count):
            outbox.get()
        run = _timed(lambda: _in_groups(stream, inbox, outbox, group))
        for _ in range(count):
            inbox.put(None)  # each wakes a worker; `put_many` wakes one, however many it puts
    return _flat(stream, run)


def _from_faster_fifo(work: Callable[[Any], Any], warm: list[Any], source: tuple[Any, int], outbox: Any) -> None:
    inbox, group = source
    outbox.put(work(warm))
    while True:
        got = _patiently(inbox, group)
        ends = got.count(None)
        outbox.put_many([work(rows) for rows in got if rows is not None])
        for _ in range(ends - 1):
            inbox.put(None)  # the others'
        if ends:
            return


def _patiently(queue: Any, most: int) -> list[Any]:
    """What is there, up to `most`. Where several wait, its ``get_many`` may tell one that nothing came, at once."""
    while True:
        try:
            return queue.get_many(timeout=60.0, max_messages_to_get=most)  # type: ignore[no-any-return]
        except Empty:
            if multiprocessing.parent_process() is not None and os.getppid() == 1:
                raise  # the benchmark itself is gone


def _in_groups(stream: Stream, inbox: Any, outbox: Any, group: int) -> Iterator[Any]:
    chunks = stream.chunks()
    under_way = 0
    while rows := list(islice(chunks, group)):
        inbox.put_many(rows)
        under_way += len(rows)
        while under_way > AHEAD * stream.workers * group:
            got = _patiently(outbox, 1 << 20)
            under_way -= len(got)
            yield from got
    while under_way:
        got = _patiently(outbox, 1 << 20)
        under_way -= len(got)
        yield from got


POOL: Final = Streamer("Pool", pool)
SIMPLE_QUEUE: Final = Streamer("SimpleQueue", simple_queue)
EXECUTOR: Final = Streamer("executor", executor)
JOBLIB: Final = Streamer("joblib", joblib, "joblib")
MPIRE: Final = Streamer("mpire", mpire, "mpire")
PEBBLE: Final = Streamer("pebble", pebble, "pebble")
FASTER_FIFO: Final = Streamer("faster-fifo", faster_fifo, "faster_fifo")
ALL: Final = [POOL, SIMPLE_QUEUE, EXECUTOR, JOBLIB, MPIRE, PEBBLE, FASTER_FIFO]
