"""How a job gets on, from what its file tells at a glance; and that looking at it opens nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp import JobFileError
from eisenmp.jobfile import JobSummary, QueueSummary, RunSummary
from eisenmp.jobfile.lock import Owner, myself
from eisenmp.jobfile.status import JobStatus, status_of

ME = myself()


def run(began: float, last: float | None, items: int, ended: str | None = None) -> RunSummary:
    return RunSummary(began, last, ended, 1, ME.host, items, items, None)


def status(now: float, *runs: RunSummary, items: int = 0, total: int | None = 1000, **more: Any) -> JobStatus:
    queue = QueueSummary('words', items, 0, 0, items, items, 1.0, items, total, False)
    summary = JobSummary('x.db', 'running', ME, {}, 0.0, 'pickle', True, False, (queue,), runs)
    return status_of(replace(summary, **more), (), (), now)


def test_a_run_shorter_than_a_minute_has_one_rate() -> None:
    seen = status(30.0, run(10.0, 29.0, 100), items=100)
    assert (seen.recent, seen.rate, seen.left) == (5.0, 5.0, 180.0)


def test_the_recent_rate_is_that_of_the_last_minute() -> None:
    pace = tuple((float(at), 10 * at) for at in range(120, 196, 5))  # ten a second ...
    seen = status(200.0, run(0.0, 199.0, 2600), items=2600, total=10_000, pace=pace)  # ... until the last seconds
    assert seen.recent == (2600 - 1400) / 60
    assert seen.rate == 2600 / 200
    assert seen.left == 7400 / 20


def test_a_job_that_does_not_move_becomes_slow() -> None:
    seen = status(1000.0, run(0.0, 200.0, 2000), items=2000, total=4000, pace=((195.0, 2000),))
    assert seen.recent == 0
    assert seen.left == 2000 / 2


def test_runs_that_were_killed_count_until_they_wrote_last() -> None:
    seen = status(900.0, run(0.0, 10.0, 100), run(500.0, 510.0, 300), items=400, state='interrupted', owner=None)
    assert seen.rate == 20.0
    assert seen.recent == 30.0
    assert seen.left == 600 / 30
    assert (seen.holder, seen.alive, seen.last_write, seen.runs) == (None, None, 510.0, 2)


@pytest.mark.parametrize(
    ('more', 'items'), [({'state': 'complete'}, 1000), ({'answered': True}, 5), ({'total': None}, 5)]
)
def test_no_time_is_left_or_nobody_knows(more: dict[str, Any], items: int) -> None:
    assert status(20.0, run(10.0, 19.0, items), items=items, **more).left is None


def test_nothing_is_done_yet() -> None:
    for runs in ((), (run(10.0, None, 0),)):
        seen = status(20.0, *runs)
        assert (seen.rate, seen.recent, seen.left, seen.last_write) == (None, None, None, None)


def test_who_holds_it() -> None:
    gone = Owner(1, ME.host, None, None, 5.0)
    far = Owner(1, 'elsewhere', None, None, 5.0)
    assert (status(1.0).holder, status(1.0).alive) == (ME, True)
    stale = status(1.0, owner=None, stale=gone)
    assert (stale.holder, stale.alive) == (gone, False)
    unknown = status(1.0, owner=far)
    assert (unknown.holder, unknown.alive) == (far, None)


# ---- of a file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'home'))
    path = str(tmp_path / 'job.db')

    def odd(number: int) -> int:
        if number % 2 == 0:
            raise ValueError(f'{number} is even')
        return number

    with eisenmp.imap(odd, range(40), job=path, engine='inline', chunksize=4, on_error='skip') as results:
        assert list(results) == list(range(1, 40, 2))
    return path


def test_of_a_file(path: str) -> None:
    seen = eisenmp.job_status(path)
    assert (seen.state, seen.done, seen.total, seen.holder, seen.own) == ('complete', 40, 40, None, True)
    (queue,) = seen.queues
    assert (queue.finished, queue.failed, queue.restore_point, queue.cut) == (10, 10, 10, 10)
    assert len(seen.failed) == 5  # the newest
    assert {row.type for row in seen.failed} == {'ValueError'}
    assert all(row.message == f'{4 * row.ticket} is even' for row in seen.failed)
    assert seen.set_aside == ()


def test_a_damaged_pickle_and_a_stranger_s_file_do_not_matter(path: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE outcome SET value = x'8004636f730a73797374656d0a'")
        db.execute("UPDATE failure SET detail = x'00'")
        db.execute("UPDATE meta SET value = 'somebody else' WHERE name = 'seal'")
    db.close()
    seen = eisenmp.job_status(path)
    assert (seen.done, seen.own, len(seen.failed)) == (40, False, 5)


def test_the_owner_that_was_killed(path: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute('INSERT INTO owner VALUES (1, ?, ?, ?, ?, ?)', (ME.pid, ME.host, ME.boot, 'before', 7.0))
        db.execute('UPDATE run SET ended = NULL')
    db.close()
    seen = eisenmp.job_status(path)
    assert (seen.state, seen.alive) == ('interrupted', False)
    assert seen.holder is not None
    assert seen.holder.pid == ME.pid


def test_what_is_no_job_file(path: str, tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"no job file .*jib.db \(did you mean 'job.db'\?\)"):
        eisenmp.job_status(tmp_path / 'jib.db')
    db = sqlite3.connect(path)
    db.execute('PRAGMA user_version = 99')
    db.close()
    with pytest.raises(JobFileError, match='version 99'):
        eisenmp.job_status(path)
