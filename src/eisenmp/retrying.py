"""The desk for chunks that have failed, or were set aside: they are tried again, in the job that runs. Under its lock.

A ticket has one outcome. So only those go that nobody was told of: what a reader has taken stays as it is.
"""

from __future__ import annotations

from eisenmp.errors import JobOver
from eisenmp.job import Job
from eisenmp.ledger import State

__all__ = ["RetryDesk"]


class RetryDesk:
    """Puts chunks back into their queues."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def retry(self, *, failed: bool, set_aside: bool) -> int:
        """Try again what failed, or was set aside, as if for the first time; return how many chunks that are.

        Raises:
            JobOver: the job has ended, or no worker is left that would take them.
        """
        job = self._job
        if job.over.is_set() or job.exchange.feeding_over or job.results.over or job.crew.supervisor.stopping:
            raise JobOver("nothing is tried again: the job is over, or about to be")
        if not job.crew.supervisor.somebody_asks():
            raise JobOver("nothing is tried again: every worker has read the end of its stream")
        wanted = {state for state, on in ((State.FAILED, failed), (State.SET_ASIDE, set_aside)) if on}
        again = []
        for chunk, record in job.results.shelf:
            track = job.ledger.track(chunk.queue)
            if track.states[chunk.serial] in wanted and job.results.take_back(record):
                job.ledger.revive(chunk)
                again.append(chunk)
        job.exchange.put_back(again)
        job.engine.wake()
        return len(again)
