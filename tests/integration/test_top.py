"""``eisenmp top`` beside real jobs: on a terminal, by a pipe, with jobs that end well and badly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp import watching
from eisenmp.control import find_jobs
from tests.integration.test_display import OnTerminal
from tests.support import ALARM, FORKS, Lab, script_env, wait_until, write

pytestmark = FORKS

TOP = [sys.executable, '-W', 'error', '-m', 'eisenmp', 'top']
# Each chunk waits for a word; 'no' makes it fail.
WORKER = """
    def entry(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in rows:
            return False
        if toolbox.go.get() == 'no':
            raise ValueError(f'row {rows[0]} is no good')
        return True
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for sockets, with a short path; jobs can be watched at once."""
    path = tempfile.mkdtemp(prefix='top')
    monkeypatch.setenv('XDG_RUNTIME_DIR', path)
    monkeypatch.setattr(watching, '_AFTER', 0.0)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def job(home: str, tmp_path: Path) -> Iterator[eisenmp.Mp]:
    """One of this process, with one worker, that goes on as the test says."""
    lab = Lab(tmp_path, 'fork')
    emp = lab.mp()
    emp.add_queue('go')
    lab.start(emp, WORKER, NUM_ROWS=1, ON_ERROR='skip')
    emp.feed(range(100))
    wait_until(lambda: list(find_jobs()), 'it can be watched')
    yield emp
    lab.close()


Top = Callable[..., OnTerminal]


@pytest.fixture
def top(tmp_path: Path, home: str) -> Iterator[Top]:
    """Runs the command on a terminal."""
    runs: list[OnTerminal] = []

    def run(*arguments: str, **more: Any) -> OnTerminal:
        runs.append(OnTerminal(tmp_path, [*TOP, *arguments], XDG_RUNTIME_DIR=home, **more))
        return runs[-1]

    yield run
    for one in runs:
        one.clear_away()


def test_watched_and_steered(job: eisenmp.Mp, top: Top) -> None:
    shown = top(columns=100)
    shown.until(r'^eisenmp 0:\d\d  1 of 1 workers up', r'^Process-1  working  _TID_0', '^q leave   s stop   r restart')
    assert not shown.waits_for_enter()
    job.queues['go'].put('yes')
    shown.until(r'^mp_input_q .*1 %  1/100')
    shown.type('+')
    shown.until('^2 workers from now on$', r'^Process-2  working')
    assert [worker.slot for worker in job.snapshot().workers] == [0, 1]
    job.queues['go'].put('no')
    shown.until(
        'failed: mp_input_q_TID_.: ValueError: row . is no good$', '^last failure mp_input_q_TID_', 't try failures'
    )
    shown.type('t')
    shown.until('^1 chunk is tried again$')
    os.kill(job.proc_list[0].pid, signal.SIGKILL)
    shown.until('Process-1 died with signal SIGKILL; it is replaced$', '  1 restart$')
    shown.type('r1\n')
    shown.until('^worker slot 1 is restarted$')
    shown.type('-')
    shown.until('^1 worker from now on$')
    shown.type('s')
    shown.until(r'^stop the job\?')
    shown.type('y')
    lines = shown.end()
    assert lines[-1] == f'eisenmp: the job of {os.path.basename(sys.argv[0])} (process {os.getpid()}) is over'
    assert 'took' in ' '.join(lines[-3:])
    assert not any(line.startswith('q leave') for line in lines[-4:])
    job.wait(ALARM)


@pytest.mark.parametrize(('how', 'code'), [('q', 0), ('SIGINT', 130), ('SIGTERM', 143)])
def test_who_leaves_leaves_the_job_and_the_terminal_as_they_were(
    job: eisenmp.Mp, top: Top, how: str, code: int
) -> None:
    shown = top(str(os.getpid()))
    shown.until('^q leave')
    if how.startswith('SIG'):
        shown.process.send_signal(signal.Signals[how])
    else:
        shown.type(how)
    lines = shown.end(code)
    assert [line for line in lines if line] == lines, 'no empty lines, no traceback'
    assert len(lines) == 1
    assert lines[0].startswith('eisenmp    0 %  0/100 items')
    assert shown.waits_for_enter()
    assert not job.begin_proc_shutdown


def test_a_terminal_that_changes_its_size(job: eisenmp.Mp, top: Top) -> None:
    shown = top(columns=100, lines=24)
    shown.until('^q leave')
    shown.resize(40, 8)
    shown.until(r'^q leave   s stop   r restart   \+ - w')
    assert len(shown.shown()) <= 24
    shown.type('q')
    shown.end()


def run_top(home: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TOP, *arguments],
        env=script_env(XDG_RUNTIME_DIR=home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ALARM,
        check=False,
    )
    assert done.returncode == code, done
    return done


def test_which_job_is_meant(job: eisenmp.Mp, home: str, tmp_path: Path) -> None:
    name = os.path.basename(sys.argv[0])
    assert run_top(home, '--list').stdout.split()[:2] == [str(os.getpid()), name]
    wrong = run_top(home, name[:-1], code=2).stderr
    assert f"did you mean '{name}'?" in wrong
    assert f'{name} ({os.getpid()})' in wrong
    lab = Lab(tmp_path / 'other', 'inline')
    (tmp_path / 'other').mkdir()
    emp = lab.mp()
    emp.add_queue('go')
    lab.start(emp, WORKER, NUM_ROWS=1)
    emp.feed(range(3))
    wait_until(lambda: len(list(find_jobs())) == 2, 'both can be watched')
    assert 'there are several jobs; say which one' in run_top(home, code=2).stderr
    lab.close()


def test_no_job(home: str) -> None:
    assert 'no job of yours runs here' in run_top(home, code=2).stderr
    assert run_top(home, '--list').stdout == ''


def test_a_process_that_is_gone_and_lines_by_a_pipe(home: str, tmp_path: Path) -> None:
    text = """
        import eisenmp, sys, time

        def slow(item):
            time.sleep(0.05)
            return item

        for item in eisenmp.imap(slow, range(100_000), max_workers=1, start_method='fork', chunksize=1):
            pass
    """
    script = subprocess.Popen(
        [sys.executable, write(tmp_path, text, 'long.py')], env=script_env(XDG_RUNTIME_DIR=home), cwd=tmp_path
    )
    try:
        wait_until(lambda: [found for found in find_jobs() if found.job], 'it can be watched')
        shown = subprocess.Popen(
            [*TOP, 'long.py'], env=script_env(XDG_RUNTIME_DIR=home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert shown.stdout is not None
        assert shown.stdout.readline().startswith('eisenmp    0 %')
    finally:
        script.kill()
        script.wait(ALARM)
    _, complaint = shown.communicate(timeout=ALARM)
    assert complaint == f'eisenmp: process {script.pid} (long.py) has gone without a word\n'
    assert shown.returncode == 1
    assert list(find_jobs()) == []
    assert not list(Path(home, 'eisenmp').iterdir()), 'its socket was tidied away'


def test_the_live_page_of_a_job_of_another_process(job: eisenmp.Mp, top: Top) -> None:
    for library in ('starlette', 'uvicorn', 'prometheus_client'):
        pytest.importorskip(library)
    shown = top('--web', columns=150)
    shown.until(r'^eisenmp: the live page is at http://127.0.0.1:\d+/#token=\S+$', '^q leave')
    url, token = shown.shown()[0].rpartition(' ')[2].split('#token=')

    def ask(path: str, arguments: Any = None) -> Any:
        headers = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/json'}
        body = None if arguments is None else json.dumps(arguments).encode()
        return urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=ALARM)

    with ask('events') as events:
        assert events.readline() == b'event: history\n'
        history = json.loads(events.readline().removeprefix(b'data: '))
        assert history['kind'] == 'history'
        events.readline()
        assert events.readline() == b'event: state\n'
        assert json.loads(events.readline().removeprefix(b'data: '))['wanted'] == 1
        with ask('actions/resize', {'workers': 2}) as answer:
            assert json.load(answer) == {'said': '2 workers from now on'}
        wait_until(lambda: len(job.snapshot().workers) == 2, 'two workers')
        with pytest.raises(urllib.error.HTTPError) as refused, ask('actions/resize', {'workers': 0}):
            pass
        with refused.value as answer:
            assert answer.code == 400
            assert 'workers=0 does not fit' in json.load(answer)['error']
    with ask('metrics') as text:
        assert b'eisenmp_worker_slots ' in text.read()
    job.kill()
    assert shown.end()[-1].endswith('is over')


def test_a_page_that_cannot_be_served(job: eisenmp.Mp, home: str) -> None:
    assert "--at='nowhere' does not fit" in run_top(home, '--at', 'nowhere', code=2).stderr


def test_no_socket_where_none_is_wanted(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with eisenmp.override(CONTROL_SOCKET=False), eisenmp.imap(abs, range(3), engine='inline', max_workers=1) as it:
        time.sleep(0)
        assert list(it) == [0, 1, 2]
    monkeypatch.setattr(watching, '_AFTER', 3600.0)
    with eisenmp.imap(abs, range(3), engine='inline', max_workers=1) as it:
        assert list(it) == [0, 1, 2]
    assert not os.listdir(home), 'and none for a short job'


def test_a_place_that_cannot_be_used_disturbs_nobody(
    home: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(home, 'eisenmp').touch()
    lab = Lab(tmp_path, 'inline')
    assert len(lab.run('def entry(rows): return rows\n', range(30), WORKER_CALL='chunk')['mp_input_q'].values()) == 3
    assert capfd.readouterr() == ('', '')
