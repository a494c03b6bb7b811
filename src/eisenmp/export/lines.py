"""Results of ``eisenmp map`` in a job file: blocks of output, which hold lines as they were printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from eisenmp.errors import CrashError
from eisenmp.jobfile import FailureRow
from eisenmp.payload import loads, read_error
from eisenmp.results import Record

__all__ = ["Printed", "printed"]

_FUNC: Final = "eisenmp.cli.block.Job"  # how the fingerprint names what map hands to its workers


def printed(func: str | None, program: Mapping[str, Any]) -> Printed | None:
    """How to take the results apart; None where they are not those of ``eisenmp map``.

    Args:
        func: the name of the function that the file was made with.
        program: its command line, see the table ``meta``.
    """
    return Printed(program.get("argv") or ()) if func == _FUNC else None


class Printed:
    """Takes blocks apart. `arguments`: the command line of the map."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._gives = "json" if "--json" in arguments else "csv" if "--csv" in arguments else "text"
        told = " ".join(arguments)
        self._stands_in = "--on-error yield" in told or "--on-error=yield" in told
        self._header: list[str] | None = None

    def restart(self) -> None:
        """From the first ticket on."""
        self._header = None

    def block(self, record: Record, value: Any) -> bytes:
        """What was printed for a ticket."""
        if value is not None:
            return self._data(value)
        if record.parts:
            return b"".join(
                [
                    self._data(loads(part.value)) if part.value is not None else self._stand_in(crash, part.items)
                    for part, crash in record.parts
                ]
            )
        return self._stand_in(record.error, 1) if record.error is not None else b""

    def answer(self, value: Any) -> bytes:
        """The last line: what StopJob was given."""
        if self._gives == "json":
            text = json.dumps(value, ensure_ascii=False) + "\n"
        elif isinstance(value, bytes):
            return value + b"\n"
        else:
            text = "" if value is None else f"{value}\n"
        return text.encode("utf-8", "backslashreplace")

    def results(self, record: Record, value: Any, failure: FailureRow | None) -> Iterator[tuple[Any, str | None]]:
        """(what a line says, error) of each line, and of each item that has none."""
        before = self._header
        data = self.block(record, value)
        header = self._header if value is not None and value[3] is not None else None
        if header is not None and before is None:
            data = data[len(_head(header)) :]
        yield from ((said, None) for said in self._said(data, header))
        if failure is not None and not self._stands_in:
            for _, count, kind, text in failure.items or ((0, 1, failure.type, failure.message),):
                yield from [(None, ": ".join(filter(None, (kind, text))))] * count

    def _said(self, data: bytes, header: Sequence[str] | None) -> Iterator[Any]:
        text = data.decode("utf-8", "surrogateescape")
        if header is not None:
            for row in csv.reader(io.StringIO(text, newline="")):
                yield dict(zip(header, row, strict=False))
            return
        for line in text.split("\n")[:-1]:
            yield json.loads(line) if self._gives == "json" else line

    def _data(self, value: Sequence[Any]) -> bytes:
        """Of a block: (bytes, calls, failures, header). The names of the columns are printed once."""
        data, header = bytes(value[0]), value[3]
        if header is None or header == self._header:
            return data
        if self._header is not None:
            return b""  # other columns than before: told as a failure, not printed
        self._header = list(header)
        return _head(header) + data

    def _stand_in(self, error: object, items: int) -> bytes:
        if not self._stands_in:
            return b""
        text = ": ".join(read_error(error)[:2]) if isinstance(error, tuple) else str(error)
        if isinstance(error, CrashError):
            text = f"its worker died {len(error.exits)} times ({', '.join(error.exits)})"
        line = json.dumps({"error": text}, ensure_ascii=False) if self._gives == "json" else text
        return f"{line}\n".encode("utf-8", "backslashreplace") * items


def _head(header: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(header)
    return line.getvalue().encode("utf-8", "surrogateescape")
