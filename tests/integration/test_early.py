"""Worker processes that begin before there is a job."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import eisenmp
from eisenmp.engines import early
from tests.support import ALARM, run_script, script_env, wait_until, write

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='signals and sessions')


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def pids_of(workers: int) -> set[int]:
    """Of the workers of a job in which all have something to do."""

    def pid(_: int) -> int:
        time.sleep(0.02)
        return os.getpid()

    return set(eisenmp.imap(pid, range(200), max_workers=workers, chunksize=1))


@pytest.fixture(params=[False, True], ids=['spawned', 'bare'])
def begun(request: pytest.FixtureRequest) -> Iterator[set[int]]:
    """Three processes that have begun; none is left afterwards."""
    before = children()
    early.begin(3, bare=request.param)
    made = children() - before
    assert len(made) == 3
    yield made
    early.end()
    wait_until(lambda: not made & children())


def test_a_job_takes_them(begun: set[int]) -> None:
    pids = pids_of(3)
    assert pids == begun


def test_who_is_not_taken_ends(begun: set[int]) -> None:
    pids = pids_of(2)
    assert pids < begun
    assert len(pids) == 2
    assert children() >= begun - pids, 'it waits for a job yet'


def test_further_workers_are_new_ones(begun: set[int]) -> None:
    pids = pids_of(4)
    assert pids > begun
    assert len(pids) == 4


def test_forks_do_without_them(begun: set[int]) -> None:
    found = eisenmp.imap(lambda n: os.getpid(), range(10), max_workers=2, start_method='forkserver')
    assert not set(found) & begun


def test_what_workers_inherit_is_there(begun: set[int]) -> None:
    """Objects in memory that all share are inherited as files: those that have begun cannot get them."""
    large = b'x' * (1 << 20)
    found = dict(
        eisenmp.imap(
            lambda n: (len(builtins.large_here), os.getpid()),  # type: ignore[attr-defined]
            range(10),
            max_workers=2,
            initializer=_keep,
            initargs=(large,),
        )
    )
    assert set(found) == {1 << 20}
    assert not set(found.values()) & begun


def _keep(value: bytes) -> None:
    builtins.large_here = value  # type: ignore[attr-defined]


def test_one_that_has_died_is_replaced(begun: set[int]) -> None:
    for pid in begun:
        os.kill(pid, signal.SIGKILL)
    assert sorted(eisenmp.imap(lambda n: n, range(10), max_workers=2)) == list(range(10))


def test_a_ctrl_c_is_not_theirs(begun: set[int]) -> None:
    """It goes to all of a terminal; they would tell with a traceback which of their imports it has hit."""
    for pid in begun:
        os.kill(pid, signal.SIGINT)
    pids = pids_of(3)
    assert pids == begun


def test_the_mask_is_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    early.begin(1)
    early.end()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def session(sid: int) -> list[int]:
    """Who is in it and runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == sid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (OSError, psutil.Error):
            pass
    return found


@pytest.mark.parametrize('files', [['nowhere.txt'], ['--range', '9:x'], ['--out', 'no/folder', '--range', '9']])
def test_a_wrong_call_leaves_none(tmp_path: Path, files: list[str]) -> None:
    write(tmp_path, 'def work(n): return n\n', 'work.py')
    command = [sys.executable, '-m', 'eisenmp', 'map', 'work.py:work', '-j', '2', *files]
    done = subprocess.Popen(
        command, cwd=tmp_path, env=script_env(), start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _, told = done.communicate(timeout=ALARM)
    assert done.returncode in (2, 3)
    assert len(told.splitlines()) <= 3
    assert session(done.pid) == []


@pytest.mark.parametrize('workers', [1, 1000])
def test_no_more_than_there_are_cores(tmp_path: Path, workers: int) -> None:
    """Were a thousand started early, this process would have no descriptors left to load its own modules with."""
    write(tmp_path, 'def work(n): return n\n', 'work.py')
    script = f"""
        import sys
        from eisenmp.engines import early
        early.begin = lambda count, bare, modules: print(count)
        sys.argv = ['eisenmp', 'map', 'work.py:work', '-j', '{workers}', '--range', '3:x']
        from eisenmp.cli import main
        sys.exit(main())
        """
    done = run_script(tmp_path, script, code=2)
    assert done.stdout == f'{min(workers, eisenmp.usable_cores())}\n'
    assert "'3:x'" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith(('linux', 'android')), reason='elsewhere a fork is not safe')
def test_the_command_forks_them_while_it_is_bare(tmp_path: Path) -> None:
    """They have nothing that a fresh interpreter would not have, and do not collect garbage any less."""
    text = """
        import gc, os, signal, sys, threading
        def work(n):
            handled = [s.name for s in signal.valid_signals() if callable(signal.getsignal(s))]
            return [gc.isenabled(), threading.active_count(), 'click' in sys.modules, os.fstat(0).st_rdev, handled,
                    'eisenmp.manager' in sys.modules, sys.path[0], 'early' in str(threading.current_thread())]
        """
    write(tmp_path, text, 'work.py')
    command = [sys.executable, '-m', 'eisenmp', 'map', 'work.py:work', '-j1', '--json', '--range', '0:3']
    found = {}
    for method in ('bare', 'spawn'):
        more = [] if method == 'bare' else ['--start-method', method]
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, env=script_env(), capture_output=True, text=True, timeout=ALARM
        )
        assert (done.returncode, done.stderr) == (0, '')
        found[method] = done.stdout
    assert found['bare'] == found['spawn']
    assert found['bare'].startswith('[true, ')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_the_command_loads(tmp_path: Path, number: signal.Signals) -> None:
    """As soon as there are workers: they are gone with it, and nothing is said but that it was interrupted."""
    write(tmp_path, 'def work(n): return n\n', 'work.py')
    command = [sys.executable, '-m', 'eisenmp', 'map', 'work.py:work', '-j', '2', '--range', '1000000000']
    done = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=script_env(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    alarm = threading.Timer(ALARM, done.kill)
    alarm.start()
    wait_until(lambda: len(session(done.pid)) == 3)
    (os.killpg if number == signal.SIGINT else os.kill)(done.pid, number)
    _, told = done.communicate()
    alarm.cancel()
    assert done.returncode in (-number, 130, 143)
    assert told.strip() in ('', 'eisenmp: interrupted; 0 items')
    wait_until(lambda: session(done.pid) == [])
