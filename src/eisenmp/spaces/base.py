"""What all search spaces share: length, index, slice, how a slice is walked, and the sequences they are made of."""

from __future__ import annotations

import operator
import reprlib
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain, islice
from typing import Any, Final, TypeVar, overload

__all__ = [
    "WIDE",
    "Slice",
    "Space",
    "count",
    "cut",
    "distinct",
    "find_in",
    "part_of",
    "pool_of",
    "short",
    "size_of",
    "span_of",
    "told",
]

T_co = TypeVar("T_co", covariant=True)

WIDE: Final = 1 << 16  # items of a sequence that may be made at one time
_RUN: Final = 2048  # items of a slice with a step that are made at one time
_LEAP: Final = 256  # up to this step, passing over what lies between is faster than going to each item

_repr = reprlib.Repr()
_repr.maxtuple = _repr.maxlist = 8
_repr.maxstring = _repr.maxother = 80
short = _repr.repr


class Space(Sequence[T_co]):
    """A sequence whose items are made when somebody asks for them.

    Two spaces are equal when they are built alike: the same kind over equal pools, or the same part of such.

    Attributes:
        size: how many items, exactly. ``len()`` cannot tell more than ``sys.maxsize``.
    """

    __eisenmp_slices__ = True
    size: int

    # ---- what each kind of space knows

    @abstractmethod
    def _span(self, lo: int, hi: int) -> Iterator[T_co]:
        """The items `lo` to `hi` - 1, in order, as fast as itertools makes them. 0 <= lo < hi <= size."""

    @abstractmethod
    def _key(self) -> tuple[Any, ...]:
        """All that makes this space what it is, its class aside."""

    def _around(self, lo: int, hi: int) -> tuple[Space[T_co], int]:
        """A space, as small as can be, that holds the items `lo` to `hi` - 1; where its first item stands in this one.

        It is what travels in the place of this one, which may hold a list of millions.
        """
        return self, 0

    def _find(self, item: object) -> int:
        """The first place of `item`, -1: it is not here. Here by looking at all of them."""
        return next((at for at, each in enumerate(self) if each is item or each == item), -1)

    def _distinct(self) -> bool:
        """Whether no item comes twice; False also when that is not known."""
        return False

    # ---- a sequence

    def __len__(self) -> int:
        if self.size > sys.maxsize:
            raise OverflowError(
                f"{short(self)} has {told(self.size)} items, more than len() can tell; its attribute size tells"
            )
        return self.size

    def __bool__(self) -> bool:
        return self.size > 0

    @overload
    def __getitem__(self, key: int) -> T_co: ...
    @overload
    def __getitem__(self, key: slice) -> Space[T_co]: ...
    def __getitem__(self, key: int | slice) -> T_co | Space[T_co]:
        """One item, or the part of the space that a slice names, of any step.

        Raises:
            IndexError: there is no such item.
        """
        if isinstance(key, slice):
            return self._sliced(key)
        try:
            at = operator.index(key)
        except TypeError:
            raise TypeError(f"{short(self)} takes an int or a slice in [ ], not {short(key)}") from None
        if at < 0:
            at += self.size
        if not 0 <= at < self.size:
            raise IndexError(f"index {told(key)} is outside {short(self)}, which has {told(self.size)} items")
        return self._item(at)

    def _sliced(self, key: slice) -> Space[T_co]:
        return self._part(range(self.size)[key])

    def _part(self, at: range) -> Space[T_co]:
        return self if at == range(self.size) else Slice(self, at)

    def _item(self, at: int) -> T_co:
        return next(self._span(at, at + 1))

    def __iter__(self) -> Iterator[T_co]:
        return span_of(self, 0, self.size)

    def __reversed__(self) -> Iterator[T_co]:
        return iter(self[::-1])

    def __contains__(self, item: object) -> bool:
        return self._find(item) >= 0

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """The first place of `value`, by arithmetic where the space allows it.

        Only spaces that may hold an item twice, and ``Chain`` and ``Zip`` of such, are looked through item by item.

        Raises:
            ValueError: it is not there.
        """
        if start == 0 and stop is None:
            at = self._find(value)
        else:
            start = slice(start, stop).indices(self.size)[0]
            at = self[start:stop]._find(value)
        if at < 0:
            raise ValueError(f"{short(value)} is not in {short(self)}")
        return start + at

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return self is other or self._form() == other._form()

    def __hash__(self) -> int:
        return hash(self._form())

    def _form(self) -> tuple[Any, ...]:
        """What equal spaces have in common."""
        return type(self), self._key()


