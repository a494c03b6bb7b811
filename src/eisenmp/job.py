"""One running job: the state that the desks of the dispatcher share, and what ends it.

Everything here is guarded by ``lock``. What may block for the user's sake (printing, logging) is not done under it but
kept in `later`, which the loop empties.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from eisenmp.credit import History, Window
from eisenmp.crew import Crew, Worker
from eisenmp.engines.base import Engine
from eisenmp.engines.processes import manager_only
from eisenmp.errors import ClusterError
from eisenmp.events import Listener
from eisenmp.exchange import Exchange
from eisenmp.feeder import Feeder
from eisenmp.guard import Latch
from eisenmp.ledger import Chunk, State
from eisenmp.listeners import Listeners
from eisenmp.measure import Durations
from eisenmp.queues import Message, NamedQueue
from eisenmp.remote import LostError, brought, is_remote
from eisenmp.results import Record, Results
from eisenmp.settings import Settings
from eisenmp.supervisor import Supervisor
from eisenmp.tap import Answer, Death, Failed, Phased, Tap
from eisenmp.wire import Buffer

if TYPE_CHECKING:
    from eisenmp.jobfile.archive import Archive

__all__ = ["Job"]

_GRACE: Final = 0.5  # seconds that workers of a failed job get to reach their next queue call


class Job:
    """See the module's text.

    Args:
        engine: starts workers and carries bytes.
        settings: of the job.
        exchange: its queues and its tickets, both of which may hold something already.
        results: told of each outcome.
        listener: told of lines, log records and news.
        setup: see :class:`eisenmp.crew.Crew`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        exchange: Exchange,
        results: Results,
        listener: Listener,
        setup: Callable[[int, str], list[list[Buffer]]],
        clock: Callable[[], float],
    ) -> None:
        self.archive: Archive | None = None  # the job file
        self.lock = exchange.lock
        self.engine = engine
        self.settings = settings
        self.exchange = exchange
        self.table = exchange.table
        self.ledger = exchange.ledger
        exchange.on_room = self.room_made
        exchange.lock.after = engine.flush
        self.results = results
        self.listener = listener
        self.clock = clock
        self.began = clock()
        self.crew = Crew(engine, Supervisor(settings.procs), setup, self.began)
        self.crew.supervisor.budget = settings.RESTARTS
        self.listeners = Listeners(on_open=manager_only.add)
        self.feeders: list[Feeder] = []
        self.on_batch: Callable[[], None] = lambda: None  # a feeder begins to read a batch
        self.assist: Callable[[], None] = lambda: None  # a feeder takes a turn at the dispatcher's loop
        self.rests: Callable[[], None] = lambda: None  # the feeder that took turns waits now
        self.on_ended: Callable[[], None] = lambda: None  # no process is left
        self.on_resize: Callable[[int], None] = lambda _: None  # there will be so many workers
        self.single = False  # a short form: one feeder, tickets and nothing else
        self.error: BaseException | None = None  # what stopped the job, or spoilt it; the first one counts
        self.killed = False
        self.over = Latch()  # every entry function has returned; results and printing are done
        self.ended = Latch()  # no process is left
        self.later: list[Callable[[], None]] = []
        self.feeders_waiting = 0  # raised before a feeder looks for room, so that no reader misses it
        self._rooms: dict[int, threading.Condition] = {}
        self._windows: dict[int, Window] = {}
        self.paces: dict[int, History] = {}  # of each queue's chunks, all workers together
        self.item_paces: dict[int, History] = {}  # the same of its items
        self.durations = Durations()  # of all items, for the report
        self.settled: float | None = None  # when the last outcome was there
        self.tap: Tap | None = None  # somebody watches

    def news(self, text: str) -> None:
        """Tell the listener, once the lock is free."""
        self.later.append(lambda: self.listener.news(text))
        self.engine.wake()

    @property
    def workers(self) -> int:
        """How many there are to be; ``resize`` changes it."""
        return self.crew.supervisor.size

    def still_needs(self, worker: Worker, queue: NamedQueue | None) -> bool:
        """Whether a worker that is at ease asks the queue for the sake of a chunk that it is to finish.

        A function may take more than one thing for a round of its work, from a queue each. Whoever has a chunk of the
        first of them may have the rest; no further round begins.
        """
        if not worker.at_ease or worker.lead is None or queue is None or queue.number == worker.lead:
            return False
        return self.ledger.in_hand(worker.number, worker.lead)[1]

    def share_windows(self) -> None:
        """How many workers there are has changed: more of them need more chunks under way."""
        for window in self._windows.values():
            window.share(self.settings.window_for(self.workers), self.workers)
        self.release_feeders()

    def record(self, chunk: Chunk, record: Record) -> None:
        """A chunk that a worker was at has its outcome; one that has failed may be tried again later."""
        if chunk.owed:  # it has run for messages that were lost; its outcome was recorded before
            if record.has_failures:
                self.fail(
                    ClusterError(f"ticket _TID_{chunk.serial}, run again for a message that was lost, has failed now")
                )
            return
        self.results.record(record)
        if record.has_failures:
            self.results.shelf.put(chunk, record)

    def open_tap(self) -> None:
        """Somebody watches from now on."""
        if self.tap is None:
            self.tap = Tap()
            self.results.on_failure = self._note_failure

    def note_answer(self, slot: int, chunk: Chunk, seconds: float, outcome: str) -> None:
        """For whoever watches: a try has ended. `seconds`: of work, as the worker tells."""
        if self.tap is not None:
            queue, serial, tickets, items = chunk.queue, chunk.serial, chunk.tickets, chunk.items
            self.tap.answers.append(
                Answer(slot, queue, serial, tickets, items, chunk.sent, chunk.since, self.clock(), seconds, outcome)
            )

    def note_phase(self, slot: int, phase: str) -> None:
        """The same: what has become of a worker slot."""
        if self.tap is not None:
            self.tap.phases.append(Phased(slot, self.clock(), phase))

    def note_death(self, worker: Worker, chunk: Chunk | None, text: str) -> None:
        """The same: a process has ended that nobody has asked to. `chunk`: what it was at."""
        if self.tap is not None:
            queue, serial = (None, 0) if chunk is None else (chunk.queue, chunk.serial)
            timed_out = worker.trouble.startswith("CHUNK_TIMEOUT")
            self.tap.deaths.append(Death(self.clock(), worker.slot, queue, serial, text, timed_out))

    def _note_failure(self, record: Record) -> None:
        track = self.ledger.track(record.queue)
        aside = track.states[record.serial] == State.SET_ASIDE
        assert self.tap is not None
        self.tap.failed += 1
        self.tap.failures.append(Failed(self.clock(), track.slots[record.serial], aside, record))

    def window(self, queue: NamedQueue) -> Window:
        """How many chunks of the queue may be under way."""
        if queue.number not in self._windows:
            size, fixed = self.settings.window_for(self.workers), self.settings.BUFFER_CHUNKS is not None
            self._windows[queue.number] = Window(size, self.workers, fixed=fixed)
        return self._windows[queue.number]

    def room(self, queue: NamedQueue) -> threading.Condition:
        """What the feeders of a queue wait on."""
        if queue.number not in self._rooms:
            self._rooms[queue.number] = self.lock.condition()
        return self._rooms[queue.number]

    def room_made(self, queue: NamedQueue) -> None:
        """Something of the queue has left the window: its feeders go on when a quarter of it is free, or it runs dry.

        Not at each chunk: a feeder that is woken for every single one hands the processor over as often.
        """
        if not self.feeders_waiting:
            return
        room = self._rooms.get(queue.number)
        if room is not None and (not queue.entries or self.fill(queue) <= self.window(queue).size * 3 // 4):
            room.notify_all()

    def read(self, number: int) -> None:
        """A reader has taken an outcome of a queue, without the lock: take it only when a feeder waits for that."""
        if self.feeders_waiting:
            with self.lock:
                self.room_made(self.table[number])

    def fill(self, queue: NamedQueue) -> int:
        """Chunks of the queue within the window: queued, running, or finished and not read yet."""
        return self.ledger.track(queue.number).live_tickets + self.results.unread_by(queue.number)

    def look_if_settled(self) -> None:
        """Of a short form: when every ticket has its outcome, who reads need not wait for the workers to leave.

        Elsewhere workers may say more than tickets ask for, and feeders may be added, until all have returned.
        """
        if not self.single or self.results.over or any(queue.feeders_open for queue in self.table):
            return  # not feeder.done, which is set before its error is known here
        if not any(track.live_tickets for track in self.ledger.tracks.values()):
            self.later.append(self._announce_settled)  # after what was printed so far
            self.engine.wake()

    def _announce_settled(self) -> None:
        self.close_archive()  # nothing more can come, and the next job may begin on it
        with self.lock:
            self.end_results()

    def secure(self) -> None:
        """What is recorded is in the job file. Waits for the disk: call it without the lock."""
        if self.archive is not None:
            self.archive.flush()

    def close_archive(self) -> None:
        """The same, and the job file is given back."""
        if self.archive is not None:
            self.archive.close(self.verdict())

    def verdict(self) -> str:
        """How the job has ended, in a word, for its file."""
        if self.error is not None:
            return type(self.error).__name__
        if self.killed:
            return "killed"
        tracks = self.ledger.tracks.values()
        whole = all(feeder.exhausted for feeder in self.feeders)
        whole = whole and not any(track.live_tickets or track.counts[State.UNREAD] for track in tracks)
        return "complete" if whole else "stopped"

    def hour(self) -> float:
        """The time, as far as the report counts it: what workers do after the last outcome is no part of it."""
        return self.clock() if self.settled is None else self.settled

    def end_results(self) -> None:
        """No further outcome will come: readers are told."""
        if self.settled is None:
            self.settled = self.clock()
        self.results.end(self.error)

    def spoil(self, error: BaseException) -> None:
        """The job goes on, but `wait` will raise this."""
        if self.error is None:
            self.error = error

    def fail(self, error: BaseException) -> None:
        """The job cannot go on: nothing is handed out any more, and who does not leave soon is ended."""
        if self.killed:
            return
        self.spoil(error)
        self.stop()
        self.exchange.at(self.clock() + _GRACE, None, self.kill)
        self.engine.wake()

    def stop(self) -> None:
        """End the feeding and all streams; what is leased is finished."""
        if not self.exchange.stopping:
            self.exchange.stop()
            self.release_feeders()
            self.engine.wake()

    def kill(self) -> None:
        """End every process now."""
        self.killed = True
        self.crew.kill_all()  # first: who waits must not go on with the end of its stream
        self.stop()
        self.engine.wake()

    def close(self) -> None:
        """The end, 6: no process is left, or none was ever started. Everybody who waits for anything is told."""
        self.close_archive()
        self._bring_home()
        with self.lock:
            self.exchange.close()
            self.release_feeders()
            if not self.results.over:
                self.end_results()
            self.engine.close()
            self.listeners.close()
        self.on_ended()  # first: who comes back from `wait` with a Ctrl-C sets the hook of leave.py anew
        self.over.set()
        self.ended.set()

    def _bring_home(self) -> None:
        """What lies on other machines and was not read yet can be had later only if it comes here now."""
        with self.lock:
            messages = [entry for queue in self.table for entry in queue.entries if isinstance(entry, Message)]
        for message in messages:
            if not self.killed and self.error is None and is_remote(message.payload):
                try:
                    brought(message.payload)  # they are kept there from now on
                except LostError as error:
                    self.news(f"a message that nobody has read is gone: {error}")

    def release_feeders(self) -> None:
        """Let feeders that wait for room see that the job is over."""
        for room in self._rooms.values():
            room.notify_all()
