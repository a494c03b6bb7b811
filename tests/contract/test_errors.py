"""Exceptions and objects that do not travel: the ticket fails and says why, the worker lives on, nothing hangs."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from tests.contract import things
from tests.support import ALARM, Lab

# Both styles, around the same `work(item, toolbox)`.
STYLES = {
    'toolbox': """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], work(chunk[1], toolbox)])
    return True
""",
    'chunk': """
def entry(rows, toolbox):
    return work(rows[0], toolbox)
""",
    'item': """
def entry(item, toolbox):
    return work(item, toolbox)
""",
}


@pytest.fixture(params=list(STYLES))
def call(request: pytest.FixtureRequest) -> str:
    """A style of worker."""
    return str(request.param)


def _job(lab: Lab, call: str, work: str, items: Any, **settings: Any) -> eisenmp.Mp:
    """A job of chunks with one item each; `work` is the text of a function ``work(item, toolbox)``."""
    emp = lab.mp()
    lab.start(emp, work + STYLES[call], WORKER_CALL=call, **{'NUM_ROWS': 1, 'RESULTS_STORE': True, **settings})
    emp.feed(items)
    return emp


def _value(call: str, value: Any) -> Any:
    return [value] if call == 'item' else value


INVERSE = """
def work(item, toolbox):
    return 1 / item
"""


def test_an_exception_stops_the_job_and_is_raised_as_itself(lab: Lab, call: str) -> None:
    emp = _job(lab, call, INVERSE, [4, 2, 0])
    with pytest.raises(ZeroDivisionError, match='division') as caught:
        emp.wait(ALARM)
    cause = caught.value.__cause__
    assert isinstance(cause, eisenmp.RemoteTraceback)
    assert 'worker.py", line 3, in work' in str(cause)
    assert '_TID_2' in ' '.join(caught.value.__notes__)
    assert 'mp_input_q (default)' in ' '.join(caught.value.__notes__)
    results = emp.results['mp_input_q']
    assert [results[0].value, results[1].value] == [_value(call, 0.25), _value(call, 0.5)]
    assert results.failed == [2]
    assert emp.begin_proc_shutdown


def test_an_exception_ends_an_endless_job(lab: Lab, call: str) -> None:
    def items() -> Iterator[int]:
        n = 10
        while True:
            yield n
            n -= 1 if n else 0

    emp = _job(lab, call, INVERSE, items(), NUM_PROCS=2)
    with pytest.raises(ZeroDivisionError):
        emp.wait(ALARM)
    assert emp.join(ALARM)


def test_an_exception_is_skipped_and_recorded(lab: Lab, call: str) -> None:
    emp = _job(lab, call, INVERSE, [4, 0, 2, 0, 1], ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.failed == [1, 3]
    assert results.done == [0, 2, 4]
    assert [results[n].value for n in results.done] == [_value(call, 1 / n) for n in (4, 2, 1)]
    assert isinstance(results[1].error, ZeroDivisionError)
    assert 'worker.py", line 3, in work' in str(results[1].error.__cause__)
    assert not results.complete
    with pytest.raises(eisenmp.ResultsError, match='3 of 5'):
        results.values()


def test_states_and_errors_are_kept_where_values_are_not(lab: Lab) -> None:
    emp = _job(lab, 'chunk', INVERSE, [4, 0, 2], ON_ERROR='skip', RESULTS_STORE=False)
    results = emp.wait(ALARM)['mp_input_q']
    assert (results.done, results.failed) == ([0, 2], [1])
    assert isinstance(results[1].error, ZeroDivisionError)


FLAKY = """
TRIES = []

def work(item, toolbox):
    TRIES.append(item)
    if TRIES.count(item) <= toolbox.failures[item]:
        raise ValueError(f'try {TRIES.count(item)} of {item}')
    return TRIES.count(item)
