"""The job file as the parts of a running job see it: what it is told, what it knows, what waits for the disk."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any, Final

from eisenmp.errors import JobFileError
from eisenmp.exchange import Exchange
from eisenmp.feeder import Feeder
from eisenmp.jobfile.codec import Entry, Stored, join
from eisenmp.jobfile.journal import Journal, Past
from eisenmp.jobfile.ranges import Ranges
from eisenmp.jobfile.reader import JobReader
from eisenmp.jobfile.replay import Replay
from eisenmp.ledger import State, Track
from eisenmp.payload import Payload
from eisenmp.queues import NamedQueue
from eisenmp.results import Record, Results

__all__ = ["Archive"]

_SLACK: Final = 1000  # outcomes of a queue that may wait for the next commit and not count against its window


class Archive:
    """One job's file. What is not said to be otherwise is called under the job's lock.

    Args:
        journal: the file, opened and not begun.
        exchange: queues and tickets of the job.
        results: its outcomes.
        trust: pickles of a file from elsewhere may be opened.
        force: differences are borne.

    Attributes:
        keeps: values are in the file, so nobody else needs to keep them.
        durable: tickets of each queue whose outcome is in the file.
        earlier: those of them that come from earlier runs.
        missing: tickets of earlier runs that are to be cut again, and are not yet.
    """

    def __init__(self, journal: Journal, exchange: Exchange, results: Results, *, trust: bool, force: bool) -> None:
        self.journal = journal
        self.path = journal.path
        self.keeps = journal.store != "none"
        self.durable: dict[int, Ranges] = {}
        self.earlier: dict[int, Ranges] = {}
        self.missing: dict[int, Ranges] = {}
        self._exchange = exchange
        self._results = results
        self._trust = trust
        self._force = force
        self._pending: dict[int, dict[int, Record]] = {}
        self._waiting: dict[int, int] = {}  # tickets in there
        self._bytes: dict[int, int] = {}
        self.on_error: Callable[[JobFileError], None] = lambda _: None

    def begin(self) -> None:
        """Begin to write, and bring back what earlier runs have left. Without the lock."""
        self.journal.start(self._are_durable, lambda error: self.on_error(error))
        with self._exchange.lock:
            for queue in self._exchange.table:
                if self.journal.past(queue.name) is not None:
                    self.enter_queue(queue)

    # ---- queues and sources

    def enter_queue(self, queue: NamedQueue) -> None:
        """Tickets of the queue may come; those of earlier runs are back."""
        number = queue.number
        if number in self.durable:
            return
        past = self.journal.past(queue.name)
        self.journal.enter_queue(number, queue.name)
        self.earlier[number] = past.finished if past is not None else Ranges()
        self.durable[number] = self.earlier[number].copy()
        self._pending[number] = {}
        self._waiting[number] = self._bytes[number] = 0
        if past is not None:
            track = self._exchange.ledger.track(number)
            states = _states(past)
            track.restore(states, _items(past))
            gaps = [(a, b) for a, b, is_in in past.finished.within(0, len(states)) if not is_in]
            self.missing[number] = Ranges(gaps)
        self._results.restored(number)

    def enter_feeder(self, feeder: Feeder) -> None:
        """It begins to feed: it gets what is known of its source."""
        queue = self._exchange.table[feeder.queue]
        self.enter_queue(queue)
        book = self.journal.enter_source(feeder.queue, feeder.total)
        feeder.number = book.number
        feeder.past = Replay(book, self.journal, queue.name, self._force, lambda: not self._exchange.feeding_over)

    def is_eldest(self, queue: int, serial: int | None) -> bool:
        """Whether all others of earlier runs were cut again before it: then it must not wait for room.

        Its followers may fill the window and wait for it, in a reader that keeps to the order.
        """
        missing = self.missing.get(queue)
        first = missing.range_from(0) if missing is not None else None
        return first is not None and serial == first[0]

    def cut(self, feeder: Feeder, tickets: int, items: int, rows: int) -> None:
        """A feeder has cut new tickets."""
        self.journal.writer.border(feeder.queue, tickets, items, rows, feeder.number, feeder.placed)
        feeder.placed += items

    def cut_again(self, queue: int, serial: int) -> None:
        """A ticket of an earlier run is back in its queue."""
        self.missing[queue].remove(serial)

    # ---- outcomes

    def record(self, record: Record, track: Track) -> None:
        """A ticket, or some in a row, have their outcome."""
        queue, first, tickets = record.queue, record.serial, record.tickets
        stop = first + tickets
        entry = Entry.of(
            record,
            track.states[first],
            track.items[first] if tickets == 1 else sum(track.items[first:stop]),
            track.seconds[first] * tickets,
            track.slots[first],
            track.attempts.get(first, 1),
        )
        self._pending[queue][first] = record
        self._waiting[queue] += tickets
        self._bytes[queue] += record.size
        self.journal.writer.outcome(entry)

    def take_back(self, record: Record, track: Track) -> None:
        """A ticket that has failed is tried again."""
        queue, serial = record.queue, record.serial
        at = track.seconds[serial]
        self.journal.writer.take_back(Entry.of(record, track.states[serial], track.items[serial], at, -1, 1))
        if self._pending[queue].get(serial) is record:
            del self._pending[queue][serial]
        self.durable[queue].remove(serial)

    def late_value(self, queue: int, serial: int, value: Payload) -> None:
        """A result has come after its ticket was answered."""
        self.journal.writer.late_value(queue, serial, value)

    def closing(self, queue: int, slot: int, value: Payload) -> None:
        """A worker has left something under a closing header."""
        self.enter_queue(self._exchange.table[queue])
        number = self.journal.writer.books[queue].number
        self.journal.execute("INSERT INTO closing VALUES (?, ?, ?, ?, ?)", number, slot, *join(value), time.time())

    def answer(self, value: Payload) -> None:
        """``stop_job`` has given the job's answer."""
        self.journal.execute("INSERT OR IGNORE INTO answer VALUES (1, ?, ?, 'pickle', ?)", *join(value), time.time())

    def unread(self, queue: int) -> int:
        """Outcomes that wait for the disk and count against the window."""
        return max(0, self._waiting.get(queue, 0) - _SLACK)

    def unread_bytes(self, queue: int) -> int:
        """The same in bytes, all of which count."""
        return self._bytes.get(queue, 0)

    def pending(self, queue: int) -> dict[int, Record]:
        """Outcomes that are not in the file yet, by first ticket."""
        return self._pending.get(queue, {})

    def _are_durable(self, entries: list[Entry]) -> None:
        """On the writer's thread: these need no longer be kept here."""
        with self._exchange.lock:
            for entry in entries:
                record = entry.record
                queue = record.queue
                if self._pending[queue].get(record.serial) is record:
                    del self._pending[queue][record.serial]
                self._waiting[queue] -= record.tickets
                self._bytes[queue] -= record.size
                if self.journal.writer.error is None and not record.taken_back:
                    self.durable[queue].add(record.serial, record.serial + record.tickets)
        for queue in {entry.record.queue for entry in entries}:
            self._results.on_read(queue)

    # ---- from any thread, without the lock

    def stored(self, queue: int, first: int, stop: int) -> list[Stored]:
        """What the file has of these tickets, or of as many of them as a window holds, in order.

        The first may begin before `first`.

        Raises:
            JobFileError: it cannot be read, or must not be opened.
        """
        with JobReader(self.path, trust=self._trust) as reader:
            return reader.window(reader.queue_number(self._exchange.table[queue].name), first, stop, queue)

    def saved_answer(self) -> tuple[bool, Any]:
        """Whether an earlier run was given the job's answer, and the answer."""
        with JobReader(self.path, trust=self._trust) as reader:
            return reader.summary().answered, reader.answer()

    def flush(self) -> None:
        """The job is over, but for what threads of workers may still say: see that all so far is in the file."""
        self.journal.leave()

    def close(self, ended: str) -> None:
        """The run is over. What is in the file can still be read."""
        self.journal.close(ended)


def _states(past: Past) -> bytes:
    """Of each ticket that was ever cut. Those that are not finished are as good as never read."""
    stop = past.runs[-1].stop if past.runs else 0
    names = {name: state for state, name in enumerate(State.NAMES)}
    states = bytearray()
    for first, end, is_in in past.finished.within(0, stop):
        states += bytes((State.DONE if is_in else State.UNREAD,)) * (end - first)
    for ticket, name in past.failures.items():
        states[ticket] = names[name]
    return bytes(states)


def _items(past: Past) -> array[int]:
    items = array("I")
    for run in past.runs:
        items.extend(array("I", (run.rows,)) * run.tickets)
    return items
