"""Worker processes that begin before there is a job.

An interpreter and the worker's modules take as long to load as the manager's do. Who knows that there will be a job
before he has loaded what it takes to run one (cli/) has the workers load theirs at the same time, on the other cores.
They wait for their job, and end when their channel is closed: nobody has told them anything yet.

Whoever has neither a thread nor modules of somebody else's, as a command in its first milliseconds, is as good as a
fresh interpreter: a fork of it saves each worker the start of one.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Final

from eisenmp.engines.processes import WorkerProcess, channel_pair, fork, spawn

__all__ = ["begin", "end", "take"]

_waiting: Final[deque[tuple[socket.socket, WorkerProcess]]] = deque()


def begin(count: int, *, bare: bool = False, modules: Sequence[str] = ()) -> None:
    """Start so many processes: the next workers that are spawned. Call :func:`end` in any case.

    Args:
        count: of them.
        bare: this process has loaded and started nothing that a worker should not have.
        modules: what forks load while they wait, as their job will need it.
    """
    make = partial(_forked, modules) if bare and sys.platform in ("linux", "android") else _spawned
    before = None
    if hasattr(signal, "pthread_sigmask"):  # a Ctrl-C is not for them; they would tell where it has hit them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        for _ in range(count):
            _begin_one(make)
    except OSError:
        pass  # whoever spawns the workers of the job meets the same, and tells of it
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forked(modules: Sequence[str], child: socket.socket) -> WorkerProcess:
    return fork("early", child, partial(_run_forked, modules))


def _run_forked(modules: Sequence[str], child: socket.socket) -> int:
    from eisenmp.worker.main import run_forked

    for name in modules:
        import_module(name)
    return run_forked(child, by_main=True)


def _spawned(child: socket.socket) -> WorkerProcess:
    return spawn("early", child)


def _begin_one(make: Callable[[socket.socket], WorkerProcess]) -> None:
    ours, theirs = channel_pair()
    with theirs:
        try:
            _waiting.append((ours, make(theirs)))
        except BaseException:
            ours.close()
            raise


def take(name: str) -> tuple[socket.socket, WorkerProcess] | None:
    """The manager's end of its channel, and a process that has begun, if there is one. It is called `name` now."""
    try:
        ours, process = _waiting.popleft()
    except IndexError:
        return None
    process.name = name
    return ours, process


def end() -> None:
    """Those that nobody took end now."""
    while _waiting:
        ours, process = _waiting.popleft()
        ours.close()
        process.kill()
        process.block()
        process.poll()
        process.ended()
