"""The main thread ends: the interpreter waits for the job as for threads, and for nothing that will never come."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from tests.programs import METHODS, Program

DIES_ONCE = """
    import os

    def plain(rows):
        if rows[0] == 5:
            try:
                os.close(os.open('died', os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return 'again'
            os._exit(3)
        return rows[0]
"""


@pytest.mark.parametrize('method', METHODS)
def test_a_worker_dies_after_it(tmp_path: Path, method: str) -> None:
    """It is replaced as ever, while the interpreter waits."""
    script = """
        gate = threading.Event()

        def items():
            yield from range(4)
            threading.main_thread().join()
            time.sleep(0.1)  # the interpreter is on its way to its end, which no handle tells
            yield from range(4, 8)

        def told():
            for outcome in emp.results['mp_input_q']:
                print(outcome.value, outcome.attempts)

        emp = eisenmp.Mp()
        emp._on_over = told  # the last of ours to run
        started(emp, NUM_PROCS=1)
        emp.feed(items())
    """
    with Program(tmp_path, script, method, worker=DIES_ONCE) as program:
        program.ends()
    if method == 'fork' and (3, 12) <= sys.version_info < (3, 12, 3):
        assert "can't fork at interpreter shutdown" in program.err  # python/cpython#113964
        assert "use START_METHOD='spawn' or 'forkserver'" in program.err
        return
    assert program.process.returncode == 0
    assert program.out.split('\n')[5] == 'again 2', program.err
    assert 'Process-1 died with exit code 3; it is replaced' in program.err


BLOCKS = """
def blocked():
    open('blocked', 'w').close()
    time.sleep(60)
"""
# A result that ends the job comes when the generator has come to its end, not before.
BLOCKED = {
    'stopped': """
        emp = started()
        emp.feed(endless(then=lambda: time.sleep(60)))
        sys.stdin.readline()
        emp.stop()
        emp.wait()
    """,
    'killed': """
        emp = started()
        emp.feed(endless(then=lambda: time.sleep(60)))
        sys.stdin.readline()
        emp.kill()
    """,
    'first hit': """
        emp = started(WORKER_CALL='chunk')
        emp.feed(endless(then=blocked))
        print('hit', emp.wait().answer)
    """,
    'failed': """
        emp = started(WORKER_CALL='chunk')
        emp.feed(endless(then=blocked))
        try:
            emp.wait()
        except ZeroDivisionError:
            pass
    """,
    'block': """
        try:
            with started() as emp:
                emp.feed(endless(then=lambda: time.sleep(60)))
                sys.stdin.readline()
                raise KeyError
        except KeyError:
            pass
    """,
    'loop is left': """
        for item in eisenmp.imap(slow, endless(then=lambda: time.sleep(60)), max_workers=2, start_method=METHOD):
            if item == 3:
                break
    """,
    'forgotten': """
        results = eisenmp.imap(slow, endless(then=lambda: time.sleep(60)), max_workers=2, start_method=METHOD)
        for _ in range(4):
            next(results)
    """,
}
WORKERS = """
    import os
    import time

    def plain(rows):
        return len(rows)

    def await_blocked():
        while not os.path.exists('blocked'):
            time.sleep(0.01)

    def hit(rows, toolbox):
        if rows[0] == 8:
            await_blocked()
            toolbox.stop_job(8)

    def failed(rows):
        if rows[0] == 8:
            await_blocked()
        return 1 / (rows[0] - 8)
"""


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('how', BLOCKED)
def test_a_generator_blocks_for_ever(tmp_path: Path, how: str, method: str) -> None:
    style = {'first hit': 'hit', 'failed': 'failed'}.get(how, 'plain')
    with Program(tmp_path, BLOCKS + textwrap.dedent(BLOCKED[how]), method, style, WORKERS) as program:
        if how not in ('loop is left', 'forgotten'):
            program.says()
        program.tell()
        seconds = program.ends()
    assert program.process.returncode == 0, program.err
    assert seconds < 5
    assert program.err == '' or 'never read' in program.err
