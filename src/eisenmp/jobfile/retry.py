"""Tickets that have failed or were set aside are handed out anew: the file forgets what became of them."""

from __future__ import annotations

import os
import sqlite3

from eisenmp.jobfile.codec import without
from eisenmp.jobfile.journal import Journal
from eisenmp.jobfile.schema import said

__all__ = ["retry_job"]


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


def _forget(db: sqlite3.Connection, state: str) -> int:
    rows = db.execute(
        "SELECT f.queue, f.ticket, f.seconds, (SELECT rows FROM chunk c WHERE c.queue = f.queue "
        "AND c.first <= f.ticket ORDER BY c.first DESC LIMIT 1) FROM failure f WHERE f.state = ?",
        (state,),
    ).fetchall()
    column = state.replace(" ", "_")
    for queue, ticket, seconds, items in rows:
        first, last = db.execute(
            "SELECT first, last FROM finished WHERE queue = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
            (queue, ticket),
        ).fetchone()
        db.execute("DELETE FROM finished WHERE queue = ? AND first = ?", (queue, first))
        parts = [(queue, a, b) for a, b in ((first, ticket - 1), (ticket + 1, last)) if a <= b]
        db.executemany("INSERT INTO finished VALUES (?, ?, ?)", parts)
        _forget_value(db, queue, ticket)
        db.execute(
            f"UPDATE queue SET {column} = {column} - 1, items = items - ?1, seconds = max(0, seconds - ?2) "
            "WHERE queue = ?3",
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
