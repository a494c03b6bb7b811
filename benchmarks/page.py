"""What the live page costs: the same stream with it and without it, while another process reads its states."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import check
from benchmarks.rounds import Contest, Figure, Goal
from benchmarks.work import chunk_sum, numbers, square

__all__ = ["run"]

Told = dict[str, float]

WITHOUT: Final = "eisenmp without"
WITH: Final = "eisenmp with the page open"

BEFORE: Final = 8  # part of the results: until then workers start, and the server of the page is loaded
TRIES: Final = 4  # the fastest of them counts
COUNT: Final = 40_000_000  # items in chunks of 1000
SINGLES: Final = 6_000_000  # chunks of one item
PACE: Final = 1.5  # states a second that a reader gets at least
THREADS: Final = ("eisenmp-live", "eisenmp-page")
READER: Final = """
import http.client, sys
address, token = sys.argv[1:]
connection = http.client.HTTPConnection(address)
connection.request("GET", "/events", headers={"Authorization": f"Bearer {token}"})
answer = connection.getresponse()
states = -1  # the history is none
while piece := answer.read1(1 << 16):
    if states < 0:
        print(answer.status, flush=True)
    states += piece.count(b"event: ")
print(states)
"""


@contextmanager
def opened(results: Any) -> Iterator[None]:
    """A process of its own reads the page's states until the job is over."""
    begin = time.perf_counter()
    address, _, token = results.dashboard_url.removeprefix("http://").partition("/#token=")
    command = [sys.executable, "-c", READER, address, token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        if reader.stdout.readline() != "200\n":
            raise AssertionError("the page was not to be had")
        yield
        seconds = time.perf_counter() - begin
        results.close()
        states = int(reader.stdout.readline())
    if states < PACE * seconds:
        raise AssertionError(f"{states} states in {seconds:.1f} s")


def chunks(page: bool) -> Told:
    """Chunks of 1000, from when all are at work and the page is open to the last result."""
    with eisenmp.imap_chunks(
        chunk_sum, numbers(COUNT), max_workers=2, chunksize=1000, dashboard=page, total=COUNT
    ) as results:
        total = sum(islice(results, COUNT // 1000 // BEFORE))
        with opened(results) if page else nullcontext():
            begin = _now()
            total += sum(results)
            told = _told(begin)
    check(total, COUNT * (COUNT - 1) // 2, "the sum of the results")
    return told


def singles(page: bool) -> Told:
    """Chunks of one item, likewise."""
    with eisenmp.imap(square, numbers(SINGLES), max_workers=2, chunksize=1, dashboard=page, total=SINGLES) as results:
        count = sum(1 for _ in islice(results, SINGLES // BEFORE))
        with opened(results) if page else nullcontext():
            begin = _now()
            count += sum(1 for _ in results)
            told = _told(begin)
    check(count, SINGLES, "how many results")
    return told


def _now() -> tuple[float, float]:
    """(the time, seconds that the page's threads were on a processor so far)"""
    ours = [thread.ident for thread in threading.enumerate() if thread.name in THREADS]
    spent = sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in ours if ident is not None)
    return time.perf_counter(), spent


def _told(begin: tuple[float, float]) -> Told:
    """The seconds since then, and what part of them the page's threads were on a processor."""
    now, spent = _now()
    seconds = now - begin[0]
    return {"seconds": seconds, "share": (spent - begin[1]) / seconds}


def served(work: Callable[[bool], Told]) -> Told:
    """With the page, whose address need not be said."""
    with redirect_stderr(io.StringIO()):
        return work(True)


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    work: Callable[[bool], Told]
    for name, work, title in (
        ("chunks", chunks, f"{COUNT:,} ints in chunks of 1000"),
        ("singles", singles, f"{SINGLES:,} chunks of one item"),
    ):
        turns = plan.compete(
            [Contender(WITHOUT, partial(work, False)), Contender(WITH, partial(served, work))],
            tries=TRIES,
            seconds=itemgetter("seconds"),
        )
        contest = turns.contest(
            f"page-{name}", f"{title}, while a page is open or not", "ms", part(turns, "seconds", 1000.0)
        )
        contest.part_of(WITH, WITHOUT, Goal(must=1.01, aim=1.005, least=False))  # looks.py measures it more finely
        if WITH in turns.values:
            share = tuple(run["share"] for run in turns.values[WITH])
            words = "the threads of the view and the page, part of a processor"
            contest.figures.append(Figure(words, share, "x", Goal(must=0.02, aim=0.01, least=False)))
        yield contest
