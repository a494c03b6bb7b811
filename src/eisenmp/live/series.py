"""Figures over time in a room that does not grow: when it is full, each two points become one. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Series"]

_GROUPS: Final = {"queues": 100, "cpu": 256, "memory": 256}  # and how many members of each are kept at most
_NONE: Final = math.nan

Key = tuple[str, str]  # (figure, ""), or (group, member)


class Series:
    """Some figures, all at the same times. Half a day is kept in as many points as five minutes.

    Args:
        limit: points at most; an even number.
    """

    def __init__(self, limit: int = 600) -> None:
        self._limit = limit
        self._times = array("d")
        self._columns: dict[Key, array[float]] = {("rate", ""): array("f"), ("p50", ""): array("f")}
        self._columns["p95", ""] = array("f")
        self._step = 1  # so many looks make a point
        self._looks = 0  # of the point to come
        self._sums: dict[Key, tuple[float, int]] = {}

    def add(self, now: float, figures: Mapping[Key, float | None]) -> None:
        """The figures at one time: a point is the mean of some looks. None: not known then."""
        for key, figure in figures.items():
            if figure is not None and self._has_room(key):
                total, count = self._sums.get(key, (0.0, 0))
                self._sums[key] = (total + figure, count + 1)
        self._looks += 1
        if self._looks >= self._step:
            self._add_point(now)

    def _has_room(self, key: Key) -> bool:
        group = key[0]
        if key in self._columns or key in self._sums or group not in _GROUPS:
            return True
        return sum(1 for known in {*self._columns, *self._sums} if known[0] == group) < _GROUPS[group]

    def _add_point(self, now: float) -> None:
        before = len(self._times)
        self._times.append(now)
        for key in self._sums:
            if key not in self._columns:
                self._columns[key] = array("f", [_NONE]) * before
        for key, column in self._columns.items():
            total, count = self._sums.get(key, (0.0, 0))
            column.append(total / count if count else _NONE)
        self._sums = {}
        self._looks = 0
        if len(self._times) >= self._limit:
            self._halve()

    def _halve(self) -> None:
        self._step *= 2
        self._times = self._times[1::2]
        for key, column in self._columns.items():
            self._columns[key] = array("f", map(_mean, column[::2], column[1::2]))

    def as_dict(self) -> dict[str, Any]:
        """As it is sent: lists of equal length, those of a group by member."""
        told: dict[str, Any] = {"t": [round(when, 2) for when in self._times], **{group: {} for group in _GROUPS}}
        for (name, member), column in self._columns.items():
            figures = [None if figure != figure else float(f"{figure:.4g}") for figure in column]
            if name in _GROUPS:
                told[name][member] = figures
            else:
                told[name] = figures
        return told


def _mean(one: float, other: float) -> float:
    if one != one or other != other:  # no number
        return other if one != one else one
    return (one + other) / 2
