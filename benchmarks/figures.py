"""What all benchmarks share: paired rounds, medians, a table, and what a process costs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Figure", "cpu_seconds", "most_figure", "paired", "ratio_figure", "resident_mib", "table", "wait_until"]


@dataclass(slots=True)
class Figure:
    """One line of the table. ``goal`` and ``met`` are empty where nothing was promised."""

    name: str
    value: str
    spread: str = ""
    peer: str = ""
    goal: str = ""
    met: bool | None = None
    notes: list[str] = field(default_factory=list)


def paired(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Run both in turn, `rounds` times each: (our seconds, the peer's seconds).

    In turn, because the machine's speed drifts: only the ratio of two runs that stand side by side means something. Who
    goes first changes each round. A first round of both warms up and is not counted.
    """
    ours()
    peer()
    our_times: list[float] = []
    peer_times: list[float] = []
    for at in range(rounds):
        for run, times in ((ours, our_times), (peer, peer_times))[:: 1 if at % 2 else -1]:
            times.append(run())
    return our_times, peer_times


def ratio_figure(name: str, ours: list[float], peer: list[float], peer_name: str, goal: float | None = None) -> Figure:
    """How many times faster than the peer: the median of the pairs' ratios."""
    ratios = [b / a for a, b in zip(ours, peer, strict=True)]
    middle = statistics.median(ratios)
    return Figure(
        name,
        f"{middle:.2f} x {peer_name}",
        f"{min(ratios):.2f} … {max(ratios):.2f}",
        f"medians {1000 * statistics.median(ours):.0f} ms, {1000 * statistics.median(peer):.0f} ms",
        "" if goal is None else f">= {goal:g} x",
        None if goal is None else middle >= goal,
    )


def most_figure(name: str, values: Sequence[float], unit: str, most: float, peer: str = "") -> Figure:
    """A figure that is to stay below something: the median of several."""
    middle = statistics.median(values)
    spread = f"{min(values):.2f} … {max(values):.2f}" if len(values) > 1 else ""
    return Figure(name, f"{middle:.2f} {unit}", spread, peer, f"<= {most:g} {unit}", middle <= most)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that these processes have used so far, user and system."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            after_name = file.read().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int | str = "self") -> float:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a state that a benchmark begins with."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark's starting state was not reached")
        time.sleep(0.002)


def table(figures: Sequence[Figure]) -> str:
    """All figures, aligned."""
    rows = [("figure", "median", "min … max", "beside it", "goal", "")]
    for f in figures:
        rows.append((f.name, f.value, f.spread, f.peer, f.goal, {None: "", True: "met", False: "MISSED"}[f.met]))
    widths = [max(len(row[at]) for row in rows) for at in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for f in figures:
        lines += [f"  {f.name}: {note}" for note in f.notes]
    return "\n".join(lines)
