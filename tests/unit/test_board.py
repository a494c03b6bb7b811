"""From snapshots to the rows of the display, with a clock and processes given by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from eisenmp.display.board import Board, Boards, Crowd, fit
from eisenmp.display.usage import Used, used_by
from eisenmp.display.words import age, amount, cells, clock, counted, one_line, pace, size
from eisenmp.events import FailureView, FeederView, QueueView, Snapshot, WorkerView


def worker(slot: int = 0, **more: Any) -> WorkerView:
    given: dict[str, Any] = {'pid': 1000 + slot, 'phase': 'up', 'holding': (), 'oldest_seconds': 0.0, 'answered': 0,
                             'restarts': 0, **more}  # fmt: skip
    return WorkerView(slot, f'Process-{slot + 1}', **given)


def feeder(done: int, made: int, total: int | None = None, *, finished: bool = False, queue: str = 'q') -> FeederView:
    return FeederView(queue, made, done, total, finished)


def snapshot(seconds: float, *feeders: FeederView, **more: Any) -> Snapshot:
    given: dict[str, Any] = {'workers': (), 'queues': (), 'failed': 0, 'set_aside': 0, **more}
    return Snapshot(seconds, feeders, **given)


class Processes:
    """What processes use, set by hand."""

    def __init__(self) -> None:
        self.used: dict[int, Used] = {}
        self.asked: list[list[int]] = []

    def __call__(self, pids: Iterable[int]) -> dict[int, Used]:
        self.asked.append(list(pids))
        return {pid: self.used[pid] for pid in self.asked[-1] if pid in self.used}


class Test_streams:
    def test_done_total_rate_and_time_left(self) -> None:
        boards = Boards(Processes())
        for second in range(11):
            board = boards.make(snapshot(float(second), feeder(25 * second, 30 * second, 1000)))
        (row,) = board.streams
        assert (row.name, row.done, row.total, row.made) == ('q', 250, 1000, 300)
        assert row.rate == pytest.approx(25)
        assert row.left == pytest.approx(30)
        assert board.whole is None

    def test_nobody_knows_the_total_until_the_feeder_is_done(self) -> None:
        boards = Boards(Processes())
        (row,) = boards.make(snapshot(1.0, feeder(10, 40))).streams
        assert (row.total, row.left) == (None, None)
        (row,) = boards.make(snapshot(2.0, feeder(20, 40, finished=True))).streams
        assert row.total == 40
        assert row.left == pytest.approx(2.0)

    def test_the_time_left_follows_the_recent_rate(self) -> None:
        """Slow at first, then fast: the mean of all would say minutes."""
        boards, done = Boards(Processes()), 0
        for second in range(1, 201):
            done += 1 if second <= 180 else 100
            board = boards.make(snapshot(float(second), feeder(done, done, 3180)))
        assert board.streams[0].left == pytest.approx(10, rel=0.1)

    def test_the_time_left_is_steady_where_chunks_are_large(self) -> None:
        boards = Boards(Processes())
        lefts = []
        for quarter in range(1, 1200):
            done = quarter // 48 * 100  # a chunk of 100 items every 12 seconds
            left = boards.make(snapshot(quarter / 4, feeder(done, done, 100_000))).streams[0].left
            if quarter > 480:
                assert left is not None
                lefts.append(left)
        assert max(lefts) / min(lefts) < 1.4

    def test_a_stream_that_stands_still_has_no_time_left(self) -> None:
        boards = Boards(Processes())
        boards.make(snapshot(1.0, feeder(100, 100, 1000)))
        assert boards.make(snapshot(60.0, feeder(100, 100, 1000))).streams[0].left is None

    def test_feeders_of_one_queue_share_a_row(self) -> None:
        board = Boards(Processes()).make(snapshot(1.0, feeder(7, 10, 40), feeder(7, 2, 8)))
        (row,) = board.streams
        assert (row.done, row.total, row.made, row.feeders) == (7, 48, 12, 2)

    def test_several_streams_have_a_sum(self) -> None:
        board = Boards(Processes()).make(snapshot(2.0, feeder(6, 9, 40, queue='a'), feeder(4, 4, 8, queue='b|x')))
        assert [row.name for row in board.streams] == ['a', 'b|x']
        assert board.whole is not None
        assert (board.whole.done, board.whole.total, board.whole.rate) == (10, 48, 5.0)

    def test_what_workers_report_has_rows_of_its_own(self) -> None:
        more: dict[str, Any] = {'info': {'recorder': 250}, 'info_total': 1000}
        board = Boards(Processes()).make(snapshot(1.0, feeder(2, 2, 2), **more))
        assert [(row.name, row.done, row.total) for row in board.streams] == [('q', 2, 2), ('recorder', 250, None)]
        assert board.whole is not None
        assert (board.whole.done, board.whole.total) == (250, 1000)


class Test_workers:
    @pytest.mark.parametrize(
        ('view', 'state', 'ticket', 'years'),
        [
            (worker(phase='waiting'), 'waiting', '', None),
            (worker(phase='starting'), 'starting', '', None),
            (worker(), 'idle', '', None),
            (worker(holding=('q_TID_4',)), 'idle', '', None),  # handed out ahead
            (worker(at='mp_input_q (default)_TID_3', oldest_seconds=1.5), 'working', 'mp_input_q_TID_3', 1.5),
            (worker(phase='gone', at='q_TID_3'), 'gone', '', None),
            (worker(phase='returned'), 'returned', '', None),
        ],
    )
    def test_state_ticket_and_age(self, view: WorkerView, state: str, ticket: str, years: float | None) -> None:
        (row,) = Boards(Processes()).make(snapshot(9.0, workers=(view,))).workers
        assert (row.state, row.ticket, row.age) == (state, ticket, years)

    def test_cpu_is_that_of_the_last_second_and_memory_is_now(self) -> None:
        processes = Processes()
        boards = Boards(processes)
        for at, spent, resident in ((1.0, 50.0, 10), (2.0, 50.9, 20), (2.5, 51.4, 30), (3.0, 51.0, 30)):
            processes.used = {1000: Used(spent, resident)}
            (row,) = boards.make(snapshot(at, workers=(worker(),))).workers
            told = (None if row.cpu is None else round(row.cpu), row.memory)
            assert told == {1.0: (None, 10), 2.0: (90, 20), 2.5: (90, 20), 3.0: (10, 30)}[at]
        assert len(processes.asked) == 3, 'not more often than once a second'

    def test_a_replaced_worker_begins_anew(self) -> None:
        processes = Processes()
        boards = Boards(processes)
        processes.used = {1000: Used(50.0, 10)}
        boards.make(snapshot(1.0, workers=(worker(answered=40),)))
        processes.used = {2000: Used(0.5, 5)}
        (row,) = boards.make(snapshot(2.0, workers=(worker(pid=2000, answered=2, restarts=1),))).workers
        assert (row.cpu, row.memory, row.restarts) == (None, 5, 1)
        assert row.rate >= 0

    def test_rate_in_chunks(self) -> None:
        boards = Boards(Processes())
        for second in range(5):
            (row,) = boards.make(snapshot(float(second), workers=(worker(answered=3 * second),))).workers
        assert row.rate == pytest.approx(3)

    def test_nothing_is_asked_about_processes_that_are_not_there(self) -> None:
        processes = Processes()
        views = (worker(0, phase='gone'), worker(1, pid=0, phase='waiting'), worker(2))
        Boards(processes).make(snapshot(1.0, workers=views))
        assert processes.asked == [[1002]]


def test_queues() -> None:
    queues = (QueueView('mp_input_q (default)', 5, 0, 8, 8), QueueView('blue', 3, 3), QueueView('tools', 7, 0))
    board = Boards(Processes()).make(snapshot(1.0, queues=queues))
    assert [(row.name, row.fill, row.bound, row.full) for row in board.queues] == [
        ('mp_input_q', 8, 8, True),
        ('blue', 3, 3, True),
        ('tools', 7, 0, False),
    ]


def test_a_failure_is_opened_once_and_not_many_times_a_second() -> None:
    opened = []

    def failure(ticket: int) -> FailureView:
        def opening() -> BaseException:
            opened.append(ticket)
            return ValueError(f'row {ticket}')

        return FailureView('q', ticket, opening)

    boards = Boards(Processes())
    shown = [
        boards.make(snapshot(seconds, last_failure=failure(ticket))).failure
        for seconds, ticket in ((1.0, 5), (1.2, 5), (1.4, 6), (1.9, 7), (2.1, 8), (9.0, 8))
    ]
    assert opened == [5, 8]
    assert shown == ['q_TID_5: ValueError: row 5'] * 4 + ['q_TID_8: ValueError: row 8'] * 2


# ---- too many for the terminal


def crowded(count: int, streams: int = 1, **more: Any) -> Board:
    views = tuple(
        worker(slot, at=f'q_TID_{slot}' if slot % 4 else '', oldest_seconds=0.5 * (slot == 40) + 9.0 * (slot == 50))
        for slot in range(count)
    )
    feeders = [feeder(1, 1, 10, queue=f'q{n}') for n in range(streams)]
    return Boards(lambda pids: {pid: Used(1.0, 1 << 20) for pid in pids}).make(
        snapshot(1.0, *feeders, workers=views, queues=(QueueView('q0', 1, 2),), **more)
    )


def lines_of(board: Board) -> int:
    titles = bool(board.workers)
    ends = bool(board.queues) + bool(board.failure) + bool(board.crowd) + bool(board.more_streams)
    return 1 + (board.whole is not None) + len(board.streams) + titles + len(board.workers) + ends


def test_64_workers_on_a_terminal_of_24_lines() -> None:
    board = fit(crowded(64), 23)
    assert lines_of(board) == 23
    assert board.crowd is not None
    assert len(board.workers) + board.crowd.size == 64
    assert board.crowd.memory == board.crowd.size << 20
    assert sum(count for count, _ in board.crowd.states) == board.crowd.size
    slots = [row.slot for row in board.workers]
    assert slots == sorted(slots)
    assert 50 in slots, 'the one that is longest at its ticket'
    assert 40 not in slots, 'half a second is nothing'


def test_what_fits_is_left_alone() -> None:
    board = crowded(8)
    assert fit(board, 30) == board
    assert fit(board, lines_of(board)) == board
    assert fit(board, lines_of(board) - 1).crowd is not None


@pytest.mark.parametrize('workers', [0, 1, 3, 64, 500])
@pytest.mark.parametrize('streams', [1, 3, 40])
@pytest.mark.parametrize('lines', range(8, 60, 3))
def test_nothing_is_lost_and_nothing_too_long(workers: int, streams: int, lines: int) -> None:
    whole = crowded(workers, streams, last_failure=FailureView('q', 1, lambda: None))
    board = fit(whole, lines)
    assert lines_of(board) <= lines
    assert len(board.streams) + board.more_streams == streams
    assert len(board.workers) + (board.crowd.size if board.crowd else 0) == workers


def test_a_crowd_of_processes_that_nobody_knows() -> None:
    views = tuple(worker(slot, pid=0) for slot in range(30))
    board = fit(Boards(Processes()).make(snapshot(1.0, workers=views)), 10)
    assert board.crowd == Crowd(((23, 'idle'),), 0.0, None, None, 0)


# ---- what processes use


def test_this_process_has_no_share_and_those_that_are_gone_neither() -> None:
    import os

    assert used_by([0, os.getpid(), 2**22 + 1]) == {}


def test_a_process_that_computes_is_seen() -> None:
    import subprocess
    import sys

    program = (
        'import time\nt = time.process_time()\nwhile time.process_time() < t + 0.2: pass\nprint(flush=True); input()'
    )
    with subprocess.Popen([sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = used_by([process.pid])[process.pid]
        process.communicate(b'\n')
    assert 0.15 <= used.cpu_seconds < 20
    assert 1 << 20 < used.resident < 1 << 30


# ---- words


def test_numbers_in_words() -> None:
    assert [amount(n) for n in (0, 999, 12_345_678)] == ['0', '999', '12,345,678']
    assert [counted(n, 'chunk failed') for n in (1, 2, 1000)] == [
        '1 chunk failed',
        '2 chunks failed',
        '1,000 chunks failed',
    ]
    assert [pace(r) for r in (0, 0.0027, 0.5, 3.96, 25.4, 12345)] == [
        '0/s',
        '0.0027/s',
        '0.5/s',
        '4.0/s',
        '25/s',
        '12,345/s',
    ]
    assert [clock(s) for s in (0, 7.4, 65, 3725, 90_000)] == ['0:00', '0:07', '1:05', '1:02:05', '25:00:00']
    assert [age(s) for s in (-0.1, 0.04, 9.9, 9.96, 42, 99.4, 99.6)] == [
        '0.0 s', '0.0 s', '9.9 s', '10 s', '42 s', '99 s', '1:40'
    ]  # fmt: skip
    assert [size(n << 20) for n in (0, 23, 999, 1000, 1434, 20_480, 3_000_000)] == [
        '0 MiB', '23 MiB', '999 MiB', '1.0 GiB', '1.4 GiB', '20 GiB', '2.9 TiB'
    ]  # fmt: skip


def test_one_line_moves_no_cursor() -> None:
    assert one_line('\n  \x1b[31mred\x1b[0m\tand\x07 more \nsecond') == 'red and  more'
    assert one_line('') == one_line('\n\n') == ''
    assert len(one_line('x' * 10_000)) == 300


def test_columns_of_letters() -> None:
    assert [cells(text) for text in ('abc', 'grün', '世界', 'e\u0301')] == [3, 4, 4, 1]
