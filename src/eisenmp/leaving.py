"""The desk for workers that are to end: a restart, fewer workers, or the end of the whole job in good order.

1. new connections go to the other slots, where the port is shared and the system can do that (steering.py); if the
   slot gets another process and no other slot listens there, they wait for it in another socket (listeners.py)
2. the worker hears of it (``toolbox.leaving``); the connections that it has may end, for a second at most
3. SIGTERM, which servers have handlers for. Who waits at a queue gets the end of its stream, and some time to leave by
   itself; so does who has no handler, since SIGTERM would be no better than a kill
4. a kill, ``GRACE`` seconds later

Plain workers have no handlers: the end of the stream is all they need, at their next request.

Where there are to be fewer workers, nobody is in a hurry: whoever works through chunks is *at ease*. It gets none any
more, finishes what it holds, and meets neither SIGTERM nor kill. Servers would never come to an end that way: those
that listen, have a handler of SIGTERM, or are looked after as servers are (``RESTARTS``, ``HEALTH_CHECK``) end as
above. A process that is not up yet holds nothing, and is killed. What a function needs from other queues for the chunk
that it is at, it still gets (:meth:`Job.still_needs`).

Runs under the job's lock, but for :meth:`LeaveDesk.want_all`.
"""

from __future__ import annotations

import signal
from typing import Final

from eisenmp.crew import Worker
from eisenmp.engines.base import Exit
from eisenmp.job import Job
from eisenmp.ledger import Chunk
from eisenmp.supervisor import Phase, Restart
from eisenmp.traffic import handles_signal, open_connections, waiting_in
from eisenmp.wire import Kind, encode

__all__ = ["LeaveDesk"]

_DRAIN: Final = 1.0  # seconds that connections get to end before SIGTERM; servers have an idea of their own after it
_LOOK: Final = 0.02  # seconds between two looks at them
_CALM: Final = 0.5  # seconds in which a server that is alone may take what waits for it, before it gets no more
_UNSEEN: Final = 0.1  # seconds instead, where they cannot be looked at
_FIRST: Final = 0.5  # of GRACE, but a second at most: that long SIGTERM is held back from who may leave without it
_TURNS_SERVER: Final = 0.1, 2.0  # seconds between two looks whether who is at ease is a server: at first, at most


