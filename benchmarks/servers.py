"""Servers on one port: requests a second, what a killed worker costs, what a rolling restart costs.

The application is that of ``examples/asgi``, under uvicorn in all contenders. ``wrk`` asks from the same machine and so
takes a part of its processors away from the servers: of a page that costs next to nothing to make, an eighth of what a
worker takes, so that two workers cannot be twice as fast as one; of one that takes some milliseconds, little.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import ROOT, apart, program, wait_until
from benchmarks.rounds import OURS, Contest, Figure, Goal

__all__ = ["kill", "rate", "restart", "run"]

WORKER: Final = ROOT / "examples" / "asgi" / "worker" / "serve.py"
SCRIPT: Final = Path(__file__).with_name("servers.lua")
CONNECTIONS: Final = 32
SECONDS: Final = 10
WARM: Final = 2  # seconds before the clock starts
KILL_AFTER: Final = 3.0  # seconds, of a run of eight
FULL: Final = 0.9  # of the rate before
LEAST: Final = "/"  # next to nothing to do
PAGE: Final = "/calendar/2026"
BIN: Final = 0.1  # seconds; as in servers.lua
UVICORN: Final = "uvicorn --workers"
ONE: Final = f"{OURS}, 1 worker"
TWO: Final = f"{OURS}, 2 workers"
NO_DELAY: Final = f"{UVICORN} 2, no delay"
AS_IT_IS: Final = f"{UVICORN} 2"
ALONE: Final = f"{UVICORN} 1"
ONE_AND_TWO: Final = {TWO: (OURS, 2), ONE: (OURS, 1)}


@contextmanager
def ours(workers: int) -> Iterator[tuple[eisenmp.Mp, int]]:
    """The example's application in so many workers, and its port; all are up."""
    emp = eisenmp.Mp()
    try:
        module = {"WORKER_PATH": str(WORKER), "WORKER_REF": "worker_entrance"}
        emp.start(worker_modules=[module], NUM_PROCS=workers, HEALTH_CHECK="/health", RESTARTS=10, port=0)
        wait_until(lambda: bool(emp.listening))
        port = emp.listening[0][1]
        wait_until(lambda: len(_answering(port)) == workers)
        yield emp, port
    finally:
        emp.terminate()
        emp.join()


@contextmanager
def uvicorn(how: str, workers: int) -> Iterator[int]:
    """The same application by uvicorn's own command; or by its own supervisor, see uvicorn_program.py."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "serve:app", "--app-dir", WORKER.parent, "--port", port]
    options = ["--workers", workers, "--log-level", "warning", "--no-access-log"]
    if how == "supervisor":
        command, options = [sys.executable, Path(__file__).with_name("uvicorn_program.py")], []
        command += [WORKER.parent, port, workers]
    with program([str(word) for word in (*command, *options)]):
        wait_until(lambda: len(_answering(port)) == workers)
        yield port


def _answering(port: int) -> set[str]:
    """Processes that answer, of those whom some connections reach."""
    import http.client

    pids = set()
    for _ in range(8):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            pids.add(connection.getresponse().read().decode())
        except OSError:
            pass  # not yet
        finally:
            connection.close()
    return pids


class Wrk:
    """One run of wrk, from its start on.

    Args:
        port: whom to ask.
        seconds: how long.
        path: for what.
        close: a new connection for each request.
        when: have it tell when answers came.

    Attributes:
        cpu: seconds of a processor that it took.
    """

    cpu = 0.0

    def __init__(self, port: int, seconds: int, path: str = LEAST, *, close: bool = False, when: bool = False) -> None:
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        command += ["-s", str(SCRIPT)] if when else []
        command += ["-H", "Connection: close"] if close else []
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE, text=True
        )

    def told(self) -> str:
        """What it prints at its end; `cpu` is known then."""
        assert self._process.stdout is not None
        with self._process.stdout as printed:
            text = printed.read()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        if self._process.returncode or "Requests/sec" not in text:
            raise RuntimeError(f"wrk ended with {self._process.returncode}: {text}")
        return text


def requests_a_second(text: str) -> float:
    """As wrk tells it; a request that failed spoils it all."""
    if lost := failures(text):
        raise RuntimeError(f"{lost} requests failed")
    found = re.search(r"Requests/sec:\s*([\d.]+)", text)
    assert found is not None
    return float(found[1])


def failures(text: str) -> int:
    """Requests that got no answer, or a bad one."""
    found = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    counts = [*(found.groups() if found else ()), *(bad.groups() if bad else ())]
    return sum(map(int, counts))


def answers_by_time(text: str) -> dict[int, int]:
    """How many answers came in each bin of time; bins are counted by the clock that all processes have in common."""
    return {int(at): int(count) for at, count in re.findall(r"^bin (\d+) (\d+)$", text, re.MULTILINE)}


# ---- each in a fresh interpreter


def rate(server: str, workers: int, path: str) -> dict[str, float]:
    """Requests a second, and the part of a processor that wrk took."""
    if server == OURS:
        with ours(workers) as (_, port):
            return _rate(port, path)
    with uvicorn(server, workers) as port:
        return _rate(port, path)


def _rate(port: int, path: str) -> dict[str, float]:
    Wrk(port, WARM, path).told()
    wrk = Wrk(port, SECONDS, path)
    return {"rate": requests_a_second(wrk.told()), "wrk": wrk.cpu / SECONDS}


def kill() -> dict[str, float]:
    """Kill a worker in the middle: what failed, what was in flight there, and how long the rate was down."""
    from eisenmp.traffic import open_connections

    with ours(2) as (emp, port):
        Wrk(port, WARM).told()
        wrk = Wrk(port, 8, when=True)
        time.sleep(KILL_AFTER)
        pid = emp.proc_list[0].pid
        in_flight = open_connections(pid, {port}) or 0
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        text = wrk.told()
    return {"failed": failures(text), "in flight": in_flight, "down": _down(answers_by_time(text), killed)}


def _down(counts: dict[int, int], killed: float) -> float:
    """Seconds from the kill until the rate, over two bins, is what it was before."""
    at = int(killed / BIN)
    before = statistics.median([counts.get(one, 0) for one in range(at - 15, at)])
    for one in range(at + 1, max(counts)):
        if (counts.get(one, 0) + counts.get(one + 1, 0)) / 2 >= FULL * before:
            return max(0.0, one * BIN - killed)
    return float("inf")


def restart(close: bool) -> dict[str, float]:
    """A rolling restart under load: what failed, and how long it took."""
    with ours(2) as (emp, port):
        Wrk(port, WARM).told()
        wrk = Wrk(port, 6, close=close)
        time.sleep(1.0)
        begin = time.monotonic()
        emp.restart_all(60)
        seconds = time.monotonic() - begin
        return {"failed": failures(wrk.told()), "seconds": seconds}


# ---- contests


def _field(path: str, kinds: dict[str, tuple[str, int]]) -> list[Contender[dict[str, float]]]:
    """Contenders by name: which server, and how many workers."""
    return [
        Contender(name, partial(apart, "servers", "rate", *kind, path), "" if kind[0] == OURS else "uvicorn")
        for name, kind in kinds.items()
    ]


def rates(plan: Plan) -> Contest:
    """One worker, two workers, and uvicorn's own: what carrying a request costs."""
    field = _field(LEAST, {**ONE_AND_TWO, NO_DELAY: ("supervisor", 2), AS_IT_IS: ("command", 2), ALONE: ("command", 1)})
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"wrk with {CONNECTIONS} connections for {SECONDS} s"
    contest: Contest = turns.contest("servers-rate", title, "requests/s", part(turns, "rate"))
    contest.part_of(TWO, NO_DELAY, Goal(must=0.95), words=f"2 workers, part of {NO_DELAY}")
    contest.part_of(TWO, AS_IT_IS, Goal(must=0.95), words=f"2 workers, part of {AS_IT_IS} as it is")
    contest.part_of(TWO, ONE, Goal(must=1.7), words="2 workers, times 1 worker")
    contest.notes.append("'no delay': with TCP_NODELAY, which the command with --workers fails to set")
    contest.notes.append(f"wrk itself runs on one of these {os.cpu_count()} processors")
    if os.cpu_count() == 2:  # for a request, wrk takes that part of what a worker takes
        limits = tuple(2 / (1 + share) for share in part(turns, "wrk").get(ONE, ()))
        contest.figures.append(Figure("limit: two workers and wrk on two processors, times 1 worker", limits, "x"))
    return contest


