"""Outcomes of a job file as rows, in ticket order. Values are unpickled; exceptions are told in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from eisenmp.export.lines import Printed
from eisenmp.jobfile import FailureRow, JobReader
from eisenmp.jobfile.borders import Run
from eisenmp.jobfile.codec import Stored
from eisenmp.jobfile.window import ItemCounts
from eisenmp.payload import loads
from eisenmp.results import Record

__all__ = ["FIXED_TYPES", "Row", "Rows"]

# of Arrow, of all fields but the value
FIXED_TYPES: Final = (
    "string", "int64", "int64", "string", "int64", "float64", "int64", "int64", "int64", "string"
)  # fmt: skip

_BATCH: Final = 4096  # rows


class Row(NamedTuple):
    """One result, or one failure.

    Attributes:
        queue: name; '' for the job's answer.
        ticket: number within the queue, from 0.
        entry: place in the list that the ticket's result is; None: it is no list.
        state: ``'done'``, ``'failed'``, ``'set aside'``; ``'answer'``: what ``stop_job`` was given.
        attempts, seconds, slot: of the ticket: tries, duration, the worker that ended it (-1: not known).
        first_item: place of the ticket's first item in its source, from 0.
        items: how many it had.
        error: type and message.
        value: the result.
    """

    queue: str
    ticket: int | None
    entry: int | None
    state: str
    attempts: int
    seconds: float
    slot: int
    first_item: int | None
    items: int
    error: str | None
    value: Any


class Rows:
    """All rows that a job file has at this moment; they can be walked more than once, and are the same each time.

    Args:
        reader: of the file.
        queue: only those of this one; None: of all.
        whole: a row for each ticket, also where results are lists.
        printed: takes the results of ``eisenmp map`` apart; None: it is no such file.

    Attributes:
        answered: the last row is the job's answer.
        count: rows of the last walk.

    Raises:
        JobFileError: there is no such queue.
        JobFileUntrusted: values are pickles from elsewhere.
    """

    def __init__(self, reader: JobReader, queue: str | None, whole: bool, printed: Printed | None) -> None:
        reader.check_trust()
        names = [queue] if queue is not None else [summary.name for summary in reader.summary().queues]
        numbers = [reader.queue_number(name) for name in names]
        self._queues = [(name, number, reader.finished(number)) for name, number in zip(names, numbers, strict=True)]
        self._reader = reader
        self._whole = whole
        self._printed = printed
        self.answered = queue is None and reader.summary().answered
        self.count = 0

    def windows(self) -> Iterator[tuple[str, list[Stored]]]:
        """(name of the queue, outcomes), a window of them after the other."""
        for name, number, ranges in self._queues:
            for first, stop in ranges:
                at = first
                while at < stop:
                    window = self._reader.window(number, at, stop)
                    if not window:
                        break
                    yield name, window
                    at = window[-1].record.serial + window[-1].record.tickets

    def batches(self) -> Iterator[list[Row]]:
        """Some thousand rows at a time, and never more than one window's."""
        if self._printed is not None:
            self._printed.restart()
        self.count = 0
        places: dict[str, _Places] = {}
        for name, window in self.windows():
            if name not in places:
                places[name] = _Places(self._reader.runs_of_chunks(self._reader.queue_number(name)))
            first, last = window[0].record.serial, window[-1].record
            failures = self._reader.failures_within(name, first, last.serial + last.tickets)
            rows = iter(_Window(name, places[name], failures, self._whole, self._printed).rows(window))
            while batch := list(islice(rows, _BATCH)):
                self.count += len(batch)
                yield batch
        if self.answered:
            self.count += 1
            yield [Row("", None, None, "answer", 1, 0.0, -1, None, 0, None, self.answer())]

    def answer(self) -> Any:
        """What ``stop_job`` was given."""
        return self._reader.answer()


class _Places:
    """Where a ticket's items lie."""

    def __init__(self, runs: list[Run]) -> None:
        self.items = ItemCounts(runs)
        self._runs = runs
        self._at = 0

    def first_item(self, ticket: int) -> int | None:
        """Tickets are asked for in order, mostly."""
        runs = self._runs
        if self._at and ticket < runs[self._at].first:
            self._at = 0
        while self._at + 1 < len(runs) and runs[self._at + 1].first <= ticket:
            self._at += 1
        if not runs or ticket < runs[self._at].first:
            return None
        run = runs[self._at]
        return run.position + (ticket - run.first) * run.rows


