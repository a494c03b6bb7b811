"""Jobs in the plain style: a function takes a chunk, or an item, and returns the result."""

import threading
from collections.abc import Iterator

import pytest

import eisenmp
from tests.support import ALARM, Lab


@pytest.mark.parametrize(
    ('call', 'body', 'expected'),
    [
        ('chunk', 'def entry(rows): return sum(rows)', [45, 60]),
        ('chunk', 'def entry(rows, toolbox): return sum(rows) * toolbox.factor', [450, 600]),
        ('chunk', 'def entry(rows, tools): return sum(rows) * tools.factor', [450, 600]),
        ('chunk', 'def entry(rows, start=7): return sum(rows) + start', [52, 67]),
        ('chunk', 'def entry(rows, toolbox=None): return sum(rows) * toolbox.factor', [450, 600]),
        ('chunk', 'entry = sum', [45, 60]),
        ('chunk', 'entry = lambda rows: rows', [list(range(10)), list(range(10, 15))]),
        ('chunk', 'def entry(rows): return None', [None, None]),
        ('item', 'def entry(n): return n * n', [[n * n for n in range(10)], [n * n for n in range(10, 15)]]),
        (
            'item',
            'def entry(n, toolbox): return n * toolbox.factor',
            [[10 * n for n in range(10)], [10 * n for n in range(10, 15)]],
        ),
        ('item', 'entry = str', [[str(n) for n in range(10)], [str(n) for n in range(10, 15)]]),
    ],
)
def test_the_function_gets_what_it_asks_for(lab: Lab, call: str, body: str, expected: object) -> None:
    results = lab.run(body + '\n', range(15), WORKER_CALL=call, factor=10)
    assert results['mp_input_q'].values() == expected


def test_a_callable_object_and_a_method_are_functions_too(lab: Lab) -> None:
    worker = """
        class Model:
            def __call__(self, rows, toolbox):
                return toolbox.factor * len(rows)

        entry = Model()
    """
    assert lab.run(worker, range(15), WORKER_CALL='chunk', factor=2)['mp_input_q'].values() == [20, 10]


def test_all_queues_that_have_a_feeder_are_served(lab: Lab) -> None:
    hold = threading.Event()

    def held() -> Iterator[int]:
        yield from range(50)
        assert hold.wait(ALARM)  # without it the job might be over before the third feeder comes
        yield from range(50, 100)

    emp = lab.mp()
    emp.queue_cust_dict_category_create(('batch_1', 'audio', 2), ('batch_1', 'video', 2), ('batch_1', 'by_hand', 2))
    emp.feed(held(), ('batch_1', 'audio'))
    emp.feed(range(0, 1000, 10), ('batch_1', 'video'))
    worker = 'def entry(rows): return sum(rows)\n'
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True, WORKER_CALL='chunk')
    emp.feed(range(5))
    hold.set()
    results = emp.wait(ALARM)
    assert sum(results['batch_1|audio'].values()) == sum(range(100))
    assert sum(results['batch_1|video'].values()) == sum(range(0, 1000, 10))
    assert results['mp_input_q'].values() == [10]
    assert set(results) == {'batch_1|audio', 'batch_1|video', 'mp_input_q (default)'}


def test_queues_and_prints_are_at_hand_through_the_toolbox(lab: Lab) -> None:
    worker = """
        def entry(rows, toolbox):
            toolbox.side.put((toolbox.WORKER_NAME, rows))
            return toolbox.gate.get()
    """
    emp = lab.mp()
    side, gate = emp.add_queue('side'), emp.add_queue('gate')
    gate.put('one')
    lab.start(emp, worker, WORKER_CALL='chunk', NUM_ROWS=2, RESULTS_STORE=True)
    emp.feed('abcd')
    assert side.get(timeout=ALARM) == ('Process-1', ['a', 'b'])
    assert side.get(timeout=ALARM) == ('Process-1', ['c', 'd'])
    gate.put('two')
    assert emp.wait(ALARM)['mp_input_q'].values() == ['one', 'two']


def test_many_tiny_chunks(lab: Lab) -> None:
    results = lab.run('def entry(rows): return rows[0]\n', range(3000), NUM_PROCS=2, NUM_ROWS=1, WORKER_CALL='chunk')
    assert results['mp_input_q'].values() == list(range(3000))
    assert {outcome.slot for outcome in results['mp_input_q']} <= {0, 1}
    assert all(outcome.attempts == 1 for outcome in results['mp_input_q'])


@pytest.mark.parametrize('after', [20, 200])
@pytest.mark.parametrize('call', ['toolbox', 'item'])
def test_work_in_long_chunks_is_not_held_by_one_worker(lab: Lab, call: str, after: int) -> None:
    """Chunks handed out ahead to a worker that settles into a long call go to the other one, which is not told the
    end of the stream before.
    """
    worker = """
        def work(item, toolbox):
            if item == 'long':
                toolbox.say.put('long')
                return toolbox.gate.get()
            return item
    """
    classic = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], [work(chunk[1], toolbox)]])
            return True
    """
    emp = lab.mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    worker += classic if call == 'toolbox' else '\n        entry = work\n'
    lab.start(emp, worker, WORKER_CALL=call, NUM_PROCS=2, NUM_ROWS=1, RESULTS_STORE=True, BUFFER_CHUNKS=500)
    reader = emp.results.outcomes()
    emp.feed([*range(200), 'long', *range(after)])
    assert say.get(timeout=ALARM) == 'long'
    got = [next(reader) for _ in range(200 + after)]  # all but the long one, while that one runs
    assert 200 not in [outcome.ticket for outcome in got]
    gate.put('done')
    assert next(reader).value == ['done']
    assert emp.wait(ALARM).complete


def test_nothing_fed_at_all_is_a_job_that_waits_for_a_feeder(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return rows\n', WORKER_CALL='chunk', RESULTS_STORE=True)
    with pytest.raises(TimeoutError):
        emp.wait(0.05)
    emp.feed([1])
    assert emp.wait(ALARM)['mp_input_q'].values() == [[1]]


def test_a_function_that_takes_nothing_fails_its_ticket_with_its_own_error(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(): return 1\n', WORKER_CALL='chunk')
    emp.feed([1])
    with pytest.raises(TypeError, match=r'entry\(\) takes 0 positional arguments') as caught:
        emp.wait(ALARM)
    assert not isinstance(caught.value, eisenmp.EisenmpError)
