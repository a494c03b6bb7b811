"""What a feeder reads from: an iterator, or something that is cut by slices, so that workers make the items themselves.

Cut by slices: ranges, search spaces (:mod:`eisenmp.spaces`), lists, tuples, texts, bytes, memory-mapped files, numpy
arrays, Arrow tables and arrays. Anything else is iterated.
"""

from __future__ import annotations

import mmap
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sized
from itertools import islice
from typing import Any, Final

__all__ = ["Items", "Slices", "Source", "is_sliceable", "size_of", "source_of"]

_SLICED: Final = (range, list, tuple, str, bytes, bytearray, array, mmap.mmap)
_MARK: Final = "__eisenmp_slices__"  # a class of which slices are small and lazy says so by this attribute


class Items:
    """An iterator.

    ``own_pickle``: items of several chunks must not share a pickle, unless they are plain data.
    """

    own_pickle = True

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterator = iter(iterable)
        self._owner = iterable
        self._rows: list[Any] = []

    def read(self, count: int) -> None:
        """Take the next items, to be had by :meth:`part` or :meth:`rest`. ``extend`` keeps what came before an error.

        While it waits for the iterator, another thread may take what has come so far.
        """
        self._rows.extend(islice(self._iterator, count))

    @property
    def jumps(self) -> bool:
        """Whether it can go past any number of items at once."""
        return _method(self._owner, "seek") is not None or _method(self._iterator, "skip") is not None

    def skip(self, position: int, count: int) -> int:
        """Go past so many items, the next of which is number `position`; return past how many. Raises whatever theirs
        raises.

        An iterable that can begin anywhere (``seek(n)``: the next item is number n), or an iterator that can go further
        (``skip(n)``: n items further), is asked to; others are read.
        """
        seek, skip = _method(self._owner, "seek"), _method(self._iterator, "skip")
        if seek is not None:
            seek(position + count)
            self._iterator = iter(self._owner)
        elif skip is not None:
            skip(count)
        else:
            last = deque(enumerate(islice(self._iterator, count), 1), maxlen=1)
            count = last[0][0] if last else 0
        return count

    def part(self, multiple: int) -> list[Any]:
        """What has come so far, a multiple of so many items."""
        count = len(self._rows) // multiple * multiple
        part = self._rows[:count]
        del self._rows[:count]
        return part

    def rest(self) -> list[Any]:
        """All that was read."""
        rows, self._rows = self._rows, []
        return rows

    def count(self) -> int:
        """How many have been read and not taken."""
        return len(self._rows)

    def item(self, at: int) -> Any:
        """One of them."""
        return self._rows[at]


class Slices:
    """Something that is cut by slices. See :class:`Items`."""

    def __init__(self, whole: Any) -> None:
        self.own_pickle = isinstance(whole, list | tuple) or getattr(getattr(whole, "dtype", None), "hasobject", False)
        self._whole = whole
        self._start = 0
        self._stop = 0

    def read(self, count: int) -> None:
        size = _length(self._whole)  # now: a list may grow while it is fed, and a file be closed, which is told
        self._stop = min(self._stop + count, max(self._start, size))

    jumps = True

    def skip(self, position: int, count: int) -> int:
        start = min(position + count, _length(self._whole))
        self._start = self._stop = max(position, start)
        return self._start - position

    def part(self, multiple: int) -> Any:
        return ()  # reading takes no time, so nothing waits

    def rest(self) -> Any:
        rows = self._whole[self._start : self._stop]
        self._start = self._stop
        return rows

    def count(self) -> int:
        return self._stop - self._start

    def item(self, at: int) -> Any:
        return self._whole[self._start + at]


Source = Items | Slices


def _method(obj: Any, name: str) -> Callable[[int], Any] | None:
    """A method of the user's class; not that of a file, which counts bytes."""
    if hasattr(obj, "read") or hasattr(obj, "readline"):
        return None
    found = getattr(obj, name, None)
    return found if callable(found) else None


def is_sliceable(whole: Any) -> bool:
    """Whether it is cut by slices."""
    if type(whole) in _SLICED or getattr(type(whole), _MARK, False):
        return True
    numpy, arrow = sys.modules.get("numpy"), sys.modules.get("pyarrow")
    if numpy is not None and isinstance(whole, numpy.ndarray):
        return bool(whole.ndim)
    if arrow is not None:
        return isinstance(whole, arrow.Table | arrow.RecordBatch | arrow.Array | arrow.ChunkedArray)
    return False


def size_of(iterable: Any) -> int | None:
    """How many items it has, where that can be told. A search space may be too large for ``len``."""
    if not (hasattr(type(iterable), _MARK) or isinstance(iterable, Sized)):
        return None
    try:
        return _length(iterable)
    except Exception:  # the user's own code
        return None


def _length(whole: Any) -> int:
    """``len``, of any size. Raises whatever that raises."""
    if hasattr(type(whole), _MARK):
        return int(whole.size)
    if type(whole) is range:  # it may be longer than len() can tell
        return max(0, -((whole.start - whole.stop) // whole.step))
    return len(whole)


def source_of(iterable: Iterable[Any] | Source) -> Source:
    """How to read it; what is a source already stays what it is. Raises TypeError when it cannot be iterated."""
    if isinstance(iterable, Items | Slices):
        return iterable
    return Slices(iterable) if is_sliceable(iterable) else Items(iterable)
