"""Where chunks begin and end: which ticket has which items of which source. Pure.

Kept as runs: tickets in a row whose items lie in a row and are equally many. A queue that one feeder cuts evenly is one
run, however many tickets it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from eisenmp.jobfile.ranges import Ranges

__all__ = ["Borders", "Run", "Stretch", "is_sampled", "stretches"]

_SAMPLES: int = 16  # chunks of each power of two that are sampled


@dataclass(slots=True)
class Run:
    """Tickets in a row, `rows` items each, of one source.

    ``position``: of the first item within its source, from 0.
    """

    first: int
    tickets: int
    rows: int
    source: int
    position: int

    @property
    def stop(self) -> int:
        """The first ticket after it."""
        return self.first + self.tickets

    def takes(self, other: Run) -> bool:
        """Whether the other one goes on where this one ends."""
        return (
            self.source == other.source
            and self.rows == other.rows
            and self.stop == other.first
            and self.position + self.tickets * self.rows == other.position
        )


class Borders:
    """All tickets of one queue, from 0 on without gaps. `changed`: runs to be written down."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.runs = list(runs)
        self.changed: dict[int, Run] = {}  # by first ticket

    @property
    def stop(self) -> int:
        """How many tickets there are."""
        return self.runs[-1].stop if self.runs else 0

    def add(self, tickets: int, items: int, rows: int, source: int, position: int) -> None:
        """New tickets: `rows` items each, the last one what is left of `items`. One ticket may have any number."""
        full, rest = (1, 0) if tickets == 1 else (tickets, 0)
        if tickets == 1:
            rows = items
        elif items < tickets * rows:
            full, rest = tickets - 1, items - (tickets - 1) * rows
        self._append(Run(self.stop, full, rows, source, position))
        if rest:
            self._append(Run(self.stop, 1, rest, source, position + full * rows))

    def _append(self, run: Run) -> None:
        last = self.runs[-1] if self.runs else None
        if last is not None and last.takes(run):
            last.tickets += run.tickets
            run = last
        else:
            self.runs.append(run)
        self.changed[run.first] = run


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tickets in a row of one source, which are all finished, or all to be cut again.

    ``check``: the one ticket is finished, and a sample of its items was kept.
    """

    first: int
    tickets: int
    rows: int
    position: int
    finished: bool
    check: bool = False

    @property
    def items(self) -> int:
        """Items of all its tickets."""
        return self.tickets * self.rows


def stretches(runs: Iterable[Run], source: int, finished: Ranges, samples: Iterable[int] = ()) -> Iterator[Stretch]:
    """What a source has to do again, in the order of its items.

    Args:
        runs: of its queue.
        source: number of the source.
        finished: tickets of the queue.
        samples: positions of chunks of the source of which a sample was kept.
    """
    marks = sorted(samples)
    mark = 0
    for run in sorted([run for run in runs if run.source == source], key=attrgetter("position")):
        for begin, end, is_in in finished.within(run.first, run.stop):
            at = begin
            while is_in and at < end:
                position = run.position + (at - run.first) * run.rows
                while mark < len(marks) and marks[mark] < position:
                    mark += 1
                ticket = end if mark == len(marks) else run.first + (marks[mark] - run.position) // run.rows
                if ticket == at:
                    yield Stretch(at, 1, run.rows, position, finished=True, check=True)
                    at += 1
                else:
                    upto = min(end, ticket)
                    yield Stretch(at, upto - at, run.rows, position, finished=True)
                    at = upto
            if not is_in:
                position = run.position + (begin - run.first) * run.rows
                yield Stretch(begin, end - begin, run.rows, position, finished=False)


def is_sampled(number: int) -> bool:
    """Whether a sample of the chunk is kept that is that many chunks from the beginning of its source.

    The first thirty-two, then ever fewer: sixteen between each power of two and the next.
    """
    return number < _SAMPLES or number % (1 << (number.bit_length() - _SAMPLES.bit_length())) == 0
