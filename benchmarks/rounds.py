"""Turns, ratios, goals: the part of the benchmarks that only counts. It starts no process and knows no library.

A `Contest` keeps all numbers of all rounds, so whoever wants them otherwise than the table or the plot shows them can
have them (``figures.json``).
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

__all__ = ["OURS", "Contest", "Figure", "Goal", "NoAnswer", "Turns", "difference", "ratio", "take_turns"]

T = TypeVar("T")

OURS: Final = "eisenmp"  # the names of all contenders of ours begin so


class NoAnswer(Exception):  # noqa: N818 - it is an outcome
    """A contender has no number for this workload, and its text says in a few words what it does instead: ``hangs``."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to reach.

    Attributes:
        must: what was promised; None: nothing was.
        aim: what would be good.
        least: both are a least, not a most.
        worst: the worst round has to reach it, not the median.
    """

    must: float | None = None
    aim: float | None = None
    least: bool = True
    worst: bool = False

    def reached(self, limit: float, values: Sequence[float]) -> bool:
        """Whether the rounds' `values` reach the `limit`."""
        if self.worst:
            value = min(values) if self.least else max(values)
        else:
            value = statistics.median(values)
        return value >= limit if self.least else value <= limit


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that has a goal: one value for each round.

    Attributes:
        name: what was measured.
        values: one a round.
        unit: of the values.
        goal: what it is to reach.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    goal: Goal = Goal()

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the 'must' is reached; None where there is none."""
        return None if self.goal.must is None else self.goal.reached(self.goal.must, self.values)

    @property
    def aimed(self) -> bool | None:
        """Whether the 'aim' is reached; None where there is none."""
        return None if self.goal.aim is None else self.goal.reached(self.goal.aim, self.values)


@dataclass(slots=True)
class Contest:
    """What contenders needed for one workload, and the figures drawn from it.

    Attributes:
        name: short, without blanks.
        title: what was measured, in words.
        unit: of `values`.
        values: contender -> one number a round. The first one is what the others are compared with.
        figures: those with goals.
        said: contender -> what stands in the table where it has no number.
        notes: who was left out, and why; what has to be known to read it.
        failed: who raised, or came to wrong results.
    """

    name: str
    title: str
    unit: str
    values: dict[str, list[float]]
    figures: list[Figure] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def short(self) -> bool:
        """Whether a 'must' is missed, or one of ours has failed."""
        if any(name.startswith(OURS) for name in (*self.failed, *self.said)):
            return True
        return any(figure.met is False for figure in self.figures)

    def against(self, ours: str, peer: str, goal: Goal, *, words: str = "") -> None:
        """Add the paired ratio of the peer's numbers to ours: 'n times as fast as'. Nothing, if one did not run."""
        if ours in self.values and peer in self.values:
            name = words or f"{ours}, times as fast as {peer}"
            self.figures.append(Figure(name, ratio(self.values[peer], self.values[ours]), "x", goal))

    def part_of(self, ours: str, peer: str, goal: Goal, *, words: str = "") -> None:
        """Add the paired ratio of our numbers to the peer's: 'n of its time'. Nothing, if one did not run."""
        if ours in self.values and peer in self.values:
            name = words or f"{ours}, part of {peer}'s"
            self.figures.append(Figure(name, ratio(self.values[ours], self.values[peer]), "x", goal))

    def absolute(self, ours: str, goal: Goal, *, words: str = "") -> None:
        """Add a contender's own numbers as a figure. Nothing, if it did not run."""
        if ours in self.values:
            self.figures.append(Figure(words or ours, tuple(self.values[ours]), self.unit, goal))


@dataclass(slots=True)
class Turns(Generic[T]):
    """What all contenders gave in all rounds, and why some gave nothing: left out, or failed.

    Attributes:
        values: contender -> what it gave in each round.
        failed: contender -> what it raised.
        said: contender -> why it has no number: see `NoAnswer`.
        left_out: contender -> why it did not run at all.
    """

    values: dict[str, list[T]]
    failed: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def contest(self, name: str, title: str, unit: str, values: dict[str, list[float]]) -> Contest:
        """The contest that came out, with `values` drawn from what the contenders gave."""
        notes = [f"{who} left out: {why}" for who, why in self.left_out.items()]
        notes += [f"{who} FAILED: {why}" for who, why in self.failed.items()]
        return Contest(name, title, unit, values, said=dict(self.said), notes=notes, failed=list(self.failed))


def take_turns(
    contenders: Mapping[str, Callable[[], T]],
    rounds: int,
    *,
    warm_up: bool = True,
    tries: int = 1,
    seconds: Callable[[T], float] | None = None,
) -> Turns[T]:
    """Let all contenders run once in each round, and begin each round with the next one of them.

    A shared machine's speed drifts, so only runs of one round can be compared; and nobody is always first. With
    `warm_up` a round is run before that does not count. A contender that raises is out: of the rounds to come, and of
    those that have been.

    Differences of some hundredths are less than what a shared machine does to a run, but that only ever makes it slow:
    with `tries`, each runs so often in a round, in turn, and the run of the fewest `seconds` counts.
    """
    names = list(contenders)
    turns: Turns[T] = Turns({name: [] for name in names})
    for at in range(-1 if warm_up else 0, rounds):
        made: dict[str, list[T]] = {name: [] for name in names}
        for again in range(tries if at >= 0 else 1):
            begin = (at + again) % len(names) if names else 0
            for name in names[begin:] + names[:begin]:
                if name in turns.values:
                    _run_once(turns, name, contenders[name], made[name])
        for name, values in turns.values.items():
            if at >= 0:
                values.append(min(made[name], key=seconds) if seconds is not None else made[name][-1])
    return turns


def _run_once(turns: Turns[T], name: str, run: Callable[[], T], made: list[T]) -> None:
    gc.collect()  # nobody clears away what the one before has left
    try:
        made.append(run())
    except NoAnswer as answer:
        turns.said[name] = str(answer)
        del turns.values[name]
    except Exception as error:
        turns.failed[name] = f"{type(error).__name__}: {error}"
        del turns.values[name]


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """The ratio within each round."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def difference(more: Sequence[float], less: Sequence[float]) -> list[float]:
    """The difference within each round."""
    return [a - b for a, b in zip(more, less, strict=True)]
