"""The ticket desk of the dispatcher: leases out, answers in. Runs under the job's lock."""

from __future__ import annotations

import threading
from typing import Final

from eisenmp.credit import History
from eisenmp.crew import Worker
from eisenmp.errors import CrashError, PayloadError, ProtocolError, WorkerCallError, annotate
from eisenmp.feeder import Feeder
from eisenmp.handover import HandoverDesk, deliver_forwards
from eisenmp.job import Job
from eisenmp.ledger import Chunk, State
from eisenmp.limits import Limits
from eisenmp.parts import PartDesk, part_payload
from eisenmp.payload import Payload, loads, loads_error, read_error
from eisenmp.queues import Getter, Message, NamedQueue
from eisenmp.results import Form, Record
from eisenmp.supervisor import Phase
from eisenmp.wire import (
    AGAIN,
    ANY_QUEUE,
    AT_RETURN,
    HAS_VALUE,
    LISTED,
    PART,
    PICKLED,
    WITH_ERRORS,
    Buffer,
    Frame,
    Kind,
    encode,
)

__all__ = ["TicketDesk"]

_LONGEST: Final = 1e9  # seconds: no ticket takes thirty years
_NAME_AFTER: Final = 5.0  # seconds after which a worker that waits for nobody is named
_HURRY_AFTER: Final = 0.003  # seconds that a worker waits while a feeder reads a batch
_HURRY_MOST: Final = 0.05  # seconds between two looks at a feeder whose iterable lets it wait
_CALL_FAILURES: Final = 3  # calls of one worker process that may fail without a ticket (ON_ERROR = 'skip')


