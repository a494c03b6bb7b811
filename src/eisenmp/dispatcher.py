"""The dispatcher: the one place that decides who gets which ticket.

::

    iterable ─► feeder ─► queue ─► DISPATCHER ─► engine ══ channel ══► worker
                                    │     ▲                              │
                       results ◄────┘     └──── answers, messages ◄──────┘

One thread, the loop, waits on all channels and process handles at once and takes in what comes. Feeders and the user's
threads act through the same lock; whatever they make ready for a worker is sent on their own thread, so that nothing
waits for a hand-over. A fast feeder takes in what has come itself, between two batches (turns.py). Nobody polls.

What a worker says about tickets goes to the ticket desk (tickets.py), other messages to the message desk (messages.py);
the life and death of workers is seen to here.

The end of a job, in the order of docs/architecture.md ("The end"); the numbers stand where it is done::

    1  a stream ends: its feeders are done, nothing of it is queued            exchange.ended, exchange.all_drained
    2  an entry function returns: what it has not begun goes back              _returned
    3  all have returned: no feeder is heard, queued chunks are unread         _finish_if_over
    4  readers and `wait` are told, what is to be printed is printed           _announce_over
    5  processes leave, when their own threads have ended                      _gone
    6  the last one is gone: queues, engine and loop are closed, `join` is told  _end, Job.close

`stop` begins at 1, with every stream; a failure too, with `kill` half a second later; `kill` makes all of them leave at
once (5), which brings 3, 4 and 6 with it. What ends the program kills: see ``Mp.cut_off`` and leave.py.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final

from eisenmp.crew import Worker
from eisenmp.engines.base import Event, Exit, Handed, Ready
from eisenmp.errors import ProtocolError, WorkerStartError
from eisenmp.health import HealthDesk
from eisenmp.job import Job
from eisenmp.leaving import LeaveDesk
from eisenmp.ledger import Chunk
from eisenmp.messages import MessageDesk
from eisenmp.payload import opened
from eisenmp.resizing import ResizeDesk
from eisenmp.restarts import Restarts
from eisenmp.retrying import RetryDesk
from eisenmp.shortcut import Shortcut
from eisenmp.supervisor import EndJob, Phase, Restart, TakeBack
from eisenmp.surroundings import hint
from eisenmp.tickets import TicketDesk
from eisenmp.turns import Turns
from eisenmp.wire import ANY_QUEUE, FOREVER, Buffer, Frame, Kind

__all__ = ["Dispatcher"]

_CRASH_PATIENCE: Final = 5.0  # seconds that processes get to be gone when the loop itself has failed
_LONGEST: Final = 3600.0  # seconds of one wait; the system's own limit is some weeks
_NEVER: Final = float("inf")
_STILL_LOADS: Final = "it still loads its modules or calls one of them (all but the first must start threads)"
_SLOW_START: Final = 10.0  # seconds after which a worker that is not up yet is named


class Dispatcher:
    """Runs a job.

    Args:
        job: its state.
        tools: TOOL messages so far, shared with the setup of new workers.
        on_over: called once, from the loop and without the lock, when every entry function has returned.
    """

    def __init__(self, job: Job, tools: list[list[Buffer]], on_over: Callable[[], None]) -> None:
        self._job = job
        self._on_over = on_over
        self._claim = threading.Lock()  # taken once: by the loop, or by who has given up before it began
        self._launched = threading.Event()
        self._finishing = False
        self._complained = False
        self._refusals: set[str] = set()  # why the system gave no process, as far as it was said
        self._driving = threading.Lock()  # held by whoever takes in what has come
        self._failure: BaseException | None = None  # met while a feeder drove
        self._closed = False
        self._turns = Turns()
        self._alarm = _NEVER  # when the loop wakes by itself
        self.tickets = TicketDesk(job)
        self.messages = MessageDesk(job, tools)
        self.leaving = LeaveDesk(job)
        self.restarts = Restarts(job, self.leaving)
        self.resizing = ResizeDesk(job, self.leaving)
        self.retrying = RetryDesk(job)
        self.health = HealthDesk(job)
        tickets, messages = self.tickets, self.messages
        job.assist, job.rests = self.assist, self._turns.end
        job.exchange.drive = Shortcut(job, self._turns, self._take_in).drive
        self._handlers: dict[int, Callable[[Worker, Frame], None]] = {
            Kind.UP: self._up,
            Kind.START_ERROR: self._start_error,
            Kind.RETURNED: self._returned,
            Kind.GET: tickets.get,
            Kind.RESULT: tickets.result,
            Kind.FORWARD: tickets.forward,
            Kind.ANSWER: tickets.answer,
            Kind.FAILED: tickets.failed,
            Kind.GIVE_BACK: tickets.give_back,
            Kind.TAKEN: tickets.taken,
            Kind.OPENED: tickets.parts.opened,
            Kind.STOP_JOB: tickets.stop_job,
            Kind.CLOSING: tickets.closing,
            Kind.PUT: messages.put,
            Kind.ASK: messages.ask,
            Kind.PRINT: messages.printed,
            Kind.LOG: messages.log,
            Kind.LISTEN: messages.listen,
        }

    def start(self) -> None:
        """Start the loop, which starts the workers; return when they are launched."""
        threading.Thread(target=self._run, name="eisenmp-dispatcher", daemon=True).start()
        self._launched.wait()

    def cancel(self) -> bool:
        """The start has failed. True: the loop has not begun and never will; else it must be told to end the job."""
        return self._claim.acquire(blocking=False)

    # ---- the loop

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        # Workers inherit this thread's signal mask: Ctrl-C must not reach one before it can look after itself.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            while self._turn():
                pass
        except BaseException as error:  # a bug of ours: rather a dead job with a reason than a silent one
            self._crash(error)
        finally:
            self._launched.set()
            self._end()

    def _turn(self) -> bool:
        """Start what is due, speak, wait, take in what came, look at the clock. False: no process is left."""
        job = self._job
        with job.lock:
            self._start_due()
            self.leaving.step()
            self.restarts.step()
            self._finish_if_over()
            later, job.later = job.later, []
            deadline = job.exchange.next_deadline()
            self._alarm = _NEVER if deadline is None else deadline
            gone = job.crew.supervisor.gone()
        for call in later:
            self._speak(call)
        if gone:
            return False
        if self._turns.driven():
            return True
        ready = job.engine.wait(None if deadline is None else min(_LONGEST, max(0.0, deadline - job.clock())))
        with self._driving:
            if self._failure is not None:
                raise self._failure
            self._absorb(ready)
        return True

    def _absorb(self, ready: Ready) -> bool:
        """Take in what has come. True: there is something that only the loop may do. Whoever calls it is driving."""
        job = self._job
        events = job.engine.take(ready)
        with job.lock:
            for event in events:
                self._take(event)
            self.tickets.hand_ahead()
            job.exchange.due(job.clock())
            deadline = job.exchange.next_deadline()
            sooner = deadline is not None and deadline < self._alarm
            ended = any(isinstance(what, Exit) or getattr(what, "kind", 0) == Kind.RETURNED for _, what in events)
            return bool(sooner or ended or job.later or job.crew.to_start)

    def assist(self) -> None:
        """Take in what has come, on the thread of a feeder; see turns.py. What only the loop may do is left to it."""
        self._turns.begin()
        if self._take_in(self._job.engine.poll):
            self._turns.end()
            self._job.engine.wake()

    def _take_in(self, poll: Callable[[], Ready]) -> bool:
        """The same of what the call gives, on any thread. True: there is something that only the loop may do."""
        try:
            with self._driving:
                ready = () if self._closed else poll()
                return bool(ready) and self._absorb(ready)
        except BaseException as error:  # the loop tells of it
            self._failure = error
            return True

    def _speak(self, call: Callable[[], None]) -> None:
        """Tell the listener; what goes wrong there (a logging handler of the user's, say) spoils no work."""
        try:
            call()
        except Exception:
            if not self._complained and sys.stderr is not None:
                self._complained = True
                traceback.print_exc()

    def _crash(self, error: BaseException) -> None:
        """End all processes and see them gone, without relying on what has just failed."""
        job = self._job
        with self._driving:
            self._closed = True
        with job.lock:
            job.spoil(error)
            job.kill()
        deadline = job.clock() + _CRASH_PATIENCE
        while job.crew.workers and job.clock() < deadline:
            for event in job.engine.take(job.engine.wait(0.1)):
                if isinstance(event.what, Exit):
                    job.crew.workers.pop(event.worker, None)

    def _start_due(self) -> None:
        crew = self._job.crew
        if not crew.to_start:
            return
        slots = set(crew.to_start)
        for slot, error in crew.start_waiting():
            why = f"{error}{hint(error)}"
            if why not in self._refusals:  # it will be the same for the next slot, and the next time
                self._refusals.add(why)
                self._job.news(f"the system gives no process for worker slot {slot}: {why}")
            now = self._job.clock()
            decision = crew.supervisor.down(slot, f"no process: {why}", now, needed=True, blamed=False)
            self._decide(slot, decision, error.with_traceback(None))
        now = self._job.clock()
        for place in [crew.supervisor.slots[slot] for slot in slots]:
            starting = place.phase == Phase.STARTING
            self._job.note_phase(place.number, "start" if starting else "down")
            if starting:
                crew.hours[place.number].start(now)
                self._job.exchange.at(now + _SLOW_START, None, partial(self._name_slow, place.worker))
        self._launched.set()

    def _take(self, event: Event) -> None:
        worker = self._job.crew.workers.get(event.worker)
        if worker is None:
            return
        if isinstance(event.what, Exit):
            self._gone(worker, event.what)
            return
        if isinstance(event.what, Handed):
            self.tickets.handover.handed(worker, event.what)
            return
        frame = event.what
        if self._job.killed and frame.kind not in (Kind.PRINT, Kind.LOG):
            return  # what a worker still says after the kill may be the fruit of it
        try:
            may_be_any = frame.queue == ANY_QUEUE and frame.kind in (Kind.GET, Kind.ASK, Kind.FAILED)
            if frame.queue >= len(self._job.table.rows) and not may_be_any:
                raise ProtocolError(f"queue number {frame.queue}")
            if not frame.number >= FOREVER:  # what is no number at all is neither less nor more
                raise ProtocolError(f"the number {frame.number}")
            self._handlers[frame.kind](worker, frame)
        except ProtocolError as error:
            self._job.news(f"{worker.name} sent a broken message ({error}); it is ended")
            self._job.engine.kill(worker.number)

    def _finish_if_over(self) -> None:
        """The end, 3: every entry function has returned, so nothing more can come of this job."""
        job = self._job
        if self._finishing:
            return
        job.crew.forgo_unplaced(stopping=job.exchange.stopping)
        if not job.crew.supervisor.over():
            return
        self._finishing = True
        self.restarts.abandon()
        unread = job.exchange.end_feeding()
        job.release_feeders()
        for worker in list(job.crew.workers.values()):
            self.tickets.withdraw(worker, alive=True)
        if unread and job.error is None and not job.killed:
            items = sum(chunk.items for chunk in unread)
            tickets = sum(chunk.tickets for chunk in unread)
            job.news(f"{tickets} chunks ({items} items) were never read: {job.results.summary()}")
        job.later.append(self._announce_over)

    def _announce_over(self) -> None:
        """The end, 4: from the loop, without the lock, after all that workers have printed."""
        job = self._job
        job.secure()
        with job.lock:
            job.end_results()
        try:
            self._on_over()
        except Exception as error:
            job.spoil(error)
        finally:
            job.over.set()

    def _end(self) -> None:
        """The end, 6: no process is left."""
        with self._driving:
            self._closed = True
            with self._job.lock:
                self.restarts.abandon()
                self.health.close()
            self._job.close()

    # ---- life and death

    def _up(self, worker: Worker, frame: Frame) -> None:
        now = self._job.clock()
        self._job.crew.supervisor.up(worker.slot, now)
        self._job.crew.hours[worker.slot].up(now)
        self._job.note_phase(worker.slot, "up")
        self.health.up(worker)

    def _start_error(self, worker: Worker, frame: Frame) -> None:
        """Its modules cannot be loaded; nor can anybody else's, so one error is enough."""
        parts = opened(frame.body)
        if not (isinstance(parts, tuple) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
            raise ProtocolError("a start error without words and a traceback")
        words, trace = parts
        error = WorkerStartError(words)
        error.add_note(trace)
        self._job.spoil(error)
        self._job.kill()

    def _returned(self, worker: Worker, frame: Frame) -> None:
        """The end, 2: its entry function has returned."""
        self.health.gone(worker)
        if not (worker.retiring or worker.leaving) or self._job.crew.supervisor.stopping:
            self._job.crew.supervisor.returned(worker.slot)
        self._job.crew.hours[worker.slot].leave(self._job.hour())
        self._job.exchange.put_back(self._job.ledger.returned(worker.number))
        self.tickets.flush_closing(worker)

    def _gone(self, worker: Worker, end: Exit) -> None:
        """Its process has ended: the end, 5, or a death."""
        job = self._job
        if worker.trouble:
            end = Exit(end.code, worker.trouble)
        self._forget_requests(worker)
        self.health.gone(worker)
        self.leaving.ended(worker)
        job.crew.hours[worker.slot].leave(job.hour(), job.ledger.busy_since(worker.number))
        at = min(job.ledger.begun(worker.number), key=lambda chunk: chunk.since, default=None)
        again = [] if job.killed else self._inherit(worker, end)
        needed = bool(again) and not self._finishing
        if worker.leaving and not job.crew.supervisor.stopping:
            decision: Restart | EndJob | TakeBack | None = self.leaving.gone(worker, end, at, needed=needed)
        elif worker.retiring and end.code == 0:
            decision = self._retired(worker)
        else:
            decision = job.crew.gone(worker, end.text, job.clock(), needed=needed, blamed=at is not None)
            if isinstance(decision, Restart):
                job.news(f"{worker.name} died with {end.text}; it is replaced")
            if decision is not None:
                job.note_death(worker, at, end.text)
        job.note_phase(worker.slot, "down" if isinstance(decision, Restart) else "gone")
        self._decide(worker.slot, decision)

    def _retired(self, worker: Worker) -> Restart | EndJob | TakeBack | None:
        """It has left because it had done enough: the next one starts, if there is anything left to do."""
        crew, exchange = self._job.crew, self._job.exchange
        if exchange.feeding_over or exchange.all_drained():
            crew.supervisor.returned(worker.slot)
            return crew.gone(worker, "", self._job.clock(), needed=False, blamed=False)
        return crew.retired(worker, self._job.clock(), needed=True)

    def _decide(self, slot: int, decision: Restart | EndJob | TakeBack | None, cause: OSError | None = None) -> None:
        """Do what the supervisor says about a slot."""
        if decision is None:
            self.leaving.empty(slot)
        elif isinstance(decision, EndJob):
            error = WorkerStartError(decision.reason)
            error.__cause__ = cause
            self._job.spoil(error)
            self._job.kill()
        elif isinstance(decision, Restart):
            self._restart(decision)
        else:
            self.resizing.take_back(decision)

    def _inherit(self, worker: Worker, end: Exit) -> list[Chunk]:
        """What the worker held goes back ahead of its queue, or is set aside; return what went back."""
        job = self._job
        if job.crew.supervisor.slots[worker.slot].phase == Phase.RETURNED and end.code == 0:
            self.tickets.withdraw(worker)  # threads of its own that held tickets have ended in good order
        for chunk in job.ledger.begun(worker.number):
            job.note_answer(worker.slot, chunk, job.clock() - chunk.since, "died")
        blame = worker.at_ease or not worker.leaving
        again, aside = job.ledger.died(worker.number, worker.slot, end.text, blame=blame)
        for chunk in aside:
            self.tickets.set_aside(chunk)
        job.exchange.put_back(again)
        return [] if job.exchange.feeding_over else again

    def _restart(self, decision: Restart) -> None:
        crew = self._job.crew
        if decision.at <= self._job.clock():
            crew.to_start.append(decision.slot)
        else:
            self._job.exchange.at(decision.at, None, lambda: crew.to_start.append(decision.slot))

    def _forget_requests(self, worker: Worker) -> None:
        exchange = self._job.exchange
        for queue in self._job.table:
            for waiting in queue.waiting():
                if waiting.worker == worker.number:
                    exchange.withdraw(queue, waiting)
        for getter in list(exchange.any_getters):
            if getter.worker == worker.number:
                exchange.withdraw(None, getter)

    def _name_slow(self, number: int) -> None:
        worker = self._job.crew.workers.get(number)
        if worker is not None and self._job.crew.supervisor.slots[worker.slot].phase == Phase.STARTING:
            awaits = self._job.crew.handles[worker.slot].awaits
            why = f"it waits for {awaits}" if awaits else _STILL_LOADS
            self._job.news(f"{worker.name} is not up after {_SLOW_START:g} s: {why}")