class LeaveDesk:
    """Sees workers out."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._all_wanted = False
        self._all_begun = False

    def want_all(self) -> None:
        """The whole job is to end in good order. Takes no lock, so that a signal handler may call it."""
        self._all_wanted = True
        self._job.engine.wake()

    def step(self) -> None:
        """See all workers out, once, when that is wanted; called by each turn of the loop."""
        if not self._all_wanted or self._all_begun:
            return
        self._all_begun = True
        self._job.crew.start_no_more()
        for worker in list(self._job.crew.workers.values()):
            self.begin(worker, drain=False)
        self._job.stop()  # last: who waits at a queue has been told of its end, and need not get SIGTERM at once

    def let_go(self, worker: Worker) -> None:
        """There are to be fewer workers, and this one is too many."""
        job = self._job
        if worker.leaving:
            return
        if job.crew.supervisor.slots[worker.slot].phase == Phase.STARTING:
            worker.leaving = worker.ending = True
            job.engine.kill(worker.number)
        elif self._is_server(worker):
            self.begin(worker, drain=True)
        else:
            self._announce(worker)
            worker.at_ease = True
            self._end(worker)
            if job.settings.WORKER_CALL == "toolbox":
                self._look_again(worker, _TURNS_SERVER[0])

    def gone(self, worker: Worker, end: Exit, at: Chunk | None, *, needed: bool) -> Restart | None:
        """Its process has ended. `at`: what it was at; `needed`: what it held is left."""
        if worker.at_ease and end.code != 0:
            self._job.note_death(worker, at, end.text)
            self._job.news(f"{worker.name} died with {end.text} while it was about to leave")
        return self._job.crew.retired(worker, self._job.clock(), needed=needed)

    def ended(self, worker: Worker) -> None:
        """Its process has ended, for whatever reason."""
        self._job.listeners.retire(worker.slot)

    def empty(self, slot: int) -> None:
        """The slot has no process, and gets none: connections go to others."""
        job = self._job
        job.listeners.forget(slot)
        if slot >= job.workers:
            job.crew.hours[slot].dismiss(job.hour())

    def _is_server(self, worker: Worker) -> bool:
        settings = self._job.settings
        if settings.WORKER_CALL != "toolbox":
            return False
        looked_after = settings.RESTARTS is not None or settings.HEALTH_CHECK is not None
        return looked_after or bool(worker.listens) or self._handles_sigterm(worker) is True

    def _look_again(self, worker: Worker, wait: float) -> None:
        """It may have just come up, and be about to become a server."""

        def look() -> None:
            if not (self._lives(worker) and worker.at_ease):
                return
            if self._is_server(worker):
                self.begin(worker, drain=True)
            else:
                self._end(worker)  # what one of its threads has finished, another may have waited for
                self._look_again(worker, min(2 * wait, _TURNS_SERVER[1]))

        self._job.exchange.at(self._job.clock() + wait, None, look)

    def _announce(self, worker: Worker) -> None:
        if not worker.leaving:
            worker.leaving = True
            self._job.engine.send(worker.number, encode(Kind.LEAVING))

    def begin(self, worker: Worker, *, drain: bool, again: bool = False) -> None:
        """The worker is to end. `drain`: others go on, and take its connections. `again`: its slot gets another one."""
        if worker.leaving and not worker.at_ease:
            return
        job = self._job
        self._announce(worker)
        worker.at_ease = False
        if job.settings.WORKER_CALL != "toolbox":
            self._end(worker)
            self._kill_later(worker)
        elif drain and again and worker.listens and job.listeners.is_alone(worker.slot):
            self._renew(worker, job.clock() + _CALM)
        elif drain and worker.listens and job.listeners.steer_away(worker.slot):
            self._drain(worker, job.clock() + _DRAIN, quiet=0)
        else:
            self._terminate(worker)

    def _renew(self, worker: Worker, until: float) -> None:
        """New connections wait in another socket for the next process, once none waits in this one.

        A server that never gets so far hangs: what waits for it stays where it is, and the next process gets that.
        """
        job = self._job
        if not self._lives(worker):
            return
        waiting = self._waiting(worker)
        if waiting and job.clock() < until:
            job.exchange.at(job.clock() + _LOOK, None, lambda: self._renew(worker, until))
        elif waiting == 0 and job.listeners.renew(worker.slot):
            self._drain(worker, job.clock() + _DRAIN, quiet=0)
        else:
            self._terminate(worker)

    def _drain(self, worker: Worker, until: float, quiet: int) -> None:
        """Look whether its connections have ended. Twice in a row: one may just have been on its way."""
        job = self._job
        if not self._lives(worker):
            return
        left = self._connections(worker)
        quiet = quiet + 1 if left == 0 else 0
        if quiet > 1 or job.clock() >= until:
            self._terminate(worker)
        elif left is None:
            job.exchange.at(job.clock() + _UNSEEN, None, lambda: self._terminate(worker))
        else:
            job.exchange.at(job.clock() + _LOOK, None, lambda: self._drain(worker, until, quiet))

    def _connections(self, worker: Worker) -> int | None:
        """Those that it has accepted, and those that wait for it."""
        groups = self._job.listeners.groups_of(worker.slot)
        pid = self._job.crew.handles[worker.slot].known_pid
        waiting = self._waiting(worker)
        accepted = open_connections(pid or 0, {group.address[1] for group in groups})
        return None if waiting is None or accepted is None else waiting + accepted

    def _waiting(self, worker: Worker) -> int | None:
        groups = self._job.listeners.groups_of(worker.slot)
        counts = [waiting_in(sock) for group in groups if (sock := group.in_use(worker.slot)) is not None]
        return None if None in counts else sum(count for count in counts if count is not None)

    def _terminate(self, worker: Worker) -> None:
        job = self._job
        if not self._lives(worker):
            return
        waited = self._end(worker)
        if waited or self._would_die_of_it(worker):
            patience = min(1.0, _FIRST * job.settings.GRACE)
            job.exchange.at(job.clock() + patience, None, lambda: self._signal(worker))
        else:
            self._signal(worker)
        self._kill_later(worker)

    def _end(self, worker: Worker) -> bool:
        """From now on its requests are answered with the end of the stream. True: one was waiting."""
        job = self._job
        worker.ending = True
        waited = False
        for queue in (None, *job.table):
            if job.still_needs(worker, queue):
                continue
            line = job.exchange.any_getters if queue is None else queue.getters
            for getter in [getter for getter in line if getter.worker == worker.number and getter.live]:
                job.exchange.withdraw(queue, getter)
                getter.deliver(queue or job.table[0], None)
                waited = True
        return waited

    def _would_die_of_it(self, worker: Worker) -> bool:
        """SIGTERM would end it in the middle of something: better let it come to its next request first."""
        return self._handles_sigterm(worker) is False

    def _handles_sigterm(self, worker: Worker) -> bool | None:
        pid = self._job.crew.handles[worker.slot].known_pid
        return None if pid is None else handles_signal(pid, signal.SIGTERM)

    def _signal(self, worker: Worker) -> None:
        if self._lives(worker):
            self._job.crew.handles[worker.slot].terminate()

    def _kill_later(self, worker: Worker) -> None:
        job = self._job
        job.exchange.at(job.clock() + job.settings.GRACE, None, lambda: self._kill(worker))

    def _kill(self, worker: Worker) -> None:
        if self._lives(worker):
            grace = self._job.settings.GRACE
            self._job.news(f"{worker.name} has not ended within the GRACE of {grace:g} s: it is killed")
            self._job.engine.kill(worker.number)

    def _lives(self, worker: Worker) -> bool:
        return self._job.crew.workers.get(worker.number) is worker
