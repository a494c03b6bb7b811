"""The live view: from looks at a job to states and their history, with times and processes given by hand."""

from __future__ import annotations

import gc
import json
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from eisenmp.display.usage import Used
from eisenmp.errors import CrashError
from eisenmp.events import FeederView, QueueView, Snapshot, WorkerView
from eisenmp.ledger import State
from eisenmp.live import Live, live_view
from eisenmp.live.ears import Ears
from eisenmp.live.failures import Failures
from eisenmp.live.history import History
from eisenmp.live.lanes import Bar
from eisenmp.live.series import Series
from eisenmp.live.state import States
from eisenmp.payload import dumps, dumps_error
from eisenmp.results import Record
from eisenmp.snapshot import Look
from eisenmp.tap import Answer, Death, Failed, Tap
from tests.unit.fakes import Heard, add_chunk, make_job

NAMES = ('mp_input_q (default)', 'mp_output_q')


def look(seconds: float, tap: Tap | None = None, **more: Any) -> Look:
    given: dict[str, Any] = {'feeders': (), 'workers': (), 'queues': (), 'failed': 0, 'set_aside': 0, **more}
    return Look(Snapshot(seconds, **given), tap or Tap(), NAMES, began=100.0)


def busy_look(seconds: float, slots: int = 2, answers: int = 50) -> Look:
    """Of a job in which much happens all the time."""
    tap = Tap()
    for n in range(answers):
        end = 100.0 + seconds - 0.5 + (n + 1) * 0.5 / answers
        tap.answers.append(Answer(n % slots, 0, n, 3, 30, end - 0.02, end - 0.01, end, 0.01, 'done'))
    error = dumps_error(ValueError(f'wrong at {seconds}'))
    tap.failures.append(Failed(100.0 + seconds, 0, False, Record(0, int(seconds), error=error)))
    workers = tuple(
        WorkerView(slot, f'Process-{slot + 1}', 1000 + slot, 'up', (), 0.0, int(seconds * 10), 0)
        for slot in range(slots)
    )
    feeders = (FeederView(NAMES[0], int(seconds * 110), int(seconds * 100), None, False),)
    return look(seconds, tap, workers=workers, feeders=feeders, queues=(QueueView(NAMES[0], 3, 0, 8, 5),))


def states(**facts: Any) -> States:
    return States(facts, usage=lambda pids: {}, here=lambda: None)


class Test_states:
    def test_what_a_page_gets(self) -> None:
        state, bars = states(name='manager.py').make(busy_look(10.0), [{'level': 'print'}], ['stop'])
        assert state['kind'] == 'state'
        assert (state['n'], state['seconds'], state['over'], state['job']) == (1, 10.0, False, {'name': 'manager.py'})
        assert state['streams'][0]['name'] == 'mp_input_q'
        assert (state['streams'][0]['done'], state['streams'][0]['total']) == (1000, None)
        assert state['latency'] == {'p50': 0.02, 'p95': 0.02, 'n': 150}
        assert state['queues'] == [{'name': 'mp_input_q', 'fill': 5, 'bound': 8, 'full': False}]
        assert [worker['pid'] for worker in state['workers']] == [1000, 1001]
        assert (state['logs'], state['can']) == ([{'level': 'print'}], ['stop'])
        assert state['lanes'] == [bar.row() for bar in bars]
        assert {row[0] for row in state['lanes']} == {0, 1}
        assert state['failures'][0]['text'] == 'ValueError: wrong at 10.0'
        json.dumps(state, allow_nan=False)

    def test_states_are_numbered_and_the_last_one_says_so(self) -> None:
        maker = states()
        assert maker.make(look(1.0), [])[0]['n'] == 1
        state, _ = maker.make(look(2.0), [], over=True)
        assert (state['n'], state['over']) == (2, True)

    @pytest.mark.parametrize('number', [math.nan, math.inf, -math.inf])
    def test_what_json_does_not_know_is_null(self, number: float) -> None:
        worker = WorkerView(0, 'Process-1', 1, 'up', ('q_TID_1',), number, 0, 0, 'q_TID_1')
        state, _ = states().make(look(5.0, workers=(worker,)), [])
        assert state['workers'][0]['age'] is None
        json.dumps(state, allow_nan=False)

    def test_the_managers_own_share_of_a_processor(self) -> None:
        used = iter([Used(1.0, 1 << 20), Used(1.5, 2 << 20)])
        maker = States({}, usage=lambda pids: {}, here=lambda: next(used))
        assert maker.make(look(10.0), [])[0]['manager']['cpu'] is None
        manager = maker.make(look(12.0), [])[0]['manager']
        assert (manager['cpu'], manager['memory']) == (25.0, 2 << 20)

    def test_latency_counts_each_chunk_of_those_that_travelled_together(self) -> None:
        tap = Tap()
        tap.answers.append(Answer(0, 0, 0, 99, 99, 100.0, 100.0, 100.1, 0.1, 'done'))
        tap.answers.append(Answer(0, 0, 99, 1, 1, 100.1, 100.1, 105.1, 5.0, 'done'))
        latency = states().make(look(6.0, tap), [])[0]['latency']
        assert latency == {'p50': 0.1, 'p95': 0.1, 'n': 100}

    def test_latency_of_very_many_answers_is_taken_from_some(self) -> None:
        latency = states().make(busy_look(10.0, answers=50_000), [])[0]['latency']
        assert latency == {'p50': 0.02, 'p95': 0.02, 'n': 150_000}


