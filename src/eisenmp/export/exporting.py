"""``export_results``: what is in a job file, in another form."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from eisenmp.errors import SettingsError, nearest
from eisenmp.export.lines import Printed, printed
from eisenmp.export.plain import Plainer
from eisenmp.export.rows import Rows
from eisenmp.export.shape import FIXED, Shape
from eisenmp.export.texts import csv_blocks, json_blocks, line_blocks
from eisenmp.export.whole import written_whole
from eisenmp.jobfile import JobReader

if TYPE_CHECKING:
    from eisenmp.export.parquet import Types

__all__ = ["FORMATS", "Exported", "export_results"]

FORMATS: Final = ("jsonl", "csv", "parquet", "sqlite", "lines")
_ENDINGS: Final = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite", ".txt": "lines",
}  # fmt: skip


class Sink(Protocol):
    """A binary file that is open, or something like it."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        format: one of FORMATS.
        rows: how many; None for ``'lines'``.
        columns: their names; of a file of JSON lines the keys.
        shown: names of types that no format knows, of which the ``repr`` was written, and how often.
    """

    format: str
    rows: int | None
    columns: tuple[str, ...]
    shown: Mapping[str, int]


def export_results(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | Sink,
    format: str | None = None,
    *,
    queue: str | None = None,
    whole: bool = False,
    trust: bool = False,
) -> Exported:
    """Write the results of a job file in ticket order, a window of them in memory.

    A job that runs may be exported too: it gives what is recorded by now.

    Args:
        path: of the job file.
        out: a path, which is written under another name and renamed when it is whole; or an open binary file, for
            ``'jsonl'``, ``'csv'`` and ``'lines'``.
        format: ``'jsonl'``, ``'csv'``, ``'parquet'``, ``'sqlite'``; ``'lines'``: what ``eisenmp map`` has printed.
            None: what the name of `out` ends in; else ``'lines'`` for a file of ``eisenmp map``, ``'jsonl'`` else.
        queue: only results of this one.
        whole: a row for each ticket. Without it, a result that is a list gives a row for each entry.
        trust: open the pickles of a file that somebody else has made, which runs whatever code they name.

    Raises:
        JobFileError: the job file cannot be read, or `out` not be written; or the format needs an extra.
        JobFileUntrusted: values are pickles from elsewhere.
        SettingsError: an argument that does not fit.
    """
    path = os.fspath(path)
    place = os.fspath(out) if isinstance(out, str | os.PathLike) else None
    if format is not None and format not in FORMATS:
        allowed = ", ".join(map(repr, FORMATS))
        raise SettingsError(f"format={format!r} does not fit{nearest(str(format), FORMATS)}; allowed: {allowed}")
    if place is not None and os.path.realpath(place) == os.path.realpath(path):
        raise SettingsError(f"{place} is the job file itself: give another name")
    with JobReader(path, trust=trust) as reader:
        lines = printed(reader.made_with("func"), reader.summary().program)
        kind = format or _ENDINGS.get(os.path.splitext(place or "")[1].lower()) or ("lines" if lines else "jsonl")
        if kind == "lines" and lines is None:
            kind = _no_lines(path, format)
        made = _Export(Rows(reader, queue, whole, lines), kind, lines)
        if place is None:
            assert not isinstance(out, str | os.PathLike)
            return made.into(out)
        return made.to(place)


def _no_lines(path: str, format: str | None) -> str:
    if format is None:
        return "jsonl"
    raise SettingsError(f"format='lines' is for files of `eisenmp map`, and {path} is none: give another one")


class _Export:
    """One export."""

    def __init__(self, rows: Rows, kind: str, lines: Printed | None) -> None:
        self._rows = rows
        self._kind = kind
        self._lines = lines
        self._plainer = Plainer()

    def into(self, file: Sink) -> Exported:
        """Write into an open file."""
        if self._kind in ("parquet", "sqlite"):
            raise SettingsError(f"format={self._kind!r} needs a path: it cannot be written as a stream")
        shape = self._shape() if self._kind == "csv" else None
        for block in self._blocks(shape):
            file.write(block)
        return self._told(shape)

    def to(self, place: str) -> Exported:
        """Write a file of that path."""
        if self._kind == "parquet":
            from eisenmp.export.parquet import Types, write_parquet

            types = Types()
            shape = self._shape(types)
        else:
            shape = self._shape() if self._kind in ("csv", "sqlite") else Shape()
        with written_whole(place) as temporary:
            if self._kind == "parquet":
                write_parquet(temporary, self._rows, self._plainer, shape, types)
            elif self._kind == "sqlite":
                from eisenmp.export.database import write_database

                write_database(temporary, self._rows, self._plainer, shape)
            else:
                with open(temporary, "wb") as file:
                    for block in self._blocks(shape):
                        file.write(block)
        return self._told(shape)

    def _shape(self, types: Types | None = None) -> Shape:
        """A first look at all values: which columns there are, and of which types."""
        shape, look = Shape(), Plainer()
        for batch in self._rows.batches():
            values = [look.plain(row.value) for row in batch if row.value is not None]
            for value in values:
                shape.see(value)
            if types is not None and values:
                types.see_values(shape, values)
        return shape

    def _blocks(self, shape: Shape | None) -> Iterator[bytes]:
        if self._kind == "lines":
            assert self._lines is not None
            return line_blocks(self._rows, self._lines)
        if self._kind == "csv":
            assert shape is not None
            return csv_blocks(self._rows, self._plainer, shape)
        return json_blocks(self._rows, self._plainer)

    def _told(self, shape: Shape | None) -> Exported:
        if self._kind == "lines":
            return Exported("lines", None, (), {})
        columns = (*FIXED, "value") if self._kind == "jsonl" or shape is None else tuple(shape.columns)
        return Exported(self._kind, self._rows.count, columns, dict(self._plainer.shown))
