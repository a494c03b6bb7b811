"""Whoever keeps outcomes for longer than this run: the job file, as the results see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from eisenmp.ledger import Track
from eisenmp.payload import Payload
from eisenmp.results.outcome import Record

__all__ = ["Found", "Keeper", "Tickets"]


class Tickets(Protocol):
    """A set of tickets."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """As ranges ``[first, stop)``, in order."""
        ...

    def range_from(self, number: int) -> tuple[int, int] | None:
        """The first range that ends behind `number`."""
        ...


class Found(Protocol):
    """Outcomes of tickets in a row. ``seconds``: of each. ``slot`` -1: nothing more is known of them."""

    @property
    def record(self) -> Record: ...
    @property
    def seconds(self) -> float: ...
    @property
    def slot(self) -> int: ...
    @property
    def attempts(self) -> int: ...


class Keeper(Protocol):
    """Called under the job's lock, but for ``stored``.

    Attributes:
        keeps: values too.
        durable: by queue, tickets whose outcomes are kept by now.
        earlier: by queue, those of them that come from earlier runs.
    """

    @property
    def keeps(self) -> bool: ...
    @property
    def durable(self) -> Mapping[int, Tickets]: ...
    @property
    def earlier(self) -> Mapping[int, Tickets]: ...

    def record(self, record: Record, track: Track) -> None:
        """Keep an outcome."""
        ...

    def take_back(self, record: Record, track: Track) -> None:
        """The ticket is tried again: an outcome that was given is to be forgotten."""
        ...

    def late_value(self, queue: int, serial: int, value: Payload) -> None:
        """A result has come after its ticket was answered."""
        ...

    def pending(self, queue: int) -> Mapping[int, Record]:
        """By first ticket, what was given and is not kept yet."""
        ...

    def unread(self, queue: int) -> int:
        """How many of those count against the window."""
        ...

    def unread_bytes(self, queue: int) -> int:
        """The same in bytes."""
        ...

    def stored(self, queue: int, first: int, stop: int) -> Sequence[Found]:
        """What is kept of the first of these tickets, in order. The first may begin before `first`. May wait."""
        ...
