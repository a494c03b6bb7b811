"""Any value as one that files of all formats know: numbers, texts, bytes, times, lists and dicts of them. Pure."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

__all__ = ["Plainer", "as_json"]

_SAME: Final = (bool, int, float, type(None), bytes, datetime.datetime, datetime.date, datetime.time, decimal.Decimal)
_TEXTS: Final = (os.PathLike, uuid.UUID, fractions.Fraction, complex, datetime.timedelta, range)
_DEEP: Final = 50


_OURS: Final = (int, float, str, bytes, list, tuple, set, frozenset)  # of which others may be derived


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _has(method: str) -> Callable[[Any], bool]:
    return lambda value: hasattr(type(value), method)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}


def _base(value: Any) -> Any:
    return next(kind for kind in _OURS if isinstance(value, kind))(value)


# the first that fits makes something simpler of a value
_RARER: Final[Sequence[tuple[Callable[[Any], bool], Callable[[Any], Any]]]] = (
    (lambda value: isinstance(value, enum.Enum), lambda value: value.value),
    (_is_dataclass, _fields),
    (_has("_asdict"), lambda value: value._asdict()),
    (lambda value: isinstance(value, _OURS), _base),
    (lambda value: isinstance(value, datetime.date | datetime.time), lambda value: value.isoformat()),
    (lambda value: isinstance(value, bytearray | memoryview), bytes),
    (lambda value: isinstance(value, _TEXTS), str),
    (_has("to_pylist"), lambda value: value.to_pylist()),  # Arrow
    (_has("tolist"), lambda value: value.tolist()),  # numpy
    (lambda value: isinstance(value, BaseException), lambda value: f"{type(value).__qualname__}: {value}"),
)


class Plainer:
    """Makes values plain.

    Attributes:
        shown: names of types that no format knows, whose ``repr`` was written, and how often.
    """

    def __init__(self) -> None:
        self.shown: Counter[str] = Counter()

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Sets become lists, tuples too; named tuples and dataclasses become dicts; arrays become lists."""
        kind = type(value)
        if kind in _SAME:
            return value
        if kind is str:
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        if depth > _DEEP:  # or a circle
            return self._shown(value)
        if isinstance(value, Mapping):
            return {str(key): self.plain(entry, depth + 1) for key, entry in value.items()}
        if kind in (list, tuple):
            return [self.plain(entry, depth + 1) for entry in value]
        if kind in (set, frozenset):
            return [self.plain(entry, depth + 1) for entry in sorted(value, key=repr)]
        return self._rarer(value, depth)

    def _rarer(self, value: Any, depth: int) -> Any:
        for fits, simpler in _RARER:
            if fits(value):
                return self.plain(simpler(value), depth + 1)
        return self._shown(value)

    def _shown(self, value: Any) -> str:
        self.shown[type(value).__qualname__] += 1
        return repr(value)


def as_json(value: Any) -> str:
    """A plain value in strict JSON: bytes in base64, times in ISO's form, no number where JSON has none (NaN)."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_stood_for)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_stood_for)


def _stood_for(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value) if isinstance(value, decimal.Decimal) else value.isoformat()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value
