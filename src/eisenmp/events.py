"""What a display hears: lines, log records and news of workers, never anything on the data's way.

The dispatcher calls a listener from its own thread, outside its lock. A listener that is slow slows the printing of
workers, not the bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

__all__ = ["FailureView", "FeederView", "Listener", "QueueView", "Snapshot", "WorkerView"]


class Listener(Protocol):
    """Whoever shows what happens."""

    def lines(self, text: str, *, stderr: bool, worker: str = "") -> None:
        """Whole lines that a worker printed, or the manager where `worker` is empty."""
        ...

    def log(self, fields: dict[str, Any]) -> None:
        """A log record of a worker."""
        ...

    def warned(self, fields: dict[str, Any]) -> None:
        """A warning of a worker."""
        ...

    def news(self, text: str) -> None:
        """Something the user should know: a death, a worker that waits for nobody, work that nobody read."""
        ...


class FeederView(NamedTuple):
    """One feeder, now. ``total`` None: unknown. ``done`` counts the queue's items with an outcome.

    ``finished``: its iterable is exhausted, so ``made`` is all there is.
    """

    queue: str
    made: int
    done: int
    total: int | None
    finished: bool


class WorkerView(NamedTuple):
    """One worker slot, now. ``phase``: see :class:`eisenmp.supervisor.Phase`; or ``'leaving'``: it is to end."""

    slot: int
    name: str
    pid: int
    phase: str
    holding: tuple[str, ...]  # tickets, such as 'mp_input_q (default)_TID_3'
    oldest_seconds: float  # how long it has been at the oldest of them
    answered: int  # chunks, by the present process
    restarts: int
    at: str = ""  # the ticket that it has been at for so long; of a batch, the first one


class QueueView(NamedTuple):
    """One queue, now. ``maxsize`` 0: what is put by hand has no bound.

    Of a queue that is fed, ``window`` chunks may be queued, running or unread, and ``under_way`` are.
    """

    name: str
    fill: int
    maxsize: int
    window: int = 0
    under_way: int = 0


class FailureView(NamedTuple):
    """The chunk that failed last. ``open`` unpickles what it raised: call it without the job's lock."""

    queue: str
    ticket: int
    open: Callable[[], BaseException | None]


class Snapshot(NamedTuple):
    """A job, now. ``info``: rows reported through ``mp_info_q``, by the name that followed the header.

    ``done``, ``failed`` and ``set_aside`` are chunks; ``partly_failed`` are those of which only some items have failed.
    """

    seconds: float
    feeders: tuple[FeederView, ...]
    workers: tuple[WorkerView, ...]
    queues: tuple[QueueView, ...]
    failed: int
    set_aside: int
    info: Mapping[str, int] = MappingProxyType({})
    info_total: int | None = None
    over: bool = False
    partly_failed: int = 0
    last_failure: FailureView | None = None
    done: int = 0
    stopping: bool = False
    retriable: int = 0  # chunks that have failed, and may be tried again
    wanted: int = 0  # workers that there are to be
