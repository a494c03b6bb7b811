"""Results in memory: states of all tickets, values where they are wanted.

States come from the ledger and cost a few bytes a ticket. Values are kept as the pickled bytes that the worker sent,
opened in the thread that reads them: all of them with ``RESULTS_STORE``, else those that a reader has not yet taken,
and while there is no reader yet, the last few.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, overload

from eisenmp.errors import CrashError, ResultsError
from eisenmp.exchange import Exchange
from eisenmp.ledger import State
from eisenmp.payload import Payload, loads_error
from eisenmp.queues import NamedQueue
from eisenmp.results.outcome import Closing, Form, Outcome, Part, Record, item_failures, opened_parts
from eisenmp.results.reader import OutcomeReader, Stream

__all__ = ["QueueResults", "Results"]


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
        self.on_read = on_read
        self.on_interrupt: Callable[[BaseException], None] = lambda _: None
        exchange.on_manager_read = lambda queue, serial: self.record(Record(queue, serial))
        self._keep = 0
        self.records: dict[int, dict[int, Record]] = {}  # with RESULTS_STORE: all; else failures only
        self._recent: deque[Record] = deque()
        self._recent_tickets = 0
        self._dropped = 0
        self._streams: list[Stream] = []
        self.newest: Stream | None = None  # the last one that came, still there or not
        self.last_failure: Record | None = None  # of a whole ticket, or of some of its items
        self.partly_failed = 0  # tickets

    def keep(self, *, all_values: bool, last: int) -> None:
        """Which values to keep when no reader takes them: all, or the last few until a reader comes."""
        self.store = all_values
        self._keep = last

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
            name: [(o.ticket, o.value) for o in results if o.state == "done"] if self.store else []
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
            if self._dropped:
                raise ResultsError(
                    f"{self._dropped} results were not kept before this reader came; call outcomes() before start(), "
                    "or keep all results with RESULTS_STORE = True"
                )
            if self.store:
                first = [
                    record
                    for records in self.records.values()
                    for at, record in sorted(records.items())
                    if at == record.serial
                ]
            else:
                first = list(self._recent)
            stream = Stream(ordered=ordered)
            for record in first:
                stream.give(record)
            self._streams.append(stream)
            self.newest = stream
            self._recent.clear()
            self._recent_tickets = 0
            return OutcomeReader(self, stream)

    # ---- called by the dispatcher, under its lock

    def record(self, record: Record) -> None:
        """A ticket has its outcome."""
        if record.has_failures:
            self.last_failure = record
            self.partly_failed += bool(record.item_errors)
        if self.store or record.has_failures:
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
        if not self._streams and not self.store:
            self._recent.append(record)
            self._recent_tickets += record.tickets
            self._trim()

    def late_value(self, queue: int, serial: int, slot: int, value: Payload) -> None:
        """A result that came after its ticket was answered: it counts, when the ticket has none yet."""
        track = self.ledger.tracks.get(queue)
        if track is None or serial >= len(track) or track.states[serial] != State.DONE or track.slots[serial] != slot:
            return
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
        most = 0
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
        return max((stream.unread_bytes(queue) for stream in self._streams if stream.holds_back), default=0)

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
            if not self._streams and not self.store:
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

    def first_item(self, queue: str, ticket: int, known: tuple[int, int] = (0, 0)) -> int:
        """How many items the chunks before that ticket had. `known`: the same of another ticket, to count on from."""
        start, before = known if known[0] <= ticket else (0, 0)
        return before + sum(self.ledger.tracks[self.table.find(queue).number].items[start:ticket])

    def outcomes_of(self, record: Record) -> list[Outcome]:
        """Open a record: the outcome of each of its tickets."""
        if record.form == Form.LIST:
            try:
                values = record.values()
            except Exception:
                values = []  # what is wrong is told for each ticket
            if len(values) == record.tickets:
                return self._done_together(record, values)
        return [self.outcome(record, at) for at in range(record.serial, record.serial + record.tickets)]

    def _done_together(self, record: Record, values: list[Any]) -> list[Outcome]:
        """Outcomes of tickets that were answered together and are done."""
        start, stop = record.serial, record.serial + record.tickets
        track = self.ledger.tracks[record.queue]
        columns = zip(  # in the order of the fields
            repeat(self.table[record.queue].name),
            range(start, stop),
            values,
            repeat(None),
            [track.attempts.get(at, 1) for at in range(start, stop)] if track.attempts else repeat(1),
            track.slots[start:stop],
            track.seconds[start:stop],
            map(State.NAMES.__getitem__, track.states[start:stop]),
            track.items[start:stop],
            repeat(()),
            repeat(()),
            strict=False,
        )
        return list(map(partial(tuple.__new__, Outcome), columns))

    def outcome(self, record: Record, at: int) -> Outcome:
        """Open a record for one of its tickets."""
        if isinstance(record.error, tuple):
            return self._outcome(record, at, None, loads_error(record.error))
        if record.error is not None:
            return self._outcome(record, at, None, record.error)
        try:
            if record.parts:
                return self._outcome_of_parts(record)
            value, failures = record.value_at(at), item_failures(record.item_errors)
            for place, error in failures if value is not None else ():
                value[place] = error
            return self._outcome(record, at, value, failures[0][1] if failures else None, tuple(failures))
        except (Exception, SystemExit, GeneratorExit) as reason:  # a Ctrl-C is the user's
            name = self.table[record.queue].name
            error = ResultsError(f"the result of _TID_{at} of {name!r} cannot be unpickled here: {reason!r}")
            error.__cause__ = reason
            return self._outcome(record, at, None, error)

    def _outcome_of_parts(self, record: Record) -> Outcome:
        """Of a ticket that was handed out in parts. Raises whatever unpickling a result raises."""
        opened = opened_parts(record)
        failures = [failure for _, failed in opened for failure in failed]
        # a crash comes first: it is what set the ticket aside
        errors = sorted([error for _, error in failures], key=lambda error: not isinstance(error, CrashError))
        first = errors[0] if errors else None
        if not record.per_item:
            return self._outcome(record, record.serial, None, first, (), tuple([part for part, _ in opened]))
        whole = all(part.value is not None or part.error is not None for part, _ in opened)
        values: list[Any] | None = None
        if whole and sum([part.items for part, _ in opened]) == self.ledger.tracks[record.queue].items[record.serial]:
            values = [value for part, _ in opened for value in (part.value or [None] * part.items)]
            for place, error in failures:
                values[place] = error
        return self._outcome(record, record.serial, values, first, tuple(failures))

    def _outcome(
        self,
        record: Record,
        at: int,
        value: Any,
        error: BaseException | None,
        failures: tuple[tuple[int, BaseException], ...] = (),
        parts: tuple[Part, ...] = (),
    ) -> Outcome:
        track = self.ledger.tracks[record.queue]
        return Outcome(
            queue=self.table[record.queue].name,
            ticket=at,
            value=value,
            error=error,
            attempts=track.attempts.get(at, 1),
            slot=track.slots[at],
            seconds=track.seconds[at],
            state=State.NAMES[track.states[at]],
            items=track.items[at],
            failures=failures,
            parts=parts,
        )


class QueueResults(Sequence[Outcome]):
    """The outcomes of one queue in ticket order; tells also what failed, is missing, or was never read."""

    def __init__(self, results: Results, queue: NamedQueue) -> None:
        self._results = results
        self._queue = queue
        self._track = results.ledger.track(queue.number)

    def __len__(self) -> int:
        return len(self._track)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> list[Outcome]: ...
    def __getitem__(self, at: int | slice) -> Outcome | list[Outcome]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError(f"ticket {at} of queue {self._queue.name!r}; there are {len(self)}")
        record = self._results.records.get(self._queue.number, {}).get(at)
        return self._results.outcome(record or Record(self._queue.number, at), at)

    def __iter__(self) -> Iterator[Outcome]:
        records = self._results.records.get(self._queue.number, {})
        at = 0
        while at < len(self):
            record = records.get(at)
            if record is None or record.tickets == 1:
                yield self[at]
                at += 1
            else:  # open what came together together
                yield from self._results.outcomes_of(record)[at - record.serial :]
                at = record.serial + record.tickets

    def __repr__(self) -> str:
        return f"<results: {self.summary()}>"

    def _in_state(self, *states: int) -> list[int]:
        return [n for n, state in enumerate(self._track.states) if state in states]

    @property
    def done(self) -> list[int]:
        """Tickets with a result."""
        return self._in_state(State.DONE)

    @property
    def failed(self) -> list[int]:
        """Tickets that ended in an exception."""
        return self._in_state(State.FAILED)

    @property
    def set_aside(self) -> list[int]:
        """Tickets whose worker died each time."""
        return self._in_state(State.SET_ASIDE)

    @property
    def unread(self) -> list[int]:
        """Tickets that nobody took, or nobody has taken yet."""
        return self._in_state(State.UNREAD, State.QUEUED)

    @property
    def missing(self) -> list[int]:
        """Tickets that a worker holds or held without an answer, and those nobody took."""
        return self._in_state(State.LEASED, State.QUEUED, State.UNREAD)

    @property
    def complete(self) -> bool:
        """Whether every ticket is done."""
        return self._track.counts[State.DONE] == len(self._track)

    def values(self) -> list[Any]:
        """The results of all tickets in ticket order.

        Raises:
            ResultsError: results were not kept, or a ticket has none.
        """
        if not self._results.store and len(self):
            raise ResultsError("results were not kept: set RESULTS_STORE = True, or read results.outcomes()")
        if not self.complete:
            raise ResultsError(f"not every ticket has a result: {self.summary()}")
        return [outcome.value for outcome in self]

    def summary(self) -> str:
        """How the tickets stand, in words."""
        name = self._queue.name
        if self.complete:
            return f"{name}: all {len(self)} tickets done"
        counts = [
            f"{count} {State.NAMES[state]} ({_ranges(self._in_state(state))})"
            for state, count in enumerate(self._track.counts)
            if count and state != State.DONE
        ]
        return f"{name}: {self._track.counts[State.DONE]} of {len(self)} tickets done, {', '.join(counts)}"


def _ranges(numbers: list[int], most: int = 6) -> str:
    """``0-3, 7, 9-11, …``"""
    parts: list[str] = []
    start = None
    for at, number in enumerate(numbers):
        if start is None:
            start = number
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            parts.append(str(start) if start == number else f"{start}-{number}")
            start = None
        if len(parts) > most:
            return ", ".join(parts[:most]) + ", …"
    return ", ".join(parts)
