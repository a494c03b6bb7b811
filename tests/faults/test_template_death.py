"""The template process of ``forkserver`` is killed, whatever it is at: nothing is lost or doubled, nobody hangs."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import eisenmp
from tests.support import ALARM, script_env, wait_until, write

ITEMS: Final = range(300)
SUMS: Final = [sum(range(start, start + 3)) for start in range(0, 300, 3)]

# `stop_here` says in which process it is, once for all processes, and waits there to be killed.
WORKER: Final = """
    import os, time

    HERE = {here!r}
    FORKS = []

    def stop_here():
        try:
            os.close(os.open(HERE + '.once', os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        with open(HERE, 'w') as file:
            print(os.getpid(), file=file)
        time.sleep(60)

    def before_fork():
        FORKS.append(1)
        if len(FORKS) > {forks}:
            stop_here()

    def in_parent():
        if len(FORKS) > {forks}:
            stop_here()

    {spot}

    def entry(rows, toolbox):
        toolbox.forward(toolbox.copies, rows[0])
        toolbox.parent.put(os.getppid()) if rows[0] == 6 else None
        return sum(rows)
"""
SPOTS: Final = {
    "import": "stop_here()",
    "before a fork": "os.register_at_fork(before=before_fork)",
    "after a fork": "os.register_at_fork(before=lambda: FORKS.append(1), after_in_parent=in_parent)",
    "nowhere": "",
}

Start = Callable[..., eisenmp.Mp]


@pytest.fixture(params=["pidfd", "none"])
def handles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With handles of processes, and without, as on Android."""
    if request.param == "none":
        monkeypatch.delattr(os, "pidfd_open", raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a job whose template stops at a spot; whatever becomes of the test, it is ended."""
    jobs: list[eisenmp.Mp] = []

    def begin(spot: str, *, forks: int = 0, **settings: Any) -> eisenmp.Mp:
        os.mkfifo(tmp_path / "here")
        path = write(tmp_path, WORKER.format(here=str(tmp_path / "here"), forks=forks, spot=SPOTS[spot]))
        emp = eisenmp.Mp()
        jobs.append(emp)
        emp.add_queue("copies")
        emp.add_queue("parent")
        emp.share("large", bytes(1 << 20))
        emp.start(
            worker_modules=[{"WORKER_PATH": path, "WORKER_REF": "entry"}],
            START_METHOD="forkserver",
            WORKER_CALL="chunk",
            RESULTS_STORE=True,
            **{"NUM_PROCS": 2, "NUM_ROWS": 3, **settings},
        )
        return emp

    yield begin
    for emp in jobs:
        emp.kill()
        assert emp.join(ALARM)


def stopped_template(tmp_path: Path) -> int:
    """Wait until it has come to the spot."""
    with (tmp_path / "here").open() as file:
        return int(file.read())


def all_once(emp: eisenmp.Mp) -> None:
    """Every ticket has its result, and every forwarded message came once."""
    results = emp.wait(ALARM)
    assert results["mp_input_q"].values() == SUMS
    copies = emp.queues["copies"]
    rows = [copies.get_nowait() for _ in range(copies.qsize())]
    assert sorted(rows) == list(range(0, 300, 3))


def gated(gate: threading.Event, at: int = 150) -> Iterator[int]:
    """The items, with a pause between two chunks."""
    yield from ITEMS[:at]
    assert gate.wait(ALARM)
    yield from ITEMS[at:]


def test_during_the_import(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    emp = start("import")
    emp.feed(ITEMS)
    os.kill(stopped_template(tmp_path), signal.SIGKILL)
    all_once(emp)
    assert "died" not in caplog.text, "nobody had been forked, so nobody died"


@pytest.mark.usefixtures("handles")
@pytest.mark.parametrize("forks", [0, 1])
@pytest.mark.parametrize("spot", ["before a fork", "after a fork"])
def test_while_it_forks(start: Start, tmp_path: Path, spot: str, forks: int) -> None:
    """A child that its template could not tell of any more is dead, before another one gets its place."""
    emp = start(spot, forks=forks)
    emp.feed(ITEMS)
    os.kill(stopped_template(tmp_path), signal.SIGKILL)
    all_once(emp)


@pytest.mark.usefixtures("handles")
def test_between_chunks(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    emp = start("nowhere")
    emp.feed(gated(gate))
    wait_until(lambda: len(emp.results["mp_input_q"].done) == 50)
    old = emp.proc_list
    template = emp.queues["parent"].get(timeout=ALARM)
    os.kill(template, signal.SIGKILL)
    for handle in old:
        handle.join(ALARM)
        assert not handle.is_alive()
    wait_until(lambda: all(worker.restarts == 1 for worker in emp.snapshot().workers))
    gate.set()
    all_once(emp)
    assert caplog.text.count("died with the end of its template process (signal SIGKILL)") == 2


@pytest.mark.usefixtures("handles")
def test_again_and_again(start: Start) -> None:
    """As soon as the workers of a new one are up, for a while."""
    gate = threading.Event()
    emp = start("nowhere", CRASH_RETRIES=100)

    def items() -> Iterator[int]:
        for item in ITEMS:
            gate.wait(0.002)
            yield item

    emp.feed(items())
    kills = 0
    while not emp.begin_proc_shutdown and kills < 6:
        # three failed starts in a row end a job, so all have to be up before the next one
        wait_until(lambda: emp.begin_proc_shutdown or {view.phase for view in emp.snapshot().workers} == {"up"})
        victim = emp.proc_list[0]
        try:
            os.kill(parent_of(victim.pid), signal.SIGKILL)
        except (OSError, ValueError):  # somebody has just gone
            continue
        victim.join(ALARM)
        kills += 1
    gate.set()
    all_once(emp)
    assert kills


def parent_of(pid: int) -> int:
    """The parent process, but never this one."""
    status = Path(f"/proc/{pid}/status").read_text()
    parent = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
    if parent in (0, 1, os.getpid()):
        raise ValueError(f"process {pid} belongs to {parent}")
    return parent


def test_a_worker_dies_while_its_template_is_stopped(start: Start) -> None:
    """Its death shows all the same, and its chunks run elsewhere; the replacement comes when the template goes on."""
    gate = threading.Event()
    emp = start("nowhere")
    emp.feed(gated(gate))
    wait_until(lambda: len(emp.results["mp_input_q"].done) == 50)
    template = emp.queues["parent"].get(timeout=ALARM)
    os.kill(template, signal.SIGSTOP)
    victim = emp.proc_list[0]
    victim.kill()
    victim.join(ALARM)
    assert victim.exitcode == 255
    gate.set()
    wait_until(lambda: len(emp.results["mp_input_q"].done) == len(SUMS))
    os.kill(template, signal.SIGCONT)
    all_once(emp)


def test_the_manager_is_killed_while_the_template_imports(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "here")
    path = write(tmp_path, WORKER.format(here=str(tmp_path / "here"), forks=0, spot=SPOTS["import"]))
    modules = [{"WORKER_PATH": path, "WORKER_REF": "entry"}]
    script = f"import eisenmp\nemp = eisenmp.Mp()\nemp.start(worker_modules={modules!r}, START_METHOD='forkserver')\n"
    with subprocess.Popen([sys.executable, "-c", script], env=script_env()) as manager:
        template = os.pidfd_open(stopped_template(tmp_path))
        manager.kill()
    assert select.select([template], [], [], ALARM)[0], "the template outlives its manager"
    os.close(template)