class _Window:
    """Makes rows of outcomes."""

    def __init__(
        self, name: str, places: _Places, failures: Mapping[int, FailureRow], whole: bool, printed: Printed | None
    ) -> None:
        self._name = name
        self._places = places
        self._failures = failures
        self._whole = whole
        self._printed = printed

    def rows(self, window: Sequence[Stored]) -> Iterator[Row]:
        """Of all of them."""
        for stored in window:
            record = stored.record
            values, error = _values(record)
            for at, value in enumerate(values):
                ticket = record.serial + at
                failure = self._failures.get(ticket)
                blank = Row(
                    self._name, ticket, None, "done", stored.attempts, stored.seconds, stored.slot,
                    self._places.first_item(ticket), self._places.items[ticket], None, None,
                )  # fmt: skip
                if error is not None:
                    yield blank._replace(state="failed", error=error)
                elif self._printed is not None:
                    yield from _numbered(blank, self._printed.results(record, value, failure))
                elif self._whole:
                    yield _whole(blank, record, value, failure)
                elif failure is None:
                    yield from _entries(blank, value)
                else:
                    yield from _failed(blank, record, value, failure)


def _values(record: Record) -> tuple[list[Any], str | None]:
    """The value of each ticket; or, for each, why they cannot be had."""
    try:
        return record.values(), None
    except Exception as error:
        return [None] * record.tickets, f"its result cannot be unpickled here: {type(error).__name__}: {error}"


def _told(kind: str | None, message: str | None) -> str:
    return ": ".join(filter(None, (kind, message)))


def _state(kind: str | None) -> str:
    return "set aside" if kind == "CrashError" else "failed"


def _numbered(blank: Row, results: Iterator[tuple[Any, str | None]]) -> Iterator[Row]:
    """Lines are entries; an error has no line, so it is none."""
    entry = 0
    for value, error in results:
        if error is not None:
            yield blank._replace(error=error, state="failed")
        else:
            yield blank._replace(entry=entry, value=value)
            entry += 1


def _entries(blank: Row, value: Any, first: int = 0) -> Iterator[Row]:
    if type(value) is not list:
        yield blank._replace(value=value)
        return
    queue, ticket, _, state, attempts, seconds, slot, first_item, items, error, _ = blank
    for at, entry in enumerate(value, first):
        yield Row(queue, ticket, at, state, attempts, seconds, slot, first_item, items, error, entry)


def _failed(blank: Row, record: Record, value: Any, failure: FailureRow) -> Iterator[Row]:
    """Of a ticket that has failed, wholly or in part."""
    if record.parts:
        yield from _parts(blank, record, failure)
        return
    errors = {at: (kind, text) for at, _, kind, text in failure.items}
    if not errors:
        yield blank._replace(state=failure.state, error=_told(failure.type, failure.message))
        return
    for at, entry in enumerate(value if type(value) is list else [None] * (max(errors) + 1)):
        if at in errors:
            yield blank._replace(entry=at, state=_state(errors[at][0]), error=_told(*errors[at]))
        elif value is not None:
            yield blank._replace(entry=at, value=entry)


def _parts(blank: Row, record: Record, failure: FailureRow) -> Iterator[Row]:
    """Of one that was handed out in parts. With a function of chunks, entries are those of all parts in turn."""
    errors = {first: (items, kind, text) for first, items, kind, text in failure.items}
    entry = 0
    for suspect, _ in record.parts:
        whole = errors.get(suspect.first)
        if suspect.value is None and whole is not None:
            row = blank._replace(state=_state(whole[1]), error=_told(*whole[1:]))
            for at in range(whole[0]) if record.per_item else (None,):
                yield row if at is None else row._replace(entry=suspect.first + at)
            continue
        value = loads(suspect.value) if suspect.value is not None else None
        if not record.per_item:
            yield from _entries(blank, value, entry)
            entry += len(value) if type(value) is list else 0
            continue
        for at, result in enumerate(value or (), suspect.first):
            wrong = errors.get(at)
            if wrong is None:
                yield blank._replace(entry=at, value=result)
            else:
                yield blank._replace(entry=at, state=_state(wrong[1]), error=_told(*wrong[1:]))


def _whole(blank: Row, record: Record, value: Any, failure: FailureRow | None) -> Row:
    if failure is None:
        return blank._replace(value=value)
    if record.parts:
        value = [row.value for row in _parts(blank, record, failure)]
    return blank._replace(state=failure.state, value=value, error=_told(failure.type, failure.message))
