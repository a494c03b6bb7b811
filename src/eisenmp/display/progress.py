"""From snapshots to a line of words: percent, items, rate, time left, workers. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from eisenmp.listen import Snapshot

__all__ = ["Progress"]

_WINDOW: Final = 10.0  # seconds of the past that the rate is made of


class Progress:
    """Remembers the recent past, for a rate that tells the truth about now."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int]] = deque([(0.0, 0)])

    def line(self, snapshot: Snapshot) -> str:
        """One line, without its end."""
        done, total = counts(snapshot)
        rate = self._rate(snapshot.seconds, done)
        parts = ["eisenmp"]
        if total:
            parts.append(f"{min(100, 100 * done // total):3d} %  {done:,}/{total:,} items")
        else:
            parts.append(f"{done:,} items of an unknown number")
        parts.append(f"{rate:,.0f}/s" if rate >= 10 or not rate else f"{rate:.2g}/s")
        if snapshot.over:
            parts.append(f"took {_clock(snapshot.seconds)}")
        elif total and rate and total > done:
            parts.append(f"{_clock((total - done) / rate)} left")
        up = sum(1 for worker in snapshot.workers if worker.phase == "up")
        parts.append(f"workers {up}/{len(snapshot.workers)}")
        for count, what in ((snapshot.failed, "failed"), (snapshot.set_aside, "set aside")):
            if count:
                parts.append(f"{count} tickets {what}")
        restarts = sum(worker.restarts for worker in snapshot.workers)
        if restarts:
            parts.append(f"{restarts} restarts")
        return "  ".join(parts)

    def _rate(self, now: float, done: int) -> float:
        past = self._past
        past.append((now, done))
        while len(past) > 2 and past[1][0] < now - _WINDOW:
            past.popleft()
        seconds = now - past[0][0]
        return (done - past[0][1]) / seconds if seconds > 0 else 0.0


def counts(snapshot: Snapshot) -> tuple[int, int | None]:
    """(items done, items in all or None). What workers report through mp_info_q counts where it is more."""
    queues = {feeder.queue: feeder.done for feeder in snapshot.feeders}
    done = max(sum(queues.values()), sum(snapshot.info.values()))
    if snapshot.info_total:
        return done, snapshot.info_total
    total = 0
    for feeder in snapshot.feeders:
        if feeder.total is None and not feeder.finished:
            return done, None
        total += feeder.made if feeder.finished else feeder.total or 0
    return done, total or None


def _clock(seconds: float) -> str:
    """``0:07``, ``1:02:03``"""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
