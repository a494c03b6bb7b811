"""Ctrl-C, as a terminal sends it: to every process of the group. All are gone at once, and few words are made of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.support import ALARM, script_env, strict, wait_until, write

WORKER = """
    import time

    def entry(rows):
        time.sleep(0.01)
        return len(rows)
"""

IN_WAIT = """
    emp = eisenmp.Mp()
    emp.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'entry'}], NUM_PROCS=2, NUM_ROWS=1,
              WORKER_CALL='chunk', START_METHOD=METHOD)
    reader = emp.results.outcomes()
    emp.feed(itertools.count())
    for _ in range(10):
        next(reader)
    reader.close()
    print('now', flush=True)
    emp.wait()
"""

IN_IMAP = """
    def slow(item):
        time.sleep(0.01)
        return item

    for item in eisenmp.imap(slow, itertools.count(), max_workers=2, chunksize=1, start_method=METHOD):
        if item == 10:
            print('now', flush=True)
"""

IN_THE_LOOP_S_BODY = """
    for item in eisenmp.imap(abs, itertools.count(), max_workers=2, chunksize=1, start_method=METHOD):
        if item == 10:
            print('now', flush=True)
            time.sleep(60)
"""


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
@pytest.mark.parametrize('where', [IN_WAIT, IN_IMAP, IN_THE_LOOP_S_BODY], ids=['wait', 'imap', 'body'])
def test_ctrl_c(tmp_path: Path, where: str, method: str) -> None:
    write(tmp_path, WORKER)
    head = f"""
        import itertools, signal, time
        import eisenmp

        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
        METHOD = {method!r}
    """
    script = write(tmp_path, textwrap.dedent(head) + textwrap.dedent(where), 'script.py')
    command = [sys.executable, *strict(method), script]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=script_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == 'now\n'
            children = psutil.Process(job.pid).children(recursive=True)
            assert len(children) >= 2
            began = time.monotonic()
            os.killpg(job.pid, signal.SIGINT)
            _, err = job.communicate(timeout=ALARM)
            wait_until(lambda: not any(map(_lives, children)), 'the end of all processes')
            seconds = time.monotonic() - began
        finally:
            job.kill()
    assert job.returncode == -signal.SIGINT
    assert seconds < 2  # half a second on a machine that has time
    assert 'KeyboardInterrupt' in err
    assert len(err.splitlines()) <= 5, err


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
