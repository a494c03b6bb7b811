"""The columns of a table of results. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eisenmp.export.plain import Plainer
from eisenmp.export.rows import Row

__all__ = ["FIXED", "Shape"]

FIXED: Final = Row._fields[:-1]  # columns that every table has
_MOST: Final = 1000  # columns; SQLite takes no more than 2000


class Shape:
    """Finds out, row by row, whether the values are dicts that have the same keys; then each key is a column.

    Rows without a value do not count.
    """

    def __init__(self) -> None:
        self._keys: list[str] | None = None
        self._same: frozenset[str] = frozenset()
        self._is_table = True

    def see(self, value: Any) -> None:
        """A plain value of a row; not None."""
        if not self._is_table:
            return
        if type(value) is not dict or not 0 < len(value) <= _MOST:
            self._is_table = False
        elif self._keys is None:
            self._keys, self._same = list(value), frozenset(value)
        elif value.keys() != self._same:
            self._is_table = False

    @property
    def keys(self) -> list[str] | None:
        """What becomes columns, in the order of the first value; None: there is one column, ``value``."""
        return self._keys if self._is_table else None

    @property
    def has_dicts(self) -> bool:
        """Whether some value was a dict."""
        return self._keys is not None

    @property
    def columns(self) -> list[str]:
        """All names. A key that is taken already, in capitals or not, is named ``value_…``."""
        names = list(FIXED)
        taken = {name.casefold() for name in names}
        for key in self.keys if self.keys is not None else ["value"]:
            name = key
            while name.casefold() in taken or not name:
                name = f"value_{name}"
            taken.add(name.casefold())
            names.append(name)
        return names

    def fields(self, row: Row, plainer: Plainer) -> Sequence[Any]:
        """One row of the table, its values plain."""
        value = plainer.plain(row.value)
        keys = self.keys
        if keys is None:
            return (*row[:-1], value)
        return (*row[:-1], *([None] * len(keys) if value is None else [value[key] for key in keys]))
