"""The outcomes of one queue in ticket order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from eisenmp.errors import ResultsError
from eisenmp.ledger import State
from eisenmp.queues import NamedQueue
from eisenmp.results.outcome import Outcome

if TYPE_CHECKING:
    from eisenmp.results.memory import Results

__all__ = ["QueueResults"]


class QueueResults(Sequence[Outcome]):
    """The outcomes of one queue in ticket order; tells also what failed, is missing, or was never read."""

    def __init__(self, results: Results, queue: NamedQueue) -> None:
        self._results = results
        self._queue = queue
        self._track = results.ledger.track(queue.number)

    def __len__(self) -> int:
        return len(self._track)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> list[Outcome]: ...
    def __getitem__(self, at: int | slice) -> Outcome | list[Outcome]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError(f"ticket {at} of queue {self._queue.name!r}; there are {len(self)}")
        return self._results.outcome(self._results.records_from(self._queue.number, at)[0], at)

    def __iter__(self) -> Iterator[Outcome]:
        at = 0
        while at < len(self):
            for record in self._results.records_from(self._queue.number, at):  # what came together is opened together
                yield from self._results.outcomes_of(record)[at - record.serial :]
                at = record.serial + record.tickets

    def __repr__(self) -> str:
        return f"<results: {self.summary()}>"

    def _in_state(self, *states: int) -> list[int]:
        return [n for n, state in enumerate(self._track.states) if state in states]

    @property
    def done(self) -> list[int]:
        """Tickets with a result."""
        return self._in_state(State.DONE)

    @property
    def failed(self) -> list[int]:
        """Tickets that ended in an exception."""
        return self._in_state(State.FAILED)

    @property
    def set_aside(self) -> list[int]:
        """Tickets whose worker died each time."""
        return self._in_state(State.SET_ASIDE)

    @property
    def unread(self) -> list[int]:
        """Tickets that nobody took, or nobody has taken yet."""
        return self._in_state(State.UNREAD, State.QUEUED)

    @property
    def missing(self) -> list[int]:
        """Tickets that a worker holds or held without an answer, and those nobody took."""
        return self._in_state(State.LEASED, State.QUEUED, State.UNREAD)

    @property
    def complete(self) -> bool:
        """Whether every ticket is done."""
        return self._track.counts[State.DONE] == len(self._track)

    def values(self) -> list[Any]:
        """The results of all tickets in ticket order.

        Raises:
            ResultsError: results were not kept, or a ticket has none.
        """
        if not self._results.has_values and len(self):
            raise ResultsError(
                "results were not kept: set RESULTS_STORE = True or a JOB file, or read results.outcomes()"
            )
        if not self.complete:
            raise ResultsError(f"not every ticket has a result: {self.summary()}")
        return [outcome.value for outcome in self]

    def summary(self) -> str:
        """How the tickets stand, in words."""
        name = self._queue.name
        if self.complete:
            return f"{name}: all {len(self)} tickets done"
        counts = [
            f"{count} {State.NAMES[state]} ({_ranges(self._in_state(state))})"
            for state, count in enumerate(self._track.counts)
            if count and state != State.DONE
        ]
        return f"{name}: {self._track.counts[State.DONE]} of {len(self)} tickets done, {', '.join(counts)}"


def _ranges(numbers: list[int], most: int = 6) -> str:
    """``0-3, 7, 9-11, …``"""
    parts: list[str] = []
    start = None
    for at, number in enumerate(numbers):
        if start is None:
            start = number
        if at + 1 == len(numbers) or numbers[at + 1] != number + 1:
            parts.append(str(start) if start == number else f"{start}-{number}")
            start = None
        if len(parts) > most:
            return ", ".join(parts[:most]) + ", …"
    return ", ".join(parts)
