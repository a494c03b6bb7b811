"""How much is done and how fast, from snapshots; and the one line that says so. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from eisenmp.constants import DEFAULT_SUFFIX
from eisenmp.display.words import age, amount, clock, counted, one_line, pace
from eisenmp.events import FailureView, Snapshot

__all__ = ["Progress", "Rate", "counts", "failure_words", "percent", "trouble_words"]

_WINDOW: Final = 10.0  # seconds of the past that a rate is made of, at least
_STEPS: Final = 4  # … and that many steps of the usual length, where chunks take longer
_LONGEST: Final = 1800.0
_KEPT: Final = 128  # steps that are remembered at most


class Rate:
    """How fast a count grows, from its recent past.

    A count grows in steps, by whole chunks. Where a step takes a minute, ten seconds of the past would say nothing; so
    the past that counts is as long as some steps usually take. A count that stands still is soon a rate of 0.
    """

    def __init__(self, now: float = 0.0, count: int = 0) -> None:
        self._past: deque[tuple[float, int]] = deque([(now, count)])  # when it had grown to what

    def at(self, now: float, count: int) -> float:
        """The count is `count` now: what it grows by in a second."""
        past = self._past
        if count < past[-1][1]:  # somebody else counts from the beginning
            past.clear()
            past.append((now, count))
        self._note(now, count)
        window = self._window()
        while len(past) > 1 and past[1][0] <= now - window:
            past.popleft()
        since, before = past[0]
        seconds = now - since
        return (count - before) / seconds if seconds > 0 else 0.0

    def _note(self, now: float, count: int) -> None:
        past = self._past
        if count == past[-1][1]:
            return
        # Steps that follow one another quickly are noted a few times a second only.
        if len(past) > 1 and now - past[-2][0] < _WINDOW / (_KEPT // 2):
            past.pop()
        past.append((now, count))
        if len(past) > _KEPT:
            past.popleft()

    def _window(self) -> float:
        past = self._past
        step = (past[-1][0] - past[0][0]) / (len(past) - 1) if len(past) > 1 else 0.0
        return min(_LONGEST, max(_WINDOW, _STEPS * step))


class Progress:
    """One line that says how the whole job stands."""

    def __init__(self) -> None:
        self._rate = Rate()

    def line(self, snapshot: Snapshot) -> str:
        """One line, without its end."""
        done, total = counts(snapshot)
        rate = self._rate.at(snapshot.seconds, done)
        if snapshot.over:
            rate = done / snapshot.seconds if snapshot.seconds > 0 else 0.0
        parts = ["eisenmp"]
        if total:
            parts.append(f"{percent(done, total):3d} %  {amount(done)}/{amount(total)} items")
        elif snapshot.over:
            parts.append(f"{amount(done)} items")
        else:
            parts.append(f"{amount(done)} items of an unknown number")
        parts.append(pace(rate))
        if snapshot.over:
            parts.append(f"took {age(snapshot.seconds)}")
        elif total and rate and total > done:
            parts.append(f"{clock((total - done) / rate)} left")
        if not snapshot.over:  # at the end nobody is up
            up = sum(1 for worker in snapshot.workers if worker.phase == "up")
            parts.append(f"workers {up}/{len(snapshot.workers)}")
        parts += trouble_words(snapshot)
        return "  ".join(parts)

    def last_lines(self, snapshot: Snapshot) -> list[str]:
        """What stays when the job is over: the line, and what failed last if anything did."""
        lines = [self.line(snapshot)]
        if snapshot.last_failure is not None:
            lines.append(f"eisenmp  last failure: {failure_words(snapshot.last_failure)}")
        return lines


def percent(done: int, total: int) -> int:
    """100 only when all is done, and never more."""
    return min(100, 100 * done // total) if total else 100


def trouble_words(snapshot: Snapshot) -> list[str]:
    """What went wrong so far, counted."""
    told = (
        (snapshot.failed, "chunk failed"),
        (snapshot.partly_failed, "chunk with failed items"),
        (snapshot.set_aside, "chunk set aside"),
        (sum(worker.restarts for worker in snapshot.workers), "restart"),
    )
    return [counted(count, what) for count, what in told if count]


def failure_words(failure: FailureView) -> str:
    """Ticket, type and message of a failure, on one line."""
    ticket = f"{failure.queue.removesuffix(DEFAULT_SUFFIX)}_TID_{failure.ticket}"
    try:
        error = failure.open()
        return ticket if error is None else f"{ticket}: {type(error).__name__}: {one_line(str(error))}"
    except Exception:
        return f"{ticket} (what was raised cannot be shown)"


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
