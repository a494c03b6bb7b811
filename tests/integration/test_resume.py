"""A job that is started again on its file goes on: whatever the source, the borders and the way it was broken off."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp import JobFileBusy, JobFileError, JobFileMismatch, ResultsError
from eisenmp.jobfile import JobReader
from eisenmp.short import Imap
from eisenmp.spaces import Product, Range
from tests.support import wait_until, write


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'job.db')


CALLS: list[Any] = []  # of functions that run in threads of this process


def noted(item: Any) -> Any:
    CALLS.append(item)
    return item * 2


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def run(items: Iterable[Any], path: str, func: Callable[[Any], Any] = noted, **more: Any) -> Imap[Any]:
    return eisenmp.imap(func, items, job=path, engine='inline', max_workers=2, **{'chunksize': 3, **more})


def break_off(items: Iterable[Any], path: str, after: int, **more: Any) -> list[Any]:
    """Read so many results, then leave."""
    with run(items, path, **more) as results:
        return list(itertools.islice(results, after))


def check(path: str) -> None:
    """Whole, and each ticket once."""
    db = sqlite3.connect(path)
    assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    rows = db.execute('SELECT first, tickets FROM outcome UNION SELECT first, last - first + 1 FROM empty').fetchall()
    rows += db.execute('SELECT ticket, 1 FROM failure WHERE (queue, ticket) NOT IN (SELECT queue, first FROM outcome)')
    told = [ticket for first, tickets in rows for ticket in range(first, first + tickets)]
    assert len(told) == len(set(told))
    db.close()


def summary(path: str) -> Any:
    with JobReader(path) as reader:
        return reader.summary()


class Seekable:
    """Whole numbers; it can begin anywhere."""

    def __init__(self, stop: int) -> None:
        self.stop, self.start, self.asked, self.made = stop, 0, list[int](), list[int]()

    def seek(self, number: int) -> None:
        self.asked.append(number)
        self.start = number

    def __iter__(self) -> Iterator[int]:
        for number in range(self.start, self.stop):
            self.made.append(number)
            yield number


class Skipping:
    """Whole numbers; it can go further."""

    def __init__(self, stop: int) -> None:
        self.stop, self.at, self.asked = stop, 0, list[int]()

    def skip(self, count: int) -> None:
        self.asked.append(count)
        self.at += count

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.at >= self.stop:
            raise StopIteration
        self.at += 1
        return self.at - 1


SOURCES: dict[str, Callable[[], Iterable[Any]]] = {
    'range': lambda: range(100),
    'list': lambda: list(range(100)),
    'generator': lambda: (number for number in range(100)),
    'space': lambda: Range(100),
    'seekable': lambda: Seekable(100),
    'skipping': lambda: Skipping(100),
}


@pytest.mark.parametrize('kind', SOURCES)
@pytest.mark.parametrize('chunksize', [3, 'auto'])
def test_it_goes_on_where_it_was(path: str, kind: str, chunksize: Any) -> None:
    source = SOURCES[kind]
    first = break_off(source(), path, 40, chunksize=chunksize)
    assert first == [2 * n for n in range(40)]
    done = summary(path).queues[0]
    before = len(CALLS)
    assert done.items >= 40
    assert list(run(source(), path, chunksize=chunksize)) == [2 * n for n in range(100)]
    assert len(CALLS) - before == 100 - done.items  # nothing that was in the file is run again
    assert summary(path).state == 'complete'
    check(path)
    CALLS.clear()
    assert list(run(source(), path, chunksize=chunksize)) == [2 * n for n in range(100)]
    assert CALLS == []


@pytest.mark.parametrize('ordered', [True, False, 2])
def test_again_and_again_in_any_order(path: str, ordered: bool | int) -> None:
    for after in range(0, 60, 7):
        break_off(range(100), path, after, ordered=ordered)
    found = list(run(range(100), path, ordered=ordered))
    assert sorted(found) == [2 * n for n in range(100)]
    assert ordered is not True or found == sorted(found)
    check(path)


def test_borders_stay_where_they_were(path: str) -> None:
    break_off(range(100), path, 30, chunksize=7)
    assert list(run(range(100), path, chunksize=2)) == [2 * n for n in range(100)]
    check(path)
    with JobReader(path) as reader:
        runs = reader.runs_of_chunks(0)
    assert runs[0].rows == 7
    assert {run.rows for run in runs} <= {7, 2, 1}
    assert any(run.rows == 2 for run in runs)


def test_a_source_that_can_jump_is_asked_to(path: str) -> None:
    break_off(range(10_000), path, 3000, chunksize=10, buffersize=4)
    seekable, skipping = Seekable(10_000), Skipping(10_000)
    assert sum(break_off(seekable, path, 4000, chunksize=10, buffersize=4)) == sum(range(0, 8000, 2))
    assert seekable.asked
    assert len(seekable.made) < 3000  # but for samples, no item that was done is made
    assert sum(run(skipping, path, chunksize=10)) == sum(range(0, 20_000, 2))
    assert sum(skipping.asked) > 2000


def test_files_are_read_line_by_line(path: str, tmp_path: Path) -> None:
    text = tmp_path / 'words.txt'
    text.write_text(''.join(f'{n}\n' for n in range(50)))
    with text.open() as file:
        break_off(file, path, 20)
    with text.open() as file:  # has a seek, which counts bytes
        assert list(run(file, path)) == [f'{n}\n' * 2 for n in range(50)]


def test_the_end_of_a_very_long_range_is_near(path: str) -> None:
    space = Product('abcdefghij', repeat=12)
    func = len
    with eisenmp.imap_chunks(func, space, job=path, engine='inline', chunksize=10**9, max_workers=1) as results:
        assert list(itertools.islice(results, 3)) == [10**9] * 3
    db = sqlite3.connect(path)  # as if all but the last chunk were done
    with db:
        db.execute('DELETE FROM outcome')
        db.execute('DELETE FROM chunk WHERE first > 0')
        db.execute('DELETE FROM finished WHERE first > 0')
        db.execute('UPDATE chunk SET tickets = 1000')
        db.execute('UPDATE finished SET last = 998')
    db.close()
    began = time.monotonic()
    with eisenmp.imap_chunks(func, space, job=path, engine='inline', chunksize=10**9, max_workers=1) as results:
        assert list(results) == [10**9]
    assert time.monotonic() - began < 5  # an alarm: reading them would take days
    assert summary(path).queues[0].restore_point == 1000


# ---- what has failed


def picky(item: int) -> int:
    CALLS.append(item)
    if item % 10 == 4:
        raise ValueError(f'no {item}')
    return item


def test_failures_are_done(path: str) -> None:
    options: dict[str, Any] = {'func': picky, 'on_error': 'yield', 'chunksize': 5}
    break_off(range(100), path, 50, **options)
    with run(range(100), path, **options) as results:
        found = list(results)
        failures = results.failures
    assert [n for n, value in enumerate(found) if isinstance(value, ValueError)] == list(range(4, 100, 10))
    assert [value for value in found if not isinstance(value, ValueError)] == [n for n in range(100) if n % 10 != 4]
    assert [(failure.index, str(failure.error)) for failure in failures] == [(n, f'no {n}') for n in range(4, 100, 10)]
    check(path)
    CALLS.clear()
    assert len(list(run(range(100), path, **options))) == 100
    assert CALLS == []
    with pytest.raises(ValueError, match='no 4'):
        list(run(range(100), path, func=picky, chunksize=5))
    with JobReader(path) as reader:
        assert [failure.ticket for failure in reader.failures()] == list(range(0, 20, 2))


# ---- is it the same job?


def tripled(item: int) -> int:
    return item * 3


def test_another_function_is_refused(path: str) -> None:
    break_off(range(100), path, 10)
    with pytest.raises(JobFileMismatch, match=r'another job: func was .*noted, is .*tripled'):
        run(range(100), path, func=tripled)
    assert len(list(run(range(100), path, func=tripled, force=True))) == 100
    assert 'func was' in summary(path).runs[-1].forced


@pytest.mark.parametrize('kind', ['generator', 'range'])
def test_other_items_are_refused_and_named(path: str, kind: str) -> None:
    break_off(range(300), path, 250)
    items = [n if n < 66 else -n for n in range(300)]
    source: Callable[[], Iterable[int]] = (lambda: iter(items)) if kind == 'generator' else (lambda: items)
    with pytest.raises(JobFileMismatch, match=r"ticket _TID_22 of queue 'mp_input_q \(default\)': its items .*: -66"):
        list(run(source(), path))
    assert 'JobFileMismatch' in summary(path).state
    found = list(run(source(), path, force=True))
    assert len(found) == 300
    assert '_TID_22' in summary(path).runs[-1].forced
    check(path)


@pytest.mark.parametrize('kind', ['generator', 'range', 'seekable'])
def test_a_source_that_is_too_short(path: str, kind: str) -> None:
    break_off(range(300), path, 250)
    sources: dict[str, Callable[[], Any]] = {
        'generator': lambda: iter(range(100)), 'range': lambda: range(100), 'seekable': lambda: Seekable(100)
    }  # fmt: skip
    with pytest.raises(JobFileMismatch, match='_TID_3[34] .* ends after 100 items|_TID_'):
        list(run(sources[kind](), path))


def test_a_generator_that_raises_goes_on_next_time(path: str) -> None:
    def items(stop: int) -> Iterator[int]:
        yield from range(stop)
        raise OSError('the tape is torn')

    with pytest.raises(OSError, match='torn'):
        list(run(items(50), path))
    assert summary(path).queues[0].items == 50
    assert list(run(range(80), path)) == [2 * n for n in range(80)]


def test_two_at_a_time(path: str) -> None:
    with run(itertools.count(), path) as results:
        next(results)
        with pytest.raises(JobFileBusy, match='this program itself'):
            run(range(10), path)
    assert summary(path).owner is None


def test_values_of_json_and_of_none(path: str, tmp_path: Path) -> None:
    break_off(range(50), path, 20, store='json')
    assert list(run(range(50), path)) == [2 * n for n in range(50)]
    with pytest.raises(JobFileMismatch, match="keeps values as 'json', not as JOB_STORE='pickle'"):
        run(range(50), path, store='pickle')
    other = str(tmp_path / 'none.db')
    before = break_off(range(50), other, 20, store='none')
    after = list(run(range(50), other))
    assert before == [2 * n for n in range(20)]
    assert after == [2 * n for n in range(50 - len(after), 50)]  # what was done before is not to be had
    check(other)


# ---- the manager's own style

WORKER = """
import eisenmp
def work(rows, toolbox):
    if toolbox.target in rows:
        toolbox.stop_job(('found', rows.index(toolbox.target)))
    return sum(rows)
