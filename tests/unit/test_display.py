"""What is said: the line of progress, the results at the end, what workers print, and output that cannot be written."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

import pytest

from eisenmp.display import Display
from eisenmp.display.progress import Progress, Rate, counts
from eisenmp.display.report import print_results
from eisenmp.events import FailureView, FeederView, Snapshot, WorkerView
from eisenmp.exchange import Exchange
from eisenmp.ledger import Ledger
from eisenmp.payload import dumps, dumps_error
from eisenmp.queues import QueueTable
from eisenmp.results import Record, Results
from eisenmp.settings import Settings


def feeder(done: int, made: int, total: int | None = None, *, finished: bool = False, queue: str = 'q') -> FeederView:
    return FeederView(queue=queue, made=made, done=done, total=total, finished=finished)


def worker(slot: int, phase: str = 'up', restarts: int = 0) -> WorkerView:
    return WorkerView(slot, f'Process-{slot + 1}', 1, phase, (), 0.0, 0, restarts)


def snapshot(seconds: float, *feeders: FeederView, **more: Any) -> Snapshot:
    whole: dict[str, Any] = {'workers': (worker(0), worker(1)), 'queues': (), 'failed': 0, 'set_aside': 0, **more}
    return Snapshot(seconds=seconds, feeders=feeders, **whole)


# ---- how much is done, and of how much


@pytest.mark.parametrize(
    ('feeders', 'expected'),
    [
        ((), (0, None)),
        ((feeder(5, 10),), (5, None)),
        ((feeder(5, 10, 40),), (5, 40)),
        ((feeder(5, 10, finished=True),), (5, 10)),
        ((feeder(5, 10, 99, finished=True),), (5, 10)),  # what was made is known better than what was said
        ((feeder(5, 10, 40, queue='a'), feeder(1, 2, 8, queue='b')), (6, 48)),
        ((feeder(5, 10, 40, queue='a'), feeder(1, 2, queue='b')), (6, None)),
        ((feeder(7, 10, 40), feeder(7, 2, 8)), (7, 48)),  # two feeders of one queue: its items count once
    ],
)
def test_counts(feeders: tuple[FeederView, ...], expected: tuple[int, int | None]) -> None:
    assert counts(snapshot(1.0, *feeders)) == expected


def test_what_workers_report_counts_where_it_is_more() -> None:
    assert counts(snapshot(1.0, feeder(5, 10, 40), info={'a': 7, 'b': 8})) == (15, 40)
    assert counts(snapshot(1.0, feeder(30, 35, 40), info={'a': 7})) == (30, 40)
    assert counts(snapshot(1.0, info={'a': 7}, info_total=70)) == (7, 70)


# ---- the line


def test_a_line() -> None:
    line = Progress().line(snapshot(10.0, feeder(250, 400, 1000)))
    assert line == 'eisenmp   25 %  250/1,000 items  25/s  0:30 left  workers 2/2'


def test_a_line_of_an_unknown_number() -> None:
    line = Progress().line(snapshot(2.0, feeder(12_345, 20_000)))
    assert line == 'eisenmp  12,345 items of an unknown number  6,172/s  workers 2/2'


def test_a_line_at_the_very_beginning() -> None:
    line = Progress().line(snapshot(0.0, feeder(0, 0, 10), workers=(worker(0, 'starting'), worker(1, 'waiting'))))
    assert line == 'eisenmp    0 %  0/10 items  0/s  workers 0/2'


def test_a_line_at_the_end() -> None:
    end = snapshot(3725.0, feeder(10, 10, finished=True), over=True, failed=2, set_aside=1)
    assert Progress().line(end) == (
        'eisenmp  100 %  10/10 items  0.0027/s  took 1:02:05  2 chunks failed  1 chunk set aside'
    )


def test_at_the_end_the_rate_is_that_of_the_whole_job() -> None:
    progress = Progress()
    for second in range(1, 101):
        progress.line(snapshot(float(second), feeder(1000 if second > 50 else 20 * second, 0, 1000)))
    assert progress.line(snapshot(100.0, feeder(1000, 1000, 1000), over=True)).endswith('10/s  took 1:40')


def test_what_failed_last_stays() -> None:
    failure = FailureView('mp_input_q (default)', 7, lambda: ValueError('row 7\x1b[31m is\tno good\nat all'))
    end = snapshot(5.0, feeder(10, 10, 10), over=True, failed=1, last_failure=failure)
    assert Progress().last_lines(end) == [
        'eisenmp  100 %  10/10 items  2.0/s  took 5.0 s  1 chunk failed',
        'eisenmp  last failure: mp_input_q_TID_7: ValueError: row 7 is no good',
    ]


def test_a_failure_that_cannot_be_shown_is_no_harm() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError('no text')

    def broken() -> BaseException:
        raise ImportError('its class is gone')

    for odd in (lambda: Odd(), broken):
        end = snapshot(5.0, over=True, last_failure=FailureView('q', 7, odd))
        assert Progress().last_lines(end)[-1] == 'eisenmp  last failure: q_TID_7 (what was raised cannot be shown)'


def test_restarts_are_told() -> None:
    line = Progress().line(snapshot(1.0, feeder(1, 1), workers=(worker(0, restarts=3), worker(1, 'waiting', 1))))
    assert line.endswith('workers 1/2  4 restarts')


def test_percent_never_exceeds_100() -> None:
    assert '100 %  15/10 items' in Progress().line(snapshot(1.0, feeder(15, 15, 10)))


def test_the_rate_is_that_of_the_last_seconds() -> None:
    progress = Progress()
    for second in range(1, 61):
        line = progress.line(snapshot(float(second), feeder(1000 * second, 0, 10**6)))
    assert '1,000/s' in line
    for second in range(61, 81):  # and now it stands still
        line = progress.line(snapshot(float(second), feeder(60_000, 0, 10**6)))
    assert '  0/s' in line
    assert 'left' not in line  # nobody knows


# ---- the rate


def test_where_chunks_take_long_the_past_that_counts_is_longer() -> None:
    rate = Rate()
    for second in range(1, 301):  # a chunk of 60 items every 30 seconds
        now = rate.at(float(second), second // 30 * 60)
        if second > 60:
            assert 1.3 < now < 2.7, second


def test_a_rate_follows_a_change_within_some_seconds() -> None:
    rate, count = Rate(), 0
    for tenth in range(1, 601):
        count += 100 if tenth <= 300 else 10
        now = rate.at(tenth / 10, count)
    assert now == pytest.approx(100, rel=0.05)


def test_a_count_that_begins_anew_is_no_negative_rate() -> None:
    rate = Rate()
    assert rate.at(5.0, 50) == 10
    assert rate.at(6.0, 3) == 0  # a worker was replaced
    assert rate.at(8.0, 7) == 2


def test_the_same_moment_twice_is_no_harm() -> None:
    rate = Rate()
    assert rate.at(0.0, 0) == 0
    assert rate.at(0.0, 5) == 0
    assert rate.at(2.0, 10) == rate.at(2.0, 10) == 5


def test_the_past_is_forgotten() -> None:
    rate = Rate()
    for n in range(100_000):
        rate.at(n / 100, n)
    assert len(rate._past) < 200


# ---- results at the end


@pytest.fixture
def results() -> Results:
    table = QueueTable()
    ledger = Ledger()
    exchange = Exchange(table, ledger)
    made = Results(exchange, on_read=lambda _: None)
    made.keep(all_values=True, last=10)
    for n in range(3):
        chunk = ledger.add(0, 1, (b'',), 0)
        ledger.lease(chunk, 1, 0.0, begun=True)
        if n == 1:
            ledger.failed(1, 0, n, 0, 0.0)
            made.record(Record(0, n, error=dumps_error(ValueError('bad row'))))
        else:
            ledger.done(1, 0, n, 0, 0.0)
            made.record(Record(0, n, value=dumps({'n': n})))
    made.closing[1] = 'sum'
    return made


def test_results_are_printed_under_their_label(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results, Settings(RESULTS_PRINT=True, RESULT_LABEL='fake production'))
    assert capsys.readouterr().out.splitlines() == [
        '--- fake production ---',
        "mp_input_q (default) _TID_0: {'n': 0}",
        'mp_input_q (default) _TID_1: failed: ValueError: bad row',
        "mp_input_q (default) _TID_2: {'n': 2}",
        "closing of worker slot 1: 'sum'",
        '--- mp_input_q (default): 2 of 3 tickets done, 1 failed (1) ---',
    ]


def test_the_dictionary_is_printed(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results, Settings(RESULTS_DICT_PRINT=True))
    assert capsys.readouterr().out == "{'mp_input_q (default)': [(0, {'n': 0}), (2, {'n': 2})]}\n"


def test_nothing_is_printed_unasked(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    print_results(results, Settings(RESULT_LABEL='label'))
    assert capsys.readouterr().out == ''


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


def test_a_reader_of_the_output_that_has_left_is_told_of(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'stdout', Broken(BrokenPipeError(32, 'Broken pipe')))
    print_results(results, Settings(RESULTS_PRINT=True))
    assert 'eisenmp: the results could not be printed' in capsys.readouterr().err


def test_a_full_disk_is_no_silent_loss(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'stdout', Broken(OSError(28, 'No space left on device')))
    try:
        print_results(results, Settings(RESULTS_PRINT=True))
    except OSError:
        return  # wait() raises it
    assert 'No space left' in capsys.readouterr().err


def test_results_are_printed_on_a_terminal_without_their_letters(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding='ascii'))
    print_results(results, Settings(RESULTS_PRINT=True, RESULT_LABEL='grüne Ergebnisse …'))
    sys.stdout.flush()
    assert b'Ergebnisse' in raw.getvalue()
    assert b'_TID_2' in raw.getvalue()


# ---- lines of workers


def test_lines_go_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    display.lines('to stdout', stderr=False)
    display.lines('two\nlines', stderr=True)
    out, err = capsys.readouterr()
    assert (out, err) == ('to stdout\n', 'two\nlines\n')


def test_a_full_disk_loses_output_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'stdout', Broken(OSError(28, 'No space left on device')))
    Display().lines('x', stderr=False)
    assert 'No space left on device' in capsys.readouterr().err


def test_a_closed_stdout_loses_output_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, 'stdout', closed)
    Display().lines('x', stderr=False)
    assert 'closed file' in capsys.readouterr().err


def test_a_program_without_streams_does_not_stumble(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under pythonw, or a daemon that has closed them."""
    monkeypatch.setattr(sys, 'stdout', None)
    monkeypatch.setattr(sys, 'stderr', None)
    display = Display()
    display.lines('x', stderr=False)
    display.lines('x', stderr=True)
    display.news('x')


def test_letters_that_the_terminal_lacks_are_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding='ascii'))
    Display().lines('grün → blau \udce9', stderr=False)
    sys.stdout.flush()
    assert b'gr' in raw.getvalue()
    assert b'blau' in raw.getvalue()


def test_news_are_warnings_of_the_package_s_logger(caplog: pytest.LogCaptureFixture) -> None:
    Display().news('Process-1 died with signal SIGKILL; it is replaced')
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ('eisenmp', logging.WARNING, 'Process-1 died with signal SIGKILL; it is replaced')
    ]


def test_a_log_record_of_a_worker_is_handled_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger='worker.module')
    display = Display()
    for level in (logging.INFO, logging.DEBUG):
        display.log({'name': 'worker.module', 'levelno': level, 'levelname': 'X', 'msg': 'row %d', 'args': (7,)})
    assert [(r.name, r.getMessage()) for r in caplog.records] == [('worker.module', 'row 7')]
