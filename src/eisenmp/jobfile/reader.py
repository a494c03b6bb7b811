"""Reads a job file, also while its job runs, from this process or another one. Never writes.

Outcomes come in ticket order, a window at a time: no read transaction stays open between two windows, so a slow reader
does not keep SQLite from tidying its log.
"""

from __future__ import annotations

import json
import os
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from eisenmp.errors import JobFileError, JobFileUntrusted, nearest
from eisenmp.jobfile.borders import Run
from eisenmp.jobfile.codec import Stored, emptied, restored, split
from eisenmp.jobfile.lock import Owner, is_alive, myself, read_owner
from eisenmp.jobfile.ranges import Ranges
from eisenmp.jobfile.schema import check_path, check_tables, connect, said
from eisenmp.jobfile.trust import is_own
from eisenmp.ledger import State
from eisenmp.payload import loads
from eisenmp.results.opening import outcomes_of
from eisenmp.results.outcome import Outcome, Record

__all__ = ["FailureRow", "JobReader", "JobSummary", "QueueSummary", "RunSummary"]

_WINDOW_BYTES: Final = 8 << 20
_WINDOW_TICKETS: Final = 4096
_STATES: Final = {name: state for state, name in enumerate(State.NAMES)}


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """How the tickets of one queue stand.

    Attributes:
        name: of the queue.
        done: tickets with a result, or answered without one.
        failed: tickets that ended in an exception, or some of whose items did.
        set_aside: tickets over which workers died.
        cut: tickets that have been cut so far, with an outcome or not.
        items: of the tickets that have an outcome.
        seconds: that workers have spent on those.
        restore_point: the first ticket without an outcome: a restart goes on there.
        total: items to expect in all, of all its sources; None when nobody can tell.
        ended: whether its sources were read to their ends.
    """

    name: str
    done: int
    failed: int
    set_aside: int
    cut: int
    items: int
    seconds: float
    restore_point: int
    total: int | None
    ended: bool

    @property
    def finished(self) -> int:
        """Tickets with an outcome."""
        return self.done + self.failed + self.set_aside


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One start of the program. Times are seconds since 1970.

    Attributes:
        began: when it started.
        last: when it wrote last; None: never.
        ended: how it ended (``'complete'``, ``'stopped'``, ``'killed'``, an error's name); None: it runs, or was killed
            by force.
        pid, host: its process.
        tickets, items: with an outcome of this run.
        forced: what did not fit and was overridden by ``JOB_FORCE``, in words.
    """

    began: float
    last: float | None
    ended: str | None
    pid: int
    host: str
    tickets: int
    items: int
    forced: str | None

    @property
    def rate(self) -> float | None:
        """Items a second; None when it has written nothing."""
        took = (self.last or 0.0) - self.began
        return self.items / took if took > 0 else None


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job file at a glance.

    Attributes:
        state: ``'running'``, ``'interrupted'`` (its manager is gone), or how the last run ended.
        owner: the manager that works on it now; None: nobody does.
        program: how it was started: ``argv``, ``cwd``, ``executable``.
        created: seconds since 1970.
        store: how values are kept.
        own: whether this user has made it; else pickles in it are opened only when told to.
        answered: ``stop_job`` has given an answer.
    """

    path: str
    state: str
    owner: Owner | None
    program: Mapping[str, Any]
    created: float
    store: str
    own: bool
    answered: bool
    queues: tuple[QueueSummary, ...]
    runs: tuple[RunSummary, ...]


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One failed ticket, in words. Nothing is unpickled for it.

    Attributes:
        state: ``'failed'`` or ``'set aside'``.
        type, message, traceback: of what was raised; of a ticket of which some items failed, that of the first.
        items: ``(first place in the chunk, how many, type, message)`` of items that failed by themselves.
        first_item: place of the ticket's first item in its source, from 0.
        at: seconds since 1970.
    """

    queue: str
    ticket: int
    state: str
    type: str
    message: str
    traceback: str | None
    items: tuple[tuple[int, int, str, str], ...]
    seconds: float
    slot: int
    attempts: int
    first_item: int | None
    at: float


class JobReader:
    """A job file, opened for reading. Close it, or use it in a ``with`` block.

    Args:
        path: of the file.
        trust: open pickles of a file that somebody else has made, which runs whatever code they name.
        checked: the path has been looked at; needed when this process has the file open already.

    Raises:
        JobFileError: there is none, or it cannot be read.
    """

    def __init__(self, path: str, *, trust: bool = False, checked: bool = False) -> None:
        self.path = path
        if not checked:
            check_path(path, must_exist=True)
        with said(path, "read"):
            self._db, self._meta = _opened(path)
        self.own = is_own(self._meta.get("identity"), self._meta.get("seal"))
        self.trusted = trust or self.own

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> JobReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- at a glance

    def summary(self) -> JobSummary:
        """How the job stands. Costs some milliseconds, whatever the file's size."""
        with said(self.path, "read"), _Snapshot(self._db) as db:
            owner = read_owner(db)
            if owner is not None and not is_alive(owner, myself()):
                owner = None
            runs = tuple(
                RunSummary(*row)
                for row in db.execute(
                    "SELECT began, last, ended, pid, host, tickets, items, forced FROM run ORDER BY run"
                )
            )
            ended = runs[-1].ended if runs else None
            return JobSummary(
                path=self.path,
                state="running" if owner is not None else ended or "interrupted",
                owner=owner,
                program=json.loads(self._meta.get("program") or "{}"),
                created=self._meta.get("created") or 0.0,
                store=self.store,
                own=self.own,
                answered=db.execute("SELECT count(*) FROM answer").fetchone()[0] > 0,
                queues=tuple(self._queues(db)),
                runs=runs,
            )

    @property
    def store(self) -> str:
        """How values are kept: ``'pickle'``, ``'json'``, ``'none'``."""
        return str(self._meta.get("store") or "pickle")

    def _queues(self, db: sqlite3.Connection) -> Iterator[QueueSummary]:
        numbers = {name: number for number, name in db.execute("SELECT queue, name FROM queue ORDER BY queue")}
        for name, done, failed, aside, cut, items, seconds, point in db.execute("SELECT * FROM progress"):
            sources = db.execute("SELECT total, ended FROM source WHERE queue = ?", (numbers[name],)).fetchall()
            totals = [total for total, _ in sources]
            yield QueueSummary(
                name, done, failed, aside, cut, items, seconds, point,
                total=sum(totals) if totals and None not in totals else None,
                ended=all(end for _, end in sources),
            )  # fmt: skip

    def failures(self, state: str | None = None) -> Iterator[FailureRow]:
        """Failed tickets in ticket order, queue by queue. `state`: only those."""
        with said(self.path, "read"):
            for row in self._db.execute(
                "SELECT q.name, f.ticket, f.state, f.type, f.message, f.traceback, f.items, f.seconds, f.slot, "
                "f.attempts, (SELECT c.position + (f.ticket - c.first) * c.rows FROM chunk c "
                "WHERE c.queue = f.queue AND c.first <= f.ticket ORDER BY c.first DESC LIMIT 1), f.at "
                "FROM failure f JOIN queue q ON q.queue = f.queue WHERE ? IS NULL OR f.state = ? "
                "ORDER BY f.queue, f.ticket",
                (state, state),
            ):
                items = tuple((at, count, kind, text) for at, count, kind, text in json.loads(row[6] or "[]"))
                yield FailureRow(*(*row[:6], items, *row[7:]))

    # ---- outcomes

    def queue_number(self, name: str) -> int:
        """The file's own number of a queue.

        Raises:
            JobFileError: it has none of that name.
        """
        names = {name: number for number, name in self._db.execute("SELECT queue, name FROM queue")}
        if name not in names:
            raise JobFileError(f"{self.path} has no queue {name!r}{nearest(name, names)}; it has: {', '.join(names)}")
        return int(names[name])

    def finished(self, number: int) -> list[tuple[int, int]]:
        """Tickets of a queue that have an outcome, as ranges ``[first, stop)``."""
        with said(self.path, "read"):
            rows = self._db.execute(
                "SELECT first, last + 1 FROM finished WHERE queue = ? ORDER BY first", (number,)
            ).fetchall()
        return [(first, stop) for first, stop in rows]

    def runs_of_chunks(self, number: int) -> list[Run]:
        """Where the chunks of a queue begin and end."""
        with said(self.path, "read"):
            return [
                Run(*row)
                for row in self._db.execute(
                    "SELECT first, tickets, rows, source, position FROM chunk WHERE queue = ? ORDER BY first", (number,)
                )
            ]

    def window(self, number: int, first: int, stop: int, queue: int | None = None) -> list[Stored]:
        """The outcomes of the first tickets of a queue from `first` on, as far as `stop` and a window go.

        Tickets without an outcome are left out.

        Args:
            number: the file's number of the queue.
            first, stop: tickets.
            queue: the number that the records get; None: the same.

        Raises:
            JobFileUntrusted: their values are pickles from elsewhere.
        """
        self.check_trust()
        with said(self.path, "read"), _Snapshot(self._db) as db:
            return list(_Window(db, number, number if queue is None else queue, first, stop))

    def check_trust(self) -> None:
        """Raise JobFileUntrusted where values may not be opened."""
        if not self.trusted and self.store not in ("json", "none"):
            raise JobFileUntrusted(
                f"the job file {self.path} was made by another user or on another machine. Its results are pickles: "
                "opening them runs code. Say trust (--trust, JOB_TRUST) if you know where it comes from"
            )

    def stored(self, name: str) -> Iterator[Stored]:
        """All outcomes of a queue in ticket order, as far as the file has them now."""
        number = self.queue_number(name)
        for first, stop in self.finished(number):
            at = first
            while at < stop:
                window = self.window(number, at, stop)
                if not window:
                    break
                yield from window
                at = window[-1].record.serial + window[-1].record.tickets

    def outcomes(self, name: str) -> Iterator[Outcome]:
        """The same, opened: values are unpickled as they are reached.

        Raises:
            JobFileUntrusted: values are pickles from elsewhere.
        """
        items = _ItemCounts(self.runs_of_chunks(self.queue_number(name)))
        for stored in self.stored(name):
            yield from outcomes_of(stored.record, name, _StoredFacts(stored, items))

    def answer(self) -> Any:
        """What ``stop_job`` was given; None when it was not called.

        Raises:
            JobFileUntrusted: it is a pickle from elsewhere.
        """
        with said(self.path, "read"):
            row = self._db.execute("SELECT value, cuts, form FROM answer").fetchone()
        if row is None:
            return None
        value, cuts, form = row
        if form == "json":
            return json.loads(value)
        self.check_trust()
        return loads(split(value, cuts))


def _opened(path: str) -> tuple[sqlite3.Connection, dict[str, Any]]:
    """The file and what it says about itself.

    When its manager was killed, there may be something to be put in order, which SQLite does not do for those who only
    read. Where nothing can be written, a file without a log is whole as it lies there.
    """
    ways = ["ro", "rw", "ro&immutable=1"]
    if os.path.exists(path + "-wal") or not os.access(path, os.R_OK):
        ways.pop()
    while True:
        db = connect(path, ways.pop(0))
        try:
            db.execute("PRAGMA query_only = ON")
            if not check_tables(db, path):
                raise JobFileError(f"the job file {path} is empty: its program was ended before it began")
            return db, dict(db.execute("SELECT name, value FROM meta"))
        except sqlite3.OperationalError as error:
            db.close()
            name = error.sqlite_errorname
            if not ways or not name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                raise
        except BaseException:
            db.close()
            raise


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


class _ItemCounts:
    """How many items each ticket has."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs
        self._firsts = [run.first for run in runs]

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[ticket] for ticket in range(at.start, at.stop)]
        run = bisect_right(self._firsts, at) - 1
        return self._runs[run].rows if run >= 0 else 0


class _StoredFacts:
    """See :class:`eisenmp.results.opening.Facts`."""

    def __init__(self, stored: Stored, items: _ItemCounts) -> None:
        self.states = _Same(stored.state, stored.others)
        self.seconds = _Same(stored.seconds)
        self.slots = _Same(stored.slot)
        self.attempts = _Same(stored.attempts)
        self.items = items


class _Snapshot:
    """One read transaction: what is read in it belongs together."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN")
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")


