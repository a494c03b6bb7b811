"""report(): what a job has done with its time, and what holds it up."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import eisenmp
from eisenmp import Report, SettingsError
from tests.support import ALARM, ENGINES, FORKS, Lab, wait_until


def options(lab: Lab, **more: Any) -> dict[str, Any]:
    """Of a short form, for this engine, with two workers."""
    names = {'ENGINE': 'engine', 'START_METHOD': 'start_method'}
    return {'max_workers': 2, **{names[key]: value for key, value in ENGINES[lab.name].items()}, **more}


def nap(item: Any) -> Any:
    time.sleep(0.01)
    return item


def napping(count: int) -> Iterator[int]:
    for n in range(count):
        time.sleep(0.01)
        yield n


def is_sound(report: Report, workers: int) -> None:
    """What holds for every report of a job that has done something."""
    assert report.elapsed > 0
    assert report.rate == pytest.approx(report.items / report.elapsed)
    assert report.p50 is not None and report.p99 is not None and report.mean is not None
    assert 0 <= report.p50 <= report.p99
    assert 0 < report.mean
    assert 1 <= len(report.slowest) <= 5
    seconds = [slow.seconds for slow in report.slowest]
    assert seconds == sorted(seconds, reverse=True)
    assert [worker.slot for worker in report.workers] == list(range(workers))
    for worker in report.workers:
        shares = (worker.starting, worker.waiting, worker.working, worker.sending)
        assert sum(shares) == pytest.approx(1)
        assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
        assert worker.seconds <= report.elapsed + 1e-6
    for busy in (report.producer_busy, report.workers_busy, report.consumer_busy):
        assert 0 <= busy <= 1
    assert report.verdict in ('producer-bound', 'worker-bound', 'consumer-bound')
    assert str(report).endswith(f'{report.verdict}: {report.advice}')


def test_a_report_of_a_whole_run(lab: Lab) -> None:
    def slow(item: int) -> int:
        time.sleep(0.4 if item == 30 else 0.01)
        return item

    with eisenmp.imap(slow, range(60), chunksize=1, **options(lab)) as it:
        assert list(it) == list(range(60))
        report = it.report()
        is_sound(report, 2)
        assert report.items == 60
        assert report.p50 is not None and 0.009 < report.p50
        assert 30 in [one.index for one in report.slowest]
        assert {one.items for one in report.slowest} == {1}
        later = it.report()
        assert later == dataclasses.replace(report, workers=later.workers)  # but for workers that end, nothing moves
    assert 'slowest:\n  item ' in str(it.report())


def test_a_report_of_a_run_that_goes_on(lab: Lab) -> None:
    with eisenmp.imap(nap, itertools.count(), chunksize=1, **options(lab)) as it:
        first = it.report()
        assert first.items == 0 or first.mean is not None
        assert list(itertools.islice(it, 20)) == list(range(20))
        wait_until(lambda: it.report().items >= 20)
        second = it.report()
        is_sound(second, 2)
        assert second.elapsed > first.elapsed
    left = it.report()
    is_sound(left, 2)
    assert left.elapsed == it.report().elapsed
    assert left.items >= second.items


def test_what_happens_after_the_end_does_not_count(swift_lab: Lab) -> None:
    """Not even an iterable that has not noticed that nobody wants more."""
    go_on = threading.Event()

    def items() -> Iterator[int]:
        yield from range(5)
        go_on.wait(ALARM)

    with eisenmp.imap(nap, items(), chunksize=1, **options(swift_lab)) as it:
        assert list(itertools.islice(it, 5)) == list(range(5))
    first = it.report()
    time.sleep(0.05)
    assert it.report() == first
    go_on.set()


@pytest.mark.parametrize(
    ('bound', 'words'), [('producer', 'the iterable'), ('worker', 'workers'), ('consumer', 'the loop')]
)
def test_the_verdict(swift_lab: Lab, bound: str, words: str) -> None:
    func = nap if bound == 'worker' else abs
    items = napping(40) if bound == 'producer' else range(80)
    with eisenmp.imap(func, items, chunksize=1, **options(swift_lab)) as it:
        for _ in it:
            if bound == 'consumer':
                nap(None)
        report = it.report()
    is_sound(report, 2)
    assert report.verdict == f'{bound}-bound', str(report)
    assert words in report.advice


def test_one_reads_all_at_the_very_end(swift_lab: Lab) -> None:
    """Results wait, the job is long settled: the consumer's time counts until it has read the last one."""
    with eisenmp.imap(abs, range(30), chunksize=1, buffersize=40, **options(swift_lab)) as it:
        wait_until(lambda: it.report().items == 30)
        for _ in it:
            nap(None)
        report = it.report()
    assert report.verdict == 'consumer-bound', str(report)
    assert report.elapsed > 0.3


