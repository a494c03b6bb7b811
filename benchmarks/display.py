"""What the display costs: the same stream with it and without it, drawn on a terminal that somebody reads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import check
from benchmarks.rounds import Contest, Figure, Goal
from benchmarks.work import chunk_sum, numbers, square

__all__ = ["run"]

Told = dict[str, float]

WITHOUT: Final = "eisenmp without"
WITH: Final = "eisenmp with the display"

BEFORE: Final = 8  # part of the results: until then workers start
TRIES: Final = 4  # the fastest of them counts
COUNT: Final = 20_000_000  # items in chunks of 1000: a million are done before anything is drawn
SINGLES: Final = 4_000_000  # chunks of one item
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
            count, _ = reader.communicate()
    if int(count) < DRAWN:
        raise AssertionError(f"nothing was drawn: {int(count)} bytes")


def chunks(progress: bool) -> Told:
    """Chunks of 1000, from when all are at work to the last result."""
    with eisenmp.imap_chunks(
        chunk_sum, numbers(COUNT), max_workers=2, chunksize=1000, progress=progress, total=COUNT
    ) as results:
        total = sum(islice(results, COUNT // 1000 // BEFORE))
        begin = time.perf_counter()
        total += sum(results)
        told = _told(begin)
    check(total, COUNT * (COUNT - 1) // 2, "the sum of the results")
    return told


def singles(progress: bool) -> Told:
    """Chunks of one item, from when all are at work to the last result."""
    with eisenmp.imap(
        square, numbers(SINGLES), max_workers=2, chunksize=1, progress=progress, total=SINGLES
    ) as results:
        count = sum(1 for _ in islice(results, SINGLES // BEFORE))
        begin = time.perf_counter()
        count += sum(1 for _ in results)
        told = _told(begin)
    check(count, SINGLES, "how many results")
    return told


def _told(begin: float) -> Told:
    """The seconds since then, and what part of them the thread of the display was on a processor."""
    seconds = time.perf_counter() - begin
    drawing = [thread for thread in threading.enumerate() if thread.name == "eisenmp-display"]
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in drawing if thread.ident is not None]
    return {"seconds": seconds, "share": sum(map(time.clock_gettime, clocks)) / seconds}


def drawn(work: Callable[[bool], Told]) -> Told:
    """With the display."""
    with terminal():
        return work(True)


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    for name, work, title in (
        ("chunks", chunks, f"{COUNT:,} ints in chunks of 1000"),
        ("singles", singles, f"{SINGLES:,} chunks of one item"),
    ):
        turns = plan.compete(
            [Contender(WITHOUT, partial(work, False)), Contender(WITH, partial(drawn, work))],
            tries=TRIES,
            seconds=itemgetter("seconds"),
        )
        contest = turns.contest(
            f"display-{name}", f"{title}, drawn meanwhile or not", "ms", part(turns, "seconds", 1000.0)
        )
        contest.part_of(WITH, WITHOUT, Goal(must=1.03, aim=1.02, least=False))
        if WITH in turns.values:
            share = tuple(run["share"] for run in turns.values[WITH])
            words = "the display's thread, part of a processor"
            contest.figures.append(Figure(words, share, "x", Goal(must=0.02, aim=0.01, least=False)))
        yield contest
