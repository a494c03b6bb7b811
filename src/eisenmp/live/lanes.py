"""What each worker did when, as bars: the picture in which idle gaps and stragglers show. Pure.

A long chunk is a bar of its own. Short chunks that follow one another share bars: of each tenth of a second, one bar as
long as the work in it, and where that is nearly all of the time the bar goes on. So a worker that is busy half of the
time shows half a lane, however short its chunks are, and a job of a million chunks is a few bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from eisenmp.display.board import short
from eisenmp.events import WorkerView
from eisenmp.tap import Answer, Phased

__all__ = ["Bar", "Lane", "Lanes", "thinned"]

_CELL: Final = 0.1  # seconds over which short chunks are added up
_ROUNDING: Final = 1e-6  # seconds
_FULL: Final = 0.9  # share of a cell from which on it counts as worked through
_LONGEST: Final = 10.0  # seconds of one bar of short chunks


@dataclass(slots=True, eq=False)
class Bar:
    """Times are seconds of the job; ``end`` None: still at it. ``count``: chunks; ``ticket`` is the first of them."""

    slot: int
    start: float
    end: float | None
    kind: str  # 'start', 'work', 'down'
    ticket: str = ""
    count: int = 1

    def row(self) -> list[Any]:
        """As it is sent."""
        end = None if self.end is None else round(self.end, 6)
        return [self.slot, round(self.start, 6), end, self.kind, self.ticket, self.count]


@dataclass(slots=True)
class _Clump:
    end: float
    seconds: float
    count: int
    queue: int
    serial: int


class Lane:
    """One worker slot's.

    Args:
        slot: which.
        name: of a ticket, by the numbers of its queue and its own.
    """

    def __init__(self, slot: int, name: Callable[[int, int], str]) -> None:
        self._slot = slot
        self._name = name
        self._last_end = 0.0  # of the last bar that is done
        self._open: Bar | None = None  # what goes on: a start, a chunk that takes long, a gap without a process
        self._clump: _Clump | None = None  # answers that came together, so that none of them tells when it was begun
        self._run: Bar | None = None  # of short chunks
        self._cell = -1  # which tenth of a second `_cell_start` … are about
        self._cell_start = 0.0
        self._cell_work = 0.0
        self.changed: dict[int, Bar] = {}  # by identity; a bar may change several times before somebody looks

    def answered(self, answer: Answer, end: float, seconds: float) -> None:
        """A try has ended at `end`, after `seconds` of work."""
        if self._open is not None:
            self.flush()
            self._end_open(end, answer.tickets)
            return
        clump = self._clump
        if clump is not None and end - seconds < clump.end and int(end / _CELL) == int(clump.end / _CELL):
            clump.end, clump.seconds, clump.count = end, clump.seconds + seconds, clump.count + answer.tickets
            return
        self.flush()
        self._clump = _Clump(end, seconds, answer.tickets, answer.queue, answer.serial)

    def flush(self) -> None:
        """Draw what has come in together."""
        clump, self._clump = self._clump, None
        if clump is None:
            return
        start = max(self._last_end, clump.end - clump.seconds)
        if clump.seconds < _CELL:
            self._short(clump, start)
        elif start < clump.end:
            self._run = None
            self._done(Bar(self._slot, start, clump.end, "work", self._name(clump.queue, clump.serial), clump.count))

    def _short(self, clump: _Clump, start: float) -> None:
        cell = int(clump.end / _CELL)
        run = self._run
        if run is None or cell != self._cell:
            self._cell, self._cell_work = cell, 0.0
            goes_on = run is not None and start - self._last_end <= (1 - _FULL) * _CELL
            if run is None or not goes_on or start - run.start >= _LONGEST:
                run = self._run = Bar(self._slot, start, start, "work", self._name(clump.queue, clump.serial), 0)
            self._cell_start = self._last_end if goes_on else start
        assert run.end is not None
        run.count += clump.count
        self._cell_work += clump.seconds
        worked_through = self._cell_work >= _FULL * (clump.end - self._cell_start)
        run.end = max(run.end, clump.end if worked_through else self._cell_start + self._cell_work)
        self._last_end = run.end
        self.changed[id(run)] = run

    def phase(self, phase: str, at: float) -> None:
        """The slot's process starts, is up, or is gone."""
        self.flush()
        self._end_open(at)
        self._run = None
        if phase in ("start", "down"):
            self._begin(Bar(self._slot, at, None, phase))

    def at_work(self, worker: WorkerView, now: float) -> None:
        """What the worker is at: a bar of its own once that takes long."""
        working = bool(worker.at) and worker.oldest_seconds >= _CELL
        start = max(self._last_end, now - worker.oldest_seconds)
        opened = self._open
        if opened is not None and opened.kind == "work" and not (working and start < opened.start + _CELL):
            self._end_open(start if working else now)  # it was given back, or answered in another way
            start = max(start, self._last_end)
        if working and self._open is None:
            self._run = None
            self._begin(Bar(self._slot, start, None, "work", short(worker.at)))

    def _begin(self, bar: Bar) -> None:
        self._open = bar
        self.changed[id(bar)] = bar

    def _end_open(self, at: float, count: int = 1) -> None:
        bar, self._open = self._open, None
        if bar is None:
            return
        bar.end = max(bar.start, at)
        bar.count = count
        self._done(bar)

    def _done(self, bar: Bar) -> None:
        assert bar.end is not None
        self._last_end = bar.end
        self.changed[id(bar)] = bar