class Test_failures:
    def tell(self, *failed: Failed, deaths: tuple[Death, ...] = ()) -> list[dict[str, Any]]:
        return Failures().tell(failed, deaths, NAMES, 100.0)

    def test_of_a_ticket_with_its_traceback(self) -> None:
        try:
            raise ValueError('wrong')
        except ValueError as error:
            pickled = dumps_error(error)
        (row,) = self.tell(Failed(101.5, 1, False, Record(0, 7, error=pickled)))
        trace = row.pop('traceback')
        assert row == {'id': 0, 'seconds': 1.5, 'queue': NAMES[0], 'ticket': 7, 'slot': 1, 'kind': 'failed',
                       'text': 'ValueError: wrong'}  # fmt: skip
        assert trace.startswith('Traceback')
        assert 'test_live.py' in trace

    def test_nothing_of_the_users_is_unpickled(self) -> None:
        made = Explosive.made
        pickled = dumps_error(Explosive('boom'))
        Explosive.made = 0
        (row,) = self.tell(Failed(101.0, 0, False, Record(0, 0, error=pickled)))
        assert row['text'].endswith('Explosive: boom')
        assert Explosive.made == 0
        Explosive.made = made

    def test_of_items(self) -> None:
        errors = [(3, dumps_error(KeyError('k'))), (9, dumps_error(ValueError('v')))]
        told = dumps([(at, tuple(bytes(piece) for piece in error)) for at, error in errors])
        (row,) = self.tell(Failed(101.0, 0, False, Record(0, 0, value=dumps([]), item_errors=told)))
        assert row['text'] == "item 3: KeyError: 'k' (and 1 more items of the chunk)"

    def test_of_a_ticket_that_was_set_aside_by_nobody(self) -> None:
        (row,) = self.tell(Failed(101.0, -1, True, Record(0, 4, error=CrashError('q', 4, ['signal SIGKILL']))))
        assert (row['kind'], row['slot'], row['traceback']) == ('set aside', None, '')
        assert 'SIGKILL' in row['text']

    def test_deaths_stand_among_them_in_the_order_of_time(self) -> None:
        failed = Failed(103.0, 0, False, Record(0, 1, error=ValueError('x')))
        deaths = (Death(102.0, 0, 0, 5, 'signal SIGKILL', False), Death(104.0, 1, None, 0, 'CHUNK_TIMEOUT', True))
        rows = self.tell(failed, deaths=deaths)
        assert [row['kind'] for row in rows] == ['died', 'failed', 'timed out']
        assert [row['id'] for row in rows] == [0, 1, 2]
        assert [row['ticket'] for row in rows] == [5, 1, None]

    def test_of_a_burst_only_the_newest_are_told_and_none_is_too_long(self) -> None:
        error = dumps_error(ValueError('y' * 100_000))
        rows = self.tell(*[Failed(101.0, 0, False, Record(0, n, error=error)) for n in range(100)])
        assert [row['id'] for row in rows] == list(range(80, 100))
        assert all(len(row['text']) < 3000 for row in rows)

    def test_what_is_no_error_is_said_to_be_none(self) -> None:
        (row,) = self.tell(Failed(101.0, 0, False, Record(0, 0, error=dumps('something'))))
        assert row['text'] == 'what was raised cannot be shown'


class Explosive(Exception):
    made = 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        Explosive.made += 1


