"""What starting costs: imports in fresh interpreters, and the time from nothing to the first result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import eisenmp
from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import apart, check, fresh_seconds, run_file
from benchmarks.rounds import Contest, Goal, difference
from benchmarks.work import modules, square

__all__ = ["imap", "mp", "run"]

FEWEST: Final = 11  # rounds of the imports: they are short, and so is what they are to stay below
BARE: Final = "bare interpreter"
# The package loads its parts when they are asked for, so the manager is asked for as well. Most milliseconds.
IMPORTS: Final = {"import eisenmp": 60.0, "from eisenmp import Mp": 60.0, "import eisenmp.worker.main": 40.0}


def imports(plan: Plan) -> Contest:
    """What an interpreter that imports takes beyond a bare one."""
    names = {f"eisenmp: {statement}": statement for statement in IMPORTS}
    field = [Contender(name, partial(fresh_seconds, statement)) for name, statement in names.items()]
    turns = Plan(max(FEWEST, plan.rounds)).compete([Contender(BARE, partial(fresh_seconds, "pass")), *field])
    contest = turns.contest("imports", "an interpreter that imports, start to end", "ms", seconds_of(turns))
    bare = contest.values.pop(BARE)
    contest.values = {
        name.removeprefix("eisenmp: "): difference(values, bare) for name, values in contest.values.items()
    }
    contest.title += f", beyond a bare one ({sorted(bare)[len(bare) // 2]:.0f} ms)"
    for statement, most in IMPORTS.items():
        contest.absolute(statement, Goal(must=most, least=False))
    return contest


def mp(workers: int, method: str) -> float:
    """Seconds from nothing to the first result, by `Mp`."""
    make = eisenmp.Mp  # the package loads its parts when they are asked for; not on the clock
    begin = time.perf_counter()
    with make() as emp:
        reader = emp.results.outcomes()
        emp.start(
            worker_modules=modules("square"), NUM_PROCS=workers, NUM_ROWS=1, WORKER_CALL="item", START_METHOD=method
        )
        emp.feed([3])
        value = next(reader).value
        seconds = time.perf_counter() - begin
    check(value, [9], "the first result")
    return seconds


def imap(workers: int, method: str) -> float:
    """The same by the short form."""
    short_form = eisenmp.imap
    begin = time.perf_counter()
    with short_form(square, [3], max_workers=workers, chunksize=1, start_method=method) as results:
        value = next(results)
        seconds = time.perf_counter() - begin
    check(value, 9, "the first result")
    return seconds


def pool(workers: int) -> float:
    """The same by Pool, in a program as its users write it."""
    return float(run_file(Path(__file__).with_name("pool_program.py"), str(workers)))


def first_result(plan: Plan, workers: int, method: str, goal: Goal) -> Contest:
    """Each in a fresh interpreter, which has imported what it needs before the clock starts."""
    ours = {f"eisenmp.imap, {method}": "imap", f"eisenmp.Mp, {method}": "mp"}
    field = [Contender(name, partial(apart, "startup", how, workers, method)) for name, how in ours.items()]
    peer = Contender("Pool, spawn", partial(pool, workers))
    turns = plan.compete([*field, peer])
    title = f"time to the first result, {workers} workers by {method}"
    contest = turns.contest(f"start-{workers}", title, "ms", seconds_of(turns))
    for name in ours:
        contest.part_of(name, peer.name, goal, words=f"{name}, part of Pool's time by spawn")
    return contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    yield imports(plan)
    yield first_result(plan, 2, "spawn", Goal(must=1.1, aim=0.8, least=False))
    yield first_result(plan, 8, "forkserver", Goal(must=0.6, aim=0.3, least=False))
