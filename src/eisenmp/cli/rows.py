"""Files of CSV, record by record, as the feeder reads them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Final

from eisenmp.cli.exits import InputError
from eisenmp.cli.inputs import Lines, blocks_of

__all__ = ["Rows"]

_MOST_IN_A_FIELD: Final = (1 << 31) - 1  # bytes; the csv module's own bound is 128 KiB


class Rows(Lines):
    """All records of CSV files, as lists of texts, without the line of names on top of each file.

    Attributes:
        header: those names, once :meth:`open` has read them.
    """

    what = "row"

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(paths)
        self.header: list[str] = []
        self._opened: list[Iterator[list[str]]] = []

    def open(self) -> bool:
        """Read the names of the columns from the first file that is not empty. False: all of them are."""
        while self._paths:
            self._begin(self._paths[0])
            self._paths = self._paths[1:]
            records = self._records(self._names[-1])
            header = next(records, None)
            if header is not None:
                self.header = header
                self._opened.append(records)
                return True
        return False

    def __iter__(self) -> Iterator[list[str]]:  # type: ignore[override]  # records in the place of lines
        for records in self._opened:
            yield from self._counted(records)
        for path in self._paths:
            self._begin(path)
            records = self._records(path)
            header = next(records, self.header)
            if header != self.header:
                raise InputError(f"{path} has other columns than the file before it: {', '.join(header)}")
            yield from self._counted(records)

    def _counted(self, records: Iterator[list[str]]) -> Iterator[list[str]]:
        for record in records:
            if record:  # an empty line is no record
                self._count += 1
                yield record

    def _records(self, path: str) -> Iterator[list[str]]:
        csv.field_size_limit(_MOST_IN_A_FIELD)
        reader = csv.reader(_texts(path))
        try:
            yield from reader
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: no CSV: {error}") from error


def _texts(path: str) -> Iterator[str]:
    mark = "\ufeff"  # Excel begins its files with it
    for block in blocks_of(path):
        for line in block.split(b"\n"):
            yield line.decode("utf-8", "surrogateescape").removeprefix(mark) + "\n"
            mark = ""