def pages(plan: Plan) -> Contest:
    """One worker and two, where a request is worth a worker's time."""
    field = _field(PAGE, {**ONE_AND_TWO, NO_DELAY: ("supervisor", 2)})
    turns = plan.compete(field, most=5, warm_up=False)
    title = f"the same for a page that takes some milliseconds to make, {PAGE}"
    contest: Contest = turns.contest("servers-page", title, "requests/s", part(turns, "rate"))
    contest.part_of(TWO, ONE, Goal(must=1.7, aim=1.9), words="2 workers, times 1 worker")
    contest.part_of(TWO, NO_DELAY, Goal(must=0.95), words=f"2 workers, part of {NO_DELAY}")
    return contest


def kills(plan: Plan) -> Contest:
    """kill -9 of one of two workers."""
    turns = plan.compete([Contender(TWO, partial(apart, "servers", "kill"))], most=5, warm_up=False)
    title = "one of two workers is killed under load: until the rate is back"
    contest: Contest = turns.contest("servers-kill", title, "s", part(turns, "down"))
    contest.absolute(TWO, Goal(must=1.0, least=False), words=f"until {FULL:.0%} of the rate before")
    for told in turns.values.values():
        spare = tuple(run["failed"] - run["in flight"] for run in told)
        goal = Goal(must=0, least=False, worst=True)
        contest.figures.append(Figure("requests that failed beyond those in flight there", spare, "", goal))
        contest.notes += [f"{run['failed']:.0f} failed; {run['in flight']:.0f} were in flight" for run in told]
    return contest


def restarts(plan: Plan) -> Contest:
    """All workers replaced, one by one."""
    kinds = {"kept connections": False, "a connection for each request": True}
    field = [
        Contender(f"{OURS}, {words}", partial(apart, "servers", "restart", close)) for words, close in kinds.items()
    ]
    turns = plan.compete(field, most=5, warm_up=False)
    title = "two workers are replaced one by one under load"
    contest: Contest = turns.contest("servers-restart", title, "s", part(turns, "seconds"))
    for words, failed in part(turns, "failed").items():
        goal = Goal(must=0, least=False, worst=True)
        contest.figures.append(Figure(f"{words}: failed requests", tuple(failed), "", goal))
    return contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    lacks = [
        why
        for why, lacking in (
            ("wrk is not installed (Debian: apt-get install wrk)", shutil.which("wrk") is None),
            ("uvicorn and starlette are not installed (pip install 'eisenmp[examples]')", not _can_serve()),
        )
        if lacking
    ]
    if lacks:
        values: dict[str, list[float]] = {}
        yield Contest("servers", "servers on one port", "requests/s", values, notes=[f"left out: {w}" for w in lacks])
        return
    yield rates(plan)
    yield pages(plan)
    yield kills(plan)
    yield restarts(plan)


def _can_serve() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("uvicorn", "starlette"))
