"""How a job gets on: what ``eisenmp status`` shows. Nothing of the file is unpickled for it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eisenmp.jobfile.lock import Owner, myself
from eisenmp.jobfile.reader import JobReader
from eisenmp.jobfile.summary import FailureRow, JobSummary, QueueSummary

__all__ = ["JobStatus", "job_status"]

_RECENT: Final = 60.0  # seconds
_TOLD: Final = 5  # failures


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job stands and gets on. Points in time are seconds since 1970.

    Attributes:
        path: of the job file.
        state: ``'running'``; ``'interrupted'``: its manager is gone; or how the last run ended: ``'complete'``,
            ``'stopped'``, ``'killed'``, the name of an error.
        queues: progress and restore point of each.
        done, total: items with an outcome, and items in all; None where nobody can tell.
        rate: items a second over all runs; None before the first outcome.
        recent: the same over the last minute of the last run.
        left: seconds until it is done at the recent rate; None where the total is not known, or nothing is left.
        holder: the manager that holds the file, or is said to.
        alive: whether that one lives; None: it is on another machine, of which nobody can tell, or there is none.
        last_write: when the file was written last; None: never.
        runs: how often the program was started.
        failed, set_aside: the newest failures, newest first; how many there are stands in `queues`.
        answered: ``stop_job`` has given an answer.
        store: how values are kept.
        own: this user has made it; else its values are opened only when told to.
    """

    path: str
    state: str
    queues: tuple[QueueSummary, ...]
    done: int
    total: int | None
    rate: float | None
    recent: float | None
    left: float | None
    holder: Owner | None
    alive: bool | None
    last_write: float | None
    runs: int
    failed: tuple[FailureRow, ...]
    set_aside: tuple[FailureRow, ...]
    answered: bool
    store: str
    own: bool


def job_status(path: str | os.PathLike[str]) -> JobStatus:
    """How the job of a file stands, also while it runs in another process. Nothing is unpickled.

    Raises:
        JobFileError: there is no such file, it is none, is damaged, or of a newer version.
    """
    with JobReader(os.fspath(path)) as reader:
        failed = tuple(reader.failures("failed", last=_TOLD))
        aside = tuple(reader.failures("set aside", last=_TOLD))
        return status_of(reader.summary(), failed, aside, time.time())


def status_of(
    summary: JobSummary, failed: tuple[FailureRow, ...], set_aside: tuple[FailureRow, ...], now: float
) -> JobStatus:
    """The same of what was read. Pure."""
    recent = _recent(summary, now)
    done = sum(queue.items for queue in summary.queues)
    total = _total(summary.queues)
    rate = _rate(summary, now)
    is_over = summary.state == "complete" or summary.answered
    pace = recent or rate
    left = max(0, total - done) / pace if total is not None and pace and not is_over else None
    holder = summary.owner or summary.stale
    return JobStatus(
        path=summary.path,
        state=summary.state,
        queues=summary.queues,
        done=done,
        total=total,
        rate=rate,
        recent=recent,
        left=left,
        holder=holder,
        alive=None if holder is None or holder.host != myself().host else summary.owner is not None,
        last_write=max((run.last for run in summary.runs if run.last is not None), default=None),
        runs=len(summary.runs),
        failed=failed,
        set_aside=set_aside,
        answered=summary.answered,
        store=summary.store,
        own=summary.own,
    )


def _total(queues: Sequence[QueueSummary]) -> int | None:
    totals = [queue.total for queue in queues if queue.total is not None]
    return sum(totals) if totals and len(totals) == len(queues) else None


def _rate(summary: JobSummary, now: float) -> float | None:
    """Items a second while the program ran: of a run that was killed, until it wrote last."""
    items = sum(run.items for run in summary.runs)
    took = sum((run.last or run.began) - run.began for run in summary.runs)
    if summary.state == "running" and summary.runs:
        last = summary.runs[-1]
        took += now - (last.last or last.began)
    return items / took if items and took > 0 else None


def _recent(summary: JobSummary, now: float) -> float | None:
    """Items a second since a minute before the end, or before now."""
    run = summary.runs[-1] if summary.runs else None
    if run is None or run.last is None:
        return None
    end = now if summary.state == "running" else run.last
    at, items = run.began, 0
    for point in summary.pace:
        if point[0] <= end - _RECENT or at < end - 2 * _RECENT:
            at, items = point
    return (run.items - items) / (end - at) if end > at else None
