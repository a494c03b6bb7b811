"""A job takes up what earlier runs have left in its job file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eisenmp.errors import JobFileError, annotate
from eisenmp.job import Job
from eisenmp.ledger import State

if TYPE_CHECKING:
    from eisenmp.jobfile.archive import Archive

__all__ = ["take_up"]


def take_up(job: Job, archive: Archive) -> None:
    """Begin to write, bring back what is done. A job that has its answer, or has failed for good, does no more.

    Raises:
        JobFileError: the file cannot be read.
    """

    def broken(error: JobFileError) -> None:
        with job.lock:
            job.fail(error)

    archive.on_error = broken
    archive.begin()
    answered, answer = archive.saved_answer()
    if answered:
        with job.lock:
            job.results.answer = answer
            job.stop()
    elif job.settings.ON_ERROR == "raise":
        _fail_again(job, archive)


def _fail_again(job: Job, archive: Archive) -> None:
    """With ``ON_ERROR = 'raise'``, a ticket that has failed ends the job, whenever that was."""
    for number, track in job.ledger.tracks.items():
        ticket = bytes(track.states).find(State.FAILED)
        if ticket < 0:
            continue
        name = job.table[number].name
        error = _error_of(job, number, ticket)
        annotate(
            error,
            f"eisenmp: ticket _TID_{ticket} of queue {name!r} has failed in an earlier run, and is not run by itself: "
            f"`eisenmp retry {archive.path} --failed` hands it out anew, ON_ERROR='skip' goes on without it",
        )
        with job.lock:
            job.fail(error)
        return


def _error_of(job: Job, number: int, ticket: int) -> BaseException:
    name = job.table[number].name
    try:
        error = job.results[name][ticket].error
    except JobFileError as untrusted:
        error = untrusted
    return error or JobFileError(f"ticket _TID_{ticket} of queue {name!r} has failed")
