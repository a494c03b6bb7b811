"""Writes a job file: one thread, one connection, many outcomes in one transaction.

Whoever has news drops it into a queue and goes on; nobody waits for the disk. The thread sleeps until there is news,
gathers more for fifty milliseconds or a thousand outcomes, whichever is first, and commits it all or nothing.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from eisenmp.errors import JobFileBusy, JobFileError
from eisenmp.jobfile.borders import Borders
from eisenmp.jobfile.codec import Entry, failure_row, is_empty, join, outcome_row
from eisenmp.jobfile.lock import Owner, read_owner, release
from eisenmp.jobfile.ranges import Ranges
from eisenmp.jobfile.schema import explain
from eisenmp.ledger import State
from eisenmp.payload import Payload

__all__ = ["Book", "Writer"]

_GATHER: Final = 0.05  # seconds
_OUTCOMES: Final = 1000
_BYTES: Final = 4 << 20
_POINT: Final = 5.0  # seconds between two notes of how far it is
_POINTS: Final = 90.0  # for so long they are kept
_HELD: Final[set[sqlite3.Connection]] = set()  # a forked child must not close what it has inherited


@dataclass
class Book:
    """What the file says about one queue; the writer's thread alone touches it while it runs."""

    number: int  # in the file
    borders: Borders = field(default_factory=Borders)
    finished: Ranges = field(default_factory=Ranges)
    empty: Ranges = field(default_factory=Ranges)  # those whose value is None
    done: int = 0
    failed: int = 0
    set_aside: int = 0
    items: int = 0
    seconds: float = 0.0

    def count(self, entry: Entry, sign: int = 1) -> None:
        """One more outcome; with `sign` -1, one less."""
        tickets = sign * entry.record.tickets
        if entry.state == State.SET_ASIDE:
            self.set_aside += tickets
        elif entry.state == State.FAILED:
            self.failed += tickets
        else:
            self.done += tickets
        self.items += sign * entry.items
        self.seconds = max(0.0, self.seconds + sign * entry.seconds)


@dataclass
class _Batch:
    """Rows of one transaction."""

    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    failures: list[tuple[Any, ...]] = field(default_factory=list)
    others: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    gone: list[tuple[int, int]] = field(default_factory=list)  # (queue in the file, ticket): forgotten first
    waiting: list[threading.Event] = field(default_factory=list)