class Slice(Space[T_co]):
    """A part of a space: what ``space[start:stop:step]`` gives. It holds the space and the places, and no item.

    Args:
        space: the space it is a part of.
        at: the places of its items in that space.
    """

    def __init__(self, space: Space[T_co], at: range) -> None:
        self._space = space
        self._at = at
        self.size = count(at)

    def _sliced(self, key: slice) -> Space[T_co]:
        return self._space._part(self._at[key])

    def _item(self, at: int) -> T_co:
        return self._space._item(self._at[at])

    def _span(self, lo: int, hi: int) -> Iterator[T_co]:
        at = self._at[lo:hi]
        if at.step == 1:
            return self._space._span(at.start, at.stop)
        if abs(at.step) <= _LEAP:
            return chain.from_iterable(self._runs(at))
        return map(self._space._item, at)

    def _runs(self, at: range) -> Iterator[list[T_co]]:
        """Stretch by stretch: each is made forwards, then sifted, and turned round for a negative step."""
        for first in range(0, count(at), _RUN):
            run = at[first : first + _RUN]
            lo, hi = _ends(run)
            items = list(islice(self._space._span(lo, hi), 0, None, abs(at.step)))
            yield items if at.step > 0 else items[::-1]

    def _find(self, item: object) -> int:
        if not self._distinct():
            return super()._find(item)
        at = self._space._find(item)
        return self._at.index(at) if at in self._at else -1

    def _distinct(self) -> bool:
        return self._space._distinct()

    def _key(self) -> tuple[Any, ...]:
        """A part of a smaller space is the same as one of a larger space: the smallest is taken, and travels."""
        if not self.size:
            return self._space, range(0)
        space, first = self._space._around(*_ends(self._at))
        return space, range(self._at.start - first, self._at.stop - first, self._at.step)

    def _form(self) -> tuple[Any, ...]:
        space, at = self._key()
        if not self.size:
            return Slice, type(space)
        return space._form() if at == range(space.size) else (Slice, space._form(), at)

    def __reduce__(self) -> tuple[Any, ...]:
        return Slice, self._key()

    def __repr__(self) -> str:
        start, stop, step = self._at.start, self._at.stop, self._at.step
        stop_text = "" if stop < 0 else str(stop)
        return f"{self._space!r}[{start}:{stop_text}{'' if step == 1 else f':{step}'}]"


# ---- numbers


def count(numbers: range) -> int:
    """The length of a range, which ``len`` tells up to ``sys.maxsize`` only."""
    return max(0, -((numbers.start - numbers.stop) // numbers.step))


def told(number: Any) -> str:
    """A number for people: Python refuses to write out one of 4300 digits and more."""
    if not isinstance(number, int) or number.bit_length() < 100:
        return f"{number:,}" if isinstance(number, int) else str(number)
    return f"about {'-' if number < 0 else ''}10**{int(number.bit_length() * 0.30103)}"


def _ends(at: range) -> tuple[int, int]:
    """The lowest number of a range that is not empty, and the one after the highest."""
    return (at[0], at[-1] + 1) if at.step > 0 else (at[-1], at[0] + 1)


def cut(items: Iterator[T_co], lo: int, hi: int) -> Iterator[T_co]:
    """``islice``, which refuses more than sys.maxsize: so many items are never seen the end of."""
    return islice(items, lo, hi if hi <= sys.maxsize else None)


# ---- the sequences that spaces are made of: other spaces, ranges, strings, tuples


def pool_of(value: Any, owner: str) -> Any:
    """A pool as it is kept: as it is when it cannot change and can be small (a range, a space, a text), else a tuple.

    Raises:
        TypeError: it cannot be iterated.
    """
    if isinstance(value, (Space, range, str, bytes)):
        return value
    try:
        return tuple(value)
    except TypeError:
        if isinstance(value, Iterable):
            raise  # its own code failed
        raise TypeError(
            f"{owner} takes sequences, spaces and other iterables; {short(value)} is none of these"
        ) from None


def part_of(value: Any, owner: str) -> Any:
    """A part as it is kept: like a pool; but what can be sliced stays where it is, be it an array or a mapped file."""
    if not isinstance(value, (list, Mapping, Set)) and hasattr(value, "__len__"):
        try:
            value[:0]
        except Exception:
            pass  # a sequence without slices
        else:
            return value
    return pool_of(value, owner)


def size_of(part: Any) -> int:
    """How many items."""
    if isinstance(part, Space):
        return part.size
    return count(part) if isinstance(part, range) else len(part)


def span_of(part: Any, lo: int, hi: int) -> Iterator[Any]:
    """The items `lo` to `hi` - 1."""
    if lo >= hi:
        return iter(())
    if isinstance(part, Space):
        return part._span(lo, hi)
    if isinstance(part, range) or hi - lo <= WIDE:
        return iter(part[lo:hi])
    if hi - lo == len(part):
        return iter(part)
    return chain.from_iterable(part[at : min(at + WIDE, hi)] for at in range(lo, hi, WIDE))


def find_in(part: Any, item: object) -> int:
    """The first place of an item, -1: it is not there."""
    if isinstance(part, Space):
        return part._find(item)
    try:
        if isinstance(part, range):
            # A range finds an int at once, and looks for anything else one by one.
            return part.index(int(item)) if int(item) == item else -1  # type: ignore[call-overload]
        return tuple(part).index(item)
    except (TypeError, ValueError, OverflowError):
        return -1


def distinct(part: Any) -> bool:
    """Whether no item comes twice; False also when that cannot be told quickly."""
    if isinstance(part, Space):
        return part._distinct()
    try:
        return isinstance(part, range) or len(set(part)) == len(part)
    except TypeError:
        return False  # items that cannot be hashed
