"""The tables of a job file, and the first look at a file. docs/job-file.md explains them to users."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eisenmp.errors import JobFileError, nearest
from eisenmp.jobfile.lock import held

__all__ = [
    "APPLICATION",
    "FIRST_BYTES",
    "VERSION",
    "check_path",
    "check_tables",
    "connect",
    "create",
    "explain",
    "has_log",
    "prepare",
    "said",
]

APPLICATION: Final = 0x65697345  # "eisE", by which tools such as file(1) know a job file
VERSION: Final = 1
FIRST_BYTES: Final = b"SQLite format 3\x00"
_PAGE: Final = 8192

_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE owner (
    one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, host TEXT NOT NULL, boot TEXT, started TEXT,
    since REAL NOT NULL
);
CREATE TABLE run (
    run INTEGER PRIMARY KEY, began REAL NOT NULL, last REAL, ended TEXT, pid INTEGER, host TEXT,
    tickets INTEGER NOT NULL DEFAULT 0, items INTEGER NOT NULL DEFAULT 0, forced TEXT
);
CREATE TABLE pace (run INTEGER NOT NULL, at REAL NOT NULL, items INTEGER NOT NULL, PRIMARY KEY (run, at)) WITHOUT ROWID;
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT, digest BLOB) WITHOUT ROWID;
CREATE TABLE queue (
    queue INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, set_aside INTEGER NOT NULL DEFAULT 0, items INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0
);
CREATE TABLE source (
    source INTEGER PRIMARY KEY, queue INTEGER NOT NULL REFERENCES queue, place INTEGER NOT NULL, total INTEGER,
    ended INTEGER NOT NULL DEFAULT 0, UNIQUE (queue, place)
);
CREATE TABLE chunk (
    queue INTEGER NOT NULL REFERENCES queue, first INTEGER NOT NULL, tickets INTEGER NOT NULL, rows INTEGER NOT NULL,
    source INTEGER NOT NULL REFERENCES source, position INTEGER NOT NULL, PRIMARY KEY (queue, first)
) WITHOUT ROWID;
CREATE TABLE finished (
    queue INTEGER NOT NULL REFERENCES queue, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (queue, first)
) WITHOUT ROWID;
CREATE TABLE empty (
    queue INTEGER NOT NULL REFERENCES queue, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (queue, first)
) WITHOUT ROWID;
CREATE TABLE outcome (
    queue INTEGER NOT NULL REFERENCES queue, first INTEGER NOT NULL, tickets INTEGER NOT NULL, form TEXT NOT NULL,
    rows INTEGER NOT NULL, value, cuts TEXT, seconds REAL NOT NULL, slot INTEGER NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (queue, first)
);
CREATE TABLE failure (
    queue INTEGER NOT NULL REFERENCES queue, ticket INTEGER NOT NULL, state TEXT NOT NULL, type TEXT, message TEXT,
    traceback TEXT, items TEXT, seconds REAL NOT NULL, slot INTEGER NOT NULL, attempts INTEGER NOT NULL,
    at REAL NOT NULL, detail BLOB, PRIMARY KEY (queue, ticket)
) WITHOUT ROWID;
CREATE TABLE sample (
    source INTEGER NOT NULL REFERENCES source, position INTEGER NOT NULL, items INTEGER NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (source, position)
) WITHOUT ROWID;
CREATE TABLE closing (
    queue INTEGER NOT NULL REFERENCES queue, slot INTEGER NOT NULL, value BLOB, cuts TEXT, at REAL NOT NULL
);
CREATE TABLE answer (one INTEGER PRIMARY KEY CHECK (one = 1), value, cuts TEXT, form TEXT NOT NULL, at REAL NOT NULL);
CREATE VIEW progress AS
    SELECT q.name AS queue, q.done, q.failed, q.set_aside,
           (SELECT coalesce(sum(tickets), 0) FROM chunk c WHERE c.queue = q.queue) AS cut,
           q.items, q.seconds,
           (SELECT coalesce(max(last) + 1, 0) FROM finished f WHERE f.queue = q.queue AND f.first = 0) AS restore_point
    FROM queue q;
"""