def test_items_that_were_timed_together_are_told_so(swift_lab: Lab) -> None:
    slow = lambda n: nap(n) if n == 35 else n  # noqa: E731
    with eisenmp.imap(slow, iter(range(60)), chunksize=10, **options(swift_lab)) as it:
        assert list(it) == list(range(60))
        first = it.report().slowest[0]
    assert first.index <= 35 < first.index + first.items
    assert first.items % 10 == 0
    assert 0.01 / first.items <= first.seconds < 0.01 * ALARM
    assert f'items {first.index} to {first.index + first.items - 1}: ' in str(first)
    assert 'each, timed together' in str(first)


def test_a_function_of_chunks(swift_lab: Lab) -> None:
    with eisenmp.imap_chunks(sum, iter(range(5000)), chunksize=50, **options(swift_lab)) as it:
        assert sum(it) == sum(range(5000))
        report = it.report()
    is_sound(report, 2)
    assert report.items == 5000


def test_failures_count_as_items(swift_lab: Lab) -> None:
    def func(item: int) -> int:
        if item % 2:
            raise ValueError(item)
        return item

    with eisenmp.imap(func, range(40), on_error='skip', **options(swift_lab)) as it:
        assert list(it) == list(range(0, 40, 2))
        assert it.report().items == 40
    with eisenmp.imap_chunks(func, range(1), on_error='skip', **options(swift_lab)) as it:
        assert list(it) == []
        assert it.report().items == 1


def test_memory_is_that_of_the_workers(lab: Lab) -> None:
    with eisenmp.imap(lambda n: len(bytearray(b'x' * (40 << 20))) if n == 0 else n, range(4), **options(lab)) as it:
        assert list(it) == [40 << 20, 1, 2, 3]
    memory = [worker.memory for worker in it.report().workers]
    if lab.in_process or not sys.platform.startswith('linux'):
        assert memory == [None, None]
    else:
        known = [size for size in memory if size is not None]
        assert len(known) == 2
        assert max(known) > 40 << 20


def test_restarts(process_lab: Lab) -> None:
    mark = str(process_lab.folder / 'mark')

    def func(item: int) -> int:
        if item == 15 and not os.path.exists(mark):
            open(mark, 'x').close()
            os._exit(3)
        return item

    with eisenmp.imap(func, range(30), chunksize=1, **options(process_lab)) as it:
        assert list(it) == list(range(30))
        report = it.report()
    assert sum(worker.restarts for worker in report.workers) == 1
    assert ', 1 restart' in str(report)


def test_nothing_and_what_cannot_start(swift_lab: Lab) -> None:
    with eisenmp.imap(abs, [], **options(swift_lab)) as it:
        assert list(it) == []
        report = it.report()
    assert (report.items, report.mean, report.verdict) == (0, None, 'undecided')
    it = eisenmp.imap(abs, range(3), initializer=lambda: 1 // 0, **options(swift_lab))
    with pytest.raises(eisenmp.WorkerStartError):
        list(it)
    assert it.report().verdict == 'undecided'


CLASSIC = """
    import time

    def entry(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in rows:
            return False
        time.sleep(0.01)
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, sum(rows)])
        return True
"""


def test_a_report_of_a_manager(lab: Lab) -> None:
    emp = lab.mp()
    with pytest.raises(SettingsError, match='has not been started'):
        emp.report()
    lab.start(emp, CLASSIC, NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True)
    emp.feed(range(400))
    emp.wait(ALARM)
    assert emp.join(ALARM)
    report = emp.report()
    is_sound(report, 2)
    assert report.items == 400
    assert report.verdict == 'worker-bound'
    assert report.consumer_busy == 0
    assert report.mean is not None and 0.001 <= report.mean < 0.1


def test_a_report_of_several_queues(swift_lab: Lab) -> None:
    emp = swift_lab.mp()
    blue = emp.add_queue('blue_q_7')
    swift_lab.start(emp, 'def entry(rows):\n    return sum(rows)\n', NUM_ROWS=10, WORKER_CALL='chunk')
    emp.feed(range(30))
    emp.feed(range(50), blue)
    emp.wait(ALARM)
    emp.join(ALARM)
    report = emp.report()
    is_sound(report, 1)
    assert report.items == 80
    assert {slow.queue for slow in report.slowest} <= {'', 'blue_q_7'}


pytestmark = FORKS
