"""How long chunks took, in the form of a histogram that only grows. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from eisenmp.display.board import short
from eisenmp.snapshot import Look

__all__ = ["BOUNDS", "Durations"]

BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
)


class Durations:
    """Of each queue: chunks by the seconds that they took, and the sum of them."""

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}  # one more than BOUNDS: the last is for what took longer
        self.sums: dict[str, float] = {}

    def add(self, look: Look, over: bool = False) -> None:
        """What has been answered since the last look. Chunks that were answered together took the same each."""
        rows: dict[int, tuple[list[int], list[float]]] = {}  # by queue: counts, and seconds that are new
        for _, queue, _, tickets, _, _, _, _, seconds, outcome in look.tap.answers:  # thousands, of short chunks
            if outcome != "done" and outcome != "failed":
                continue
            row = rows.get(queue)
            if row is None:
                name = short(look.names[queue])
                row = rows[queue] = self.counts.setdefault(name, [0] * (len(BOUNDS) + 1)), []
            row[0][bisect_left(BOUNDS, seconds / tickets)] += tickets
            row[1].append(seconds)
        for queue, (_, added) in rows.items():
            name = short(look.names[queue])
            self.sums[name] = self.sums.get(name, 0.0) + sum(added)
