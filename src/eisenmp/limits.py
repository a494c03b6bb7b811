"""When a worker process has done enough: ``MAX_CHUNKS_PER_WORKER``, ``MAX_WORKER_MEMORY``.

A worker that has done enough gets the end of the stream at its next request, leaves in good order, and a fresh process
takes its slot. So nothing is lost and nobody waits: its chunks are answered by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from eisenmp.crew import Worker
from eisenmp.engines.base import ProcessHandle
from eisenmp.settings import Settings

__all__ = ["Limits", "resident_bytes"]

_EVERY: Final = 0.05  # seconds between two looks at the memory of one worker


class Limits:
    """The limits of a job.

    Args:
        settings: has them.
        clock: seconds.
        resident: bytes of memory that a process has now, by pid; None: nobody can tell.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        resident: Callable[[int], int | None] | None = None,
    ) -> None:
        self._chunks = settings.MAX_CHUNKS_PER_WORKER
        self._memory = settings.MAX_WORKER_MEMORY
        self._clock = clock
        self._resident = resident or resident_bytes

    def left(self, worker: Worker, holds: int, most: int) -> int:
        """Of `most` chunks that the worker might get, how many it may, when it holds some already. At least one."""
        if self._chunks is None:
            return most
        return max(1, min(most, self._chunks - worker.answered - holds))

    def reached(self, worker: Worker, handle: ProcessHandle) -> bool:
        """Whether the worker has done enough: a chunk at least. Once it has, that stays so."""
        if not worker.answered:
            return False
        if self._chunks is not None and worker.answered >= self._chunks:
            worker.done_enough = True
        elif self._memory is not None and self._clock() - worker.measured >= _EVERY:
            worker.measured = self._clock()
            pid = handle.known_pid
            worker.done_enough |= pid is not None and (self._resident(pid) or 0) > self._memory
        return worker.done_enough


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process: from ``/proc`` on Linux, elsewhere by psutil where it is installed."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    except Exception:  # not installed, or the process has just gone
        return None
