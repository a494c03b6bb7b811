"""What a job keeps of its times for :meth:`eisenmp.short.Imap.report`: running totals, touched once a message. Pure.

Nothing here is called for a single item: feeders and readers tell when they begin and end to wait, workers' answers
bring the duration of what they answer.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Durations", "Hours", "Meter", "Timed"]

_FINE: Final = 32  # buckets between a duration and its double: what comes out is right to 1.1 %
_LEAST: Final = 1e-9  # seconds; nothing is shorter
_SLOWEST: Final = 5


class Meter:
    """Adds up how long somebody was at one thing; what lasts counts up to now. One thread begins and ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._state: tuple[float, float | None] = (0.0, None)  # seconds so far, since when: changed as one

    def begin(self) -> None:
        """From now on. Does nothing when it has begun already."""
        total, since = self._state
        if since is None:
            self._state = (total, self._clock())

    def end(self) -> None:
        """Up to now. Does nothing when it has not begun."""
        total, since = self._state
        if since is not None:
            self._state = (total + self._clock() - since, None)

    def seconds(self, until: float | None = None) -> float:
        """In all, up to now or to the time `until`. From any thread."""
        total, since = self._state
        return total if since is None else total + max(0.0, (self._clock() if until is None else until) - since)


class Timed(NamedTuple):
    """Items of tickets in a row, timed together. ``seconds``: of one of them, their mean."""

    seconds: float
    queue: int
    serial: int
    items: int


class Durations:
    """How long items take: mean, quantiles, the slowest. Of the same size however many are added.

    Attributes:
        items: how many were added.
        seconds: of all together.
        slowest: the five slowest so far, in no order.
    """

    def __init__(self) -> None:
        self.items = 0
        self.seconds = 0.0
        self.slowest: list[Timed] = []
        self._buckets: dict[int, int] = {}
        self._shortest = math.inf
        self._longest = 0.0

    def add(self, queue: int, serial: int, items: int, seconds: float) -> None:
        """So many items, of tickets from `serial` on, took so long together."""
        if items <= 0:
            return
        self.items += items
        self.seconds += seconds
        each = seconds / items
        bucket = math.floor(math.log2(max(each, _LEAST)) * _FINE)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + items
        self._shortest = min(self._shortest, each)
        self._longest = max(self._longest, each)
        if len(self.slowest) < _SLOWEST:
            heapq.heappush(self.slowest, Timed(each, queue, serial, items))
        elif each > self.slowest[0].seconds:
            heapq.heapreplace(self.slowest, Timed(each, queue, serial, items))

    def mean(self) -> float | None:
        """Seconds an item; None while there is none."""
        return self.seconds / self.items if self.items else None

    def quantile(self, share: float) -> float | None:
        """Seconds within which that share of the items was done, to about one percent; None while there is none."""
        if not self.items:
            return None
        rest = max(1, math.ceil(share * self.items))
        for bucket in sorted(self._buckets):
            rest -= self._buckets[bucket]
            if rest <= 0:
                break
        middle = float(2 ** ((bucket + 0.5) / _FINE))
        return min(max(middle, self._shortest), self._longest)


class Hours:
    """How one worker slot has spent its time, over all processes that it had. All times by one clock, in seconds.

    Attributes:
        working: with items in hand, from opening them to the last result.
        sending: packing results and handing them over.
        starting: from the start of a process to the call of its function.
        present: between that and its end.
        memory: bytes resident at most, of the present process or the last one; None: not known.

    A slot may come later than the job, or go before it (``resize``): :meth:`away` tells for how long it was not there.
    """

    def __init__(self) -> None:
        self.working = 0.0
        self.sending = 0.0
        self.starting = 0.0
        self.present = 0.0
        self.memory: int | None = None
        self._began: float | None = None  # of the process that is starting
        self._up: float | None = None  # of the one that is there
        self._heard = 0.0  # when it told of work last
        self._away = 0.0
        self._dismissed: float | None = None

    def dismiss(self, now: float) -> None:
        """The slot is not wanted any more, and has no process. Does nothing when it is dismissed already."""
        if self._dismissed is None:
            self._dismissed = now

    def want(self, now: float) -> None:
        """It is wanted again."""
        self._away, self._dismissed = self.away(now), None

    def away(self, now: float) -> float:
        """Seconds in which it was not wanted."""
        return self._away + (0.0 if self._dismissed is None else max(0.0, now - self._dismissed))

    def start(self, now: float) -> None:
        """A process is started in the slot."""
        self.leave(now)
        self._began = now

    def up(self, now: float) -> None:
        """It is ready to work."""
        if self._began is not None:
            self.starting += now - self._began
        self._began, self._up = None, now

    def worked(self, now: float, seconds: float) -> None:
        """It tells how long it was at something that it has just answered."""
        self.working += seconds
        self._heard = now

    def leave(self, now: float, since: float | None = None) -> None:
        """It is gone, or does nothing more for us. `since`: when it began what it was at."""
        self.starting, self.present, self.working = self._totals(now, since)
        self._began = self._up = None

    def shares(self, now: float, since: float | None = None) -> tuple[float, float, float, float, float]:
        """(seconds in all, starting, waiting, working, sending), the last four as shares that add up to 1, or all 0."""
        starting, present, working = self._totals(now, since)
        total = starting + present
        if total <= 0:
            return 0.0, 0.0, 0.0, 0.0, 0.0
        sending = min(self.sending, present - working)
        waiting = present - working - sending
        return total, starting / total, waiting / total, working / total, sending / total

    def _totals(self, now: float, since: float | None) -> tuple[float, float, float]:
        """Starting, present and working, what lasts included."""
        starting, present, working = self.starting, self.present, self.working
        if self._began is not None:
            starting += max(0.0, now - self._began)
        if self._up is not None:
            present += max(0.0, now - self._up)
            if since is not None:  # what it has told of since then is counted already
                working += max(0.0, now - max(since, self._heard))
        return starting, present, min(working, present)
