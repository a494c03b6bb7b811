"""Workers are killed, several or again and again, and chunks kill them: each ticket has one outcome, and no storm.

A death at each single spot: test_table.py.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import eisenmp
from eisenmp import job
from eisenmp.supervisor import Supervisor
from tests.support import ALARM, FORKS, wait_until

WORKER: Final = str(Path(__file__).with_name("worker.py"))
ITEMS: Final = range(300)
SUMS: Final = [sum(range(start, start + 3)) for start in range(0, 300, 3)]

Start = Callable[..., eisenmp.Mp]

pytestmark = FORKS


@pytest.fixture(params=["spawn", "forkserver", "fork"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts a job of the misbehaving worker; whatever becomes of the test, it is ended."""
    jobs: list[eisenmp.Mp] = []

    def begin(style: str, spot: str, **settings: Any) -> eisenmp.Mp:
        emp = eisenmp.Mp()
        jobs.append(emp)
        emp.add_queue("here")
        emp.add_queue("copies")
        modules = [{"WORKER_PATH": WORKER, "WORKER_REF": style}, {"WORKER_PATH": WORKER, "WORKER_REF": "start_slowly"}]
        emp.start(
            START_METHOD=request.param,
            RESULTS_STORE=True,
            spot=spot,
            marks=str(tmp_path),
            **{
                "WORKER_CALL": "toolbox" if style == "classic" else "chunk",
                "worker_modules": modules,
                "NUM_PROCS": 2,
                "NUM_ROWS": 3,
                **settings,
            },
        )
        return emp

    yield begin
    for emp in jobs:
        emp.kill()
        assert emp.join(ALARM)


def drain(queue: Any) -> list[Any]:
    """All that is in a queue of the manager."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


def is_up_or_over(emp: eisenmp.Mp, slot: int) -> bool:
    """Whether there is somebody to kill in the slot, or the job has ended meanwhile."""
    return emp.begin_proc_shutdown or emp.snapshot().workers[slot].phase == "up"


def all_once(emp: eisenmp.Mp) -> None:
    """Every ticket has its result, and every forwarded message came once."""
    results = emp.wait(ALARM)
    assert results["mp_input_q"].values() == SUMS
    copies = drain(emp.queues["copies"])
    assert len(copies) == len(set(copies)) == len(SUMS)


@pytest.mark.parametrize("style", ["classic", "plain"])
def test_killed_before_it_is_up(start: Start, style: str) -> None:
    emp = start(style, "start")
    emp.feed(ITEMS)
    os.kill(emp.queues["here"].get(timeout=ALARM), signal.SIGKILL)
    all_once(emp)
    assert sum(worker.restarts for worker in emp.snapshot().workers) == 1


@pytest.mark.parametrize("style", ["classic", "plain"])
def test_idle_workers_killed_all_at_once(start: Start, style: str) -> None:
    gate = threading.Event()

    def items() -> Iterator[int]:
        yield from ITEMS[:150]
        gate.wait(ALARM)
        yield from ITEMS[150:]

    emp = start(style, "nowhere")
    emp.feed(items())
    wait_until(lambda: len(emp.results["mp_input_q"].done) == 50)
    pids = [handle.pid for handle in emp.proc_list]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(handle.pid not in pids and handle.is_alive() for handle in emp.proc_list))
    gate.set()
    all_once(emp)


@pytest.mark.parametrize("style", ["classic", "plain"])
def test_killed_again_and_again(start: Start, style: str) -> None:
    """Kills as fast as replacements come up, for a while: never a hang, nothing lost, nothing doubled."""
    emp = start(style, "nowhere", NUM_ROWS=3, CRASH_RETRIES=100)
    stop = threading.Event()

    def items() -> Iterator[int]:
        for item in ITEMS:
            stop.wait(0.002)
            yield item

    emp.feed(items())
    kills = 0
    while not emp.begin_proc_shutdown and kills < 10:
        slot = kills % 2
        wait_until(partial(is_up_or_over, emp, slot))
        handle = emp.proc_list[slot]
        handle.kill()
        handle.join(ALARM)
        kills += 1
    stop.set()
    all_once(emp)
    assert kills


def test_a_chunk_that_always_hangs_is_set_aside(start: Start) -> None:
    emp = start("hangs", "nowhere", CHUNK_TIMEOUT=0.2, CRASH_RETRIES=1)
    emp.feed(ITEMS)
    results = emp.wait(ALARM)["mp_input_q"]
    assert results.set_aside == [2]
    assert len(results.done) == len(SUMS) - 1
    error = results[2].error
    assert isinstance(error, eisenmp.CrashError)
    assert set(error.exits) == {"CHUNK_TIMEOUT of 0.2 s"}
    assert (error.item, error.text) == (1, "7")


def test_the_death_is_told_by_the_old_handle(start: Start) -> None:
    emp = start("classic", "during")
    old = emp.proc_list
    emp.feed(ITEMS)
    pid = emp.queues["here"].get(timeout=ALARM)
    victim = next(handle for handle in old if handle.pid == pid)
    os.kill(pid, signal.SIGKILL)
    all_once(emp)
    assert victim.exitcode == -signal.SIGKILL
    assert not victim.is_alive()
    assert pid not in [handle.pid for handle in emp.proc_list]


def test_a_ticket_that_kills_is_set_aside(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    emp = start("poison", "nowhere", CRASH_RETRIES=1)
    emp.feed(ITEMS)
    results = emp.wait(ALARM)["mp_input_q"]
    assert results.set_aside == [2]
    assert len(results.done) == len(SUMS) - 1
    error = results[2].error
    assert isinstance(error, eisenmp.CrashError)
    assert set(error.exits) == {"exit code 3"}
    assert (error.item, error.text) == (1, "7")
    assert "item 1 (7) of ticket _TID_2 of queue 'mp_input_q (default)' was set aside" in caplog.text
    assert [part.value for part in results[2].parts if part.error is None] == [6, 8]


def test_a_classic_ticket_that_kills_is_set_aside_whole(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    emp = start("poison_classic", "nowhere", CRASH_RETRIES=1, WORKER_CALL="toolbox")
    emp.feed(ITEMS)
    results = emp.wait(ALARM)["mp_input_q"]
    assert results.set_aside == [2]
    assert len(results.done) == len(SUMS) - 1
    error = results[2].error
    assert isinstance(error, eisenmp.CrashError)
    assert error.exits == ["exit code 3", "exit code 3"]
    assert error.item is None
    assert results[2].attempts in (2, 3)  # in a batch at first, it is not blamed for the first death
    assert "ticket _TID_2 of queue 'mp_input_q (default)' was set aside" in caplog.text


@pytest.mark.parametrize("ref", ["dies_at_start", "dies_idle"])
def test_no_respawn_storm(start: Start, ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that die without having done anything end the job with the cause."""
    monkeypatch.setattr(job, "Supervisor", partial(Supervisor, backoff=0.001))  # how long: test_supervisor.py
    modules = [{"WORKER_PATH": WORKER, "WORKER_REF": name} for name in ("classic", ref)]
    emp = start("classic", "nowhere", worker_modules=modules)
    with pytest.raises(eisenmp.WorkerStartError, match="in a row"):
        emp.wait(ALARM)
    assert sum(worker.restarts for worker in emp.snapshot().workers) <= 2 * 10
