"""What faults cost: workers that are killed or hang, a manager that is interrupted or killed, modules that do not load.

`ordeal` has the libraries go through it, each run in a process of its own, which is ended with all that it has started:
several peers hang, and then the table says so. Ours run with each start method, peers with their own default.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import folder, guarded, lives, noted, program, session, wait_until
from benchmarks.ordeal import BAD_STARTS, TIMEOUT
from benchmarks.rounds import OURS, Contest, Figure, Goal, NoAnswer, Turns, ratio

__all__ = ["gone", "run"]

METHODS: Final = ("spawn", "forkserver", "fork")
PEERS: Final = ("Pool", "executor", "pebble")
BY_HAND: Final = {"executor": "executor, by hand", "pebble": "pebble, by hand"}  # see victims.py
WHOLE: Final = 50  # kills of each contender, when there are rounds enough
KILLS: Final = 10  # kills for each round
PATIENCE: Final = 5.0  # seconds after which processes count as staying
TASKS: Final = 800  # of a job whose workers are killed all the time
LONGEST: Final = 90.0  # seconds of one run in a process of its own

LIMIT: Final = "limit: the process has ended"

# What is measured of a kill, in words, and the milliseconds that were promised.
AGAIN: Final = ("until its task begins elsewhere", 100.0)
REPLACED: Final = ("until the first call in its replacement", 500.0)
BUSY: Final = {"noticed": ("until it is noticed", 50.0), "again": AGAIN, "replaced": REPLACED}
IDLE: Final = {"noticed": ("until it is noticed", 50.0), "replaced": REPLACED}
TIMED_OUT: Final = {"noticed": ("until it is killed and replaced", 100.0), "again": AGAIN, "replaced": REPLACED}


def _field(run: Callable[[str, str], Any], names: dict[str, str], peers: Iterable[str] = PEERS) -> list[Contender[Any]]:
    ours = [Contender(f"{OURS}, {method}", partial(run, OURS, method)) for method in METHODS]
    others = [
        Contender(names.get(peer, peer), partial(run, peer, ""), "pebble" if peer == "pebble" else "") for peer in peers
    ]
    return [*ours, *others]


# ---- workers that are killed


def kill_contests(plan: Plan, where: str, words: str, times: dict[str, tuple[str, float]]) -> Iterator[Contest]:
    """One job of each contender, in which so many workers are killed; a contest for each time that counts."""
    count = min(WHOLE, KILLS * plan.rounds)

    def run(library: str, method: str) -> dict[str, Any]:
        told: dict[str, Any] = guarded(LONGEST, "ordeal", "kills", library, method, where, count)
        return told

    peers = ("pebble",) if where == "timeout" else PEERS
    turns = plan.compete(_field(run, BY_HAND, peers), most=1, warm_up=False)
    for key, (until, must) in times.items():
        title = f"{count} {words} {until}"
        contest = _of_kills(turns, key, f"faults-{where}-{key}", title, must)
        ended = [1000 * seconds for (told,) in turns.values.values() for seconds in told.get("ended", ())]
        if key == "noticed" and ended:
            contest.values[LIMIT] = ended
        yield contest


def _of_kills(turns: Turns[dict[str, Any]], key: str, name: str, title: str, must: float) -> Contest:
    values: dict[str, list[float]] = {}
    said: dict[str, str] = {}
    for contender, (told,) in turns.values.items():
        if isinstance(told[key], str):
            said[contender] = told[key]
        else:
            values[contender] = [1000 * seconds for seconds in told[key]]
    contest = turns.contest(name, title, "ms", values)
    contest.said |= said
    for contender in [contender for contender in values if contender.startswith(OURS)]:
        contest.absolute(contender, Goal(must=must, least=False))
        worst = (max(values[contender]),)
        contest.figures.append(Figure(f"{contender}, the worst", worst, "ms", Goal(aim=must, least=False)))
    return contest


def storm(plan: Plan) -> Contest:
    """A job whose workers are killed one after the other, beside the same job undisturbed, in the same round."""

    def run(library: str, method: str) -> dict[str, float]:
        times = {}
        for words, disturbed in (("undisturbed", False), ("disturbed", True)):
            times[words] = guarded(LONGEST, "ordeal", "storm", library, method, disturbed, TASKS)
        return times

    turns = plan.compete(_field(run, BY_HAND), most=5, warm_up=False)
    disturbed, undisturbed = (part(turns, key, 1000.0) for key in ("disturbed", "undisturbed"))
    values: dict[str, list[float]] = {}
    for name in turns.values:
        values |= {name: disturbed[name], f"{name}, undisturbed": undisturbed[name]}
    title = f"{TASKS} tasks of 5 ms, a worker is killed every 300 ms"
    contest = turns.contest("faults-storm", title, "ms", values)
    for name in turns.values:
        goal = Goal(must=2.5, least=False) if name.startswith(OURS) else Goal()
        words = f"{name}, times its undisturbed time"
        contest.figures.append(Figure(words, ratio(disturbed[name], undisturbed[name]), "x", goal))
    return contest


# ---- managers that are interrupted or killed


def gone(library: str, method: str, kind: str, number: int) -> dict[str, float]:
    """Seconds from a signal to a program until the last of its processes is gone; and its lines on standard error.

    SIGINT goes to all its processes, as a terminal's Ctrl-C does, other signals to the manager alone.
    """
    with folder() as path, tempfile.TemporaryFile() as errors:
        command = [sys.executable, Path(__file__).with_name("fault_program.py"), library, method, kind, path]
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        with program(command, **options) as manager:
            wait_until(lambda: noted(path, 2) or manager.poll() is not None)
            if manager.returncode is not None:
                raise RuntimeError(f"the program ended by itself, with code {manager.returncode}")
            time.sleep(0.1)  # the notes are written, but the loops may not have begun
            members = session(manager.pid)
            begin = time.perf_counter()
            (os.killpg if number == signal.SIGINT else os.kill)(manager.pid, number)
            while members := [member for member in members if lives(member)] or session(manager.pid):
                if time.perf_counter() > begin + PATIENCE:
                    raise NoAnswer(f"{len(members)} processes stay")
                time.sleep(0.001)
            seconds = time.perf_counter() - begin
        errors.seek(0)
        return {"seconds": seconds, "lines": float(len(errors.read().splitlines()))}


def gone_contests(plan: Plan, name: str, words: str, number: int, must: float) -> Iterator[Contest]:
    """A contest for a signal, with workers busy in two ways; of Ctrl-C, a second one for what is said about it."""

    def ends(kind: str, library: str, method: str) -> dict[str, float]:
        return gone(library, method, kind, number)

    field = []
    for kind in ("python", "C"):
        for contender in _field(partial(ends, kind), {}):
            field.append(Contender(f"{contender.name}; {kind}", contender.run, contender.needs))
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"{words}, workers busy in Python or in a C loop; until all processes are gone"
    contest = turns.contest(f"faults-{name}", title, "ms", part(turns, "seconds", 1000.0))
    _slowest(contest, Goal(must=must, least=False))
    yield contest
    if number == signal.SIGINT:
        lines = turns.contest(f"faults-{name}-lines", f"{words}; what is said on stderr", "lines", part(turns, "lines"))
        _slowest(lines, Goal(must=5, least=False, worst=True))
        yield lines


def _slowest(contest: Contest, goal: Goal) -> None:
    """A figure for each start method: in each round, the most of all that it went through."""
    for method in METHODS:
        name = f"{OURS}, {method}"
        runs = [values for contender, values in contest.values.items() if contender.startswith(f"{name};")]
        if runs:
            most = tuple(max(values) for values in zip(*runs, strict=True))
            contest.figures.append(Figure(f"{name}, the most of {len(runs)}", most, contest.unit, goal))


# ---- workers that do not start


def starts(plan: Plan) -> Contest:
    """Worker modules that cannot be loaded; and an initializer that fails, which the pools have as well."""
    initializer = "a failing initializer"

    def fails(what: str, library: str, method: str) -> float:
        return float(guarded(PATIENCE, "ordeal", "fail_to_start", library, method, what))

    field = []
    for what in (*BAD_STARTS, initializer):
        for contender in _field(partial(fails, what), {}, PEERS if what == initializer else ()):
            field.append(Contender(f"{contender.name}; {what}", contender.run, contender.needs))
    turns = plan.compete(field, most=5, warm_up=False)
    values = {name: [1000 * seconds for seconds in runs] for name, runs in turns.values.items()}
    contest = turns.contest("faults-start", "from the start to the error", "ms", values)
    _slowest(contest, Goal(must=1000.0, least=False))
    return contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    yield from kill_contests(plan, "busy", "workers are killed in the middle of a task; from the kill", BUSY)
    yield from kill_contests(plan, "idle", "workers are killed while they wait; from the kill", IDLE)
    late = f"tasks take longer than the time-out of {TIMEOUT:g} s; from its end"
    yield from kill_contests(plan, "timeout", late, TIMED_OUT)
    yield storm(plan)
    yield from gone_contests(plan, "ctrl-c", "Ctrl-C", signal.SIGINT, 500.0)
    yield from gone_contests(plan, "sigterm", "SIGTERM to the manager", signal.SIGTERM, 1000.0)
    yield from gone_contests(plan, "sigkill", "SIGKILL to the manager", signal.SIGKILL, 1000.0)
    yield starts(plan)