"""


def test_tries_before_an_exception_counts(lab: Lab, call: str) -> None:
    emp = _job(lab, call, FLAKY, 'abc', RETRIES=2, failures={'a': 0, 'b': 2, 'c': 1})
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [_value(call, 1), _value(call, 3), _value(call, 2)]
    assert [outcome.attempts for outcome in results] == [1, 3, 2]


def test_no_try_is_left(lab: Lab, call: str) -> None:
    emp = _job(lab, call, FLAKY, 'abc', RETRIES=1, failures={'a': 0, 'b': 2, 'c': 0}, ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert (results.done, results.failed) == ([0, 2], [1])
    assert results[1].attempts == (1 if call == 'item' else 2)  # an item is tried again at once
    assert str(results[1].error) == 'try 2 of b'
    assert [(at, str(error)) for at, error in results[1].failures] == ([(0, 'try 2 of b')] if call == 'item' else [])


def test_a_result_given_before_the_exception_is_none(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], 'half done'])
            raise ValueError('after all')
    """
    results = lab.run(worker, [1], ON_ERROR='skip')['mp_input_q']
    assert results.failed == [0]
    assert results[0].value is None


RAISE = """
from tests.contract import things

class OfTheWorker(Exception):
    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code

def work(item, toolbox):
    if item == 'two':
        raise things.TwoArgumentsError(404, 'not found')
    if item == 'lock':
        raise things.HoldsLockError('with a lock')
    if item == 'fine':
        raise things.FineError('carries rows', [1, 2])
    if item == 'own':
        raise OfTheWorker(7, 'of a worker file')
    if item == 'exit':
        raise SystemExit(3)
    if item == 'interrupt':
        raise KeyboardInterrupt('of the function')
    if item == 'chained':
        try:
            raise KeyError('first')
        except KeyError as error:
            raise ValueError('second') from error
    if item == 'group':
        raise ExceptionGroup('several', [ValueError(1), things.TwoArgumentsError(2, 'b')])
    if item == 'deep':
        def dive(n):
            return dive(n + 1)
        dive(0)
    return item
"""


