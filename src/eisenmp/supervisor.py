"""The supervisor: what is to be done about each worker slot. Pure: events and a clock go in, decisions come out.

A slot is a worker's stable place (``START_SEQUENCE_NUM``); the process in it changes when one dies. A worker that dies
is replaced at once. Deaths that nothing else bounds make the next start wait, twice as long each time: those before
the worker is up (three in a row end the job) and those soon after it came up, with no ticket to blame and nothing
answered (``fruitless_limit`` in a row end the job). So there is no respawn storm. Deaths over a ticket are bounded by
``CRASH_RETRIES``; those of long-lived workers by a budget (``RESTARTS``) of so many within a minute in one slot.

How many slots there are may change while the job runs (:meth:`Supervisor.resize`). Slots keep their numbers; those from
``size`` on are let go: their processes are not replaced, unless they leave work behind that nobody else is there to do.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

__all__ = ["EndJob", "Phase", "Restart", "Slot", "Supervisor", "TakeBack"]

_WITHIN: Final = 60.0  # seconds over which the budget counts


class Phase:
    """Where a slot stands."""

    WAITING: Final = "waiting"  # for its (re)start
    STARTING: Final = "starting"
    UP: Final = "up"
    RETURNED: Final = "returned"  # the entry function is done, the process may still live
    GONE: Final = "gone"


class Restart(NamedTuple):
    """Start a new process in the slot, not before the time `at`."""

    slot: int
    at: float


class EndJob(NamedTuple):
    """The job cannot go on."""

    reason: str


class TakeBack(NamedTuple):
    """A slot that a resize has added never came up: the job goes on with `size` workers."""

    size: int
    reason: str


class Slot:
    """One worker slot. ``worker`` is the number of its present process, unique over the job."""

    worker: int = -1
    restarts: int = 0
    failed_starts: int = 0  # in a row
    fruitless: int = 0  # early deaths in a row without an answer between
    up_since: float = 0.0
    last_exit: str = ""
    at_end: bool = False  # its process was told the end of a stream: it may not ask again
    on_trial: bool = False  # a resize has added it, and none of its processes has come up since

    def __init__(self, number: int, phase: str = Phase.WAITING) -> None:
        self.number = number
        self.phase = phase
        self.deaths: deque[float] = deque()  # when, of late; kept where there is a budget


_PRESENT: Final = (Phase.STARTING, Phase.UP, Phase.RETURNED)  # there is a process


class Supervisor:
    """Worker slots 0 … n-1 of one job.

    Args:
        slots: how many.
        start_limit: failed starts in a row, in one slot, that end the job.
        fruitless_limit: early deaths in a row, in one slot, without a single answer, that end the job.
        early: seconds after coming up within which a death is early.
        backoff: seconds before the second restart in a row; doubles up to `longest`.

    ``budget`` is how many times one slot may be restarted within a minute; one more death ends the job. None: no limit,
    and deaths that are far apart do not make the next start wait. ``size``: slots from there on are let go.
    """

    def __init__(
        self,
        slots: int,
        *,
        start_limit: int = 3,
        fruitless_limit: int = 10,
        early: float = 1.0,
        backoff: float = 0.05,
        longest: float = 2.0,
    ) -> None:
        self.slots = [Slot(n) for n in range(slots)]
        self.size = slots
        self.start_limit = start_limit
        self.fruitless_limit = fruitless_limit
        self.early = early
        self.backoff = backoff
        self.longest = longest
        self.budget: int | None = None
        self.stopping = False
        self._workers = 0

    def started(self, slot: int) -> int:
        """A process is being started in the slot; return its worker number."""
        place = self.slots[slot]
        place.phase = Phase.STARTING
        place.worker = self._workers
        place.at_end = False
        self._workers += 1
        return place.worker

    def up(self, slot: int, now: float) -> None:
        """The process has loaded its modules."""
        place = self.slots[slot]
        place.phase = Phase.UP
        place.up_since = now
        place.failed_starts = 0
        place.on_trial = False

    def answered(self, slot: int) -> None:
        """The process has answered a ticket: whatever happened before, this slot works."""
        self.slots[slot].fruitless = 0

    def told_end(self, slot: int) -> None:
        """It was told the end of a stream, and is likely to leave."""
        self.slots[slot].at_end = True

    def returned(self, slot: int) -> None:
        """Its entry function is done."""
        self.slots[slot].phase = Phase.RETURNED

    def stop(self) -> None:
        """Nothing is restarted from now on."""
        self.stopping = True

    def resize(self, size: int) -> tuple[list[int], list[int]]:
        """From now on there are `size` workers.

        Returns:
            Slots to start a process in, lowest first; slots whose process is to leave, highest first.
        """
        start: list[int] = []
        before, self.size = self.size, size
        for number in range(before, size):
            if number == len(self.slots):
                self.slots.append(Slot(number, phase=Phase.GONE))
            place = self.slots[number]
            if place.phase == Phase.GONE:  # else its process still has something to do, and is replaced after that
                place.phase = Phase.WAITING
                place.failed_starts = place.fruitless = 0
                place.deaths.clear()
                place.on_trial = True
                start.append(number)
        leave: list[int] = []
        for place in reversed(self.slots[size:]):
            if place.phase in _PRESENT:
                leave.append(place.number)
            else:
                place.phase = Phase.GONE
        return start, leave

    def down(
        self, slot: int, exit_text: str, now: float, *, needed: bool, blamed: bool
    ) -> Restart | EndJob | TakeBack | None:
        """The process is gone.

        Args:
            slot: whose.
            exit_text: how it ended, in words.
            now: the time.
            needed: it had returned, but left work that a new process must do.
            blamed: it was at work on a ticket, which bears the blame.

        Returns:
            What to do about it; None: nothing, the slot is finished.
        """
        place = self.slots[slot]
        phase, place.phase = place.phase, Phase.GONE
        place.last_exit = exit_text
        if self.stopping or (phase == Phase.RETURNED and not needed) or self._is_let_go(place, needed=needed):
            return None
        if self.budget is not None and self._late_deaths(place, now) > self.budget:
            return EndJob(
                f"worker slot {slot} died {len(place.deaths)} times within {_WITHIN:g} s, and RESTARTS={self.budget} "
                f"allows no more restarts; its last process ended with {exit_text}"
            )
        if phase == Phase.STARTING:
            place.failed_starts += 1
            if place.failed_starts >= self.start_limit:
                why = (
                    f"worker slot {slot} failed to start {place.failed_starts} times in a row; "
                    f"the last time: {exit_text}"
                )
                return TakeBack(slot, why) if place.on_trial and slot else EndJob(why)
        elif not blamed and now - place.up_since < self.early:
            place.fruitless += 1
            if place.fruitless >= self.fruitless_limit:
                return EndJob(
                    f"worker slot {slot} died {place.fruitless} times in a row right after it came up; "
                    f"its last process ended with {exit_text}"
                )
        place.phase = Phase.WAITING
        place.restarts += 1
        return Restart(slot, now + self._delay(place))

    def retire(self, slot: int, now: float, *, needed: bool = False) -> Restart | None:
        """The process leaves by agreement (it has done its number of chunks): the next one starts at once.

        `needed`: there is work left. None: the slot is let go.
        """
        place = self.slots[slot]
        if self._is_let_go(place, needed=needed):
            place.phase = Phase.GONE
            return None
        place.phase = Phase.WAITING
        return Restart(slot, now)

    def somebody_asks(self) -> bool:
        """Whether there is a worker, or one is to come, that may ask for more work."""
        return any(self.still_asks(slot) for slot in range(self.size))

    def still_asks(self, slot: int) -> bool:
        """The same of one slot, which may be one of an earlier run that had more of them."""
        if slot >= self.size:
            return False
        place = self.slots[slot]
        return place.phase in (Phase.WAITING, Phase.STARTING, Phase.UP) and not place.at_end

    def over(self) -> bool:
        """Every entry function has returned, or its slot is given up."""
        return all(place.phase in (Phase.RETURNED, Phase.GONE) for place in self.slots)

    def gone(self) -> bool:
        """No process is left and none is to come."""
        return all(place.phase == Phase.GONE for place in self.slots)

    def _is_let_go(self, place: Slot, *, needed: bool) -> bool:
        """Whether the slot gets no further process, since there are fewer of them now."""
        return place.number >= self.size and not (needed and not self.somebody_asks())

    def _late_deaths(self, place: Slot, now: float) -> int:
        """How many deaths, this one included, fall within the budget's time."""
        place.deaths.append(now)
        while place.deaths[0] <= now - _WITHIN:
            place.deaths.popleft()
        return len(place.deaths)

    def _delay(self, place: Slot) -> float:
        row = max(place.failed_starts, place.fruitless, len(place.deaths))
        return 0.0 if row <= 1 else min(self.longest, self.backoff * 2 ** (row - 2))
