"""One chunk there and back: a single thread puts it, and waits for what comes back.

Not the main thread: there the harness has an alarm clock, a signal handler of the kind that keeps eisenmp from taking
a short cut.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import check, wait_until
from benchmarks.ours import up
from benchmarks.rounds import Contest, Goal
from benchmarks.work import identity, modules

__all__ = ["run"]

TRIPS: Final = 2000
WARM: Final = 50
WORKERS: Final = 2
LIMIT: Final = "limit: socketpair"


def timed(there_and_back: Callable[[Any], Any]) -> float:
    """Seconds of one round trip, in the mean of many, in a thread."""
    executor = ThreadPoolExecutor(1)
    try:
        return executor.submit(_timed, there_and_back).result()
    finally:
        executor.shutdown(wait=False)  # it may hang


def _timed(there_and_back: Callable[[Any], Any]) -> float:
    chunks = [[number] for number in range(TRIPS)]
    for chunk in chunks[:WARM]:
        there_and_back(chunk)
    begin = time.perf_counter()
    came = [there_and_back(chunk) for chunk in chunks]
    seconds = time.perf_counter() - begin
    check(came, chunks, "what came back")
    return seconds / TRIPS


def ours() -> float:
    """Two queues of an `Mp`, and a classic worker that echoes."""
    with eisenmp.Mp() as emp:
        emp.start(worker_modules=modules("echo"), NUM_PROCS=WORKERS)
        wait_until(lambda: up(emp))
        put, get = emp.mp_input_q.put, emp.mp_output_q.get

        def trip(chunk: Any) -> Any:
            put(chunk)
            return get()

        seconds = timed(trip)
        emp.kill()
    return seconds


def pool_apply() -> float:
    """``Pool.apply``."""
    with multiprocessing.Pool(WORKERS) as made:
        return timed(lambda chunk: made.apply(identity, (chunk,)))


def executor() -> float:
    """``ProcessPoolExecutor.submit(…).result()``."""
    with ProcessPoolExecutor(WORKERS) as made:
        return timed(lambda chunk: made.submit(identity, chunk).result())


def pebble() -> float:
    """``ProcessPool.schedule(…).result()``."""
    from pebble import ProcessPool

    with ProcessPool(max_workers=WORKERS) as made:
        return timed(lambda chunk: made.schedule(identity, args=[chunk]).result())


def mpire() -> float:
    """``WorkerPool.apply``."""
    from mpire import WorkerPool

    with WorkerPool(WORKERS, keep_alive=True) as made:
        return timed(lambda chunk: made.apply(identity, (chunk,)))


def simple_queue() -> float:
    """Two SimpleQueues by hand."""
    inbox: Any = multiprocessing.SimpleQueue()
    outbox: Any = multiprocessing.SimpleQueue()

    def trip(chunk: Any) -> Any:
        inbox.put(chunk)
        return outbox.get()

    with _echoing(_echo_queues, WORKERS, inbox, outbox):
        seconds = timed(trip)
        for _ in range(WORKERS):
            inbox.put(None)
    inbox.close()
    outbox.close()
    return seconds


def faster_fifo() -> float:
    """The same with two queues of faster-fifo."""
    from faster_fifo import Queue

    inbox, outbox = Queue(), Queue()

    def trip(chunk: Any) -> Any:
        inbox.put(chunk)
        return outbox.get()

    with _echoing(_echo_queues, WORKERS, inbox, outbox):
        seconds = timed(trip)
        for _ in range(WORKERS):
            inbox.put(None)
    return seconds


def raw() -> float:
    """A socketpair with one process at its other end: two system calls each, nothing pickled."""
    here, there = socket.socketpair()
    message = pickle.dumps([TRIPS], 5)

    def trip(_: Any) -> Any:
        here.sendall(message)
        here.recv(4096)
        return _

    with here, there, _echoing(_echo_socket, 1, there):
        seconds = timed(trip)
        here.sendall(b"end")
    return seconds


@contextmanager
def _echoing(target: Callable[..., None], count: int, *arguments: Any) -> Iterator[None]:
    processes = [multiprocessing.Process(target=target, args=arguments, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.join()


def _echo_queues(inbox: Any, outbox: Any) -> None:
    while True:
        try:
            chunk = inbox.get()
        except Exception:  # faster-fifo gives up after ten idle seconds; its queue.Empty is none of ours
            if os.getppid() == 1:
                return
            continue
        if chunk is None:
            return
        outbox.put(chunk)


def _echo_socket(sock: socket.socket) -> None:
    while (message := sock.recv(4096)) not in (b"", b"end"):
        sock.sendall(message)


def run(plan: Plan) -> Iterator[Contest]:
    """The contest of this file."""
    field = [
        Contender("eisenmp.Mp", ours),
        Contender("SimpleQueue", simple_queue),
        Contender("Pool.apply", pool_apply),
        Contender("executor", executor),
        Contender("mpire", mpire, "mpire"),
        Contender("pebble", pebble, "pebble"),
        Contender("faster-fifo", faster_fifo, "faster_fifo"),
        Contender(LIMIT, raw),
    ]
    turns = plan.compete(field)
    contest = turns.contest("latency", "one chunk there and back", "µs", seconds_of(turns, 1e6))
    contest.against("eisenmp.Mp", "SimpleQueue", Goal(must=1.0))
    contest.against("eisenmp.Mp", LIMIT, Goal(aim=1.0))
    yield contest