class TicketDesk:
    """Hands out chunks and books what becomes of them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._named: set[int] = set()
        self.parts = PartDesk(job)
        self.handover = HandoverDesk(job, self.get)
        self._limits = Limits(job.settings, job.clock)
        self._answered = False  # by stop_job
        self._short: dict[tuple[int, int], tuple[Worker, NamedQueue]] = {}  # workers that may get more ahead
        self._looking = False  # at feeders that read a batch while somebody waits
        job.on_batch = self._batch_begins

    # ---- leases out

    def get(self, worker: Worker, frame: Frame) -> None:
        """A worker asks for the next entry of a queue, or of any queue that is fed."""
        job, request = self._job, frame.serial
        job.crew.hours[worker.slot].sending += frame.skip * 1e-6

        def too_late() -> None:
            job.exchange.withdraw(queue, getter)
            job.engine.send(worker.number, encode(Kind.EMPTY, serial=request))

        queue = None if frame.queue == ANY_QUEUE else job.table[frame.queue]
        if job.ledger.has_ahead(worker.number, queue.number if queue else None):
            job.engine.send(worker.number, encode(Kind.AHEAD, serial=request))
            return
        if self._done_enough(worker, queue):
            self._deliver(worker, frame, queue or job.table[0], None)
            return
        getter = Getter(
            worker.number,
            lambda queue, entry: self._deliver(worker, frame, queue, entry),
            lambda queue: self._allowance(worker, queue),
            slot=worker.slot,
        )
        job.exchange.get(queue, getter)
        if not getter.live:
            if queue is not None and queue.number in worker.histories:
                self._short[worker.number, queue.number] = (worker, queue)
            return
        self._look_soon()
        if frame.number >= 0:
            job.exchange.at(job.clock() + frame.number, getter, too_late)
        elif self._is_unfed(queue):
            job.exchange.at(job.clock() + _NAME_AFTER, getter, lambda: self._name_waiting(worker, queue))

    def _deliver(self, worker: Worker, request: Frame, queue: NamedQueue, entry: Message | Chunk | None) -> None:
        """Answer a request with an entry of the queue; None: with the end of its stream."""
        if isinstance(entry, Chunk):
            self._lease(worker, entry, request.serial)
            return
        if entry is not None:
            self.handover.sent(worker, request, entry)
        if entry is None and not worker.told_end:
            worker.told_end = True
            self._job.crew.supervisor.told_end(worker.slot)
            self._job.crew.note_memory(worker)  # it is about to leave
        kind, payload = (Kind.END, ()) if entry is None else (Kind.MESSAGE, entry.payload)
        self._job.engine.send(worker.number, encode(kind, payload, queue=queue.number, serial=request.serial))

    def _allowance(self, worker: Worker, queue: NamedQueue) -> int:
        """Chunks of the queue that the worker may have in hand."""
        history = worker.histories.get(queue.number)
        if history is None or worker.ending or self._job.crew.supervisor.slots[worker.slot].phase == Phase.RETURNED:
            return 1  # threads that outlive their entry function may end with the job, at any time: one by one
        first = queue.entries[0] if queue.entries else None
        size = first.nbytes // first.tickets if isinstance(first, Chunk) else 0
        queued = self._job.ledger.track(queue.number).counts[State.QUEUED]  # to count the entries takes too long here
        most = history.allowance(queued, self._job.workers, size, self._job.engine.ahead_bytes)
        return self._limits.left(worker, self._job.ledger.in_hand(worker.number, queue.number)[0], most)

    def _done_enough(self, worker: Worker, queue: NamedQueue | None) -> bool:
        """Whether the worker, which asks the queue, is to leave instead. Only between chunks."""
        if worker.ending:
            return not self._job.still_needs(worker, queue)
        if not worker.retiring and self._reached(worker):
            worker.retiring = not self._job.ledger.held.get(worker.number)
        return worker.retiring

    def _reached(self, worker: Worker) -> bool:
        return self._limits.reached(worker, self._job.crew.handles[worker.slot])

    def _batch_begins(self) -> None:
        if self._look_soon():
            self._job.engine.wake()

    def _look_soon(self, wait: float = _HURRY_AFTER) -> bool:
        """While somebody waits, chunks that are complete shall not wait for the rest of their batch to be made."""
        job = self._job
        if self._looking or not self._late_feeders():
            return False
        self._looking = True
        job.exchange.at(job.clock() + wait, None, lambda: self._look(wait))
        return True

    def _late_feeders(self) -> list[Feeder]:
        """Those that read a batch while somebody waits."""
        job = self._job
        return [feeder for feeder in job.feeders if feeder.cutting and job.exchange.awaited(job.table[feeder.queue])]

    def _look(self, wait: float) -> None:
        self._looking = False
        ripe = [feeder for feeder in self._late_feeders() if feeder.ripe]
        for feeder in ripe:
            # a thread, for pickling runs code of the user's
            try:
                threading.Thread(target=feeder.hurry, name="eisenmp-hurry", daemon=True).start()
            except RuntimeError:  # there is none; from Python 3.12 on also when the main thread has ended
                break
        self._look_soon(_HURRY_AFTER if ripe else min(2 * wait, _HURRY_MOST))

    def _lease(self, worker: Worker, chunk: Chunk, request: int) -> None:
        job = self._job
        chunk.home = -1
        if worker.lead is None:
            worker.lead = chunk.queue
        job.ledger.lease(chunk, worker.number, job.clock(), begun=request > 0)
        job.engine.send(worker.number, _chunk_message(chunk, request))
        self._watch_time(worker)

    def _watch_time(self, worker: Worker) -> None:
        """``CHUNK_TIMEOUT``: look at the worker when the chunk that it has begun first is due. One timer a worker."""
        job, limit = self._job, self._job.settings.CHUNK_TIMEOUT
        if limit is None or worker.watched:
            return
        begun = [chunk.since for chunk in job.ledger.held.get(worker.number, {}).values() if chunk.begun]
        if begun:
            worker.watched = True
            job.exchange.at(min(begun) + limit, None, lambda: self._overtime(worker, limit))

    def _overtime(self, worker: Worker, limit: float) -> None:
        job = self._job
        worker.watched = False
        due = job.clock() - limit
        if any(chunk.begun and chunk.since <= due for chunk in job.ledger.held.get(worker.number, {}).values()):
            worker.trouble = f"CHUNK_TIMEOUT of {limit:g} s"
            job.engine.kill(worker.number)
        else:
            self._watch_time(worker)

    def hand_ahead(self) -> None:
        """Give workers whose chunks are short more of them than they asked for.

        Done when all that came together is taken in, so that requests are served first.
        """
        job = self._job
        short, self._short = self._short, {}
        for worker, queue in short.values():
            if worker.number not in job.crew.workers or not queue.entries:
                continue
            allowance = self._allowance(worker, queue)
            holds, busy = job.ledger.in_hand(worker.number, queue.number)
            if not busy or worker.ending or self._reached(worker):
                continue  # its request is on the way, and is served first; or it gets no more
            if queue.maxsize:  # what lies ahead in workers counts as queued
                allowance = min(allowance, 1 + queue.maxsize - job.ledger.track(queue.number).ahead)
            more = allowance - holds
            least = job.paces[queue.number].batch(0)  # less than a message's worth is not worth cutting a batch for
            while more > 0:
                chunk = job.exchange.next_chunk(queue, self._limits.left(worker, holds, max(more, least)))
                if chunk is None:
                    break
                more -= chunk.tickets
                holds += chunk.tickets
                self._lease(worker, chunk, 0)

    def _name_waiting(self, worker: Worker, queue: NamedQueue | None) -> None:
        """Say it once when a worker waits for something that nobody has ever provided."""
        number = ANY_QUEUE if queue is None else queue.number
        if number in self._named or not self._is_unfed(queue):
            return
        self._named.add(number)
        where = f"queue {queue.name!r}, which nobody feeds" if queue else "a feeder: none was started"
        self._job.news(f"{worker.name} has waited {_NAME_AFTER:g} s for {where} (run_q_feeder, or put)")

    def _is_unfed(self, queue: NamedQueue | None) -> bool:
        return not (queue.feeders_seen or queue.touched) if queue else not self._job.feeders

    # ---- answers in

    def answer(self, worker: Worker, frame: Frame) -> None:
        """Tickets are answered, with their results or without."""
        queue, tickets = frame.queue, frame.tickets or 1
        value = frame.payload if frame.flags & HAS_VALUE else None
        form = Form.PICKLES if frame.flags & PICKLED else Form.LIST if frame.flags & LISTED else Form.ONE
        if not 0 <= frame.number <= _LONGEST:
            raise ProtocolError(f"an answer after {frame.number} seconds")
        if frame.serial + tickets > len(self._job.ledger.track(queue)):
            raise ProtocolError(f"an answer to {tickets} tickets from _TID_{frame.serial} on; not so many were made")
        asked_to_end = worker.leaving and not worker.at_ease and not self._job.exchange.stopping
        if asked_to_end and frame.flags & AT_RETURN and value is None:
            return  # a server that was asked to end has returned: what it held is for its successor
        item_errors: Payload = ()
        if frame.flags & WITH_ERRORS:
            if tickets > 1 or len(frame.payload) < 2:  # a value and the errors
                raise ProtocolError(f"errors of items of {tickets} tickets, in {len(frame.payload)} pieces")
            value, item_errors = frame.payload[:-1], frame.payload[-1:]
        record = Record(queue, frame.serial, value, None, tickets, form, frame.rows, item_errors=item_errors)
        if worker.results:
            record.check()  # one of these may have to be laid in there
        items = self.settle(worker, record, frame.number)
        self._note_time(worker, frame, items)
        if items:
            worker.histories.setdefault(queue, History()).add(frame.number, tickets)
            self._job.paces.setdefault(queue, History()).add(frame.number, tickets)
            self._job.item_paces.setdefault(queue, History()).add(frame.number, items)
            self._short[worker.number, queue] = (worker, self._job.table[queue])

    def _note_time(self, worker: Worker, frame: Frame, items: int) -> None:
        """For the report."""
        self._job.crew.hours[worker.slot].worked(self._job.clock(), frame.number)
        self._job.durations.add(frame.queue, frame.serial, items, frame.number)

    def settle(self, worker: Worker, record: Record, seconds: float) -> int:
        """Book tickets as done: what was held for them becomes visible.

        Returns:
            How many items they had. 0: the worker does not hold them.
        """
        job, queue = self._job, record.queue
        if job.ledger.halves and record.tickets == 1 and (items := self.parts.answered(worker, record, seconds)):
            worker.results.pop((queue, record.serial), None)
            deliver_forwards(job, worker, None, record)
            self._ended(worker, queue)
            return items
        chunk = job.ledger.done(
            worker.number, queue, record.serial, worker.slot, seconds, record.tickets, failed=bool(record.item_errors)
        )
        if chunk is None:
            # perhaps part of it was taken back meanwhile: each ticket by itself
            if record.tickets > 1:
                record.check()
                return sum([self.settle(worker, part, seconds / record.tickets) for part in record.apart()])
            if record.value is not None:  # or it was booked as done when all entry functions had returned
                job.results.late_value(queue, record.serial, worker.slot, record.value)
            return 0
        job.note_answer(worker.slot, chunk, seconds, "failed" if record.item_errors else "done")
        if worker.results:
            self._held_results(worker, record)
        job.record(chunk, record)
        if record.item_errors and record.rows >= chunk.items:  # nothing of it has come through
            worker.forwards.pop((queue, record.serial), None)
        deliver_forwards(job, worker, chunk, record)
        self._ended(worker, queue, record.tickets)
        return chunk.items

    def _held_results(self, worker: Worker, record: Record) -> None:
        """Results that came before the answer, each in a message of its own. They were first."""
        for serial in range(record.serial, record.serial + record.tickets):
            first = worker.results.pop((record.queue, serial), None)
            if first is not None:
                record.put(serial, first)

    def withdraw(self, worker: Worker, *, alive: bool = False) -> None:
        """The worker has left in good order: what it had begun and still holds is answered, without a result.

        `alive`: its threads go on. Of a batch, all but one ticket come back in a moment; only then is it known which.
        """
        for chunk in list(self._job.ledger.held.get(worker.number, {}).values()):
            if chunk.begun and not (alive and chunk.tickets > 1):
                self.settle(worker, Record(chunk.queue, chunk.serial, tickets=chunk.tickets), 0.0)

    def _ended(self, worker: Worker, queue: int, tickets: int = 1) -> None:
        worker.answered += tickets
        self._job.crew.supervisor.answered(worker.slot)
        self._moved_on(queue)

    def taken(self, worker: Worker, frame: Frame) -> None:
        """The worker gets to a chunk that was handed out ahead."""
        self._job.crew.hours[worker.slot].sending += frame.skip * 1e-6
        self._job.ledger.begin(worker.number, frame.queue, frame.serial, self._job.clock(), frame.tickets or 1)
        self._watch_time(worker)
        self._moved_on(frame.queue)

    def _moved_on(self, number: int) -> None:
        """A ticket has ended, or the next one was begun: there is more room, or the stream has ended."""
        queue = self._job.table[number]
        self._job.room_made(queue)
        if queue.first_chunk() is None:
            self._job.exchange.serve(queue)
        self._job.look_if_settled()

    def failed(self, worker: Worker, frame: Frame) -> None:
        """A ticket's try, or a call without a ticket, ended in an exception."""
        job = self._job
        read_error(frame.payload)  # before anything is booked
        if not 0 <= frame.number <= _LONGEST:
            raise ProtocolError(f"an error after {frame.number} seconds")
        if frame.queue == ANY_QUEUE:
            self._call_failed(worker, frame)
            return
        key = (frame.queue, frame.serial)
        if job.settings.ON_ERROR != "raise" and self.parts.answered(worker, Record(*key), frame.number, frame.payload):
            self._ended(worker, frame.queue)
            return
        outcome = job.ledger.failed(worker.number, *key, worker.slot, frame.number, last=job.exchange.feeding_over)
        if outcome is None:
            return
        chunk, again = outcome
        self._note_time(worker, frame, 0 if again else chunk.items)
        job.note_answer(worker.slot, chunk, frame.number, "retried" if again else "failed")
        worker.results.pop(key, None)
        worker.forwards.pop(key, None)
        if again:
            job.exchange.put_back([chunk])
            return
        job.record(chunk, Record(*key, error=frame.payload))
        self._ended(worker, frame.queue)
        if job.settings.ON_ERROR == "raise":
            error = loads_error(frame.payload)
            name = job.table[frame.queue].name
            annotate(error, f"eisenmp: ticket _TID_{frame.serial} of queue {name!r}, in {worker.name}")
            job.fail(error)

    def _call_failed(self, worker: Worker, frame: Frame) -> None:
        error = loads_error(frame.payload)
        worker.call_failures += 1
        if self._job.settings.ON_ERROR == "skip" and worker.call_failures < _CALL_FAILURES:
            self._job.news(f"{worker.name}: {type(error).__name__}: {error} (no ticket was held)")
            return
        wrong = WorkerCallError(f"{worker.name} raised {type(error).__name__} while it held no ticket: {error}")
        wrong.__cause__ = error
        self._job.fail(wrong)

    def set_aside(self, chunk: Chunk) -> None:
        """A ticket whose worker died too often."""
        job = self._job
        if chunk.search is not None:
            self.parts.record(chunk, chunk.search)
        else:
            error = CrashError(job.table[chunk.queue].name, chunk.serial, chunk.exits)
            job.record(chunk, Record(chunk.queue, chunk.serial, error=error))
            job.news(str(error))
        self._moved_on(chunk.queue)

    def give_back(self, worker: Worker, frame: Frame) -> None:
        """The worker does not get to a chunk that was handed out ahead."""
        chunk = self._job.ledger.given_back(worker.number, frame.queue, frame.serial, frame.tickets or 1)
        if chunk is not None:
            worker.histories.pop(frame.queue, None)  # it is no longer the worker that its history describes
            self._job.exchange.put_back([chunk])

    # ---- what goes with an answer

    def result(self, worker: Worker, frame: Frame) -> None:
        """A result: held until its ticket is answered, or late, when it was answered without one."""
        key = (frame.queue, frame.serial)
        if self._job.ledger.holding(worker.number, *key) is not None:
            worker.results.setdefault(key, frame.payload)
        else:
            self._job.results.late_value(*key, worker.slot, frame.payload)

    def forward(self, worker: Worker, frame: Frame) -> None:
        """A message that is to be put when its ticket is answered."""
        if not 0 <= frame.number < len(self._job.table.rows):
            raise ProtocolError(f"queue number {frame.number}")
        key = (int(frame.number), frame.serial)
        if self._job.ledger.holding(worker.number, *key) is not None:
            worker.forwards.setdefault(key, []).append((frame.queue, frame.payload))

    def closing(self, worker: Worker, frame: Frame) -> None:
        """Something under the closing header: counts when the worker has returned."""
        worker.closing.append((frame.queue, frame.payload))

    def flush_closing(self, worker: Worker) -> None:
        """The worker has returned."""
        job = self._job
        for queue, payload in worker.closing:
            try:
                value = loads(payload)
            except (Exception, SystemExit) as error:
                job.fail(PayloadError(f"the closing value of {worker.name} cannot be unpickled here: {error!r}"))
                continue
            job.results.closing[worker.slot] = value
            job.results.closing.all.append((job.table[queue].name, worker.slot, value))
            if job.archive is not None:
                job.archive.closing(queue, worker.slot, payload)
        worker.closing.clear()

    def stop_job(self, worker: Worker, frame: Frame) -> None:
        """First hit: the job has its answer."""
        job = self._job
        if self._answered:
            return  # somebody else was first
        self._answered = True
        try:
            job.results.answer = loads(frame.payload)
        except (Exception, SystemExit) as error:
            job.fail(PayloadError(f"the answer that {worker.name} gave to stop_job cannot be unpickled: {error!r}"))
        else:
            if job.archive is not None:
                job.archive.answer(frame.payload)
        job.stop()


def _chunk_message(chunk: Chunk, request: int) -> list[Buffer]:
    """What a worker gets: the whole payload, and which tickets of it are meant; or which items of its one ticket."""
    payload, flags = chunk.payload, PICKLED if chunk.nested else LISTED if chunk.rows else 0
    if chunk.search is not None:
        payload, flags = part_payload(payload, chunk.search), flags | PART
    if chunk.exits or chunk.attempts > int(chunk.begun):
        flags |= AGAIN
    return encode(
        Kind.CHUNK,
        payload,
        queue=chunk.queue,
        serial=chunk.serial,
        number=float(request),
        flags=flags,
        tickets=chunk.tickets,
        skip=chunk.skip,
        rows=chunk.rows,
    )