class _Window:
    """Rows of one queue's tickets, put together in ticket order."""

    def __init__(self, db: sqlite3.Connection, number: int, queue: int, first: int, stop: int) -> None:
        self._db = db
        self._number = number
        self._queue = queue
        self._first = first
        self._stop = stop = min(stop, first + _WINDOW_TICKETS)
        self._finished, self._empty = (
            Ranges(
                db.execute(
                    f"SELECT max(first, ?2), min(last + 1, ?3) FROM {table} WHERE queue = ?1 AND first < ?3 "
                    "AND last >= ?2 ORDER BY first",
                    (number, first, stop),
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
            "WHERE queue = ?1 AND first < ?3 AND first >= coalesce((SELECT first FROM outcome "
            "WHERE queue = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1), ?2) ORDER BY first",
            (self._number, self._first, self._stop),
        ):
            if row[0] + row[1] > self._first:
                yield row

    def _one(self, row: tuple[Any, ...]) -> Stored:
        if row[1] > 1:  # of a failed one among them, the value tells
            failed = self._failed[bisect_left(self._failed, row[0]) : bisect_left(self._failed, row[0] + row[1])]
            others = {ticket: _STATES[self._failures[ticket][0]] for ticket in failed}
            record = restored(self._queue, row[:6], None, row[0])
            return Stored(record, State.DONE, row[6] / row[1], row[7], row[8], others)
        failure = self._failures.get(row[0])
        record = restored(self._queue, row[:6], failure[1] if failure else None, row[0])
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
                yield Stored(restored(self._queue, None, detail, ticket), _STATES[state], seconds, slot, attempts)
                at = ticket + 1
            yield from self._nothing(at, end)

    def _nothing(self, first: int, stop: int) -> Iterator[Stored]:
        """Tickets that are done, and whose value is None or was not kept."""
        for begin, end, is_in in self._empty.within(first, stop):
            tickets = end - begin
            record = emptied(self._queue, begin, tickets) if is_in else Record(self._queue, begin, tickets=tickets)
            yield Stored(record, State.DONE)
