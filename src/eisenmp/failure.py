"""What a short form tells of what has failed. Loaded when something has: ``dataclasses`` takes milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Failure"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An item, or in ``imap_chunks`` a chunk, that has no result.

    Attributes:
        index: place of the item in the iterable, from 0; of a chunk, that of its first item.
        error: what the function raised, or what became of its worker.
        ticket: of the chunk.
    """

    index: int
    error: BaseException
    ticket: int
