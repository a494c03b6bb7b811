"""Results: by ticket and lazily, kept or not, and what is left behind under no ticket."""

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

import eisenmp
from eisenmp.utils.eisenmp_utils import Result
from tests.contract.test_classic import SUM
from tests.support import ALARM, Lab, wait_until

# The first chunk waits until somebody opens the gate.
FIRST_WAITS = """
def entry(rows, toolbox):
    if rows[0] == 0:
        toolbox.say.put('first')
        toolbox.gate.get()
    return rows[0]
"""


def _first_waits(lab: Lab, chunks: int, **settings: Any) -> eisenmp.Mp:
    """A job in which the first of `chunks` chunks waits for the gate; the others have another worker."""
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('gate', 0), ('say', 0))
    lab.start(emp, FIRST_WAITS, WORKER_CALL='chunk', NUM_PROCS=2, NUM_ROWS=1, **settings)
    hold = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert hold.wait(ALARM)  # until it is in somebody's hands
        yield from range(1, chunks)

    emp.feed(items())
    assert emp.queues['say'].get(timeout=ALARM) == 'first'
    hold.set()
    return emp


def test_results_come_in_ticket_order_whoever_is_slow(lab: Lab) -> None:
    emp = _first_waits(lab, 5, RESULTS_STORE=True)
    wait_until(lambda: emp.results['mp_input_q'].done == [1, 2, 3, 4])
    emp.queues['gate'].put('go')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [0, 1, 2, 3, 4]
    assert [outcome.ticket for outcome in results] == [0, 1, 2, 3, 4]
    assert results[-1].value == 4
    assert [outcome.value for outcome in results[1:3]] == [1, 2]
    with pytest.raises(IndexError):
        results[5]


def test_outcomes_as_they_come(lab: Lab) -> None:
    emp = _first_waits(lab, 5)
    reader = emp.results.outcomes()
    assert sorted(next(reader).value for _ in range(4)) == [1, 2, 3, 4]
    emp.queues['gate'].put('go')
    assert [outcome.ticket for outcome in reader] == [0]
    assert list(reader) == []
    emp.wait(ALARM)


def test_outcomes_in_ticket_order(lab: Lab) -> None:
    emp = _first_waits(lab, 8)
    reader = emp.results.outcomes(ordered=True)
    wait_until(lambda: emp.results['mp_input_q'].done == [1, 2, 3, 4, 5, 6, 7])
    emp.queues['gate'].put('go')
    assert [(outcome.ticket, outcome.value) for outcome in reader] == [(n, n) for n in range(8)]
    emp.wait(ALARM)


def test_outcomes_come_while_the_generator_still_runs(lab: Lab) -> None:
    read = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert read.wait(ALARM)
        yield 2

    emp = lab.mp()
    reader = emp.results.outcomes()
    lab.start(emp, SUM, NUM_ROWS=1)
    emp.feed(items())
    assert next(reader).value == 1
    read.set()
    assert [outcome.value for outcome in reader] == [2]
    emp.wait(ALARM)


def test_what_an_outcome_tells(lab: Lab) -> None:
    emp = lab.mp()
    emp.queue_cust_dict_category_create('batch', 'audio', 2)
    lab.start(emp, 'def entry(rows): return 1 / rows[0]\n', WORKER_CALL='chunk', NUM_ROWS=1, ON_ERROR='skip', RETRIES=1)
    emp.feed([1, 0], ('batch', 'audio'))
    fine, bad = emp.results.outcomes(ordered=True)
    assert (fine.queue, fine.ticket, fine.value, fine.error) == ('batch|audio', 0, 1.0, None)
    assert (fine.attempts, fine.slot, fine.state) == (1, 0, 'done')
    assert 0 <= fine.seconds < ALARM
    assert (bad.queue, bad.ticket, bad.value) == ('batch|audio', 1, None)
    assert isinstance(bad.error, ZeroDivisionError)
    assert (bad.attempts, bad.slot, bad.state) == (2, 0, 'failed')
    emp.wait(ALARM)


def test_two_readers_each_get_all(lab: Lab) -> None:
    emp = lab.mp()
    one, two = emp.results.outcomes(), emp.results.outcomes(ordered=True)
    lab.start(emp, SUM, NUM_ROWS=10)
    emp.feed(range(30))
    assert [outcome.value for outcome in one] == [45, 145, 245]
    assert [outcome.value for outcome in two] == [45, 145, 245]
    emp.wait(ALARM)


def test_several_queues_ordered_within_each(lab: Lab) -> None:
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('red', 0), ('green', 0))
    emp.feed(range(100), 'red')
    emp.feed(range(50), 'green')
    with emp.results.outcomes(ordered=True) as reader:
        lab.start(emp, 'entry = sum\n', WORKER_CALL='chunk', NUM_PROCS=2, NUM_ROWS=5)
        got = [(outcome.queue, outcome.ticket) for outcome in reader]
    assert [ticket for name, ticket in got if name == 'red'] == list(range(20))
    assert [ticket for name, ticket in got if name == 'green'] == list(range(10))
    emp.wait(ALARM)


