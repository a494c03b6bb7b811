"""The desk for the number of workers, while the job runs. Under the job's lock.

More workers: processes start at once, in slots of their own. Fewer: workers in the highest slots get no chunk any more,
finish what they hold, and leave (leaving.py); the slots stay empty until there are to be more again. A slot whose old
process has not left by then gets the next one when it has.

Workers that the system does not give, or that do not come up, are no reason to end a job that does well without them:
there are as many again as there were below them.
"""

from __future__ import annotations

from typing import Any, Final

from eisenmp.errors import JobOver, SettingsError
from eisenmp.job import Job
from eisenmp.leaving import LeaveDesk
from eisenmp.supervisor import TakeBack

__all__ = ["ResizeDesk"]

_MOST: Final = 4096  # workers; far beyond what one machine bears, and below what the ledger can number


class ResizeDesk:
    """Has workers started, or sees them out."""

    def __init__(self, job: Job, leaving: LeaveDesk) -> None:
        self._job = job
        self._leaving = leaving

    def check(self, workers: Any) -> None:
        """Raise when there cannot be so many workers.

        Raises:
            SettingsError: no such number; workers that are threads.
            JobOver: the job has ended, or is about to.
        """
        job = self._job
        if type(workers) is not int or not 1 <= workers <= _MOST:
            raise SettingsError(f"resize: workers={workers!r} does not fit; allowed: a whole number from 1 to {_MOST}")
        if job.settings.ENGINE == "inline":
            raise SettingsError(
                "resize: with ENGINE='inline' workers are threads, which stay as many as they are; "
                "allowed: ENGINE='local'"
            )
        if job.over.is_set() or job.exchange.feeding_over or job.crew.supervisor.stopping or job.results.over:
            raise JobOver(f"there are no {workers} workers to be had: the job is over, or about to be")
        if job.crew.supervisor.over():
            raise JobOver(f"there are no {workers} workers to be had: all entry functions have returned")

    def resize(self, workers: int) -> None:
        """So many workers from now on; :meth:`check` has found nothing wrong with that.

        Raises:
            SettingsError: ``CPU_AFFINITY`` has no place for them any more.
        """
        job = self._job
        job.on_resize(workers)
        for worker in job.crew.resize(workers, job.clock()):
            self._leaving.let_go(worker)
        job.share_windows()
        job.engine.wake()

    def take_back(self, decision: TakeBack) -> None:
        """A slot that was added never came up."""
        if decision.size < self._job.workers:
            self._job.news(f"{decision.reason}; the job goes on with {decision.size} workers")
            self.resize(decision.size)
