"""Rows as an Apache Parquet file: the extra ``eisenmp[parquet]``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

from eisenmp.errors import JobFileError
from eisenmp.export.plain import Plainer, as_json
from eisenmp.export.rows import FIXED_TYPES, Row, Rows
from eisenmp.export.shape import FIXED, Shape

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as missing:
    raise JobFileError("Parquet needs an extra: pip install 'eisenmp[parquet]'") from missing

__all__ = ["Types", "write_parquet"]

_GROUP: Final = 1 << 17  # rows, which are compressed together


class Types:
    """Finds out which types of Arrow the columns have, batch by batch. What has no common type becomes JSON text."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}  # None: text

    def see_values(self, shape: Shape, values: Sequence[Any]) -> None:
        """Plain values of some rows, which the shape has seen. Dicts that have not the same keys become text."""
        keys = shape.keys
        if keys is not None:
            for name, key in zip(shape.columns[len(FIXED) :], keys, strict=True):
                self.see(name, [value[key] for value in values])
        elif shape.has_dicts or any(type(value) is dict for value in values):
            self.be_text("value")
        else:
            self.see("value", values)

    def see(self, name: str, values: Sequence[Any]) -> None:
        """Plain values of a column."""
        if name in self._types and self._types[name] is None:
            return
        try:
            kind = pa.infer_type(values)
            self._types[name] = kind if name not in self._types else _common(self._types[name], kind)
        except (pa.ArrowException, OverflowError):
            self._types[name] = None

    def be_text(self, name: str) -> None:
        """It has turned out that its values fit into no type."""
        self._types[name] = None

    def of(self, name: str) -> Any:
        """The type of a column; None: JSON text."""
        kind = self._types.get(name, pa.null())
        if kind is None or not _can_be_written(kind):
            return None
        return pa.string() if pa.types.is_null(kind) else kind


def _common(one: Any, other: Any) -> Any:
    schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("x").type


def _can_be_written(kind: Any) -> bool:
    """Parquet has no dicts without a key."""
    try:
        pq.write_table(pa.table({"x": pa.array([], type=kind)}), io.BytesIO())
    except pa.ArrowException:
        return False
    return True


class _MisfitError(Exception):
    """A value does not fit into the type of its column after all: a whole number that a float cannot be, say."""


def write_parquet(path: str, rows: Rows, plainer: Plainer, shape: Shape, types: Types) -> None:
    """Fill a file."""
    while True:
        try:
            _written(path, rows, plainer, shape, types)
            return
        except _MisfitError as error:
            types.be_text(str(error))


def _written(path: str, rows: Rows, plainer: Plainer, shape: Shape, types: Types) -> None:
    columns = shape.columns
    kinds = [types.of(name) for name in columns[len(FIXED) :]]
    fixed = [getattr(pa, kind)() for kind in FIXED_TYPES]
    schema = pa.schema(list(zip(columns, [*fixed, *[kind or pa.string() for kind in kinds]], strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        group: list[Any] = []
        gathered = 0
        for batch in rows.batches():
            group.append(_batch(batch, schema, kinds, plainer, shape))
            gathered += group[-1].num_rows
            if gathered >= _GROUP or sum(part.nbytes for part in group) >= _GROUP << 8:
                file.write_table(pa.Table.from_batches(group, schema))
                group, gathered = [], 0
        file.write_table(pa.Table.from_batches(group, schema))


def _batch(batch: Sequence[Row], schema: Any, kinds: Sequence[Any], plainer: Plainer, shape: Shape) -> Any:
    columns = list(zip(*[shape.fields(row, plainer) for row in batch], strict=True))
    arrays = []
    for at, (field, values) in enumerate(zip(schema, columns, strict=True)):
        if at >= len(FIXED) and kinds[at - len(FIXED)] is None:
            values = tuple(None if value is None else as_json(value) for value in values)
        try:
            arrays.append(pa.array(values, type=field.type))
        except (pa.ArrowException, OverflowError):
            raise _MisfitError(field.name) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