def connect(path: str, mode: str = "rw", *, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a file that is there (``rw``, ``ro``), or make it (``rwc``). Transactions are begun by hand."""
    uri = Path(path).absolute().as_uri() + f"?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def create(db: sqlite3.Connection) -> None:
    """Lay out an empty database, within the present transaction."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def prepare(db: sqlite3.Connection) -> None:
    """What must be set before the first table is there, or for each connection that writes."""
    db.execute(f"PRAGMA page_size = {_PAGE}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 4096")  # pages: 32 MiB


def check_tables(db: sqlite3.Connection, path: str) -> bool:
    """Whether it is laid out as a job file; False: it is empty.

    Raises:
        JobFileError: it is something else, or of a newer version.
    """
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not tables and not application:
        return False
    if application != APPLICATION:
        raise JobFileError(f"{path} is an SQLite database of another program, not a job file: give another name")
    if version > VERSION:
        raise JobFileError(
            f"{path} is a job file of version {version}; this eisenmp knows those up to version {VERSION}: update it"
        )
    return True


def check_path(path: str, *, must_exist: bool = False) -> bool:
    """See whether a job file may be there, without opening it as a database; return whether there is one.

    One that this process works on is not looked at: closing it here would give up SQLite's locks.

    Raises:
        JobFileError: it cannot be one; the text says why.
    """
    if os.path.realpath(path) in held:
        return True
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise JobFileError(f"{path} is a folder; a job file is needed, such as {os.path.join(path, 'job.db')}")
    if folder and not os.path.isdir(folder):
        above = os.path.dirname(folder)
        hint = nearest(os.path.basename(folder), os.listdir(above or ".")) if os.path.isdir(above or ".") else ""
        raise JobFileError(f"{path}: there is no folder {folder}{hint}")
    try:
        with open(path, "rb") as file:
            head = file.read(100)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        if must_exist:
            names = os.listdir(folder or ".") if os.access(folder or ".", os.R_OK) else []
            raise JobFileError(f"there is no job file {path}{nearest(os.path.basename(path), names)}") from None
        return False
    except OSError as error:
        raise JobFileError(f"the job file {path} cannot be read: {error.strerror or error}") from error
    if not size and not must_exist:
        return False
    if not head.startswith(FIRST_BYTES):
        raise JobFileError(
            f"{path} is not a job file (it does not begin as an SQLite database does): give another name"
        )
    _check_size(path, head, size)
    return True


def _check_size(path: str, head: bytes, size: int) -> None:
    """Raise JobFileError when the end is missing. With a log beside it, the log may have it."""
    page = int.from_bytes(head[16:18], "big") or 1
    page = 65536 if page == 1 else page
    pages = int.from_bytes(head[28:32], "big")
    if not has_log(path) and (len(head) < 100 or size < pages * page):
        raise JobFileError(
            f"the job file {path} is cut off: {size} bytes of {pages * page} are there; use a copy of it"
        )


def has_log(path: str) -> bool:
    """Whether some of the file lies in the log beside it."""
    try:
        return os.path.getsize(path + "-wal") > 0
    except OSError:
        return False


@contextmanager
def said(path: str, what: str = "used") -> Iterator[None]:
    """Turn SQLite's errors into ones that tell what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise JobFileError(explain(error, path, what)) from error


def explain(error: Exception, path: str, what: str) -> str:
    """What an error of SQLite means for the user."""
    name = getattr(error, "sqlite_errorname", "") or ""
    text = f"the job file {path} cannot be {what}: {error}"
    if name.startswith("SQLITE_FULL"):
        return f"{text}. The disk is full; what is recorded so far is safe: make room and start the program again"
    if name.startswith("SQLITE_IOERR"):
        return f"{text} ({name}). The disk may be full or gone; what is recorded so far is safe"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"{text}. The file and its folder must be writable"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"{text}. It is damaged or cut off: use a copy of it, or `sqlite3 FILE .recover`"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{text}. Another program holds it"
    return text
