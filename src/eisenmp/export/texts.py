"""Rows as text: JSON lines, CSV, or lines as ``eisenmp map`` has printed them. Each makes blocks of bytes."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator
from typing import Any

from eisenmp.export.lines import Printed
from eisenmp.export.plain import Plainer, as_json
from eisenmp.export.rows import Rows
from eisenmp.export.shape import Shape

__all__ = ["csv_blocks", "json_blocks", "line_blocks"]


def json_blocks(rows: Rows, plainer: Plainer) -> Iterator[bytes]:
    """An object a row."""
    for batch in rows.batches():
        lines = [as_json({**row._asdict(), "value": plainer.plain(row.value)}) for row in batch]
        yield "".join([line + "\n" for line in lines]).encode()


def csv_blocks(rows: Rows, plainer: Plainer, shape: Shape) -> Iterator[bytes]:
    """A line of names, then a line a row. Texts and numbers as they are, nothing for None, the rest as JSON."""
    yield _csv([shape.columns])
    for batch in rows.batches():
        yield _csv([[_cell(value) for value in shape.fields(row, plainer)] for row in batch])


def line_blocks(rows: Rows, printed: Printed) -> Iterator[bytes]:
    """What the map has printed, or would have."""
    printed.restart()
    for _, window in rows.windows():
        for stored in window:
            for value in stored.record.values():
                yield printed.block(stored.record, value)
    if rows.answered:
        yield printed.answer(rows.answer())


def _csv(lines: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if type(value) is list or type(value) is dict or type(value) is bool:
        return as_json(value)
    if type(value) is bytes:
        return as_json(value)[1:-1]  # base64
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