@dataclass(slots=True)
class _Sum:
    """Short chunks of one slot that have ended in one cell, without the first of them."""

    cell: int
    first: Answer
    first_end: float
    tickets: int = 0
    seconds: float = 0.0
    end: float = 0.0

    def draw(self, lane: Lane) -> None:
        """After the first of them, which has been drawn."""
        if not self.tickets:
            return
        if self.end - self.seconds > self.first_end - _ROUNDING:  # one after the other, not all at once
            lane.flush()
        lane.answered(self.first._replace(tickets=self.tickets), self.end, self.seconds)
        lane.flush()


class Lanes:
    """All lanes.

    Args:
        name: see :class:`Lane`.
    """

    def __init__(self, name: Callable[[int, int], str]) -> None:
        self._name = name
        self._lanes: dict[int, Lane] = {}

    def advance(
        self,
        answers: Iterable[Answer],
        phases: Iterable[Phased],
        workers: Iterable[WorkerView],
        began: float,
        now: float,
    ) -> list[Bar]:
        """What has happened since the last call, in the order in which it did.

        Args:
            answers: tries that have ended.
            phases: slots that came to another phase.
            workers: how they are now.
            began: when the job began, by its clock.
            now: seconds since then.

        Returns:
            Bars that are new or have changed.
        """
        if phases:
            happened: list[Answer | Phased] = [*answers, *phases]
            for one in sorted(happened, key=_when):
                if isinstance(one, Phased):
                    self._lane(one.slot).phase(one.phase, one.at - began)
                else:
                    self._lane(one.slot).answered(one, one.end - began, one.seconds or one.end - one.begun)
        else:
            self._advance_quickly(answers, began)
        for lane in self._lanes.values():
            lane.flush()
        for worker in workers:
            self._lane(worker.slot).at_work(worker, now)
        return self._changed()

    def _advance_quickly(self, answers: Iterable[Answer], began: float) -> None:
        """Of thousands of short chunks: those after the first of a lane in a cell are added up here, for speed."""
        sums: dict[int, _Sum] = {}
        for answer in answers:
            slot, _, _, tickets, _, _, begun, end, seconds, _ = answer
            seconds = seconds or end - begun
            end -= began
            cell = int(end / _CELL)
            added = sums.get(slot)
            if added is not None and cell == added.cell and added.seconds + seconds < _CELL:
                added.tickets += tickets
                added.seconds += seconds
                added.end = end
                continue
            lane = self._lane(slot)
            if added is not None:
                added.draw(lane)
            lane.answered(answer, end, seconds)
            sums[slot] = _Sum(cell, answer, end)
        for slot, added in sums.items():
            added.draw(self._lane(slot))

    def _lane(self, slot: int) -> Lane:
        if slot not in self._lanes:
            self._lanes[slot] = Lane(slot, self._name)
        return self._lanes[slot]

    def _changed(self) -> list[Bar]:
        bars: list[Bar] = []
        for lane in self._lanes.values():
            bars += lane.changed.values()
            lane.changed = {}
        return bars


def _when(one: Answer | Phased) -> float:
    return one.end if isinstance(one, Answer) else one.at


def thinned(bars: list[Bar], width: float) -> list[Bar]:
    """Bars of one kind in one slot that begin within the same `width` seconds become one, as long as all of them.

    Args:
        bars: in the order of their starts; those without an end stay as they are.
        width: seconds.
    """
    result: list[Bar] = []
    last: dict[int, Bar] = {}  # by slot
    for bar in bars:
        before = last.get(bar.slot)
        if (
            before is not None
            and before.end is not None
            and bar.end is not None
            and before.kind == bar.kind
            and int(before.start / width) == int(bar.start / width)
        ):
            before.end = min(bar.end, before.end + bar.end - bar.start)
            before.count += bar.count
            continue
        copy = Bar(bar.slot, bar.start, bar.end, bar.kind, bar.ticket, bar.count)
        last[bar.slot] = copy
        result.append(copy)
    return result
