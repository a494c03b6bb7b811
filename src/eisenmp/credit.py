"""How many chunks a worker may hold ahead of its need. Pure.

Bounded by time, not by count: one chunk on request, and more only when this worker's own history with this queue says
that all in its hands is some milliseconds of work. A worker that takes a port number and serves for ever has no such
history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["History"]

_AIM: Final = 0.010  # seconds of work that may lie in a worker's hands
_MOST: Final = 64  # chunks
_TRUST: Final = 2  # answers before the history counts


@dataclass(slots=True)
class History:
    """Durations of one worker's chunks of one queue."""

    answers: int = 0
    mean: float = 0.0  # exponential, the last few chunks dominate

    def add(self, seconds: float) -> None:
        """One more chunk took that long."""
        self.answers += 1
        weight = 0.5 if self.answers <= 2 else 0.25
        self.mean = seconds if self.answers == 1 else (1 - weight) * self.mean + weight * seconds

    def allowance(self, queued: int, workers: int) -> int:
        """Chunks the worker may have in hand in all, the one it works on included.

        What is queued is shared out evenly, so that the last chunks of a job do not end up with one worker.
        """
        if self.answers < _TRUST:
            return 1
        by_time = int(_AIM / max(self.mean, 1e-6))
        return max(1, min(_MOST, by_time, 1 + queued // workers))