class Test_series:
    def test_all_columns_are_of_one_length_and_late_ones_begin_empty(self) -> None:
        series = Series()
        series.add(0.5, {('rate', ''): 10.0, ('p50', ''): None, ('queues', 'a'): 1})
        series.add(1.0, {('rate', ''): 20.0, ('p50', ''): 0.5, ('queues', 'b'): 2})
        told = series.as_dict()
        assert told['t'] == [0.5, 1.0]
        assert told['rate'] == [10.0, 20.0]
        assert told['p50'] == [None, 0.5]
        assert told['queues'] == {'a': [1.0, None], 'b': [None, 2.0]}
        assert (told['cpu'], told['memory']) == ({}, {})

    def test_a_day_fits(self) -> None:
        series = Series(limit=600)
        for n in range(1, 2 * 86_400 + 1):
            series.add(n / 2, {('rate', ''): float(n)})
        told = series.as_dict()
        assert 300 <= len(told['t']) < 600
        assert len(told['rate']) == len(told['t'])
        assert told['t'][-1] > 86_000  # up to the present
        assert told['t'][0] < 300
        steps = {round(b - a) for a, b in zip(told['t'], told['t'][1:], strict=False)}
        assert len(steps) == 1  # evenly
        assert told['rate'] == sorted(told['rate'])

    def test_halving_keeps_the_mean_and_bears_gaps(self) -> None:
        series = Series(limit=4)
        for n, rate in enumerate([10.0, 20.0, None, 40.0]):
            series.add(float(n), {('rate', ''): rate})
        assert series.as_dict()['rate'] == [15.0, 40.0]

    def test_of_very_many_queues_some_are_kept(self) -> None:
        series = Series()
        for n in range(1000):
            series.add(float(n), {('queues', f'q{n}'): 1})
        assert len(series.as_dict()['queues']) == 100


class Test_history:
    def test_an_hour_and_more_is_flat(self) -> None:
        """Two hours of a busy job: what is kept after the first tenth of them is all there will be."""
        maker, history = states(), History()
        blocks = []  # of memory; none of them grows beyond what is checked below
        for n in range(1, 7501):
            state, bars = maker.make(busy_look(n / 2, answers=10), [{'n': n, 'text': 'x' * 50}])
            history.add(state, bars)
            if n % 1500 == 0:
                gc.collect()
                blocks.append(sys.getallocatedblocks())
        assert max(blocks) - blocks[0] < 3000, blocks  # of 7500 states; what one bar or log entry takes is ten
        told = history.as_dict()
        assert len(told['lanes']) <= 2000
        assert (len(told['failures']), len(told['logs'])) == (200, 500)
        assert told['lanes'][0][1] < 60.0  # the whole job is there, if not in full
        assert len(json.dumps(told, allow_nan=False)) < 500_000

    def test_the_last_state_does_not_say_again_what_the_history_says(self) -> None:
        history = History()
        assert history.as_dict()['state'] is None
        history.add(*states().make(busy_look(1.0), [{'text': 'x'}]))
        told = history.as_dict()
        assert (told['state']['lanes'], told['state']['failures'], told['state']['logs']) == ([], [], [])
        assert told['lanes']
        assert told['failures']
        assert told['logs'] == [{'text': 'x'}]

    def test_a_bar_that_has_grown_is_there_once(self) -> None:
        history = History()
        state, _ = states().make(look(1.0), [])
        bar = Bar(0, 0.5, None, 'work', 't')
        history.add(state, [bar])
        bar.end = 0.9
        history.add(state, [bar])
        assert history.as_dict()['lanes'] == [[0, 0.5, 0.9, 'work', 't', 1]]

    def test_old_bars_are_thinned_first(self) -> None:
        history = History(bars=100)
        state, _ = states().make(look(1.0), [])
        history.add(state, [Bar(slot, n / 10, n / 10 + 0.05, 'work') for n in range(100) for slot in (0, 1)])
        told = history.as_dict()['lanes']
        assert len(told) <= 150
        for slot in (0, 1):
            assert [row for row in told if row[0] == slot][-10:] == [
                [slot, n / 10, pytest.approx(n / 10 + 0.05), 'work', '', 1] for n in range(90, 100)
            ]
            shown = sum(row[2] - row[1] for row in told if row[0] == slot)
            assert shown == pytest.approx(5.0)


class Test_ears:
    def test_passes_on_and_keeps(self) -> None:
        heard = Heard()
        ears = Ears(heard, lambda: 1.5)
        ears.lines('one', stderr=False, worker='Process-1')
        ears.log({'msg': 'two', 'levelname': 'ERROR', 'worker': 'Process-2', 'exc_text': 'Traceback'})
        ears.warned({'text': 'three', 'worker': 'Process-1'})
        ears.news('four')
        assert heard.printed == [('one', False)]
        assert heard.news_texts == ['four']
        assert (len(heard.logged), len(heard.warnings)) == (1, 1)
        assert ears.take() == [
            {'seconds': 1.5, 'level': 'print', 'worker': 'Process-1', 'text': 'one'},
            {'seconds': 1.5, 'level': 'ERROR', 'worker': 'Process-2', 'text': 'two\nTraceback'},
            {'seconds': 1.5, 'level': 'warning', 'worker': 'Process-1', 'text': 'three'},
            {'seconds': 1.5, 'level': 'news', 'worker': '', 'text': 'four'},
        ]
        assert ears.take() == []

    def test_of_a_flood_the_newest_is_kept_and_no_text_is_endless(self) -> None:
        ears = Ears(Heard(), lambda: 0.0)
        for n in range(10_000):
            ears.lines(f'{n} ' + 'x' * 10_000, stderr=False)
        taken = ears.take()
        assert len(taken) == 500
        assert taken[-1]['text'].startswith('9999 ')
        assert all(len(one['text']) < 5000 for one in taken)


