"""Which items of a ticket end their workers. Pure.

A ticket whose workers have died too often is cut in halves, which run one after the other, each alone; a part over
which a worker dies is cut again, until single items stand accused. Parts that are answered keep their results, so that
an item that cannot be borne costs itself and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eisenmp.payload import Payload

__all__ = ["Search", "Suspect"]

_ALONE: Final = 2  # deaths that a lone item gets before it stands accused; one can be an accident


class Suspect:
    """Some items of a ticket, and what has become of them.

    Attributes:
        first: place of the first one within the chunk, from 0.
        items: how many.
        value: the answer, None when it had no value.
        item_errors: see :class:`eisenmp.results.Record`.
        error: of a part that ended in an exception: that.
        exits: how its workers died. With an outcome and no exit it is innocent.
        text: how a lone item looks, when its worker could still tell.
    """

    def __init__(
        self,
        first: int,
        items: int,
        value: Payload | None = None,
        item_errors: Payload = (),
        error: Payload | None = None,
        exits: list[str] | None = None,
        text: str = "",
    ) -> None:
        self.first = first
        self.items = items
        self.value = value
        self.item_errors = item_errors
        self.error = error
        self.exits = exits if exits is not None else []
        self.text = text

    def without_value(self) -> Suspect:
        """A copy that keeps what has failed."""
        return Suspect(self.first, self.items, None, self.item_errors, self.error, self.exits, self.text)

    def halves(self) -> Iterator[Suspect]:
        """Both halves, the first one first."""
        middle = self.items // 2
        yield Suspect(self.first, middle)
        yield Suspect(self.first + middle, self.items - middle)


class Search:
    """The search for what is wrong with one ticket.

    Args:
        items: how many it has.
        exits: how its workers have died so far.
        retries: ``CRASH_RETRIES``.

    Attributes:
        outcomes: of the parts that have one.
        accused: those of them over which workers died.
        seconds: that workers have spent on the others.
    """

    def __init__(self, items: int, exits: list[str], retries: int) -> None:
        whole = Suspect(0, items)
        # a ticket of one item is as alone as can be: this is its last try, in which it is asked for its looks
        self._rest = [whole] if items == 1 else [*whole.halves()][::-1]
        self._deaths = 1 if items == 1 else min(_ALONE, 1 + retries)
        self._before = list(exits)
        self._opened = False
        self._closed = 0  # deaths before the items were there
        self.outcomes: list[Suspect] = []
        self.accused: list[Suspect] = []
        self.seconds = 0.0

    @property
    def over(self) -> bool:
        """Whether every item has an outcome."""
        return not self._rest

    @property
    def part(self) -> tuple[int, int]:
        """(first, items) of what is to run next, or runs."""
        return self._rest[-1].first, self._rest[-1].items

    def begins(self) -> None:
        """A worker gets the part."""
        self._opened = False

    def opened(self, text: str) -> None:
        """It has made the items of it, and calls the function next. `text`: how a lone item looks."""
        self._opened = True
        if self._rest:
            self._rest[-1].text = text or self._rest[-1].text

    def answered(self, seconds: float, value: Payload | None, item_errors: Payload, error: Payload | None) -> None:
        """The part has come through, or has ended in an exception."""
        suspect = self._rest.pop()
        suspect.value, suspect.item_errors, suspect.error = value, item_errors, error
        suspect.exits = []  # an accident, then
        self.seconds += seconds
        self.outcomes.append(suspect)

    def died(self, reason: str) -> None:
        """The worker died over the part."""
        suspect = self._rest[-1]
        suspect.exits.append(reason)
        if not self._opened:
            self._closed += 1
            if self._closed >= self._deaths:  # all parts are opened together: halving leads nowhere
                exits = [reason for part in self._rest for reason in part.exits]
                first, items = suspect.first, sum([part.items for part in self._rest])
                self._rest = [Suspect(first, items, exits=exits)]
                self._accuse(self._rest[0])
        elif suspect.items > 1:
            self._rest[-1:] = [*suspect.halves()][::-1]
        elif len(suspect.exits) >= self._deaths:
            self._accuse(suspect)

    def _accuse(self, suspect: Suspect) -> None:
        self._rest.remove(suspect)
        suspect.exits = [*self._before, *suspect.exits]
        self.outcomes.append(suspect)
        self.accused.append(suspect)
