"""One job with something and without it, by turns: a shared machine's speed changes by more than many things cost."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

__all__ = ["rates", "slower", "warm_up"]


def warm_up(results: Iterator[Any], step: int, seconds: float) -> None:
    """Read results for that long. The clock is read every `step`."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        next(islice(results, step, None))


def rates(results: Iterator[Any], wanted: threading.Event, step: int, *, slot: float, slots: int) -> list[float]:
    """Results a second in each turn of `slot` seconds: with what is `wanted`, without, without, with, and so on."""
    found: list[float] = []
    while len(found) < slots:
        (wanted.set if len(found) % 4 in (0, 3) else wanted.clear)()
        begin, count = time.perf_counter(), 0
        while (seconds := time.perf_counter() - begin) < slot:
            next(islice(results, step, None))
            count += step + 1
        found.append(count / seconds)
    return found


def slower(found: Sequence[float]) -> float:
    """The time that a result takes with it, to that without: the median of four turns each."""
    fours = [found[at : at + 4] for at in range(0, len(found), 4)]
    return statistics.median([(four[1] + four[2]) / (four[0] + four[3]) for four in fours])
