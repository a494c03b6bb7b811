"""Reads a job file, also while its job runs, from this process or another one. Never writes.

Outcomes come in ticket order, a window at a time: no read transaction stays open between two windows, so a slow reader
does not keep SQLite from tidying its log.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from eisenmp.errors import JobFileError, JobFileUntrusted, nearest
from eisenmp.jobfile.borders import Run
from eisenmp.jobfile.codec import Stored, split
from eisenmp.jobfile.forms import KINDS
from eisenmp.jobfile.lock import is_alive, myself, read_owner
from eisenmp.jobfile.schema import check_path, check_tables, connect, has_log, said
from eisenmp.jobfile.summary import FailureRow, JobSummary, QueueSummary, RunSummary
from eisenmp.jobfile.trust import is_own
from eisenmp.jobfile.window import ItemCounts, StoredFacts, Window
from eisenmp.payload import loads
from eisenmp.results.opening import outcomes_of
from eisenmp.results.outcome import Outcome

__all__ = ["JobReader"]


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
            owner, stale = read_owner(db), None
            if owner is not None and not is_alive(owner, myself()):
                owner, stale = None, owner
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
                stale=stale,
                pace=tuple(db.execute("SELECT at, items FROM pace WHERE run = (SELECT max(run) FROM run) ORDER BY at")),
            )

    @property
    def store(self) -> str:
        """How values are kept: ``'pickle'``, ``'json'``, ``'arrow'``, ``'none'``."""
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

    def failures(self, state: str | None = None, last: int | None = None) -> Iterator[FailureRow]:
        """Failed tickets in ticket order, queue by queue.

        Args:
            state: only those.
            last: the newest so many, newest first.
        """
        order = "f.queue, f.ticket" if last is None else "f.at DESC, f.queue, f.ticket"
        return self._failures(
            f"? IS NULL OR f.state = ? ORDER BY {order} LIMIT ?", (state, state, -1 if last is None else last)
        )

    def failures_within(self, name: str, first: int, stop: int) -> dict[int, FailureRow]:
        """Those of the tickets from `first` to `stop` - 1 of a queue, by ticket."""
        which = "f.queue = ? AND f.ticket >= ? AND f.ticket < ? ORDER BY f.ticket"
        return {row.ticket: row for row in self._failures(which, (self.queue_number(name), first, stop))}

    def _failures(self, which: str, values: tuple[Any, ...]) -> Iterator[FailureRow]:
        with said(self.path, "read"):
            for row in self._db.execute(
                "SELECT q.name, f.ticket, f.state, f.type, f.message, f.traceback, f.items, f.seconds, f.slot, "
                "f.attempts, (SELECT c.position + (f.ticket - c.first) * c.rows FROM chunk c "
                "WHERE c.queue = f.queue AND c.first <= f.ticket ORDER BY c.first DESC LIMIT 1), f.at "
                f"FROM failure f JOIN queue q ON q.queue = f.queue WHERE {which}",
                values,
            ):
                items = tuple((at, count, kind, text) for at, count, kind, text in json.loads(row[6] or "[]"))
                yield FailureRow(*(*row[:6], items, *row[7:]))

    def made_with(self, name: str) -> str | None:
        """How a setting that shapes the results looked, see the table ``setting``; None: there is none of that name."""
        with said(self.path, "read"):
            row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

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
            return list(Window(db, number, number if queue is None else queue, first, stop, trusted=self.trusted))

    def check_trust(self) -> None:
        """Raise JobFileUntrusted where values may not be opened."""
        if not self.trusted and self.store not in (*KINDS, "none"):
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
        items = ItemCounts(self.runs_of_chunks(self.queue_number(name)))
        for stored in self.stored(name):
            yield from outcomes_of(stored.record, name, StoredFacts(stored, items))

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
    if has_log(path):
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


class _Snapshot:
    """One read transaction: what is read in it belongs together."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN")
        return self._db

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")