def test_a_reader_that_lags_holds_the_generator_back(lab: Lab) -> None:
    made = []

    def items() -> Iterator[int]:
        for n in range(200):
            made.append(n)
            yield n

    emp = lab.mp()
    reader = emp.results.outcomes()
    lab.start(emp, 'entry = sum\n', WORKER_CALL='chunk', NUM_PROCS=2, NUM_ROWS=1, BUFFER_CHUNKS=6)
    emp.feed(items())
    for taken in range(200):
        assert len(made) <= taken + 6 + 1
        next(reader)
    emp.wait(ALARM)


@pytest.mark.parametrize('how', ['close', 'drop', 'leave', 'wait'])
def test_a_reader_that_stops_reading_lets_the_job_go_on(lab: Lab, how: str) -> None:
    emp = lab.mp()
    reader = emp.results.outcomes()
    lab.start(emp, 'entry = sum\n', WORKER_CALL='chunk', NUM_ROWS=1, BUFFER_CHUNKS=4)
    emp.feed(range(50))
    next(reader)
    wait_until(lambda: len(emp.results['mp_input_q'].done) == 5)  # now the window is full of unread ones
    if how == 'close':
        reader.close()
    elif how == 'drop':
        del reader
    elif how == 'leave':
        with reader:
            next(reader)
    results = emp.wait(ALARM)
    assert results['mp_input_q'].complete
    assert len(results['mp_input_q']) == 50


def test_results_that_were_not_kept(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, SUM, NUM_ROWS=10)
    emp.feed(range(200))
    results = emp.wait(ALARM)
    assert results['mp_input_q'].complete
    assert results['mp_input_q'].done == list(range(20))
    assert results.summary() == 'mp_input_q (default): all 20 tickets done'
    with pytest.raises(eisenmp.ResultsError, match='RESULTS_STORE'):
        results['mp_input_q'].values()
    with pytest.raises(eisenmp.ResultsError, match='RESULTS_STORE'):
        results.outcomes()
    with pytest.raises(KeyError, match='mp_input_q'):
        results['mp_imput_q']


def test_the_last_few_are_there_for_a_reader_that_comes_late(lab: Lab) -> None:
    """The seed's order of calls: start, feed, and only then somebody iterates."""
    emp = lab.mp()
    lab.start(emp, SUM, NUM_ROWS=10, BUFFER_CHUNKS=8)
    emp.feed(range(40))
    wait_until(lambda: emp.results['mp_input_q'].done == [0, 1, 2, 3])
    assert [outcome.value for outcome in emp.results.outcomes()] == [45, 145, 245, 345]
    emp.wait(ALARM)


def test_results_that_were_kept_are_read_any_number_of_times(lab: Lab) -> None:
    results = lab.run(SUM, range(40))
    for _ in range(2):
        assert [outcome.value for outcome in results.outcomes()] == [45, 145, 245, 345]
        assert [outcome.value for outcome in results.outcomes(ordered=True)] == [45, 145, 245, 345]
        assert results['mp_input_q'].values() == [45, 145, 245, 345]
    assert results.as_dict() == {'mp_input_q (default)': [(0, 45), (1, 145), (2, 245), (3, 345)]}
    assert list(results) == ['mp_input_q (default)']
    assert len(results) == 1
    assert 'mp_input_q' in results
    assert 'mp_input_q (default)' in results


def test_a_reader_hears_what_stopped_the_job(lab: Lab) -> None:
    emp = lab.mp()
    reader = emp.results.outcomes()
    lab.start(emp, 'def entry(rows): return 1 / rows[0]\n', WORKER_CALL='chunk', NUM_ROWS=1)
    emp.feed([1, 0])
    got: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        got.extend(reader)
    with pytest.raises(ZeroDivisionError):
        emp.wait(ALARM)


def test_a_reader_in_a_thread_while_the_main_thread_waits(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, SUM, NUM_ROWS=1)
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.extend(outcome.value for outcome in emp.results.outcomes()))
    reader.start()
    emp.feed(range(100))
    emp.wait(ALARM)
    reader.join(ALARM)
    assert got == list(range(100))


