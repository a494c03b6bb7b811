"""What the display costs: a stream with it and without it, drawn on a terminal that somebody reads.

A shared machine's speed changes within seconds, and by more than the display costs. So both are measured in one run:
a second with the display, a second without it, and each such stretch is compared with the one beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from statistics import median
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import eisenmp
from benchmarks.contenders import Contender, Plan
from benchmarks.rounds import Contest, Figure, Goal
from benchmarks.work import chunk_sum, square
from eisenmp.display.screens import TerminalScreen
from eisenmp.events import Snapshot

__all__ = ["run"]

WITHOUT: Final = "eisenmp without"
WITH: Final = "eisenmp with the display"

SECONDS: Final = 1.0  # with the display, then as long without it, and so on: two drawings
PAIRS: Final = 16
WARM: Final = 1.0  # seconds until workers are at work, and the first drawing has loaded what it needs
DRAWN: Final = 1000  # bytes that a display has written at least


@contextmanager
def terminal() -> Iterator[None]:
    """Standard error is a terminal of 100 columns, which a process of its own reads."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    old = sys.stderr
    with subprocess.Popen(["wc", "-c"], stdin=ours, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        os.close(ours)
        sys.stderr = open(theirs, "w", encoding="utf-8")
        try:
            yield
        finally:
            sys.stderr.close()
            sys.stderr = old
            written, _ = reader.communicate()
    if int(written) < DRAWN:
        raise AssertionError(f"nothing was drawn: {int(written)} bytes")


class Gate:
    """Holds the display's thread where it would draw. Closed, a display is there and shows nothing.

    A drawing that was held back is not made up for: each stretch would begin with one more than there would be.
    """

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def set(self, drawn: bool) -> None:
        """Whether it may draw."""
        if drawn:
            self._open.set()
        else:
            self._open.clear()

    def _passes(self) -> bool:
        held = not self._open.is_set()
        self._open.wait()
        return not held

    @contextmanager
    def before_drawings(self) -> Iterator[None]:
        """Put it in the way of all drawings on terminals."""
        update, tidy = TerminalScreen.update, TerminalScreen.tidy

        def at_a_gate(screen: TerminalScreen, snapshot: Snapshot) -> None:
            if self._passes():
                update(screen, snapshot)

        def tidy_at_a_gate(screen: TerminalScreen) -> None:
            if self._passes():
                tidy(screen)

        with patch.object(TerminalScreen, "update", at_a_gate), patch.object(TerminalScreen, "tidy", tidy_at_a_gate):
            try:
                yield
            finally:
                self._open.set()


class Told(NamedTuple):
    """Of one run.

    Attributes:
        without, with_it: seconds for a million items, with and without the display: medians of the stretches.
        cost: the median of what a stretch with it took for an item, to the stretch without it beside it.
        share: the part of a processor that the display's thread took, while it might draw.
    """

    without: float
    with_it: float
    cost: float
    share: float


def run_of(results: Iterator[Any], items: int) -> Told:
    """Read `results`, each of so many items, while the display is on and off in turn."""
    gate = Gate()
    with gate.before_drawings():
        _read_for(WARM, results)
        took: dict[bool, list[float]] = {True: [], False: []}
        used = 0.0
        for pair in range(PAIRS):
            for drawn in (True, False) if pair % 2 else (False, True):
                gate.set(drawn)
                before = _used_by_display()
                took[drawn].append(_read_for(SECONDS, results) / items * 1e6)
                used += (_used_by_display() - before) if drawn else 0.0
    ratios = [one / other for one, other in zip(took[True], took[False], strict=True)]
    return Told(median(took[False]), median(took[True]), median(ratios), used / (PAIRS * SECONDS))


def _read_for(seconds: float, results: Iterator[Any]) -> float:
    """Read for that long; return the seconds that a result took."""
    begin = now = time.perf_counter()
    count = 0
    while now - begin < seconds:
        for _ in islice(results, 100):
            pass
        count += 100
        now = time.perf_counter()
    return (now - begin) / count


def _used_by_display() -> float:
    """Seconds that its thread was on a processor."""
    drawing = [thread for thread in threading.enumerate() if thread.name == "eisenmp-display"]
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in drawing if thread.ident is not None]
    return sum(map(time.clock_gettime, clocks))


def chunks() -> Told:
    """Chunks of 1000."""
    seen = Seen(1000)
    with (
        terminal(),
        eisenmp.imap_chunks(chunk_sum, count(), max_workers=2, chunksize=1000, progress=True) as results,
    ):
        told = run_of(map(seen.sum, results), 1000)
    return told


def singles() -> Told:
    """Chunks of one item."""
    seen = Seen(1)
    with terminal(), eisenmp.imap(square, count(), max_workers=2, chunksize=1, progress=True) as results:
        told = run_of(map(seen.square, results), 1)
    return told


class Seen:
    """Looks at results, which come in the order of the items: 0, 1, 2 and so on, in chunks of so many."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._at = 0

    def sum(self, result: int) -> None:
        """Of the next chunk."""
        first, self._at = self._at, self._at + self._items
        if result != (first + self._at - 1) * self._items // 2:
            raise AssertionError(f"the sum of the items from {first} on: {result}")

    def square(self, result: int) -> None:
        """Of the next item."""
        if result != self._at * self._at:
            raise AssertionError(f"the square of {self._at}: {result}")
        self._at += 1


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    for name, work, title in (
        ("chunks", chunks, "a stream of ints in chunks of 1000"),
        ("singles", singles, "a stream of chunks of one item"),
    ):
        turns = plan.compete([Contender(WITH, work)], warm_up=False)
        told = turns.values.get(WITH, [])
        values = {WITHOUT: [1000 * one.without for one in told], WITH: [1000 * one.with_it for one in told]}
        contest = turns.contest(
            f"display-{name}", f"{title}, drawn meanwhile or not, a million items", "ms", values if told else {}
        )
        if told:
            for words, key, goal in (
                ("eisenmp with the display, part of the time beside it without", "cost", Goal(1.02, 1.01, least=False)),
                ("the display's thread, part of a processor", "share", Goal(0.02, 0.01, least=False)),
            ):
                contest.figures.append(Figure(words, tuple(getattr(one, key) for one in told), "x", goal))
        yield contest
