"""The manager's side of a job file: open it or make it, know what is done, hand out what to write."""

from __future__ import annotations

import json
import os
import platform
import secrets
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from eisenmp.errors import JobFileBusy, JobFileError
from eisenmp.jobfile.borders import Borders, Run, Stretch, stretches
from eisenmp.jobfile.codec import Entry
from eisenmp.jobfile.lock import Owner, held, myself, release, take
from eisenmp.jobfile.ranges import Ranges
from eisenmp.jobfile.schema import check_path, check_tables, connect, create, prepare, said
from eisenmp.jobfile.trust import seal
from eisenmp.jobfile.writer import Book, Writer

__all__ = ["Journal", "Past", "SourceBook"]

_PATIENCE: Final = 2.0  # seconds that processes of a job that is over get to be gone, before the next one is refused
_opening = threading.Lock()
_open: dict[str, Journal] = {}


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier runs have left of one queue.

    ``empty``: tickets whose value is None. ``failures``: the states of tickets that are not simply done.
    """

    number: int
    runs: list[Run]
    finished: Ranges
    empty: Ranges
    failures: Mapping[int, str]
    done: int
    failed: int
    set_aside: int
    items: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceBook:
    """What the file knows of one source.

    Attributes:
        number: in the file.
        stretches: what is done of it and what is to be done again, in the order of its items.
        samples: digests of some chunks, by the position of their first item.
    """

    number: int
    stretches: Iterator[Stretch]
    samples: Mapping[int, tuple[int, bytes]]


class Journal:
    """A job file, opened for one run of a job. See :meth:`opened`.

    Attributes:
        path: absolute.
        new: it was made by this run.
        meta: what it says about itself.
        writer: writes into it, once :meth:`start` was called.
    """

    def __init__(self, path: str, db: sqlite3.Connection, me: Owner) -> None:
        self.path = path
        self.new = False
        self.meta: dict[str, Any] = {}
        self.writer: Writer
        self._db = db
        self._me = me
        self._run = 0
        self._past: dict[str, Past] = {}
        self._sources: dict[tuple[int, int], int] = {}  # by the file's number of the queue, and place
        self._samples: dict[int, dict[int, tuple[int, bytes]]] = {}
        self._places: dict[int, int] = {}  # sources of each queue in this run, so far
        self._started = False
        self._closed = False
        self._leaving = False
        self._gone = threading.Event()

    @classmethod
    def opened(cls, path: str, store: str, *, force: bool = False, must_exist: bool = False) -> Journal:
        """Open the file, or make it, and take it for this process.

        Args:
            path: of the file.
            store: how values are to be kept.
            force: take it from a manager on another machine.
            must_exist: make none.

        Raises:
            JobFileBusy: somebody is at work on it.
            JobFileError: it is no job file, or cannot be used.
        """
        path = os.path.abspath(path)
        me = myself()
        key = os.path.realpath(path)
        with _opening:
            other = _open.get(key)
        if other is not None and other._leaving:
            other._gone.wait(_PATIENCE)
        with _opening:
            if key in held:
                raise JobFileBusy(f"the job file {path} is in use by {held[key]}, which is this program itself")
            there = check_path(path, must_exist=must_exist)
            with said(path, "used" if there else "made"):
                db = connect(path, "rwc")
                try:
                    journal = cls(path, db, me)
                    journal._begin(store, force)
                except BaseException:
                    db.close()
                    raise
            held[key] = me
            _open[key] = journal
        return journal

    def _begin(self, store: str, force: bool) -> None:
        db = self._db
        check_tables(db, self.path)  # before anything of it is changed
        prepare(db)
        db.execute("BEGIN IMMEDIATE")
        try:
            if not check_tables(db, self.path):
                create(db)
                self._lay_out(store)
                self.new = True
            take(db, self.path, self._me, force=force)
            row = (time.time(), self._me.pid, self._me.host)
            self._run = db.execute("INSERT INTO run (began, pid, host) VALUES (?, ?, ?)", row).lastrowid or 0
            self.meta = dict(db.execute("SELECT name, value FROM meta"))
            self._load()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _lay_out(self, store: str) -> None:
        identity = secrets.token_hex(16)
        program = {
            "file": self.path,
            "argv": getattr(sys, "orig_argv", sys.argv),
            "cwd": os.getcwd(),
            "executable": sys.executable,
        }
        self._db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [
                ("identity", identity),
                ("seal", seal(identity)),
                ("created", time.time()),
                ("store", store),
                ("program", json.dumps(program)),
                ("python", platform.python_version()),
            ],
        )

    @property
    def store(self) -> str:
        """How values are kept in it, whatever was asked for now."""
        return str(self.meta["store"])

    def start(self, on_durable: Callable[[list[Entry]], None], on_error: Callable[[JobFileError], None]) -> None:
        """Begin to write."""
        self.writer = Writer(self._db, self.path, self._me, self._run, self.store, on_durable, on_error)
        self.writer.start()
        self._started = True

    def leave(self) -> None:
        """Little will come now: see that all so far is written. Who opens the file next waits a moment for us."""
        self._leaving = True
        self.writer.flush()

    def close(self, ended: str | None = None) -> None:
        """Write what is left, and give the file back. `ended`: how the run has ended."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._started:
                self.writer.close(ended)
            else:
                self._abandon()
        finally:
            with _opening:
                held.pop(os.path.realpath(self.path), None)
                _open.pop(os.path.realpath(self.path), None)
            self._gone.set()

    def _abandon(self) -> None:
        """Nothing has begun: leave no trace of this run."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM run WHERE run = ?", (self._run,))
            release(self._db, self._me)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            pass
        finally:
            self._db.close()

    # ---- what is known of it; all was read when it was opened

    def _load(self) -> None:
        db = self._db
        for number, name, *counts in db.execute(
            "SELECT queue, name, done, failed, set_aside, items, seconds FROM queue ORDER BY queue"
        ):
            runs = [
                Run(*row)
                for row in db.execute(
                    "SELECT first, tickets, rows, source, position FROM chunk WHERE queue = ? ORDER BY first", (number,)
                )
            ]
            finished, empty = (
                Ranges(db.execute(f"SELECT first, last + 1 FROM {table} WHERE queue = ? ORDER BY first", (number,)))
                for table in ("finished", "empty")
            )
            self._past[name] = Past(
                number,
                runs,
                finished,
                empty,
                dict(db.execute("SELECT ticket, state FROM failure WHERE queue = ?", (number,))),
                *counts,
            )
        self._sources = {
            (queue, place): source for queue, place, source in db.execute("SELECT queue, place, source FROM source")
        }
        for source, position, items, digest in db.execute("SELECT source, position, items, digest FROM sample"):
            self._samples.setdefault(source, {})[position] = (items, digest)

    def past(self, name: str) -> Past | None:
        """What earlier runs have left of a queue; None: nothing."""
        return self._past.get(name)

    def enter_queue(self, queue: int, name: str) -> None:
        """The job has a queue of that number and name: tickets of it may come from now on."""
        if queue in self.writer.books:
            return
        past = self._past.get(name)
        if past is None:
            number = len(self._past)
            self._past[name] = past = Past(number, [], Ranges(), Ranges(), {}, 0, 0, 0, 0, 0.0)
            self.writer.execute("INSERT INTO queue (queue, name) VALUES (?, ?)", number, name)
        borders = Borders([replace(run) for run in past.runs])
        counts = (past.done, past.failed, past.set_aside, past.items, past.seconds)
        book = Book(past.number, borders, past.finished.copy(), past.empty.copy(), *counts)
        self.writer.books[queue] = book

    def enter_source(self, queue: int, total: int | None) -> SourceBook:
        """One more source of a queue that was entered, the next one: what is known of it."""
        number = self.writer.books[queue].number
        past = next(past for past in self._past.values() if past.number == number)
        place = self._places.get(queue, 0)
        self._places[queue] = place + 1
        source = self._sources.get((number, place))
        if source is None:
            self._sources[number, place] = source = len(self._sources)
            self.writer.execute("INSERT INTO source VALUES (?, ?, ?, ?, 0)", source, number, place, total)
        elif total is not None:
            self.writer.execute("UPDATE source SET total = ?, ended = 0 WHERE source = ?", total, source)
        samples = self._samples.get(source, {})
        return SourceBook(source, stretches(past.runs, source, past.finished, samples), samples)

    def sample(self, source: int, position: int, items: int, digest: bytes) -> None:
        """Keep what a chunk looked like."""
        self.writer.execute("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?)", source, position, items, digest)

    def forced(self, text: str) -> None:
        """Something did not fit, and was borne."""
        self.execute("UPDATE run SET forced = coalesce(forced || char(10), '') || ? WHERE run = ?", text, self._run)

    def source_ended(self, source: int) -> None:
        """It was read to its end."""
        self.writer.execute("UPDATE source SET ended = 1 WHERE source = ?", source)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the file, before :meth:`start`."""
        with said(self.path, "read"):
            return self._db.execute(statement, values).fetchall()

    def keep_settings(self, rows: list[tuple[str, str, bytes]]) -> None:
        """Remember what shapes the results. Before :meth:`start`."""
        with said(self.path, "written"), self.transaction() as db:
            db.execute("DELETE FROM setting")
            db.executemany("INSERT INTO setting VALUES (?, ?, ?)", rows)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the file before :meth:`start`: all of it, or nothing when the block raises."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def execute(self, statement: str, *values: Any) -> None:
        """Change the file: at once before :meth:`start`, later when its turn comes."""
        if self._started:
            self.writer.execute(statement, *values)
            return
        with said(self.path, "written"):
            self._db.execute(statement, values)
