"""Failures are tried again in the job that runs, when what was wrong is mended."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import pytest

import eisenmp
from tests.support import ALARM, FORKS, Lab, wait_until

pytestmark = FORKS

# Odd numbers do not go through before somebody has mended something.
WORKER = """
    import os, signal, time

    def entry(rows, toolbox):
        if rows[0] % 2 and not os.path.exists(toolbox.mended):
            if rows[0] % 4 == 3 and toolbox.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(rows[0])
        return rows[0]
"""


@pytest.mark.parametrize('filed', [False, True])
def test_failed_and_set_aside(swift_lab: Lab, filed: bool) -> None:
    mended, path = swift_lab.folder / 'mended', swift_lab.folder / 'job.db'
    emp = swift_lab.mp()
    settings = {'ON_ERROR': 'skip', 'CRASH_RETRIES': 0, 'NUM_ROWS': 1, 'WORKER_CALL': 'chunk', 'NUM_PROCS': 2}
    store = {'JOB': str(path)} if filed else {'RESULTS_STORE': True}
    kills = swift_lab.name == 'fork'  # elsewhere the last words of one that kills itself may be lost
    swift_lab.start(emp, WORKER, mended=str(mended), kills=kills, RESTARTS=None, **settings, **store)
    hold = iter(lambda: emp.queues['more'].get(timeout=ALARM), None)
    emp.add_queue('more')
    emp.feed(item for rows in hold for item in rows)
    emp.queues['more'].put(list(range(8)))
    results = emp.results['mp_input_q']
    wait_until(lambda: len(results.failed) + len(results.set_aside) == 4, 'odd ones have failed')
    assert len(results.set_aside) == (2 if kills else 0)
    assert emp.retry_set_aside() == 4
    wait_until(lambda: len(results.failed) + len(results.set_aside) == 4, 'and again')
    mended.touch()
    emp.queues['more'].put([8])
    assert emp.retry_set_aside(failed=False) == (2 if kills else 0)
    assert emp.retry_set_aside() == (2 if kills else 4)
    wait_until(lambda: len(results.done) == 9, 'now they go through')
    emp.queues['more'].put(None)
    outcome = emp.wait(ALARM)
    assert outcome['mp_input_q'].values() == list(range(9))
    assert emp.join(ALARM)
    with pytest.raises(eisenmp.JobOver):
        emp.retry_set_aside()
    if filed:
        check_file(path)


def check_file(path: Path) -> None:
    db = sqlite3.connect(path)
    assert db.execute('SELECT count(*) FROM failure').fetchone() == (0,)
    assert db.execute('SELECT done, failed, set_aside, items FROM queue').fetchall() == [(9, 0, 0, 9)]
    assert db.execute('SELECT first, last FROM finished').fetchall() == [(0, 8)]
    assert db.execute('SELECT ended, tickets, items FROM run').fetchall() == [('complete', 9, 9)]
    db.close()


def test_the_short_forms_have_told_of_it_already() -> None:
    items = itertools.chain([0], itertools.repeat(1))
    with eisenmp.imap(lambda n: 1 // n, items, engine='inline', on_error='yield', chunksize=1) as it:
        assert isinstance(next(it), ZeroDivisionError)
        assert it._course.emp.retry_set_aside() == 0
        assert [next(it) for _ in range(50)] == [1] * 50
