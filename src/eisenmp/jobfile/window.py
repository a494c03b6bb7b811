"""Rows of a job file, put together in ticket order: a window of them at a time."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Final

from eisenmp.jobfile.borders import Run
from eisenmp.jobfile.codec import Stored, disarmed, emptied, restored
from eisenmp.jobfile.ranges import Ranges
from eisenmp.ledger import State
from eisenmp.results.outcome import Record

__all__ = ["ItemCounts", "StoredFacts", "Window"]

_WINDOW_BYTES: Final = 8 << 20
_WINDOW_TICKETS: Final = 4096
_STATES: Final = {name: state for state, name in enumerate(State.NAMES)}


class Window:
    """Rows of one queue's tickets, put together in ticket order. `trusted`: pickles of users' objects may be opened."""

    def __init__(
        self, db: sqlite3.Connection, number: int, queue: int, first: int, stop: int, *, trusted: bool
    ) -> None:
        self._db = db
        self._number = number
        self._queue = queue
        self._first = first
        self._trusted = trusted
        self._stop = stop = min(stop, first + _WINDOW_TICKETS)
        self._finished, self._empty = (
            Ranges(
                db.execute(
                    f"SELECT max(first, :first), min(last + 1, :stop) FROM {table} WHERE queue = :queue "
                    "AND first < :stop AND last >= :first ORDER BY first",
                    {"queue": number, "first": first, "stop": stop},
                )
            )
            for table in ("finished", "empty")
        )
        self._failures: dict[int, tuple[Any, ...]] = {
            row[0]: row[1:]
            for row in db.execute(
                "SELECT ticket, state, detail, seconds, slot, attempts FROM failure "
                "WHERE queue = ? AND ticket >= ? AND ticket < ? ORDER BY ticket",
                (number, first, stop),
            )
        }
        self._failed = list(self._failures)

    def __iter__(self) -> Iterator[Stored]:
        at = self._first
        size = 0
        for row in self._values():
            first, tickets = row[0], row[1]
            yield from self._without_value(at, first)
            yield self._one(row)
            at = first + tickets
            size += len(row[4]) if row[4] is not None else 0
            if size >= _WINDOW_BYTES:
                return
        yield from self._without_value(at, self._stop)

    def _values(self) -> Iterator[tuple[Any, ...]]:
        """From the row on that holds the first ticket: it may hold others before it."""
        for row in self._db.execute(
            "SELECT first, tickets, form, rows, value, cuts, seconds, slot, attempts FROM outcome "
            "WHERE queue = :queue AND first < :stop AND first >= coalesce((SELECT first FROM outcome "
            "WHERE queue = :queue AND first <= :first ORDER BY first DESC LIMIT 1), :first) ORDER BY first",
            {"queue": self._number, "first": self._first, "stop": self._stop},
        ):
            if row[0] + row[1] > self._first:
                yield row

    def _one(self, row: tuple[Any, ...]) -> Stored:
        if row[1] > 1:  # of a failed one among them, the value tells
            failed = self._failed[bisect_left(self._failed, row[0]) : bisect_left(self._failed, row[0] + row[1])]
            others = {ticket: _STATES[self._failures[ticket][0]] for ticket in failed}
            record = self._restored(row[:6], None, row[0])
            return Stored(record, State.DONE, row[6] / row[1], row[7], row[8], others)
        failure = self._failures.get(row[0])
        record = self._restored(row[:6], failure[1] if failure else None, row[0])
        state = _STATES[failure[0]] if failure else State.DONE
        return Stored(record, state, row[6] / row[1], row[7], row[8])

    def _without_value(self, first: int, stop: int) -> Iterator[Stored]:
        """Tickets that have failed, and those whose value is None, or was not kept."""
        for begin, end, is_in in self._finished.within(first, stop):
            if not is_in:
                continue
            at = begin
            for ticket in self._failed[bisect_left(self._failed, begin) : bisect_left(self._failed, end)]:
                yield from self._nothing(at, ticket)
                state, detail, seconds, slot, attempts = self._failures[ticket]
                yield Stored(self._restored(None, detail, ticket), _STATES[state], seconds, slot, attempts)
                at = ticket + 1
            yield from self._nothing(at, end)

    def _restored(self, row: tuple[Any, ...] | None, detail: bytes | None, at: int) -> Record:
        record = restored(self._queue, row, detail, at)
        return record if self._trusted else disarmed(record, None if row is None else row[2])

    def _nothing(self, first: int, stop: int) -> Iterator[Stored]:
        """Tickets that are done, and whose value is None or was not kept."""
        for begin, end, is_in in self._empty.within(first, stop):
            tickets = end - begin
            record = emptied(self._queue, begin, tickets) if is_in else Record(self._queue, begin, tickets=tickets)
            yield Stored(record, State.DONE)


class _Same:
    """The same for every ticket, but for some."""

    def __init__(self, value: Any, others: Mapping[int, Any] | None = None) -> None:
        self._value = value
        self._others = others or {}

    def __getitem__(self, at: Any) -> Any:
        if not isinstance(at, slice):
            return self._others.get(at, self._value)
        if self._others:
            return [self._others.get(ticket, self._value) for ticket in range(at.start, at.stop)]
        return [self._value] * (at.stop - at.start)

    def get(self, at: int, default: int) -> Any:
        return self._value


class ItemCounts:
    """How many items each ticket has."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs
        self._firsts = [run.first for run in runs]

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[ticket] for ticket in range(at.start, at.stop)]
        run = bisect_right(self._firsts, at) - 1
        return self._runs[run].rows if run >= 0 else 0


class StoredFacts:
    """See :class:`eisenmp.results.opening.Facts`."""

    def __init__(self, stored: Stored, items: ItemCounts) -> None:
        self.states = _Same(stored.state, stored.others)
        self.seconds = _Same(stored.seconds)
        self.slots = _Same(stored.slot)
        self.attempts = _Same(stored.attempts)
        self.items = items
