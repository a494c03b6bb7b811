"""What the display costs: a stream with it and without it, drawn on a terminal that somebody reads.

A shared machine's speed changes within seconds, and by more than the display costs. So both are measured in one run:
a second with the display, a second without it, and so on; and turns are compared with those beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import Any, Final, NamedTuple
from unittest import mock

import eisenmp
from benchmarks.contenders import Contender, Plan
from benchmarks.rounds import Contest, Figure, Goal
from benchmarks.stretches import rates, slower, warm_up
from benchmarks.work import chunk_sum, square
from eisenmp.display.screens import TerminalScreen
from eisenmp.events import Snapshot

__all__ = ["run"]

WITHOUT: Final = "eisenmp without"
WITH: Final = "eisenmp with the display"

SLOT: Final = 1.0  # seconds of a turn: two drawings
SLOTS: Final = 32  # of a job; four make a ratio
STEP: Final = 100  # results between two looks at the clock
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


@contextmanager
def held_back(wanted: threading.Event) -> Iterator[None]:
    """A display's thread waits where it would draw, unless drawings are `wanted`.

    What was held back is not made up for: each turn would begin with one more drawing than there would be.
    """
    update, tidy = TerminalScreen.update, TerminalScreen.tidy

    def draw(screen: TerminalScreen, snapshot: Snapshot) -> None:
        update(screen, snapshot) if wanted.is_set() else wanted.wait()

    def tidied(screen: TerminalScreen) -> None:
        tidy(screen) if wanted.is_set() else wanted.wait()

    with mock.patch.object(TerminalScreen, "update", draw), mock.patch.object(TerminalScreen, "tidy", tidied):
        try:
            yield
        finally:
            wanted.set()


class Told(NamedTuple):
    """Of one run.

    Attributes:
        without, with_it: seconds for a million items, with and without the display: medians of the turns.
        cost: the time that an item takes with it, to that without.
        share: the part of a processor that the display's thread took, while it might draw.
    """

    without: float
    with_it: float
    cost: float
    share: float


def run_of(results: Iterator[Any], items: int) -> Told:
    """Read `results`, each of so many items, while the display is on and off in turn."""
    wanted = threading.Event()
    wanted.set()
    with held_back(wanted):
        warm_up(results, STEP, WARM)
        before = _used_by_display()
        found = rates(results, wanted, STEP, slot=SLOT, slots=SLOTS)
        used = _used_by_display() - before  # while it is held it takes nothing
    took = [1e6 / items / rate for rate in found]
    with_it = [seconds for at, seconds in enumerate(took) if at % 4 in (0, 3)]
    without = [seconds for at, seconds in enumerate(took) if at % 4 in (1, 2)]
    return Told(median(without), median(with_it), slower(found), used / (SLOT * SLOTS / 2))


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
