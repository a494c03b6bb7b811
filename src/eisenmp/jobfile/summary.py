"""How a job stands, as its file tells it: plain values, nothing of which was unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eisenmp.jobfile.lock import Owner

__all__ = ["FailureRow", "JobSummary", "QueueSummary", "RunSummary"]


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """How the tickets of one queue stand.

    Attributes:
        name: of the queue.
        done: tickets with a result, or answered without one.
        failed: tickets that ended in an exception, or some of whose items did.
        set_aside: tickets over which workers died.
        cut: tickets that have been cut so far, with an outcome or not.
        items: of the tickets that have an outcome.
        seconds: that workers have spent on those.
        restore_point: the first ticket without an outcome: a restart goes on there.
        total: items to expect in all, of all its sources; None when nobody can tell.
        ended: whether its sources were read to their ends.
    """

    name: str
    done: int
    failed: int
    set_aside: int
    cut: int
    items: int
    seconds: float
    restore_point: int
    total: int | None
    ended: bool

    @property
    def finished(self) -> int:
        """Tickets with an outcome."""
        return self.done + self.failed + self.set_aside


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One start of the program. Times are seconds since 1970.

    Attributes:
        began: when it started.
        last: when it wrote last; None: never.
        ended: how it ended (``'complete'``, ``'stopped'``, ``'killed'``, an error's name); None: it runs, or was killed
            by force.
        pid, host: its process.
        tickets, items: with an outcome of this run.
        forced: what did not fit and was overridden by ``JOB_FORCE``, in words.
    """

    began: float
    last: float | None
    ended: str | None
    pid: int
    host: str
    tickets: int
    items: int
    forced: str | None

    @property
    def rate(self) -> float | None:
        """Items a second; None when it has written nothing."""
        took = (self.last or 0.0) - self.began
        return self.items / took if took > 0 else None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job file at a glance.

    Attributes:
        state: ``'running'``, ``'interrupted'`` (its manager is gone), or how the last run ended.
        owner: the manager that works on it now; None: nobody does.
        program: how it was started: ``argv``, ``cwd``, ``executable``.
        created: seconds since 1970.
        store: how values are kept.
        own: whether this user has made it; else pickles in it are opened only when told to.
        answered: ``stop_job`` has given an answer.
        stale: a manager that is gone, and could not give the file back.
        pace: (when, items until then) of the last run, some seconds apart, as far as a minute or so back.
    """

    path: str
    state: str
    owner: Owner | None
    program: Mapping[str, Any]
    created: float
    store: str
    own: bool
    answered: bool
    queues: tuple[QueueSummary, ...]
    runs: tuple[RunSummary, ...]
    stale: Owner | None = None
    pace: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failed ticket, in words. Nothing is unpickled for it.

    Attributes:
        state: ``'failed'`` or ``'set aside'``.
        type, message, traceback: of what was raised; of a ticket of which some items failed, that of the first.
        items: ``(first place in the chunk, how many, type, message)`` of items that failed by themselves.
        first_item: place of the ticket's first item in its source, from 0.
        at: seconds since 1970.
    """

    queue: str
    ticket: int
    state: str
    type: str
    message: str
    traceback: str | None
    items: tuple[tuple[int, int, str, str], ...]
    seconds: float
    slot: int
    attempts: int
    first_item: int | None
    at: float
