"""Values in forms that other tools read: JSON, and Arrow's streams (the extra ``eisenmp[arrow]``). Pure.

A row of one ticket has the form's own name; one of several has ``… list``. What comes back equals what went in, or it
is refused: tuples come back as lists, numpy's numbers as Python's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from eisenmp.errors import JobFileError

__all__ = ["KINDS", "LISTS", "check_form", "packed", "unpacked", "why_not"]

KINDS: Final = ("json", "arrow")
LISTS: Final = ("json list", "arrow list")
_TAKES: Final = {
    "json": "numbers, texts, lists, dicts and None",
    "arrow": "numbers, texts, bytes, times, lists of such, dicts with texts as keys, ndarrays of numbers, Arrow's own",
}
_MARK: Final = b"eisenmp"  # in a schema's metadata: what the stream stands for
_SHAPE: Final = b"eisenmp shape"


def check_form(store: str) -> None:
    """See whether values can be kept that way here.

    Raises:
        JobFileError: what it takes is not installed.
    """
    if store == "arrow":
        _arrow()


def packed(store: str, values: Sequence[Any]) -> tuple[str, Any]:
    """(form, value) of the values of tickets in a row. Raises whatever says that one of them does not fit."""
    alone = len(values) == 1
    if store == "json":
        text = json.dumps(values[0] if alone else list(values), ensure_ascii=False, allow_nan=False)
        return ("json" if alone else "json list"), text
    return ("arrow", _stream(values[0])) if alone else ("arrow list", _streams(values))


def unpacked(form: str, value: Any) -> list[Any]:
    """The value of each ticket again.

    Raises:
        JobFileError: it is damaged, or the form needs what is not installed.
    """
    try:
        if form == "json":
            return [json.loads(value)]
        if form == "json list":
            return list(json.loads(value))
        return [_opened(value)] if form == "arrow" else list(_opened(value))
    except JobFileError:
        raise
    except Exception as error:
        raise JobFileError(f"a value of the form {form!r} cannot be read: {error}; the job file is damaged") from error


def why_not(store: str, error: Exception) -> str:
    """In words: why a value cannot be kept that way."""
    return (
        f"{'JSON' if store == 'json' else 'Arrow'}: {type(error).__name__}: {error}; "
        f"JOB_STORE={store!r} takes {_TAKES[store]}; 'pickle' takes anything"
    )


# ---- Arrow


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as missing:
        raise JobFileError("values as Arrow need an extra: pip install 'eisenmp[arrow]'") from missing
    return pyarrow


def _stream(value: Any) -> bytes:
    """One value as a stream: a table as it is, an array as a column, anything else as a column of one row."""
    pa = _arrow()
    if isinstance(value, pa.Table):
        return _written(value, b"table")
    if isinstance(value, pa.RecordBatch):
        return _written(pa.Table.from_batches([value]), b"batch")
    if isinstance(value, pa.Array | pa.ChunkedArray):
        kind = b"array" if isinstance(value, pa.Array) else b"chunked"
        return _written(pa.table({"value": value}), kind)
    if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray":
        return _ndarray(value)
    try:
        return _written(pa.table({"value": _column([value])}), b"value")
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        if not isinstance(value, list | tuple):
            raise
        return _each(value, b"list")


def _streams(values: Sequence[Any]) -> bytes:
    """Values of several tickets: one column, if they have one type; else each is a stream of its own in it."""
    pa = _arrow()
    try:
        return _written(pa.table({"value": _column(values)}), b"values")
    except (TypeError, ValueError, OverflowError, pa.ArrowException):
        return _each(values, b"streams")


def _each(values: Sequence[Any], kind: bytes) -> bytes:
    """Values of different types: each is a stream of its own."""
    pa = _arrow()
    return _written(pa.table({"value": pa.array([_stream(value) for value in values], pa.binary())}), kind)


def _column(values: Sequence[Any]) -> Any:
    """A column that gives the same values back. Raises TypeError where Arrow would change them on the way."""
    column = _arrow().array(values)
    for one, other in zip(values, column.to_pylist(), strict=True):
        if not _same(one, other):
            raise TypeError(f"{one!r:.80} would come back as {other!r:.80}")
    return column


def _same(one: Any, other: Any) -> bool:
    if type(one).__module__ == "numpy" and hasattr(one, "item") and not getattr(one, "shape", None):
        one = one.item()
    if isinstance(one, list | tuple):
        return type(other) is list and len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return type(other) is dict and one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _ndarray(value: Any) -> bytes:
    pa = _arrow()
    column = pa.array(value.reshape(-1))
    if column.to_numpy(zero_copy_only=False).dtype != value.dtype:
        raise TypeError(f"an ndarray of {value.dtype}")
    return _written(pa.table({"value": column}), b"ndarray", {_SHAPE: json.dumps(value.shape).encode()})


def _written(table: Any, kind: bytes, more: dict[bytes, bytes] | None = None) -> bytes:
    pa = _arrow()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _MARK: kind, **(more or {})})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _opened(stream: bytes) -> Any:
    pa = _arrow()
    table = pa.ipc.open_stream(stream).read_all()
    told = dict(table.schema.metadata or {})
    kind, shape = told.pop(_MARK, b""), told.pop(_SHAPE, b"[]")
    table = table.replace_schema_metadata(told or None)
    if kind == b"table":
        return table
    if kind == b"batch":
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)
    column = table.column("value")
    if kind == b"array":
        return column.combine_chunks()
    if kind == b"chunked":
        return column
    if kind == b"ndarray":
        return column.to_numpy().reshape(json.loads(shape)).copy()
    values = column.to_pylist()
    if kind in (b"streams", b"list"):
        return [_opened(each) for each in values]
    return values[0] if kind == b"value" else values
