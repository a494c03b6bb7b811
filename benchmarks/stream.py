"""A million ints in chunks of 1000 through two workers, by chunk and by item; and 20,000 chunks of one item."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import check
from benchmarks.ours import CLASSIC, IMAP, IMAP_CHUNKS, PLAIN, PLAIN_WIDE
from benchmarks.peers import ALL
from benchmarks.rounds import Contest, Goal
from benchmarks.streams import Gate, Stream, entered
from benchmarks.work import chunk_sum, square

__all__ = ["run"]

COUNT: Final = 1_000_000
ROWS: Final = 1000
SINGLES: Final = 20_000
SUM: Final = COUNT * (COUNT - 1) // 2
LIMIT: Final = "limit: make and pickle"


def numbers(gate: Gate | None = None) -> Iterator[int]:
    """A generator, not a range: it has to be read item by item."""
    if gate is not None:
        yield from gate.warm
        gate.wait()
    yield from range(COUNT)


def singles(gate: Gate | None = None) -> Iterator[int]:
    """The same, shorter."""
    if gate is not None:
        yield from gate.warm
        gate.wait()
    yield from range(SINGLES)


def squares(count: int) -> int:
    """The sum of the squares below `count`."""
    return (count - 1) * count * (2 * count - 1) // 6


def make_and_pickle() -> float:
    """What one process needs to make the items and to pickle them in chunks; nobody gets them."""
    begin = time.perf_counter()
    source = numbers()
    length = 0
    while rows := list(islice(source, ROWS)):
        length += len(pickle.dumps(rows, 5))
    return time.perf_counter() - begin


def by_chunk(plan: Plan) -> Contest:
    """A function of the chunk."""

    def judge(values: list[Any], seconds: float) -> float:
        check(len(values), COUNT // ROWS, "how many results")
        check(sum(values), SUM, "the sum of the results")
        return seconds

    stream = Stream(chunk_sum, True, numbers, ROWS, 0, classic="classic_sum")
    field = entered([IMAP_CHUNKS, PLAIN, CLASSIC, PLAIN_WIDE, *ALL], stream, judge)
    turns = plan.compete([*field, Contender(LIMIT, make_and_pickle)])
    title = "a million ints, chunks of 1000, function of the chunk"
    contest = turns.contest("stream-chunks", title, "ms", seconds_of(turns))
    for ours in (IMAP_CHUNKS.name, PLAIN.name, CLASSIC.name):
        contest.against(ours, "Pool", Goal(must=2.0))
        contest.against(ours, "SimpleQueue", Goal(must=1.25))
        contest.against(ours, LIMIT, Goal(aim=0.8), words=f"{ours}, part of the speed of making and pickling")
    contest.against(PLAIN_WIDE.name, "Pool", Goal(must=1.0))
    return contest


def by_item(plan: Plan) -> Contest:
    """A function of the item."""

    def judge(values: list[Any], seconds: float) -> float:
        check(len(values), COUNT, "how many results")
        check(sum(values), squares(COUNT), "the sum of the results")
        return seconds

    stream = Stream(square, False, numbers, ROWS, 0)
    turns = plan.compete(entered([IMAP, PLAIN, PLAIN_WIDE, *ALL], stream, judge))
    title = "a million ints, chunks of 1000, function of the item"
    contest = turns.contest("stream-items", title, "ms", seconds_of(turns))
    contest.against(IMAP.name, "Pool", Goal(must=1.5, aim=2.5))
    contest.against(PLAIN.name, "Pool", Goal(must=1.5, aim=2.5))
    contest.against(PLAIN_WIDE.name, "Pool", Goal(must=1.0))
    return contest


def one_by_one(plan: Plan) -> Contest:
    """Chunks of one item."""

    def judge(values: list[Any], seconds: float) -> float:
        check(len(values), SINGLES, "how many results")
        check(sum(values), squares(SINGLES), "the sum of the results")
        return seconds

    stream = Stream(square, False, singles, 1, 0)
    turns = plan.compete(entered([IMAP, PLAIN, PLAIN_WIDE, *ALL], stream, judge))
    title = "20,000 chunks of one item, pipelined"
    contest = turns.contest("stream-singles", title, "ms", seconds_of(turns))
    for ours in (IMAP.name, PLAIN.name):
        contest.against(ours, "Pool", Goal(must=25, aim=40))
        contest.against(ours, "joblib", Goal(must=7, aim=10))
    return contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    yield by_chunk(plan)
    yield by_item(plan)
    yield one_by_one(plan)