def fail(rows):
    if 13 in rows:
        raise ValueError('thirteen')
    return len(rows)
def classic(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], sum(chunk[1:])])
    return True
"""


class Manager:
    """A manager program that can be started again."""

    def __init__(self, folder: Path, path: str, ref: str = 'work', **settings: Any) -> None:
        self.worker = write(folder, WORKER)
        self.settings = {
            'JOB': path, 'ENGINE': 'inline', 'NUM_PROCS': 2, 'NUM_ROWS': 10, 'target': -1, 'ON_ERROR': 'skip',
            'WORKER_CALL': 'toolbox' if ref == 'classic' else 'chunk',
            'worker_modules': [{'WORKER_PATH': self.worker, 'WORKER_REF': ref}], **settings,
        }  # fmt: skip

    def start(self, *sources: tuple[str | None, Iterable[Any]], **settings: Any) -> eisenmp.Mp:
        emp = eisenmp.Mp()
        for queue in dict.fromkeys([name for name, _ in sources if name is not None]):
            emp.add_queue(queue)
        for name, source in sources:
            emp.feed(source, name)
        emp.start(**(self.settings | settings))
        return emp


def stopping(stop: int, emp: list[eisenmp.Mp], total: int = 500) -> Iterator[int]:
    """After so many items, the job is killed."""
    for n in range(total):
        if n == stop:
            wait_until(lambda: emp and emp[0].results.summary() != 'no tickets')
            emp[0].kill()
        yield n


@pytest.mark.parametrize('ref', ['work', 'classic'])
def test_results_of_all_runs(path: str, tmp_path: Path, ref: str) -> None:
    manager = Manager(tmp_path, path, ref)
    emp: list[eisenmp.Mp] = []
    emp.append(manager.start((None, stopping(200, emp))))
    with pytest.raises(eisenmp.JobKilled):
        emp[0].wait()
    emp[0].join()
    assert summary(path).state == 'killed'
    with manager.start((None, range(500))) as again:
        results = again.wait()
        queue = results['mp_input_q (default)']
        assert results.complete
        assert queue.values() == [sum(range(n, n + 10)) for n in range(0, 500, 10)]
        assert queue[7].value == sum(range(70, 80))
        assert [outcome.ticket for outcome in results.outcomes(ordered=True)] == list(range(50))
        assert results.as_dict() == {'mp_input_q (default)': list(enumerate(queue.values()))}
        assert len(results.records) == 0  # nothing of it is in memory
    assert summary(path).state == 'complete'
    assert queue[49].value == sum(range(490, 500))  # and to be had when the file is closed
    check(path)


def test_several_feeders_and_queues(path: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path, path, BUFFER_CHUNKS=3)
    emp: list[eisenmp.Mp] = []
    emp.append(
        manager.start(
            ('a', range(1000, 1400)), ('b', stopping(150, emp)), ('a', (n for n in range(300))), ('b', range(95))
        )
    )
    with pytest.raises(eisenmp.JobKilled):
        emp[0].wait()
    emp[0].join()
    sources = (('a', range(1000, 1400)), ('b', range(500)), ('a', (n for n in range(300))), ('b', range(95)))
    again = manager.start(*sources)
    reader = again.results.outcomes(ordered=True)  # who keeps to the order must not lock up those who cut again
    found = list(reader)
    again.wait()
    again.join()
    assert sum(outcome.value for outcome in found) == sum([*range(1000, 1400), *range(500), *range(300), *range(95)])
    for name, tickets in (('a', 70), ('b', 60)):
        assert [outcome.ticket for outcome in found if outcome.queue == name] == list(range(tickets))
    assert [(queue.name, queue.finished, queue.ended) for queue in summary(path).queues] == [
        ('a', 70, True), ('b', 60, True)
    ]  # fmt: skip
    check(path)


def test_the_answer_is_kept(path: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path, path, target=77)
    with manager.start((None, range(1000))) as emp:
        emp.wait()
    assert emp.results.answer == ('found', 7)
    with JobReader(path) as reader:
        assert reader.answer() == ('found', 7)
        done = reader.summary().queues[0].finished
    with manager.start((None, range(1000))) as emp:
        emp.wait()
        assert emp.results.answer == ('found', 7)
    assert summary(path).queues[0].finished == done  # it does no more
    with pytest.raises(JobFileMismatch, match='target was 77, is 78'):
        manager.start((None, range(1000)), target=78)


def test_on_error_raise_raises_it_again(path: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path, path, 'fail', ON_ERROR='raise')
    for _ in range(2):
        emp = manager.start((None, range(100)))
        with pytest.raises(ValueError, match='thirteen') as caught:
            emp.wait()
        emp.join()
    assert any('eisenmp retry' in note for note in caught.value.__notes__)
    with manager.start((None, range(100)), ON_ERROR='skip') as emp:
        emp.wait()
    assert emp.results['mp_input_q (default)'].failed == [1]
    assert emp.results['mp_input_q (default)'].done == [0, *range(2, 10)]


def test_other_settings_may_change(path: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path, path)
    with manager.start((None, range(100))) as emp:
        emp.wait()
    with manager.start((None, range(200)), NUM_PROCS=1, NUM_ROWS=7, BUFFER_CHUNKS=9) as emp:
        emp.wait()
        assert sum(emp.results['mp_input_q (default)'].values()) == sum(range(200))


def test_a_reader_that_comes_late_gets_all(path: str, tmp_path: Path) -> None:
    manager = Manager(tmp_path, path)
    with manager.start((None, range(5000))) as emp:
        emp.wait()
        assert sum(outcome.value for outcome in emp.results.outcomes()) == sum(range(5000))
    manager = Manager(tmp_path, path + '2', JOB_STORE='none')
    with manager.start((None, range(5000))) as emp:
        emp.wait()
        with pytest.raises(ResultsError, match='were not kept'):
            emp.results.outcomes()


# ---- bad days


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match='there is no folder'):
        run(range(3), str(tmp_path / 'no' / 'job.db'))


def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip('this user may write anywhere')
    with pytest.raises(JobFileError, match='must be writable'):
        run(range(3), str(tmp_path / 'job.db'))
