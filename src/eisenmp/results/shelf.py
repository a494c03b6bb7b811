"""Chunks that have failed or were set aside, kept for another try. Pure.

Not all that ever fail: the newest ones, in a room that does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eisenmp.ledger import Chunk
from eisenmp.payload import nbytes
from eisenmp.results.outcome import Record

__all__ = ["Shelf"]

_MOST: Final = 2000  # chunks
_BYTES: Final = 32 << 20  # of their items


class Shelf:
    """By queue and ticket: the chunk, and the outcome that it had."""

    def __init__(self, most: int = _MOST, size: int = _BYTES) -> None:
        self._most = most
        self._size = size
        self._kept: dict[tuple[int, int], tuple[Chunk, Record]] = {}  # oldest first
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[tuple[Chunk, Record]]:
        return iter(list(self._kept.values()))

    def put(self, chunk: Chunk, record: Record) -> None:
        """Keep a chunk, and let go of the oldest where there is no room, or that somebody was told of."""
        while self._kept and next(iter(self._kept.values()))[1].read:
            self._remove(next(iter(self._kept)))
        self._kept[record.queue, record.serial] = (chunk, record)
        self._bytes += nbytes(chunk.payload)
        while self._bytes > self._size or len(self._kept) > self._most:
            self._remove(next(iter(self._kept)))

    def remove(self, record: Record) -> None:
        """Keep it no longer."""
        self._remove((record.queue, record.serial))

    def were_read(self, queue: int, first: int, stop: int) -> None:
        """Somebody was told the outcomes of these tickets."""
        for number, serial in list(self._kept):
            if number == queue and first <= serial < stop:
                self._remove((number, serial))

    def _remove(self, key: tuple[int, int]) -> None:
        chunk, _ = self._kept.pop(key)
        self._bytes -= nbytes(chunk.payload)
