"""The verdict, and how a report reads."""

from __future__ import annotations

import time

import pytest

from eisenmp.account import take_report
from eisenmp.report import Report, SlowItem, WorkerReport, judge
from tests.unit.fakes import make_job


@pytest.mark.parametrize(
    ('busy', 'verdict', 'words'),
    [
        ((0.02, [0.98, 0.97], 0.1), 'worker-bound', 'more cores'),
        ((0.97, [0.3, 0.2], 0.1), 'producer-bound', 'wait for the iterable'),
        ((0.1, [0.3, 0.2], 1.0), 'consumer-bound', 'results wait to be read'),
        ((0.1, [0.9, 0.0, 0.0, 0.0], 0.1), 'worker-bound', 'a few slow items'),
        ((0.0, [0.0, 0.0], 0.0), 'worker-bound', ''),
        ((1.0, [1.0, 1.0], 1.0), 'worker-bound', 'more cores'),  # everybody is busy: more cores make sense first
    ],
)
def test_who_is_busiest_holds_it_up(busy: tuple[float, list[float], float], verdict: str, words: str) -> None:
    got, advice = judge(*busy, mean=0.01, make=0.001)
    assert got == verdict
    assert words in advice
    assert advice.endswith('.')


def test_items_that_are_not_worth_the_way() -> None:
    assert 'cut by slices' in judge(0.9, [0.2], 0.1, mean=1e-7, make=1e-6)[1]
    assert 'cut by slices' not in judge(0.9, [0.2], 0.1, mean=1e-7, make=1e-3)[1]


def test_a_job_that_is_over_before_it_is_worth_its_start() -> None:
    assert 'starting the workers' in judge(0.1, [0.9], 0.1, mean=1e-4, start_share=0.8)[1]


def test_nothing_is_said_before_anything_is_known() -> None:
    assert judge(1.0, [0.0], 0.0, mean=None)[0] == 'undecided'
    assert judge(1.0, [], 0.0, mean=1.0)[0] == 'undecided'


def test_it_reads_well() -> None:
    report = Report(
        items=12_345,
        elapsed=61.5,
        rate=200.7,
        mean=0.0123,
        p50=0.0101,
        p99=1.5,
        slowest=(SlowItem(7, 2.25), SlowItem(1000, 0.5, 250), SlowItem(3, 0.25, queue='blue_q_7')),
        workers=(
            WorkerReport(0, 60.0, 0.01, 0.19, 0.75, 0.05, 16 << 20, 2),
            WorkerReport(1, 60.0, 0.0, 0.0, 1.0, 0.0, None, 0),
        ),
        producer_busy=0.034,
        workers_busy=0.9,
        consumer_busy=0.5,
        verdict='worker-bound',
        advice='it is what it is.',
    )
    assert str(report).splitlines() == [
        '12,345 items in 61.5 s, 201 a second',
        'an item: mean 12.3 ms, p50 10.1 ms, p99 1.5 s',
        'slowest:',
        '  item 7: 2.25 s',
        '  items 1,000 to 1,249: 500 ms each, timed together',
        '  item 3 of blue_q_7: 250 ms',
        'worker 0: 75% working, 19% waiting, 5% sending, 1% start-up, 16 MiB, 2 restarts',
        'worker 1: 100% working, 0% waiting, 0% sending, 0% start-up, memory unknown',
        'busy: producer 3%, workers 90%, consumer 50%',
        'worker-bound: it is what it is.',
    ]


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.0, '0 ns'), (2e-10, '0.2 ns'), (1.5e-6, '1.5 µs'), (0.9994, '999 ms'), (59.0, '59 s'), (123456.0, '123,456 s')],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert str(SlowItem(0, seconds)) == f'item 0: {text}'


def test_a_report_over_a_million_tickets_takes_no_time() -> None:
    """A tenth of a second; the best of three, for the machine may be busy."""
    job, *_ = make_job()
    for serial in range(0, 1_000_000, 1000):
        chunk = job.ledger.add(0, 1000, (), 0, 1000, 1)
        job.durations.add(0, serial, 1000, 1e-3 * (serial * 7919 % 1_000_000 + 1))
        job.ledger.unread(chunk)
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        report = take_report(job)
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.1
    assert report.p50 == pytest.approx(0.5, rel=0.012)
    assert report.p99 == pytest.approx(0.99, rel=0.012)
    assert [slow.items for slow in report.slowest] == [1000] * 5
    assert report.slowest[0].index * 7919 % 1_000_000 == 999_000


def test_a_report_before_anything_has_happened() -> None:
    report = take_report(make_job()[0])
    assert (report.items, report.rate, report.mean, report.slowest) == (0, 0, None, ())
    assert report.verdict == 'undecided'
    assert 'undecided: no item is done yet.' in str(report)
