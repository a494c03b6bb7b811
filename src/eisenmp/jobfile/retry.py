"""A file on which nobody works is changed: failures are forgotten, so that tickets run anew, or noted."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping

from eisenmp.jobfile.codec import noted_row, without
from eisenmp.jobfile.journal import Journal
from eisenmp.jobfile.schema import said

__all__ = ["note_failures", "retry_job"]


def retry_job(path: str | os.PathLike[str], *, failed: bool = True, set_aside: bool = True) -> int:
    """Have tickets of a job file run again: the next start of its program does it.

    Args:
        path: of the job file, on which nobody works just now.
        failed: those that ended in an exception, or some of whose items did.
        set_aside: those over which workers died.

    Returns:
        How many there are.

    Raises:
        JobFileBusy: its program runs.
        JobFileError: it is no job file, or cannot be written.
    """
    states = [state for state, wanted in (("failed", failed), ("set aside", set_aside)) if wanted]
    journal = Journal.opened(os.fspath(path), "pickle", must_exist=True)
    try:
        with said(journal.path, "written"), journal.transaction() as db:
            return sum([_forget(db, state) for state in states])
    finally:
        journal.close()


def note_failures(path: str | os.PathLike[str], failed: Mapping[tuple[str, int], list[tuple[int, str]]]) -> None:
    """For whoever packs failures of items into results, as the command does: have the file tell of them.

    Args:
        path: of the job file.
        failed: by queue's name and ticket, which is done: (place in the chunk, what is wrong) of items.

    Raises:
        JobFileError: it cannot be written.
    """
    journal = Journal.opened(os.fspath(path), "pickle", must_exist=True)
    try:
        with said(journal.path, "written"), journal.transaction() as db:
            for (name, ticket), items in failed.items():
                past = journal.past(name)
                if past is None or ticket not in past.finished or ticket in past.failures:
                    continue
                marks = ", ".join("?" * len(row := noted_row(past.number, ticket, items, time.time())))
                db.execute(f"INSERT INTO failure VALUES ({marks})", row)
                db.execute("UPDATE queue SET done = done - 1, failed = failed + 1 WHERE queue = ?", (past.number,))
    finally:
        journal.close()


def _forget(db: sqlite3.Connection, state: str) -> int:
    rows = db.execute(
        "SELECT f.queue, f.ticket, f.seconds, (SELECT rows FROM chunk c WHERE c.queue = f.queue "
        "AND c.first <= f.ticket ORDER BY c.first DESC LIMIT 1) FROM failure f WHERE f.state = ?",
        (state,),
    ).fetchall()
    column = state.replace(" ", "_")
    for queue, ticket, seconds, items in rows:
        first, last = db.execute(
            "SELECT first, last FROM finished WHERE queue = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (queue, ticket),
        ).fetchone()
        db.execute("DELETE FROM finished WHERE queue = ? AND first = ?", (queue, first))
        parts = [(queue, a, b) for a, b in ((first, ticket - 1), (ticket + 1, last)) if a <= b]
        db.executemany("INSERT INTO finished VALUES (?, ?, ?)", parts)
        _forget_value(db, queue, ticket)
        db.execute(
            f"UPDATE queue SET {column} = {column} - 1, items = items - ?, seconds = max(0, seconds - ?) "
            "WHERE queue = ?",
            (items, seconds, queue),
        )
    db.execute("DELETE FROM failure WHERE state = ?", (state,))
    return len(rows)


def _forget_value(db: sqlite3.Connection, queue: int, ticket: int) -> None:
    """Its value may lie in one row with those of its neighbours."""
    row = db.execute(
        "SELECT first, tickets, form, rows, value, cuts, seconds, slot, attempts FROM outcome "
        "WHERE queue = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        (queue, ticket),
    ).fetchone()
    if row is None or ticket >= row[0] + row[1]:
        return
    db.execute("DELETE FROM outcome WHERE queue = ? AND first = ?", (queue, row[0]))
    db.executemany(
        "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [(queue, *part) for part in without(row, ticket)]
    )