class Writer:
    """The thread that writes.

    Args:
        db: the file, which is ours alone from here on.
        path: its path, for messages.
        me: as whom the file was taken.
        run: number of the row that tells of this start of the program.
        store: how values are kept.
        on_durable: told on the writer's thread which outcomes are in the file now.
        on_error: told once on the writer's thread that nothing can be written any more.
        clock: seconds since 1970.
    """

    def __init__(  # noqa: PLR0913  # all of them once
        self,
        db: sqlite3.Connection,
        path: str,
        me: Owner,
        run: int,
        store: str,
        on_durable: Callable[[list[Entry]], None],
        on_error: Callable[[JobFileError], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._path = path
        self._me = me
        self._run_number = run
        self._store = store
        self._on_durable = on_durable
        self._on_error = on_error
        self._clock = clock
        self._news: deque[Any] = deque()
        self._outcomes = 0  # tickets in there, roughly
        self._bytes = 0
        self._bell = threading.Event()
        self._hurry = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self.books: dict[int, Book] = {}  # by the job's number of the queue
        self.error: JobFileError | None = None
        self.tickets = 0  # with an outcome of this run
        self.items = 0
        self.commits = 0
        self._next_point = 0.0
        _HELD.add(db)

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="eisenmp-job-file", daemon=True)
        self._thread.start()

    # ---- news, from any thread; of one queue, in the order in which things happened

    def border(self, queue: int, tickets: int, items: int, rows: int, source: int, position: int) -> None:
        """New tickets have been cut."""
        self._put((self._cut, (queue, tickets, items, rows, source, position)))

    def outcome(self, entry: Entry) -> None:
        """Tickets have their outcome."""
        self._outcomes += entry.record.tickets
        self._bytes += entry.record.size
        self._put(entry)
        if self._outcomes >= _OUTCOMES or self._bytes >= _BYTES:
            self._hurry.set()

    def take_back(self, entry: Entry) -> None:
        """The ticket of a failure is tried again. Its outcome was put before."""
        self._put((self._forget, (entry,)))

    def late_value(self, queue: int, serial: int, value: Payload) -> None:
        """A result has come after its ticket was answered."""
        self._put((self._late, (queue, serial, value)))

    def execute(self, statement: str, *values: Any) -> None:
        """Anything else."""
        self._put((self._other, (statement, values)))

    def _put(self, news: Any) -> None:
        self._news.append(news)
        if not self._bell.is_set():
            self._bell.set()

    def flush(self) -> bool:
        """Wait until all that was put so far is in the file. False: it cannot be."""
        if self._thread is None or not self._thread.is_alive():
            return False
        written = threading.Event()
        self._put(written)
        self._hurry.set()
        written.wait()
        return self.error is None

    def close(self, ended: str | None) -> None:
        """Write the rest, say how the run has ended, give the file back. `ended` None: nothing is said."""
        if self._thread is None:
            return
        if ended is not None:
            self.execute("UPDATE run SET ended = ? WHERE run = ?", ended, self._run_number)
        self._closing = True
        self._bell.set()
        self._hurry.set()
        self._thread.join()
        self._thread = None

    # ---- the thread

    def _run(self) -> None:
        try:
            while not (self._closing and not self._news):
                self._bell.wait()
                if not self._closing:
                    self._hurry.wait(_GATHER)
                self._bell.clear()
                self._hurry.clear()
                self._write()
        finally:
            self._give_back()

    def _write(self) -> None:
        """All the news there is, in one transaction."""
        batch = _Batch()
        self._outcomes = self._bytes = 0
        if self.error is None:
            try:
                self._commit(batch)
            except Exception as error:
                self._fail(error)
        self._on_durable(batch.entries)  # or never to be: nobody shall wait for them
        if self.error is not None:
            batch.waiting += [news for news in self._news if isinstance(news, threading.Event)]
            self._news.clear()
        for event in batch.waiting:
            event.set()

    def _take(self, batch: _Batch) -> None:
        for _ in range(len(self._news)):
            news = self._news.popleft()
            if isinstance(news, Entry):
                batch.entries.append(news)
                self._outcome(batch, news)
            elif isinstance(news, threading.Event):
                batch.waiting.append(news)
            else:
                call, values = news
                call(batch, *values)

    def _commit(self, batch: _Batch) -> None:
        self._take(batch)
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if read_owner(db) != self._me:
                raise JobFileBusy(f"the job file {self._path} was taken over by {read_owner(db) or 'nobody'}")
            self._insert(batch)
            for book in list(self.books.values()):
                self._keep_book(book)
            self._keep_run(self._clock())
            db.execute("COMMIT")
            self.commits += 1
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _keep_run(self, now: float) -> None:
        """Write down how far this run is, and now and then when it was so far: of that comes the recent rate."""
        db, run = self._db, self._run_number
        db.execute(
            "UPDATE run SET last = ?, tickets = ?, items = ? WHERE run = ?", (now, self.tickets, self.items, run)
        )
        if now >= self._next_point:
            self._next_point = now + _POINT
            db.execute("DELETE FROM pace WHERE run <> ? OR at < ?", (run, now - _POINTS))
            db.execute("INSERT OR REPLACE INTO pace VALUES (?, ?, ?)", (run, now, self.items))

    def _insert(self, batch: _Batch) -> None:
        db = self._db
        db.executemany("DELETE FROM failure WHERE queue = ? AND ticket = ?", batch.gone)
        db.executemany("DELETE FROM outcome WHERE queue = ? AND first = ?", batch.gone)
        db.executemany("INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch.outcomes)
        db.executemany("INSERT INTO failure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch.failures)
        for statement, values in batch.others:
            db.execute(statement, values)

    def _keep_book(self, book: Book) -> None:
        """Write down what has changed of a queue."""
        db, number = self._db, book.number
        changed, book.borders.changed = book.borders.changed, {}
        db.executemany(
            "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?, ?)",
            [(number, r.first, r.tickets, r.rows, r.source, r.position) for r in changed.values()],
        )
        if not self._keep_ranges("finished", number, book.finished):
            return
        self._keep_ranges("empty", number, book.empty)
        db.execute(
            "UPDATE queue SET done = ?, failed = ?, set_aside = ?, items = ?, seconds = ? WHERE queue = ?",
            (book.done, book.failed, book.set_aside, book.items, book.seconds, number),
        )

    def _keep_ranges(self, table: str, number: int, ranges: Ranges) -> bool:
        """Write down which ranges have changed; False: none has."""
        changes, ranges.changes = ranges.changes, {}
        gone = [(number, first) for first, stop in changes.items() if stop is None]
        there = [(number, first, stop - 1) for first, stop in changes.items() if stop is not None]
        self._db.executemany(f"DELETE FROM {table} WHERE queue = ? AND first = ?", gone)
        self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", there)
        return bool(changes)

    def _outcome(self, batch: _Batch, entry: Entry) -> None:
        record = entry.record
        book = self.books[record.queue]
        if book.finished.add(record.serial, record.serial + record.tickets) != record.tickets:
            raise JobFileError(f"a second outcome of _TID_{record.serial}: this is a bug in eisenmp")
        book.count(entry)
        self.tickets += record.tickets
        self.items += entry.items
        if self._store != "none" and is_empty(entry):
            book.empty.add(record.serial, record.serial + record.tickets)
        else:
            value = outcome_row(entry, book.number, self._store)
            if value is not None:
                batch.outcomes.append(value)
        failure = failure_row(entry, book.number, self._clock())
        if failure is not None:
            batch.failures.append(failure)

    def _forget(self, batch: _Batch, entry: Entry) -> None:
        """What has failed came alone, so that nobody shares its rows; they may be in this very batch."""
        book, serial = self.books[entry.record.queue], entry.record.serial
        book.finished.remove(serial)
        book.empty.remove(serial)
        book.count(entry, -1)
        self.tickets -= 1
        self.items -= entry.items
        key = (book.number, serial)
        batch.outcomes = [row for row in batch.outcomes if row[:2] != key]
        batch.failures = [row for row in batch.failures if row[:2] != key]
        batch.gone.append(key)

    def _cut(self, batch: _Batch, queue: int, *border: int) -> None:
        self.books[queue].borders.add(*border)

    def _other(self, batch: _Batch, statement: str, values: tuple[Any, ...]) -> None:
        batch.others.append((statement, values))

    def _late(self, batch: _Batch, queue: int, serial: int, value: Payload) -> None:
        """It counts when the ticket has no value yet; those that were answered together have one row."""
        if self._store != "pickle":
            return
        number = self.books[queue].number
        batch.others.append(
            (
                "INSERT INTO outcome SELECT ?, ?, 1, 'pickle', 0, ?, ?, 0, -1, 1 WHERE NOT EXISTS (SELECT * FROM "
                "(SELECT first, tickets FROM outcome WHERE queue = ? AND first <= ? ORDER BY first DESC LIMIT 1) "
                "WHERE first + tickets > ?)",
                (number, serial, *join(value), number, serial, serial),
            )
        )

    # ---- the end

    def _fail(self, error: Exception) -> None:
        if isinstance(error, JobFileError):
            self.error = error
        elif isinstance(error, sqlite3.Error | OverflowError):
            self.error = JobFileError(explain(error, self._path, "written"))
            self.error.__cause__ = error
        else:
            self.error = JobFileError(f"the job file {self._path} cannot be written: {error!r}")
            self.error.__cause__ = error
        self._on_error(self.error)

    def _give_back(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            release(self._db, self._me)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            pass  # a lock without its process is stale by itself
        finally:
            _HELD.discard(self._db)
            self._db.close()
