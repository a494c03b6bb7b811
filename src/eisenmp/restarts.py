"""Rolling restarts: one slot after the other, the next one when the last is at work again. Runs under the job's lock.

At work again means: its modules are loaded; it listens where its predecessor did; and it has passed ``HEALTH_CHECK``,
where there is one.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from eisenmp.crew import Worker
from eisenmp.errors import JobOver, SettingsError
from eisenmp.guard import Latch
from eisenmp.job import Job
from eisenmp.leaving import LeaveDesk
from eisenmp.listeners import Wanted
from eisenmp.supervisor import Phase

__all__ = ["Restarts", "Wish", "await_wishes"]

_PATIENCE: Final = 10.0  # seconds that a process that is up may take to listen again; then the next one's turn comes


class Wish:
    """One slot that somebody wants restarted. ``done`` is set when it is at work again, or never will be."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.done = Latch()
        self.came_true = False
        self.why_not = "the job has ended meanwhile"
        self.before = -1  # number of the process that is to leave
        self.listened: set[Wanted] = set()  # where it listened
        self.patient_until: float | None = None


def await_wishes(job: Job, wishes: list[Wish], timeout: float | None) -> None:
    """Wait for restarts, without the job's lock.

    Raises:
        TimeoutError: they are not all done in `timeout` seconds.
        JobOver: the job has ended before, or the slot is gone.
    """
    end = None if timeout is None else job.clock() + timeout
    for wish in wishes:
        if not wish.done.wait(None if end is None else max(0.0, end - job.clock())):
            raise TimeoutError(f"worker slot {wish.slot} is not at work again after {timeout:g} s")
        if not wish.came_true:
            raise JobOver(f"worker slot {wish.slot} was not restarted: {wish.why_not}") from job.error


class Restarts:
    """Who is restarted when."""

    def __init__(self, job: Job, leaving: LeaveDesk) -> None:
        self._job = job
        self._leaving = leaving
        self._wishes: deque[Wish] = deque()
        self._at_work: Wish | None = None
        self._over = False

    def want(self, slot: int) -> Wish:
        """Restart the slot when its turn comes.

        Raises:
            SettingsError: no such slot.
            JobOver: the job has ended, or is about to.
        """
        slots = self._job.workers
        # it comes from the user, whatever its type says
        if type(slot) is not int or not 0 <= slot < slots:
            raise SettingsError(f"restart: there is no worker slot {slot!r}; allowed: 0 to {slots - 1}")
        if self._job.crew.supervisor.slots[slot].phase in (Phase.RETURNED, Phase.GONE):
            raise JobOver(
                f"worker slot {slot} is not restarted: its entry function has returned (stay in it to be restarted)"
            )
        if self._over or self._job.exchange.stopping:
            raise JobOver(f"worker slot {slot} is not restarted: the job is over, or about to be")
        wish = Wish(slot)
        self._wishes.append(wish)
        self._job.engine.wake()
        return wish

    def want_all(self) -> list[Wish]:
        """The same for all slots whose entry functions have not returned, in their order.

        Raises:
            JobOver: there is none.
        """
        slots = self._job.crew.supervisor.slots[: self._job.workers]
        wishes = [self.want(slot.number) for slot in slots if slot.phase not in (Phase.RETURNED, Phase.GONE)]
        if not wishes:
            raise JobOver("no worker slot is restarted: the job is over")
        return wishes

    def step(self) -> None:
        """Go on, as far as it goes now; called by each turn of the loop."""
        while self._at_work is not None or self._wishes:
            if self._at_work is None:
                self._at_work = self._wishes.popleft()
                if self._at_work.slot < self._job.workers:
                    self._begin(self._at_work)
            if self._at_work.slot >= self._job.workers:
                self._at_work.why_not = "there are fewer workers now, and the slot is gone"
            elif self._is_back(self._at_work):
                self._job.listeners.steer_back(self._at_work.slot)
                self._at_work.came_true = True
            else:
                return
            self._at_work.done.set()
            self._at_work = None

    def abandon(self) -> None:
        """The job is over: nobody comes back any more."""
        for wish in (*self._wishes, *([self._at_work] if self._at_work is not None else [])):
            wish.done.set()
        self._wishes.clear()
        self._at_work = None
        self._over = True

    def _begin(self, wish: Wish) -> None:
        worker = self._present(wish.slot)
        if worker is None:  # it has just died: its replacement is as good as a restart
            wish.before = self._job.crew.supervisor.slots[wish.slot].worker
            return
        wish.before = worker.number
        wish.listened = set(worker.listens)
        self._leaving.begin(worker, drain=True, again=True)

    def _is_back(self, wish: Wish) -> bool:
        job = self._job
        place = job.crew.supervisor.slots[wish.slot]
        if place.phase == Phase.GONE:
            return not job.exchange.stopping  # it had nothing left to do
        worker = self._present(wish.slot)
        if worker is None or worker.number == wish.before or place.phase not in (Phase.UP, Phase.RETURNED):
            return False
        if place.phase == Phase.RETURNED:
            return True
        if (worker.healthy or job.settings.HEALTH_CHECK is None) and worker.listens >= wish.listened:
            return True
        return job.settings.HEALTH_CHECK is None and self._is_out_of_patience(wish)

    def _is_out_of_patience(self, wish: Wish) -> bool:
        now = self._job.clock()
        if wish.patient_until is None:
            wish.patient_until = now + _PATIENCE
            self._job.exchange.at(wish.patient_until, None, lambda: None)  # to look again
        return now >= wish.patient_until

    def _present(self, slot: int) -> Worker | None:
        return self._job.crew.workers.get(self._job.crew.supervisor.slots[slot].worker)