def test_exceptions_that_travel_badly(lab: Lab, call: str) -> None:
    items = ['two', 'lock', 'fine', 'own', 'chained', 'group', 'deep', 'ok']
    emp = _job(lab, call, RAISE, items, ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.failed == list(range(7))
    assert results[7].value == _value(call, 'ok'), 'the worker lives on'
    two, lock, fine, own, chained, group, deep = [results[n].error for n in range(7)]
    for error, name, text in (
        (two, 'TwoArgumentsError', '404: not found'),
        (lock, 'HoldsLockError', 'with a lock'),
    ):
        assert name in (error.type_name if isinstance(error, eisenmp.RemoteError) else type(error).__name__)
        assert text in str(error)
        assert error is not None
        assert f'{name}' in str(error.__cause__)
    assert isinstance(fine, things.FineError)
    assert fine.rows == [1, 2]
    assert type(own).__name__ == 'OfTheWorker' or (
        isinstance(own, eisenmp.RemoteError) and own.type_name.endswith('OfTheWorker')
    )
    assert 'of a worker file' in str(own)
    assert isinstance(chained, ValueError)
    assert "KeyError: 'first'" in str(chained.__cause__)
    assert 'several' in str(group)
    assert isinstance(deep, RecursionError)


def test_an_exception_that_travels_badly_stops_the_job(lab: Lab, call: str) -> None:
    emp = _job(lab, call, RAISE, ['ok', 'two'])
    with pytest.raises(Exception, match='404: not found') as caught:
        emp.wait(ALARM)
    assert 'TwoArgumentsError' in f'{type(caught.value).__name__} {caught.value}'
    assert 'in work' in str(caught.value.__cause__)


def test_an_exit_or_interrupt_of_the_function_is_an_exception_too(lab: Lab, call: str) -> None:
    emp = _job(lab, call, RAISE, ['exit', 'interrupt', 'ok'], ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.failed == [0, 1]
    assert results.done == [2]
    assert 'SystemExit' in repr(results[0].error)
    assert 'KeyboardInterrupt' in repr(results[1].error)


def test_a_call_that_fails_without_a_ticket(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            raise OSError('no camera')
    """
    emp = lab.mp()
    emp.feed([1])  # before the start: the job may fail at once
    lab.start(emp, worker)
    with pytest.raises(eisenmp.WorkerCallError, match='no camera') as caught:
        emp.wait(ALARM)
    assert isinstance(caught.value.__cause__, OSError)
    assert emp.join(ALARM)


def test_a_call_that_fails_without_a_ticket_now_and_then_is_skipped(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        CALLS = []

        def entry(toolbox):
            CALLS.append(1)
            if len(CALLS) == 1:
                raise OSError('the camera was asleep')
            chunk = toolbox.mp_input_q.get()
            return toolbox.STOP_MSG not in chunk
    """
    results = lab.run(worker, [1], ON_ERROR='skip')
    assert results.complete
    assert 'the camera was asleep' in caplog.text


def test_a_call_that_always_fails_is_no_storm(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            raise OSError('no camera')
    """
    emp = lab.mp()
    emp.feed([1])  # before the start: the job may fail at once
    lab.start(emp, worker, ON_ERROR='skip', NUM_PROCS=2)
    with pytest.raises(eisenmp.WorkerCallError, match='no camera'):
        emp.wait(ALARM)


# ---- objects


IDENTITY = """
def work(item, toolbox):
    return type(item).__name__
"""


def test_an_item_that_cannot_be_pickled(lab: Lab, call: str) -> None:
    items = ['a', threading.Lock(), 'b', things.Unpicklable(), 'c']
    emp = _job(lab, call, IDENTITY, items, ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.failed == [1, 3]
    assert results.done == [0, 2, 4]
    for ticket, what in ((1, 'lock'), (3, 'stays at home')):
        assert isinstance(results[ticket].error, eisenmp.PayloadError)
        assert what in str(results[ticket].error)
        assert 'pickle' in str(results[ticket].error)
    assert results[3].slot == -1


def test_an_item_that_cannot_be_pickled_stops_the_job(lab: Lab) -> None:
    def items() -> Iterator[Any]:
        yield from range(15)
        yield (n for n in range(3))
        yield from iter(int, 1)

    emp = _job(lab, 'chunk', IDENTITY, items(), NUM_ROWS=10)
    with pytest.raises(TypeError, match='item 5 of the chunk, a generator') as caught:
        emp.wait(ALARM)
    assert '_TID_1' in ' '.join(caught.value.__notes__)


def test_an_item_that_cannot_be_unpickled_in_the_worker(lab: Lab, call: str) -> None:
    emp = _job(lab, call, IDENTITY, ['a', things.Bomb(), 'b'], ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert (results.done, results.failed) == ([0, 2], [1])
    assert isinstance(results[1].error, eisenmp.PayloadError)
    assert 'a bomb was opened' in str(results[1].error)


UNWILLING = """
import threading
from tests.contract import things

def work(item, toolbox):
    if item == 'lock':
        return {'of mine': threading.Lock()}
    if item == 'generator':
        return (n for n in range(3))
    if item == 'unwilling':
        return things.Unpicklable()
    return item
"""


def test_a_result_that_cannot_be_pickled(lab: Lab, call: str) -> None:
    emp = _job(lab, call, UNWILLING, ['a', 'lock', 'generator', 'unwilling', 'b'], ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert (results.done, results.failed) == ([0, 4], [1, 2, 3])
    for ticket, what in ((1, 'lock'), (2, 'generator'), (3, 'stays at home')):
        error = results[ticket].error
        assert isinstance(error, eisenmp.PayloadError)
        assert what in str(error)
        assert 'pickle' in str(error)


def test_a_result_that_cannot_be_pickled_stops_the_job(lab: Lab, call: str) -> None:
    emp = _job(lab, call, UNWILLING, ['a', 'lock'])
    with pytest.raises(eisenmp.PayloadError, match='lock') as caught:
        emp.wait(ALARM)
    assert '_TID_1' in ' '.join(caught.value.__notes__)


def test_a_result_that_cannot_be_unpickled_in_the_manager(lab: Lab, call: str) -> None:
    work = """
from tests.contract import things

def work(item, toolbox):
    return things.Bomb() if item == 'bomb' else item
"""
    emp = _job(lab, call, work, ['a', 'bomb', 'b'], ON_ERROR='skip')
    results = emp.wait(ALARM)['mp_input_q']
    assert [results[0].value, results[2].value] == [_value(call, 'a'), _value(call, 'b')]
    assert 'a bomb was opened' in f'{results[1].error} {getattr(results[1].error, "__cause__", None)!r}'
    assert [outcome.ticket for outcome in emp.results.outcomes()] == [0, 1, 2]


def test_a_message_that_does_not_travel_is_the_putters_own_error(lab: Lab) -> None:
    worker = """
        import threading

        def entry(toolbox):
            for queue in (toolbox.free, toolbox.bounded):
                try:
                    queue.put(threading.Lock())
                except TypeError as error:
                    queue.put(str(error))
            return False
    """
    emp = lab.mp()
    free, bounded = emp.add_queue('free'), emp.add_queue('bounded', 1)
    for queue in (free, bounded):
        with pytest.raises(TypeError, match='lock'):
            queue.put(threading.Lock())
        assert queue.empty()
    lab.start(emp, worker)
    for queue in (free, bounded):
        assert 'lock' in queue.get(timeout=ALARM)
    emp.wait(ALARM)


def test_a_message_that_explodes_where_it_is_read(lab: Lab) -> None:
    worker = """
        from tests.contract import things

        def entry(toolbox):
            toolbox.out.put(things.Bomb())
            try:
                toolbox.into.get()
            except ZeroDivisionError as error:
                toolbox.out.put(str(error))
            return False
    """
    emp = lab.mp()
    into, out = emp.add_queue('into', 1), emp.add_queue('out')
    into.put(things.Bomb())
    lab.start(emp, worker)
    with pytest.raises(ZeroDivisionError, match='a bomb was opened'):
        out.get(timeout=ALARM)
    assert out.get(timeout=ALARM) == 'a bomb was opened'
    emp.wait(ALARM)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'NUM_PROCS': 0}, 'NUM_PROCS=0 .*from 1'),
        ({'NUM_PROCS': '2'}, "NUM_PROCS='2'"),
        ({'NUM_PROCS': True}, 'NUM_PROCS=True'),
        ({'NUM_ROWS': -5}, 'NUM_ROWS=-5'),
        ({'NUM_ROWS': 2.5}, 'NUM_ROWS=2.5'),
        ({'START_METHOD': 'thread'}, "'spawn', 'forkserver', 'fork'"),
        ({'WORKER_CALL': 'items'}, "'toolbox', 'chunk', 'item'"),
        ({'ON_ERROR': 'ignore'}, "'raise', 'skip'"),
        ({'RETRIES': -1}, 'RETRIES=-1'),
        ({'CHUNK_TIMEOUT': 0}, 'CHUNK_TIMEOUT=0'),
        ({'BUFFER_BYTES': 0}, 'BUFFER_BYTES=0'),
        ({'ENGINE': 'cloud'}, "ENGINE='cloud'"),
        ({'NUM_PROC': 2}, "did you mean 'NUM_PROCS'"),
        ({'RESULT_STORE': True}, "did you mean 'RESULTS_STORE'"),
        ({'NUM_PROCS': 1, 'PROCS_MAX': 2}, 'PROCS_MAX'),
        ({'worker_modules': []}, 'worker_modules'),
        ({'worker_modules': [{'WORKER_PATH': 'x.py'}]}, 'WORKER_REF'),
        ({'worker_modules': [{'WORKER_PATH': 'x.py', 'WORKER_RE': 'y'}]}, 'WORKER_REF'),
        ({'worker_modules': 'x.py'}, 'worker_modules'),
        ({'mp_input_q': 1}, 'mp_input_q'),
        ({'WORKER_ID': 1}, 'WORKER_ID'),
        ({'taken': 1}, 'taken'),
        ({'lock': threading.Lock()}, "'lock'.*pickle"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else '',
)
def test_a_bad_setting_is_refused_before_anything_starts(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    lab = Lab(tmp_path, 'inline')
    emp = lab.mp()
    emp.add_queue('taken')
    with pytest.raises(ValueError, match=words):
        lab.start(emp, 'def entry(toolbox): return False\n', **settings)
    assert emp.proc_list == []
    assert not emp.begin_proc_shutdown
    lab.start(emp, 'def entry(toolbox): return False\n')  # the same manager, now with good ones
    emp.wait(ALARM)
