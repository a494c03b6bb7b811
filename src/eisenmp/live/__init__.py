"""The live view of a job, for pages and terminals: one form of news, made in one place.

`lanes`, `series`, `history`, `failures`, `state` are pure; `ears` listens, and `live` has the thread that looks.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping

from eisenmp.job import Job
from eisenmp.live.actions import Actions
from eisenmp.live.ears import Ears
from eisenmp.live.live import Live
from eisenmp.snapshot import Look, take_look

__all__ = ["Actions", "Live", "job_facts", "live_view"]


def live_view(
    job: Job,
    info: Callable[[], Mapping[str, int]],
    actions: Actions | None = None,
) -> Live:
    """The live view of a job, which notes from now on what happens to it. Nobody looks yet.

    Args:
        job: the job.
        info: rows that workers have reported through mp_info_q, by name; called under the job's lock.
        actions: what may be done to it.
    """
    with job.lock:
        job.open_tap()
        ears = Ears(job.listener, lambda: job.clock() - job.began)
        job.listener = ears

    def look() -> Look:
        with job.lock:
            return take_look(job, info())

    return Live(job_facts(job), look, ears, actions)


def job_facts(job: Job) -> dict[str, object]:
    """What the job is: what stays as it is while it runs."""
    return {
        "name": os.path.basename(sys.argv[0] if sys.argv else "") or "python",
        "pid": os.getpid(),
        "started": round(time.time() - (job.clock() - job.began), 3),
        "version": sys.modules["eisenmp"].__version__,
        "python": platform.python_version(),
        "engine": job.settings.ENGINE,
        "start_method": job.settings.START_METHOD,
    }
