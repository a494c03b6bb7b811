"""Items chosen from pools: ``Product``, ``Permutations``, ``Combinations``, ``CombinationsWithReplacement``.

A slice is walked in pieces. Each piece is one call of itertools, which makes whole items at its full speed; only the
way to the first item of a piece is arithmetic. The order of items is that of their places in the pools, so all items
that begin alike are a block, and a block is reached by the sizes of blocks, one element after the other.

The trick that makes whole items in C: itertools always begins with the first elements of its pool. A pool put in
another order, what has been chosen first and then what is left, so begins with just the block that is wanted.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, combinations, combinations_with_replacement, permutations, product, repeat
from math import comb, perm, prod
from typing import Any, Final, TypeVar

from eisenmp.errors import SettingsError
from eisenmp.spaces.base import WIDE, Space, cut, distinct, find_in, pool_of, short, size_of

__all__ = ["Combinations", "CombinationsWithReplacement", "Permutations", "Product"]

T = TypeVar("T")
Pieces = Iterator[Iterable[tuple[Any, ...]]]
Todo = tuple[tuple[Any, ...], Any, int, int]  # chosen so far, the pool for the rest, first item, end

_SKIP: Final = 128  # items that are made and dropped rather than gone round


def _flat(pool: Any) -> Any:
    """A pool as itertools wants it; one that is too long to be made as a whole stays as it is."""
    return tuple(pool) if size_of(pool) <= WIDE else pool


def _number(value: Any, call: str, meaning: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{call}: {meaning}, an int from 0 on; not {short(value)}") from None
    if number < 0:
        raise SettingsError(f"{call}: {meaning}, an int from 0 on; not {number}")
    return number


class Product(Space[tuple[Any, ...]]):
    """All tuples with one element of each pool, the last pool running fastest: ``itertools.product``.

    Args:
        pools: sequences, spaces or other iterables. A long range or space is not made as a whole.
        repeat: how often the row of pools is repeated.

    Raises:
        TypeError: a pool cannot be iterated, or `repeat` is no int.
        SettingsError: `repeat` is negative.
    """

    def __init__(self, *pools: Iterable[Any], repeat: int = 1) -> None:
        self._repeat = _number(repeat, f"Product(…, repeat={short(repeat)})", "repeat tells how often")
        self._pools = tuple([pool_of(pool, "Product") for pool in pools])
        self.size = prod(map(size_of, self._pools)) ** self._repeat

    @cached_property
    def _levels(self) -> tuple[Any, ...]:
        return tuple(map(_flat, self._pools)) * self._repeat

    @cached_property
    def _long(self) -> int:
        """How many levels there are up to the last one that is not made as a whole."""
        return max((at for at, pool in enumerate(self._levels, 1) if not isinstance(pool, tuple)), default=0)

    def _span(self, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        if hi - lo == self.size and not self._long:
            return product(*self._levels)
        return chain.from_iterable(self._pieces(lo, hi))

    def _pieces(self, lo: int, hi: int) -> Pieces:
        levels = self._levels
        todo: list[tuple[tuple[Any, ...], int, int, int]] = [((), self.size // size_of(levels[0]), lo, hi)]
        while todo:
            chosen, block, lo, hi = todo.pop()
            level = len(chosen)
            pool = levels[level]
            digit, within = divmod(lo, block)
            if within == 0 and hi - lo >= block and level + 1 >= self._long:
                end = min(hi // block, digit + WIDE)
                yield product(*zip(chosen), pool[digit:end], *levels[level + 1 :])
                if end * block < hi:
                    todo.append((chosen, block, end * block, hi))
                continue
            first, end = digit * block, (digit + 1) * block
            if end < hi:
                todo.append((chosen, block, end, hi))
            inner = block // size_of(levels[level + 1])
            todo.append(((*chosen, pool[digit]), inner, within, min(hi, end) - first))

    def _around(self, lo: int, hi: int) -> tuple[Space[tuple[Any, ...]], int]:
        pools = list(self._pools * self._repeat)
        block, first = self.size, 0
        for level, pool in enumerate(pools):
            block //= size_of(pool)
            digit, last = (lo - first) // block, (hi - 1 - first) // block
            first += digit * block
            if digit != last:
                pools[level] = pool[digit : last + 1]
                break
            pools[level] = (pool[digit],)
        narrow = Product(*pools)
        return (narrow, first) if narrow.size < self.size else (self, 0)

    def _find(self, item: object) -> int:
        pools = self._pools * self._repeat
        if not isinstance(item, tuple) or len(item) != len(pools):
            return -1
        at = 0
        for pool, element in zip(pools, item, strict=True):
            digit = find_in(pool, element)
            if digit < 0:
                return -1
            at = at * size_of(pool) + digit
        return at

    def _distinct(self) -> bool:
        return all(map(distinct, self._pools))

    def _key(self) -> tuple[Any, ...]:
        return self._pools * self._repeat

    def __reduce__(self) -> tuple[Any, ...]:
        return _product, (self._pools, self._repeat)

    def __repr__(self) -> str:
        arguments = [short(pool) for pool in self._pools]
        if self._repeat != 1:
            arguments.append(f"repeat={self._repeat}")
        return f"Product({', '.join(arguments)})"


def _product(pools: tuple[Any, ...], repeat: int) -> Product:
    """Unpickling cannot give arguments by name."""
    return Product(*pools, repeat=repeat)


class _Choice(Space[tuple[T, ...]]):
    """`r` elements of one pool. The four methods that follow say which, and in what order."""

    def __init__(self, pool: Iterable[T], r: int) -> None:
        name = type(self).__name__
        self._r = _number(r, f"{name}(…, r={short(r)})", "r tells how many elements an item has")
        self._pool: Any = pool_of(pool, name)
        self.size = self._count(size_of(self._pool), self._r)

    @staticmethod
    @abstractmethod
    def _count(n: int, r: int) -> int:
        """How many items of `r` elements there are over a pool of `n`."""

    @classmethod
    def _before(cls, n: int, r: int, digit: int) -> int:
        """How many of these come before the first one that begins with element `digit`."""
        return cls._count(n, r) - cls._count(n - digit, r)

    @staticmethod
    @abstractmethod
    def _after(rest: Any, digit: int) -> Any:
        """What can be chosen from `rest` once its element `digit` is chosen."""

    @abstractmethod
    def _run(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        """The items `lo` to `hi` - 1 of those that begin with `chosen` and go on with elements of `rest`."""

    def _pairs(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Pieces | None:
        """A shorter way to the pieces of `_run`, when two elements are to be chosen and there is such a way."""
        return None

    @cached_property
    def _flat_pool(self) -> Any:
        return _flat(self._pool)

    def _span(self, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        return chain.from_iterable(self._pieces(lo, hi))

    def _pieces(self, lo: int, hi: int) -> Pieces:
        todo: list[Todo] = [((), self._flat_pool if self._r else (), lo, hi)]
        while todo:
            chosen, rest, lo, hi = todo.pop()
            if len(chosen) + 1 == self._r:
                end = min(hi, lo + WIDE)
                yield product(*zip(chosen), rest[lo:end])
                if end < hi:
                    todo.append((chosen, rest, end, hi))
            elif lo <= _SKIP and size_of(rest) <= WIDE:
                yield self._run(chosen, rest, lo, hi)
            elif pairs := self._pairs(chosen, rest, lo, hi):
                yield from pairs
            else:
                digit, first, end = self._block(size_of(rest), self._r - len(chosen), lo)
                if end < hi:
                    todo.append(self._behind(chosen, rest, digit, end, hi))
                todo.append(((*chosen, rest[digit]), self._after(rest, digit), lo - first, min(hi, end) - first))

    def _block(self, n: int, r: int, at: int) -> tuple[int, int, int]:
        """The first element of item `at`; the first of the items that begin with it, and their end."""
        digit = bisect_right(range(n), at, key=lambda digit: self._before(n, r, digit)) - 1
        return digit, self._before(n, r, digit), self._before(n, r, digit + 1)

    def _behind(self, chosen: tuple[Any, ...], rest: Any, digit: int, end: int, hi: int) -> Todo:
        """From `end`, the first item that begins behind `digit`, to `hi`: as if the pool began there."""
        return chosen, rest[digit + 1 :], 0, hi - end

    def _find(self, item: object) -> int:
        if not isinstance(item, tuple) or len(item) != self._r:
            return -1
        at, rest = 0, self._flat_pool
        for r, element in zip(range(self._r, 0, -1), item, strict=True):
            digit = find_in(rest, element)
            if digit < 0:
                return -1
            at += self._before(size_of(rest), r, digit)
            rest = self._after(rest, digit)
        return at

    def _distinct(self) -> bool:
        return distinct(self._pool)

    def _key(self) -> tuple[Any, ...]:
        return self._pool, self._r

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._key()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({short(self._pool)}, {self._r})"


class Permutations(_Choice[T]):
    """All orders of `r` elements of a pool: ``itertools.permutations``.

    Args:
        pool: a sequence, a space or another iterable; elements count by their places, as in itertools.
        r: elements in an item; None: all of them.

    Raises:
        TypeError: the pool cannot be iterated, or `r` is no int.
        SettingsError: `r` is negative.
    """

    def __init__(self, pool: Iterable[T], r: int | None = None) -> None:
        kept = pool_of(pool, "Permutations")
        super().__init__(kept, size_of(kept) if r is None else r)

    @cached_property
    def _flat_pool(self) -> Any:
        return tuple(self._pool)

    @staticmethod
    def _count(n: int, r: int) -> int:
        return perm(n, r)

    @classmethod
    def _before(cls, n: int, r: int, digit: int) -> int:
        return digit * perm(n - 1, r - 1)

    def _block(self, n: int, r: int, at: int) -> tuple[int, int, int]:
        size = perm(n - 1, r - 1)
        digit = at // size
        return digit, digit * size, (digit + 1) * size

    @staticmethod
    def _after(rest: Any, digit: int) -> Any:
        return rest[:digit] + rest[digit + 1 :]

    def _behind(self, chosen: tuple[Any, ...], rest: Any, digit: int, end: int, hi: int) -> Todo:
        return chosen, rest, end, hi

    def _run(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        return cut(permutations(chosen + rest, self._r), lo, hi)

    def _pairs(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Pieces | None:
        # Each first element has only len(rest) - 1 items: what is done for each of them counts.
        return _each_pair(chosen, rest, lo, hi) if len(chosen) + 2 == self._r else None


def _each_pair(chosen: tuple[Any, ...], rest: tuple[Any, ...], lo: int, hi: int) -> Pieces:
    """Permutations that begin with `chosen` and go on with two elements of `rest`."""
    begin = list(zip(chosen))
    block = len(rest) - 1
    for digit in range(lo // block, -(-hi // block)):
        first = digit * block
        others = rest[:digit] + rest[digit + 1 :]
        yield product(*begin, (rest[digit],), others[max(0, lo - first) : hi - first])


class Combinations(_Choice[T]):
    """All choices of `r` elements of a pool, in the pool's order: ``itertools.combinations``.

    Args:
        pool: a sequence, a space or another iterable; elements count by their places, as in itertools.
        r: elements in an item.

    Raises:
        TypeError: the pool cannot be iterated, or `r` is no int.
        SettingsError: `r` is negative.
    """

    @staticmethod
    def _count(n: int, r: int) -> int:
        return comb(n, r)

    @staticmethod
    def _after(rest: Any, digit: int) -> Any:
        return rest[digit + 1 :]

    def _run(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        return cut(combinations((*chosen, *rest), self._r), lo, hi)


class CombinationsWithReplacement(_Choice[T]):
    """All choices of `r` elements, each as often as wanted: ``itertools.combinations_with_replacement``.

    Args:
        pool: a sequence, a space or another iterable; elements count by their places, as in itertools.
        r: elements in an item.

    Raises:
        TypeError: the pool cannot be iterated, or `r` is no int.
        SettingsError: `r` is negative.
    """

    @staticmethod
    def _count(n: int, r: int) -> int:
        return comb(n + r - 1, r) if n else int(r == 0)

    @staticmethod
    def _after(rest: Any, digit: int) -> Any:
        return rest[digit:]

    def _run(self, chosen: tuple[Any, ...], rest: Any, lo: int, hi: int) -> Iterator[tuple[Any, ...]]:
        # No order of the pool makes itertools begin with what has been chosen: it is put in front of each item.
        tails = cut(combinations_with_replacement(rest, self._r - len(chosen)), lo, hi)
        return map(operator.add, repeat(chosen), tails) if chosen else tails
