"""Results in memory: states of all tickets, values where they are wanted.

States come from the ledger and cost a few bytes a ticket. Values are kept as the pickled bytes that the worker sent,
opened in the thread that reads them: all of them with ``RESULTS_STORE``, else those that a reader has not yet taken,
and while there is no reader yet, the last few. With a job file that has the values, none but those on their way.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from eisenmp.errors import ResultsError
from eisenmp.exchange import Exchange
from eisenmp.ledger import State
from eisenmp.payload import Payload
from eisenmp.queues import NamedQueue
from eisenmp.results.keeper import Keeper
from eisenmp.results.opening import outcome_of, outcomes_of
from eisenmp.results.outcome import Closing, Outcome, Record
from eisenmp.results.reader import OutcomeReader, Stream
from eisenmp.results.sequence import QueueResults
from eisenmp.results.shelf import Shelf

__all__ = ["Results"]


class Results(Mapping[str, "QueueResults"]):
    """From queue name to that queue's outcomes. ``answer`` is what ``stop_job`` was given."""

    def __init__(
        self,
        exchange: Exchange,
        on_read: Callable[[int], None],
    ) -> None:
        self.closing = Closing()
        self.answer: Any = None
        self.over = False
        self.error: BaseException | None = None
        self.cond = exchange.lock.condition()
        self.table = exchange.table
        self.ledger = exchange.ledger
        self.store = False
        self.keeper: Keeper | None = None
        self.on_read = on_read
        self.on_interrupt: Callable[[BaseException], None] = lambda _: None
        exchange.on_manager_read = lambda queue, serial: self.record(Record(queue, serial))
        self._keep = 0
        self.records: dict[int, dict[int, Record]] = {}  # with RESULTS_STORE: all; else failures only
        self._recent: deque[Record] = deque()
        self._recent_tickets = 0
        self._dropped = 0
        self._streams: list[Stream] = []
        self._window: list[Record] = []  # what was last asked of the job file, for who asks ticket by ticket
        self.newest: Stream | None = None  # the last one that came, still there or not
        self.last_failure: Record | None = None  # of a whole ticket, or of some of its items
        self.partly_failed = 0  # tickets
        self.shelf = Shelf()
        self.on_failure: Callable[[Record], None] | None = None  # somebody wants to hear of each

    def keep(self, *, all_values: bool, last: int) -> None:
        """Which values to keep when no reader takes them: all, or the last few until a reader comes."""
        self.store = all_values
        self._keep = last

    @property
    def filed(self) -> bool:
        """Values are in a job file, or on their way there: nobody else needs to keep them."""
        return self.keeper is not None and self.keeper.keeps

    @property
    def has_values(self) -> bool:
        """Whether the values of all tickets are to be had."""
        return self.store or self.filed

    # ---- the mapping

    def __getitem__(self, name: str) -> QueueResults:
        try:
            return QueueResults(self, self.table.find(name))
        except KeyError as error:
            raise KeyError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        return iter([q.name for q in self.table if self._tickets(q)])

    def __len__(self) -> int:
        return sum(1 for q in self.table if self._tickets(q))

    def __contains__(self, name: object) -> bool:
        try:
            return self._tickets(self.table.find(name)) > 0 if isinstance(name, str) else False
        except KeyError:
            return False

    def __repr__(self) -> str:
        return f"<results: {self.summary()}>"

    def _tickets(self, queue: NamedQueue) -> int:
        track = self.ledger.tracks.get(queue.number)
        return len(track) if track else 0

    @property
    def complete(self) -> bool:
        """Whether every ticket of every queue is done."""
        return all(results.complete for results in self.values())

    def summary(self) -> str:
        """How the tickets of each queue stand, in words."""
        return "; ".join(results.summary() for results in self.values()) or "no tickets"

    def as_dict(self) -> dict[str, list[tuple[int, Any]]]:
        """``{queue name: [(ticket, result), …]}`` of all tickets that are done and whose value was kept."""
        return {
            name: [(o.ticket, o.value) for o in results if o.state == "done"] if self.has_values else []
            for name, results in self.items()
        }

    def outcomes(self, ordered: bool | int = False) -> OutcomeReader:
        """Iterate over all outcomes as they come, while the job runs and after it.

        The reader counts against the window from this call on: outcomes that it has not taken hold the feeders back.
        So a thread that reads here must not wait for the job in another way, in the ``get`` of a queue, say, for longer
        than the window lasts; ``wait`` alone sees to that by itself. Read in a thread of its own, or ``close`` first.

        Args:
            ordered: True: in ticket order within each queue, instead of in the order they come. A number: the same, but
                an outcome waits for its elders only until it is followed by that many tickets.

        Raises:
            ResultsError: outcomes have come and gone before; keep them with ``RESULTS_STORE`` or call this earlier,
                before ``start`` at best.
        """
        with self.cond:
            stream = Stream(ordered=ordered)
            if self.keeper is not None:
                kept = self.keeper.durable if self.filed else self.keeper.earlier
                for queue, tickets in kept.items():
                    stream.restore(queue, tickets)
            for record in self._at_hand():
                stream.give(record)
            self._streams.append(stream)
            self.newest = stream
            self._recent.clear()
            self._recent_tickets = 0
            return OutcomeReader(self, stream)

    def _at_hand(self) -> list[Record]:
        """Outcomes so far, in no file: all, or the last few.

        Raises:
            ResultsError: others have come and gone before.
        """
        if self.keeper is not None and self.keeper.keeps:
            return [record for queue in self.keeper.durable for record in self.keeper.pending(queue).values()]
        if self._dropped:
            raise ResultsError(
                f"{self._dropped} results were not kept before this reader came; call outcomes() before start(), "
                "or keep all results with RESULTS_STORE = True"
            )
        if not self.store:
            return list(self._recent)
        return [
            record for records in self.records.values() for at, record in sorted(records.items()) if at == record.serial
        ]

    # ---- called by the dispatcher, under its lock

    def record(self, record: Record) -> None:
        """A ticket has its outcome."""
        if record.has_failures:
            self.last_failure = record
            self.partly_failed += bool(record.item_errors)
            if self.on_failure is not None:
                self.on_failure(record)
        if self.keeper is not None:
            self.keeper.record(record, self.ledger.track(record.queue))
        if (self.store or record.has_failures) and not self.filed:
            kept = record if self.store else record.without_values()
            serials = range(record.serial, record.serial + record.tickets)
            self.records.setdefault(record.queue, {}).update(dict.fromkeys(serials, kept))
        wake = False
        for stream in tuple(self._streams):  # a reader that is collected as garbage leaves at any time
            stream.give(record)
            wake = wake or stream.waiting
            if stream.ready:
                stream.ring()
        if wake:
            self.cond.notify_all()
        if not self._streams and not self.has_values:
            self._recent.append(record)
            self._recent_tickets += record.tickets
            self._trim()

    def take_back(self, record: Record) -> bool:
        """The ticket of a failure is tried again: forget its outcome. False: somebody was told of it."""
        streams = tuple(self._streams)
        if record.read or not all(stream.has(record) for stream in streams):
            return False
        taken = [stream for stream in streams if stream.take_back(record)]
        if len(taken) < len(streams):  # a reader has come just now
            for stream in taken:
                stream.give(record)
            return False
        queue, serial = record.queue, record.serial
        record.taken_back = True
        self.shelf.remove(record)
        self.records.get(queue, {}).pop(serial, None)
        if record in self._recent:
            self._recent.remove(record)
            self._recent_tickets -= record.tickets
        if self.last_failure is record:
            self.last_failure = None
        self.partly_failed -= bool(record.item_errors)
        if self.keeper is not None:
            self._window = []
            self.keeper.take_back(record, self.ledger.track(queue))
        return True

    def late_value(self, queue: int, serial: int, slot: int, value: Payload) -> None:
        """A result that came after its ticket was answered: it counts, when the ticket has none yet."""
        track = self.ledger.tracks.get(queue)
        if track is None or serial >= len(track) or track.states[serial] != State.DONE or track.slots[serial] != slot:
            return
        if self.keeper is not None:
            self._window = []
            self.keeper.late_value(queue, serial, value)
        if self.store:
            record: Record | None = self.records.setdefault(queue, {}).setdefault(serial, Record(queue, serial))
        else:
            record = self._not_read_yet(queue, serial)
        if record is not None:
            record.put(serial, value, late=True)

    def _not_read_yet(self, queue: int, serial: int) -> Record | None:
        """The record of an outcome that some reader has not taken, or that is kept until one comes."""
        for stream in self._streams:
            for record in stream.left():
                if record.queue == queue and 0 <= serial - record.serial < record.tickets:
                    return record
        for record in self._recent:
            if record.queue == queue and 0 <= serial - record.serial < record.tickets:
                return record
        return None

    def _trim(self) -> None:
        while self._recent and self._recent_tickets - self._recent[0].tickets >= self._keep:
            record = self._recent.popleft()
            self._recent_tickets -= record.tickets
            self._dropped += record.tickets

    def unread_by(self, queue: int) -> int:
        """Outcomes of a queue that the slowest reader has not taken."""
        most = self.keeper.unread(queue) if self.keeper is not None else 0
        for stream in self._streams:
            if stream.holds_back:
                most = max(most, stream.unread(queue))
        return most

    def neglected_by(self, queue: int) -> int:
        """Outcomes that the slowest reader has not taken. One that sleeps has been woken, and will take them."""
        unread = [s.unread(queue) for s in self._streams if s.holds_back and not s.waiting]
        return max(unread, default=0)

    def unread_bytes_by(self, queue: int) -> int:
        """The same in bytes of their values."""
        kept = self.keeper.unread_bytes(queue) if self.keeper is not None else 0
        return max([kept, *[stream.unread_bytes(queue) for stream in self._streams if stream.holds_back]])

    def release(self, thread: int) -> None:
        """That thread goes to wait for the job's end: readers that it owns no longer hold the feeders back.

        Nor do those of threads that have ended.
        """
        alive = {other.ident for other in threading.enumerate()} - {thread}
        for stream in self._streams:
            if stream.owner not in alive:
                stream.holds_back = False

    def detach(self, stream: Stream) -> None:
        """A reader has left: it holds nobody back, and what it did not take is kept for the next one, in part."""
        if stream in self._streams:
            self._streams.remove(stream)
            if not self._streams and not self.has_values:
                left = stream.left()
                self._recent.extend(left)
                self._recent_tickets += sum([record.tickets for record in left])
                self._trim()
        stream.detach()
        stream.ring()
        for queue in stream.given:
            self.on_read(queue)
        self.cond.notify_all()

    def end(self, error: BaseException | None) -> None:
        """No further outcome will come."""
        self.over = True
        self.error = error
        self.cond.notify_all()
        for stream in tuple(self._streams):
            stream.ring()

    def restored(self, queue: int) -> None:
        """Tickets of earlier runs are known now: readers get them too."""
        assert self.keeper is not None
        for stream in tuple(self._streams):
            stream.restore(queue, self.keeper.earlier[queue])
        self.cond.notify_all()

    # ---- called by readers, without the lock

    def were_read(self, queue: int, first: int, stop: int) -> None:
        """A reader was told the outcomes of these tickets by the job file."""
        with self.cond:
            self.shelf.were_read(queue, first, stop)

    def recall(self, queue: int, first: int, stop: int) -> list[Record]:
        """What the job file has of the first of these tickets, in order; see :meth:`Keeper.stored`."""
        assert self.keeper is not None
        track = self.ledger.tracks[queue]
        records = []
        for found in self.keeper.stored(queue, first, stop):
            record = found.record
            record.stored = True
            if found.slot >= 0:
                track.recall(record.serial, record.tickets, found.seconds, found.slot, found.attempts)
            records.append(record)
        return records

    def records_from(self, queue: int, at: int) -> list[Record]:
        """What is to be had of a ticket, and of some that follow, in order and without gaps."""
        if not self.filed:
            return [self.records.get(queue, {}).get(at) or Record(queue, at)]
        assert self.keeper is not None
        window = self._window
        place = bisect_right(window, at, key=attrgetter("serial")) - 1
        if place >= 0 and window[0].queue == queue and at - window[place].serial < window[place].tickets:
            return window[place:]
        with self.cond:
            kept = self.keeper.durable.get(queue)
            there = kept.range_from(at) if kept is not None else None
            pending = self.keeper.pending(queue).values()
            waits = next((record for record in pending if 0 <= at - record.serial < record.tickets), None)
        if waits is not None:
            return [waits]
        self._window = self.recall(queue, at, there[1]) if there and there[0] <= at else []
        return self._window or [Record(queue, at)]

    def first_item(self, queue: str, ticket: int, known: tuple[int, int] = (0, 0)) -> int:
        """How many items the chunks before that ticket had. `known`: the same of another ticket, to count on from."""
        start, before = known if known[0] <= ticket else (0, 0)
        return before + sum(self.ledger.tracks[self.table.find(queue).number].items[start:ticket])

    def outcomes_of(self, record: Record) -> list[Outcome]:
        """Open a record: the outcome of each of its tickets."""
        return outcomes_of(record, self.table[record.queue].name, self.ledger.tracks[record.queue])

    def outcome(self, record: Record, at: int) -> Outcome:
        """Open a record for one of its tickets."""
        return outcome_of(record, at, self.table[record.queue].name, self.ledger.tracks[record.queue])
