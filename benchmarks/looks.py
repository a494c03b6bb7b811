"""What a look of the live page costs its job, to a tenth of a per cent.

Two runs of one and the same program differ by more than the page costs. So both are had in one job, whose page is open
all the time: by turns it is looked at ten times as often as usual, and not at all. A tenth of what that takes longer is
what the page costs. The first look of a turn sees what has come to pass in the turn before: that is the page's, too.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from typing import Any, Final
from unittest import mock

import eisenmp
from benchmarks.contenders import Contender, Plan
from benchmarks.page import opened
from benchmarks.rounds import Contest, Goal
from benchmarks.stretches import rates, slower, warm_up
from benchmarks.work import chunk_sum, numbers, square
from eisenmp.live import live

__all__ = ["run"]

TIMES: Final = 10  # as often as usual
SLOT: Final = 0.5  # seconds of a turn
SLOTS: Final = 40  # of a job; four make a ratio
ENDLESS: Final = 10**12
WARM: Final = 2.0  # seconds until the first turn
NAME: Final = "eisenmp with the page open"


@contextmanager
def hurried(wanted: threading.Event) -> Iterator[None]:
    """Pages are looked at so often while it is `wanted`, and else not at all; and nothing holds them back."""
    begin, tell = live.Live.__init__, live.Live._tell

    def init(self: live.Live, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        self._every /= TIMES

    def look(self: live.Live, *, over: bool) -> float:
        return tell(self, over=over) if over or wanted.is_set() else 0.0

    with (
        mock.patch.object(live.Live, "__init__", init),
        mock.patch.object(live.Live, "_tell", look),
        mock.patch.object(live, "_SHARE", 1.0),
    ):
        yield


def cost(start: Callable[[], Any], step: int) -> float:
    """Per cent of its time that a job takes longer with the page at its usual pace."""
    wanted = threading.Event()
    wanted.set()
    with redirect_stderr(io.StringIO()), hurried(wanted), start() as results, opened(results):
        stream = iter(results)
        warm_up(stream, step, WARM)
        found = rates(stream, wanted, step, slot=SLOT, slots=SLOTS)
    return 100 * (slower(found) - 1) / TIMES


def chunks() -> Any:
    """Chunks of 1000."""
    return eisenmp.imap_chunks(chunk_sum, numbers(ENDLESS), max_workers=2, chunksize=1000, dashboard=True)


def singles() -> Any:
    """Chunks of one item."""
    return eisenmp.imap(square, numbers(ENDLESS), max_workers=2, chunksize=1, dashboard=True)


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    for name, start, step, title in (
        ("chunks", chunks, 200, "chunks of 1000 ints"),
        ("singles", singles, 5000, "chunks of one item"),
    ):
        turns = plan.compete([Contender(NAME, partial(cost, start, step))], warm_up=False)
        contest = turns.contest(f"looks-{name}", f"{title}, while a page is open or not", "%", turns.values)
        contest.absolute(NAME, Goal(must=1.0, aim=0.5, least=False), words="more time with the page")
        yield contest
