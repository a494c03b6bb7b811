"""Who runs: contenders, whether they can, and how a workload lets them take turns."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from benchmarks.machine import alarm
from benchmarks.rounds import OURS, Turns, take_turns

__all__ = ["Contender", "Plan", "part", "seconds_of"]

T = TypeVar("T")
V = TypeVar("V")

ALARM: Final = 180.0  # seconds after which one run of one contender counts as hanging


@dataclass(frozen=True, slots=True)
class Contender(Generic[T]):
    """Somebody who does the work once and tells what it took.

    Attributes:
        name: in the tables; ours begin with ``eisenmp``.
        run: does it, checks the results, tells the number (or numbers).
        needs: a package that it imports.
    """

    name: str
    run: Callable[[], T]
    needs: str = ""

    def lacks(self) -> str:
        """Why it cannot run here; empty when it can."""
        if not self.needs or importlib.util.find_spec(self.needs) is not None:
            return ""
        return f"{self.needs} is not installed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for.

    Attributes:
        rounds: how many that count.
        peers: which peers; None: all. Ours always run.
    """

    rounds: int
    peers: tuple[str, ...] | None = None

    def wants(self, name: str) -> bool:
        """Whether a contender is to run. Limits run with ours: they are cheap, and goals are measured by them."""
        return self.peers is None or name.startswith((OURS, "limit", *self.peers))

    def compete(
        self,
        contenders: Sequence[Contender[T]],
        *,
        most: int | None = None,
        warm_up: bool = True,
        tries: int = 1,
        seconds: Callable[[T], float] | None = None,
    ) -> Turns[T]:
        """Let those who are wanted and can run take turns.

        Args:
            contenders: all that there are.
            most: no more rounds than this, whatever was asked for: each takes long, and hardly varies.
            warm_up: run a round before that does not count.
            tries, seconds: the fastest of so many runs counts; see `take_turns`.
        """
        left_out: dict[str, str] = {}
        able: dict[str, Callable[[], T]] = {}
        for contender in contenders:
            if not self.wants(contender.name):
                continue
            if lack := contender.lacks():
                left_out[contender.name] = lack
            else:
                able[contender.name] = partial(_watched, contender)
        rounds = self.rounds if most is None else min(self.rounds, most)
        turns = take_turns(able, rounds, warm_up=warm_up, tries=tries, seconds=seconds)
        turns.left_out = left_out
        return turns


def _watched(contender: Contender[T]) -> T:
    print(".", end="", file=sys.stderr, flush=True)
    with alarm(ALARM):
        return contender.run()


def part(turns: Turns[dict[str, Any]], key: str, scale: float = 1.0) -> dict[str, list[float]]:
    """One of several numbers that each run has told."""
    return {name: [scale * run[key] for run in runs] for name, runs in turns.values.items()}


def seconds_of(turns: Turns[float], scale: float = 1000.0) -> dict[str, list[float]]:
    """Seconds in another unit; milliseconds unless told otherwise."""
    return {name: [scale * value for value in values] for name, values in turns.values.items()}
