"""Rows as a table of an SQLite database of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

from eisenmp.errors import JobFileError
from eisenmp.export.plain import Plainer, as_json
from eisenmp.export.rows import Rows
from eisenmp.export.shape import Shape

__all__ = ["write_database"]

_NATIVE: Final = (int, float, str, bytes, type(None))
_LARGEST: Final = 1 << 63


def write_database(path: str, rows: Rows, plainer: Plainer, shape: Shape) -> None:
    """Fill an empty file with a table ``results``.

    Raises:
        JobFileError: it cannot be written.
    """
    columns = shape.columns
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")  # it is renamed when it is whole, and a journal would only cost
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("BEGIN")
            db.execute(f"CREATE TABLE results ({names})")
            marks = ", ".join("?" * len(columns))
            for batch in rows.batches():
                cells = [[_cell(value) for value in shape.fields(row, plainer)] for row in batch]
                db.executemany(f"INSERT INTO results VALUES ({marks})", cells)
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise JobFileError(f"the SQLite database cannot be written: {error}") from error


def _cell(value: Any) -> Any:
    """Whole numbers of more than 64 bits are texts; so are times, and lists and dicts as JSON."""
    kind = type(value)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else str(value)
    if kind in _NATIVE:
        return value
    if kind is bool:
        return int(value)
    return as_json(value) if kind in (list, dict) else str(value)