class Test_live:
    def test_who_comes_gets_the_past_and_then_each_state_until_the_job_is_over(self) -> None:
        clock = iter(range(1, 1000))
        live = Live({}, lambda: busy_look(float(next(clock))), Ears(Heard(), lambda: 0.0), every=0.001)
        early, late = Audience(), Audience()
        live.subscribe(early)
        assert early.wait_for(lambda: len(early.told) > 3)
        live.subscribe(late)
        assert late.wait_for(lambda: len(late.told) > 3)
        live.end()
        assert [message['kind'] for message in early.told[:2]] == ['history', 'state']
        assert early.told[0]['state'] is None
        numbers = [message['n'] for message in early.told[1:]]
        assert numbers == list(range(1, len(numbers) + 1))
        assert late.told[0]['state']['n'] + 1 == late.told[1]['n']
        assert (early.told[-1]['over'], late.told[-1]['over'], early.told[-2]['over']) == (True, True, False)
        assert live.over
        assert early.ended
        assert late.ended
        after = Audience()
        live.subscribe(after)
        assert after.ended
        assert [message['kind'] for message in after.told] == ['history']
        assert after.told[0]['state']['over']

    def test_who_leaves_or_fails_is_told_no_more_and_nobody_else_suffers(self) -> None:
        clock = iter(range(1, 1000))
        live = Live({}, lambda: look(float(next(clock))), Ears(Heard(), lambda: 0.0), every=0.001)
        stays, leaves, breaks = Audience(), Audience(), Audience(fails_after=2)
        live.subscribe(breaks)
        leave = live.subscribe(leaves)
        live.subscribe(stays)
        leave()
        count = len(leaves.told)
        assert stays.wait_for(lambda: len(stays.told) > 5)
        live.end()
        assert len(leaves.told) == count
        assert len(breaks.told) == 2
        assert stays.told[-1]['over']

    def test_of_a_job_that_nobody_has_watched_there_is_nothing_to_tell(self) -> None:
        live = Live({}, lambda: look(1.0), Ears(Heard(), lambda: 0.0))
        live.end()
        late = Audience()
        live.subscribe(late)
        assert late.ended
        assert [message['state'] for message in late.told] == [None]

    def test_a_look_that_fails_ends_the_view_and_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken() -> Look:
            raise RuntimeError('a bug')

        live = Live({}, broken, Ears(Heard(), lambda: 0.0))
        live.begin()
        live.end()
        assert live.over
        assert [record.message for record in caplog.records] == [
            'the live view ends before its job: RuntimeError: a bug'
        ]


class Audience:
    """Decodes what it is told."""

    def __init__(self, fails_after: int = 10**9) -> None:
        self.told: list[dict[str, Any]] = []
        self.ended = False
        self._fails_after = fails_after
        self._news = threading.Condition()

    def __call__(self, line: bytes) -> None:
        if len(self.told) >= self._fails_after:
            raise ConnectionError('gone')
        with self._news:
            self.ended = self.ended or not line
            if line:
                self.told.append(json.loads(line))
            self._news.notify_all()

    def wait_for(self, true: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(true, 20.0)


class Test_tap:
    def test_nothing_is_noted_while_nobody_watches(self) -> None:
        job, *_ = make_job()
        chunk = add_chunk(job.exchange, job.table[0])
        job.note_answer(0, chunk, 0.1, 'done')
        job.note_phase(0, 'up')
        assert job.tap is None

    def test_failures_are_noted_with_who_had_them(self) -> None:
        job, _, _, clock = make_job()
        live_view(job, dict)
        chunk = add_chunk(job.exchange, job.table[0])
        job.ledger.lease(chunk, 3, clock(), begun=True)
        clock.now += 2.0
        job.ledger.failed(3, 0, chunk.serial, 1, 2.0)
        job.results.record(Record(0, chunk.serial, error=ValueError('x')))
        assert job.tap is not None
        (failed,) = job.tap.take().failures
        assert (failed.at, failed.slot, failed.aside) == (clock.now, 1, False)
        assert job.ledger.track(0).states[0] == State.FAILED
        assert not job.tap.failures
