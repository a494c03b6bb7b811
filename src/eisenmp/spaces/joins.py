"""Numbers, and spaces joined: ``Range``, ``Chain``, ``Zip``."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import Any, TypeVar

from eisenmp.errors import SettingsError
from eisenmp.spaces.base import Space, count, distinct, find_in, part_of, short, size_of, span_of, told

__all__ = ["Chain", "Range", "Zip"]

T = TypeVar("T")


class Range(Space[int]):
    """The numbers of a ``range``, whatever their size. A slice of it is a ``Range``.

    Args:
        start: the first number; alone, it is `stop`, and numbers begin with 0.
        stop: where they end, itself not one of them.
        step: from one to the next.

    Raises:
        TypeError: an argument is no int.
        SettingsError: `step` is 0.
    """

    def __init__(self, start: int, stop: int | None = None, step: int = 1) -> None:
        if stop is None:
            start, stop = 0, start
        try:
            bounds = [operator.index(number) for number in (start, stop, step)]
        except TypeError:
            raise TypeError(f"Range takes ints as start, stop and step, not {short((start, stop, step))}") from None
        if bounds[2] == 0:
            raise SettingsError("Range takes any step but 0, which leads nowhere")
        self._numbers = range(*bounds)
        self.size = count(self._numbers)

    def _sliced(self, key: slice) -> Range:
        numbers = self._numbers[key]
        return Range(numbers.start, numbers.stop, numbers.step)

    def _item(self, at: int) -> int:
        return self._numbers[at]

    def _span(self, lo: int, hi: int) -> Iterator[int]:
        return iter(self._numbers[lo:hi])

    def _find(self, item: object) -> int:
        return find_in(self._numbers, item)

    def _distinct(self) -> bool:
        return True

    def _key(self) -> tuple[Any, ...]:
        return (self._numbers,)

    def __reduce__(self) -> tuple[Any, ...]:
        return Range, (self._numbers.start, self._numbers.stop, self._numbers.step)

    def __repr__(self) -> str:
        return "R" + repr(self._numbers)[1:]


class Chain(Space[T]):
    """The items of all parts, one part after the other: ``itertools.chain``.

    Args:
        parts: spaces, or sequences: a list is copied, an array or whatever else can be sliced stays where it is.

    Raises:
        TypeError: a part cannot be iterated.
    """

    def __init__(self, *parts: Iterable[T]) -> None:
        self._parts = tuple([part_of(part, "Chain") for part in parts])
        self._starts = [0, *accumulate(map(size_of, self._parts))]
        self.size = self._starts[-1]

    def _cuts(self, lo: int, hi: int) -> Iterator[tuple[Any, int, int]]:
        """The parts that hold items `lo` to `hi` - 1, and where these lie in each of them."""
        for number in range(bisect_right(self._starts, lo) - 1, len(self._parts)):
            start, end = self._starts[number], self._starts[number + 1]
            if start >= hi:
                return
            if start < end:
                yield self._parts[number], max(lo, start) - start, min(hi, end) - start

    def _span(self, lo: int, hi: int) -> Iterator[T]:
        return chain.from_iterable(span_of(*each) for each in self._cuts(lo, hi))

    def _around(self, lo: int, hi: int) -> tuple[Space[T], int]:
        return Chain(*[part[first:end] for part, first, end in self._cuts(lo, hi)]), lo

    def _find(self, item: object) -> int:
        for part, start in zip(self._parts, self._starts, strict=False):
            at = find_in(part, item)
            if at >= 0:
                return start + at
        return -1

    def _key(self) -> tuple[Any, ...]:
        return self._parts

    def __reduce__(self) -> tuple[Any, ...]:
        return Chain, self._parts

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(short, self._parts))})"


class Zip(Space[tuple[Any, ...]]):
    """The items of all parts side by side, in tuples, up to the end of the shortest part: ``zip``.

    Args:
        parts: spaces, or sequences: a list is copied, an array or whatever else can be sliced stays where it is.
        strict: refuse parts of different sizes.

    Raises:
        TypeError: a part cannot be iterated.
        SettingsError: `strict`, and the sizes differ.
    """

    def __init__(self, *parts: Iterable[Any], strict: bool = False) -> None:
        self._parts = tuple([part_of(part, "Zip") for part in parts])
        sizes = [size_of(part) for part in self._parts]
        self.size = min(sizes, default=0)
        if strict and self.size != max(sizes, default=0):
            raise SettingsError(
                f"Zip(…, strict=True) takes parts of one size; these have {', '.join(map(told, sizes))} items"
            )

    def _span(self, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        return zip(*[span_of(part, lo, hi) for part in self._parts], strict=True)

    def _around(self, lo: int, hi: int) -> tuple[Space[tuple[Any, ...]], int]:
        return Zip(*[part[lo:hi] for part in self._parts]), lo

    def _find(self, item: object) -> int:
        if not isinstance(item, tuple) or len(item) != len(self._parts):
            return -1
        for part, element in zip(self._parts, item, strict=True):
            if distinct(part):  # then there is one place only
                at = find_in(part, element)
                return at if 0 <= at < self.size and self._item(at) == item else -1
        return super()._find(item)

    def _distinct(self) -> bool:
        return any(map(distinct, self._parts))

    def _key(self) -> tuple[Any, ...]:
        return self._parts

    def __reduce__(self) -> tuple[Any, ...]:
        return Zip, self._parts

    def __repr__(self) -> str:
        return f"Zip({', '.join(map(short, self._parts))})"