def test_ordered_outcomes_of_a_queue_that_the_manager_reads_too(lab: Lab) -> None:
    """What the manager takes by hand is answered, so it has an outcome, and elders wait for nobody."""
    emp = lab.mp()
    own = emp.add_queue('own')
    lab.start(emp, 'def entry(rows): return rows\n', WORKER_CALL='chunk', NUM_ROWS=1, BUFFER_CHUNKS=200)
    reader = emp.results.outcomes(ordered=True)
    hold = threading.Event()

    def items() -> Iterator[int]:
        yield from range(100)
        hold.set()

    emp.feed(items(), 'own')
    by_hand = own.get(timeout=ALARM)  # races with the worker for some ticket or other
    outcomes = list(reader)
    assert [outcome.ticket for outcome in outcomes] == list(range(100))
    taken = [outcome for outcome in outcomes if outcome.value is None]
    if len(by_hand) == 2 and '_TID_' in by_hand[0]:
        assert [f'own;_TID_{outcome.ticket};' for outcome in taken] == [by_hand[0]]
    assert hold.is_set()
    emp.wait(ALARM)


def test_what_goes_under_the_closing_header(lab: Lab) -> None:
    worker = """
        TOTAL = [0]

        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], (toolbox.WORKER_ID, TOTAL[0])])
                return False
            TOTAL[0] += sum(chunk[1:])
            return True
    """
    results = lab.run(worker, range(100), NUM_PROCS=2)
    assert sorted(results.closing) == [0, 1]
    assert [worker for worker, _ in (results.closing[0], results.closing[1])] == [1, 2]
    if not lab.in_process:  # threads of one process share the list
        assert sum(total for _, total in results.closing.values()) == sum(range(100))
    assert all(outcome.value is None for outcome in results['mp_input_q'])


def test_several_values_in_one_answer(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], *chunk[1:]])
            return True
    """
    assert lab.run(worker, 'abcd', NUM_ROWS=2)['mp_input_q'].values() == [['a', 'b'], ['c', 'd']]


def test_what_is_put_out_without_a_header_is_a_message(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            for loose in ('text', ['no header', 1], [], ['OUTPUT_HEADER;nowhere;_TID_0;', 1], 5):
                toolbox.mp_output_q.put(loose)
            return True
    """
    emp = lab.mp()
    lab.start(emp, worker, RESULTS_STORE=True)
    emp.feed([1])
    results = emp.wait(ALARM)
    assert results['mp_input_q'].values() == [None]
    got = [emp.mp_output_q.get_nowait() for _ in range(5)]
    assert got == ['text', ['no header', 1], [], ['OUTPUT_HEADER;nowhere;_TID_0;', 1], 5]


def test_the_dictionary_of_version_one_is_the_newest_jobs(lab: Lab) -> None:
    lab.run(SUM, range(20))
    assert Result.result_dict == {'mp_input_q (default)': [(0, 45), (1, 145)]}
    lab.run(SUM, [7])
    assert Result.result_dict == {'mp_input_q (default)': [(0, 7)]}
    lab.run(SUM, [7], RESULTS_STORE=False)
    assert not any(Result.result_dict.values())


def test_printing_at_the_end(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.run(
        SUM, range(15), RESULTS_STORE=False, RESULTS_PRINT=True, RESULTS_DICT_PRINT=True, RESULT_LABEL='sums of mine'
    )
    out = capsys.readouterr().out
    assert 'sums of mine' in out
    assert "{'mp_input_q (default)': [(0, 45), (1, 60)]}" in out
    assert out.index('sums of mine') < out.index('_TID_0') < out.index('45')


def test_nothing_is_printed_unasked(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.run(SUM, range(15))
    assert tuple(capfd.readouterr()) == ('', '')


def test_unread_tickets_are_told(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        def entry(toolbox):
            toolbox.mp_input_q.get()
            toolbox.gate.get()
            return False
    """
    emp = lab.mp()
    gate = emp.add_queue('gate')
    lab.start(emp, worker, NUM_ROWS=10, BUFFER_CHUNKS=5)
    emp.feed(count())
    wait_until(lambda: len(emp.results['mp_input_q']) > 1)
    gate.put('go')
    results = emp.wait(ALARM)
    assert results['mp_input_q'].done == [0]
    assert not results.complete
    unread = results['mp_input_q'].unread
    assert unread == list(range(1, len(results['mp_input_q'])))
    assert {outcome.state for outcome in results['mp_input_q'][1:]} <= {'unread'}
    assert f'{len(unread)} chunks ({10 * len(unread)} items) were never read' in caplog.text


def test_a_reader_whose_thread_has_ended_holds_nobody_back_who_waits_for_the_end(lab: Lab) -> None:
    emp = lab.mp()
    reader = emp.results.outcomes()
    lab.start(emp, 'def entry(rows): return rows[0]\n', WORKER_CALL='chunk', NUM_ROWS=1, BUFFER_CHUNKS=4)
    emp.feed(range(50))
    thread = threading.Thread(target=lambda: [next(reader) for _ in range(10)])
    thread.start()
    thread.join(ALARM)
    assert emp.wait(ALARM)['mp_input_q'].complete
