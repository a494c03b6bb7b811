"""Sets of numbers kept as ranges, so that a billion finished tickets in a row cost one entry. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["Ranges"]


class Ranges:
    """Whole numbers from 0 on, as disjoint ranges ``[first, stop)`` in order.

    `changes` tells what to write down since it was emptied last: the new end of the range that begins there, or None
    when none begins there any more.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._stops: list[int] = []
        self.count = 0  # numbers in it
        self.changes: dict[int, int | None] = {}
        for first, stop in ranges:
            self.add(first, stop)
        self.changes.clear()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._stops, strict=True)

    def __len__(self) -> int:
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number < self._stops[at]

    def __repr__(self) -> str:
        return f"<Ranges: {', '.join(f'{first}-{stop - 1}' for first, stop in self)}>"

    def copy(self) -> Ranges:
        """The same numbers, without changes."""
        other = Ranges()
        other._firsts, other._stops, other.count = self._firsts.copy(), self._stops.copy(), self.count
        return other

    def add(self, first: int, stop: int) -> int:
        """Put the numbers from `first` to `stop` - 1 in; return how many of them were not in yet."""
        if first >= stop:
            return 0
        low = bisect_left(self._stops, first)  # ranges from here on touch it, or lie behind it
        high = bisect_right(self._firsts, stop)
        before = sum([self._stops[at] - self._firsts[at] for at in range(low, high)])
        start, end = first, stop
        if low < high:
            start, end = min(start, self._firsts[low]), max(end, self._stops[high - 1])
        for gone in self._firsts[low:high]:
            self.changes[gone] = None
        self._firsts[low:high] = [start]
        self._stops[low:high] = [end]
        self.changes[start] = end
        new = end - start - before
        self.count += new
        return new

    def remove(self, number: int) -> bool:
        """Take one number out; tell whether it was in."""
        at = bisect_right(self._firsts, number) - 1
        if at < 0 or number >= self._stops[at]:
            return False
        first, stop = self._firsts[at], self._stops[at]
        parts = [(a, b) for a, b in ((first, number), (number + 1, stop)) if a < b]
        self._firsts[at : at + 1] = [a for a, _ in parts]
        self._stops[at : at + 1] = [b for _, b in parts]
        self.changes[first] = None
        for a, b in parts:
            self.changes[a] = b
        self.count -= 1
        return True

    def range_from(self, number: int) -> tuple[int, int] | None:
        """The first range that ends behind `number`: it holds the number, or comes after it."""
        at = bisect_right(self._stops, number)
        return (self._firsts[at], self._stops[at]) if at < len(self._firsts) else None

    def within(self, first: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """``(from, to, in or not)`` of the numbers from `first` to `stop` - 1, in order and without gaps."""
        at = bisect_right(self._stops, first)
        while first < stop:
            begin = self._firsts[at] if at < len(self._firsts) else stop
            if first < begin:
                yield first, min(begin, stop), False
                first = begin
            if first < stop:
                end = min(self._stops[at], stop)
                yield first, end, True
                first = end
                at += 1
