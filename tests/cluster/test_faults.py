"""What dies on a cluster: workers, the manager. Nodes and whole clusters: test_nodes.py."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.clusters import Nodes, secrets
from tests.cluster.programs import PRELUDE, run
from tests.support import ALARM, run_script, script_env, wait_until, write

# says who it is, and computes for hours
STUCK = """
    import os

    def entry(n):
        print('here', os.getpid(), flush=True)
        return sum(sum(range(1_000_000)) for _ in range(n))
"""

FOR_EVER = """
import ray
emp = eisenmp.Mp()
start(emp, 'worker.py', NUM_PROCS=2)
emp.feed([10**6] * 4)
emp.wait()
"""


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """The environment of a program that has a private cluster."""
    return script_env(TMPDIR=tempfile.gettempdir(), **secrets(tmp_path))


def test_workers_are_killed_and_nothing_is_lost_or_there_twice(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, 'import os, time\ndef entry(n):\n    time.sleep(0.01)\n    return n, os.getpid()\n')
    program = """
from collections import Counter
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=3, CRASH_RETRIES=9)
    emp.feed(range(300))
    seen = []
    outcomes = emp.results.outcomes()
    for outcome in outcomes:
        seen += outcome.value
        if len(seen) in (50, 120, 190):
            os.kill(seen[-1][1], 9)
print(sorted(n for n, _ in seen) == list(range(300)), len({pid for _, pid in seen}) > 3)
"""
    assert run(kept_nodes, tmp_path, program).split() == ['True', 'True']


def test_a_chunk_that_kills_its_worker_every_time_is_set_aside(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, 'import os\ndef entry(n):\n    if n == 7:\n        os.kill(os.getpid(), 9)\n    return n\n')
    program = """
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=2, NUM_ROWS=4, CRASH_RETRIES=1, ON_ERROR='skip')
    emp.feed(range(16))
    results = emp.wait(90)
    print([n for outcome in results['mp_input_q'] for n in outcome.value or [] if isinstance(n, int)])
    print([str(failure) for outcome in results['mp_input_q'] for _, failure in outcome.failures])
"""
    kept, failures = run(kept_nodes, tmp_path, program).splitlines()
    assert kept == str([n for n in range(16) if n != 7])
    assert 'item 3 (7) of ticket _TID_1' in failures
    assert 'its process ended unexpectedly' in failures


def _started(folder: Path, env: dict[str, str]) -> tuple['subprocess.Popen[str]', list[psutil.Process]]:
    """A program whose two workers are at work, and these."""
    write(folder, STUCK)
    write(folder, PRELUDE + FOR_EVER, 'program.py')
    command = [sys.executable, str(folder / 'program.py')]
    program = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    assert program.stdout is not None
    workers: list[psutil.Process] = []
    with program.stdout:
        while len(workers) < 2:
            line = program.stdout.readline()
            assert line, 'the program ended'
            if line.startswith('here'):
                workers.append(psutil.Process(int(line.split()[1])))
    return program, workers


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _open_files(process: psutil.Process) -> list[str]:
    try:
        return [file.path for file in process.open_files()]
    except psutil.Error:
        return []


def _see_gone(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + ALARM
    while left := [process for process in processes if not _is_gone(process)]:
        assert time.monotonic() < deadline, [' '.join(process.cmdline())[:200] for process in left]
        time.sleep(0.01)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[list[psutil.Process]]:
    """What a test has to see ended, whatever comes."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if not _is_gone(process):
            process.kill()


def test_the_manager_of_a_private_cluster_is_killed(
    alone: dict[str, str], killed: list[psutil.Process], tmp_path: Path
) -> None:
    program, workers = _started(tmp_path, alone)
    killed += [*workers, *psutil.Process(program.pid).children(recursive=True)]
    assert len(killed) > 4
    folders = {link.split('/session')[0] for one in killed for link in _open_files(one) if '/eisenmp-ray-' in link}
    assert len(folders) == 1
    (folder,) = folders
    assert os.path.isdir(folder)
    program.kill()
    program.wait()
    _see_gone(killed)
    wait_until(lambda: not os.path.exists(folder), 'the end of the folder')


def test_the_manager_on_a_cluster_of_others_is_killed(
    kept_nodes: Nodes, killed: list[psutil.Process], tmp_path: Path
) -> None:
    program, workers = _started(tmp_path, {**kept_nodes.env, 'ADDRESS': kept_nodes.address})
    killed += workers
    program.kill()
    program.wait()
    _see_gone(killed)


def test_ctrl_c_ends_it_as_it_does_here(kept_nodes: Nodes, killed: list[psutil.Process], tmp_path: Path) -> None:
    program, workers = _started(tmp_path, {**kept_nodes.env, 'ADDRESS': kept_nodes.address})
    killed += workers
    os.kill(program.pid, signal.SIGINT)
    assert program.wait(ALARM) in (130, 1, -2)
    _see_gone(killed)


def test_a_program_ends_with_nothing_left(alone: dict[str, str], tmp_path: Path) -> None:
    """Two jobs in a row use one private cluster; the program's end is its end."""
    write(tmp_path, 'import os\ndef entry(n): return os.getppid()\n')
    program = """
import psutil
clusters = set()
for _ in range(2):
    with eisenmp.Mp() as emp:
        start(emp, 'worker.py')
        emp.feed(range(20))
        clusters |= set(values(emp.wait(60)))
    assert len(emp.proc_list) == eisenmp.usable_cores()
print(len(clusters), *[child.pid for child in psutil.Process().children(recursive=True)])
"""
    count, *pids = run_script(tmp_path, PRELUDE + program, flags=(), env=alone).stdout.split()
    assert count == '1'
    assert pids
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), 'the end of the cluster')


def test_ctrl_c_makes_few_words(alone: dict[str, str], tmp_path: Path) -> None:
    """Ray has a hook of its own for what nobody catches."""
    program = """
import itertools, os, signal
import eisenmp
for n, _ in enumerate(eisenmp.imap(abs, itertools.count(), max_workers=2, engine='ray')):
    if n == 9:
        os.kill(os.getpid(), signal.SIGINT)
"""
    write(tmp_path, program, 'program.py')
    command = [sys.executable, str(tmp_path / 'program.py')]
    done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (130, 1, -2)
    assert 'eisenmp: the job was ended' in done.stderr
    assert len(done.stderr.splitlines()) <= 5, done.stderr
