"""Queues: the surface of ``queue.Queue`` on both sides, bounds, and every way a message can go."""

import gc
import queue
import threading
import tracemalloc
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

import eisenmp
from tests.contract import surface
from tests.contract.test_classic import SUM
from tests.support import ALARM, Lab, wait_until


@pytest.mark.parametrize('check', surface.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize('kind', ['standard library', 'manager'])
def test_the_surface_of_a_queue(kind: str, check: surface.Check) -> None:
    small: Any
    large: Any
    if kind == 'manager':
        emp = eisenmp.Mp()
        small, large = emp.add_queue('small', 2), emp.add_queue('large', -1)
    else:
        small, large = queue.Queue(2), queue.Queue(-1)
    check(small, large)
    assert small.empty()
    assert large.empty()


def test_the_surface_of_a_queue_in_a_worker(lab: Lab) -> None:
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('small', 2), ('large', 0), ('verdicts', 0))
    lab.start(emp, 'tests.contract.surface')
    verdicts = emp.queues['verdicts']
    results = dict(verdicts.get(timeout=ALARM) for _ in surface.CHECKS)
    assert results == {check.__name__: 'fine' for check in surface.CHECKS}
    emp.wait(ALARM)


@pytest.mark.parametrize('what', ['get', 'put'])
def test_looking_in_vain_keeps_nothing(what: str) -> None:
    """A loop that polls an empty queue, or a full one, for days must not fill the memory."""
    emp = eisenmp.Mp()
    polled = emp.add_queue('polled', 1)
    if what == 'put':
        polled.put('in the way')
    load = b'x' * 1000

    def poll(times: int) -> None:
        for _ in range(times):
            with pytest.raises(queue.Empty if what == 'get' else queue.Full):
                polled.get_nowait() if what == 'get' else polled.put_nowait(load)

    poll(100)
    tracemalloc.start()
    try:
        poll(1000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 50_000, f'{grown} bytes for 1000 looks'


def test_worker_to_worker_and_back(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            mine, other = (toolbox.ping, toolbox.pong)[:: 1 if toolbox.WORKER_ID == 1 else -1]
            if toolbox.WORKER_ID == 1:
                other.put(0)
            for _ in range(50):
                ball = mine.get(timeout=20)
                other.put(ball + 1, timeout=20)
            return False
    """
    emp = lab.mp()
    ping, pong = emp.add_queue('ping', 1), emp.add_queue('pong', 1)
    lab.start(emp, worker, NUM_PROCS=2)
    emp.wait(ALARM)
    assert (ping.qsize(), pong.qsize()) == (0, 1)
    assert pong.get(timeout=ALARM) == 100


def test_what_the_manager_puts_by_hand_and_what_it_reads(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            number = toolbox.to_worker.get()
            if number is None:
                return False
            toolbox.answers['square'].put({number: number ** 2})
            return True
    """
    emp = lab.mp()
    to_worker = emp.add_queue('to_worker', 3)
    square = emp.add_queue('square', 3, category='answers')
    to_worker.put(2)  # before the start
    lab.start(emp, worker)
    assert square.get(timeout=ALARM) == {2: 4}
    for number in range(10):
        to_worker.put(number)
        assert square.get(timeout=ALARM) == {number: number**2}
    to_worker.put(None)
    emp.wait(ALARM)


def test_what_workers_put_is_there_when_the_job_is_over(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            for n in range(500):
                toolbox.out.put((toolbox.WORKER_ID, n))
            return False
    """
    emp = lab.mp()
    out = emp.add_queue('out')
    lab.start(emp, worker, NUM_PROCS=2)
    emp.wait(ALARM)
    assert emp.join(ALARM)
    got = [out.get_nowait() for _ in range(1000)]
    for worker_id in (1, 2):
        assert [n for w, n in got if w == worker_id] == list(range(500))
    assert out.qsize() == 0


def test_a_bound_holds_a_worker_back(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            for n in range(6):
                toolbox.narrow.put(n)
                toolbox.trace.put(n)
            return False
    """
    emp = lab.mp()
    narrow, trace = emp.add_queue('narrow', 2), emp.add_queue('trace')
    lab.start(emp, worker)
    assert [trace.get(timeout=ALARM) for _ in range(2)] == [0, 1]
    assert narrow.full()
    assert trace.empty()
    for n in range(4):
        assert narrow.get(timeout=ALARM) == n
        assert trace.get(timeout=ALARM) == n + 2
        assert narrow.qsize() == 2
    emp.wait(ALARM)
    assert [narrow.get(), narrow.get()] == [4, 5]


def test_the_bound_of_a_queue_holds_its_feeders_back(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.say.put(toolbox.narrow.get())
            return toolbox.gate.get()
    """
    made = []

    def endless() -> Iterator[int]:
        for n in count():
            made.append(n)
            yield n

    emp = lab.mp()
    narrow, say, gate = emp.add_queue('narrow', 2), emp.add_queue('say'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_ROWS=5, BUFFER_CHUNKS=1000)
    emp.feed(endless(), 'narrow')
    for n in range(10):
        assert say.get(timeout=ALARM)[1:] == list(range(5 * n, 5 * n + 5))
        wait_until(narrow.full)
        # n+1 taken, two queued; the feeder asks for room before it takes items
        assert len(made) == 5 * (n + 3)
        gate.put(n < 9)
    emp.wait(ALARM)


def test_a_message_keeps_its_place_among_chunks(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            while True:
                got = toolbox.both.get()
                if isinstance(got, list) and got[-1] == toolbox.STOP_MSG:
                    toolbox.out.put('end')
                    return False
                toolbox.out.put(got)
    """
    emp = lab.mp()
    both, out = emp.add_queue('both'), emp.add_queue('out')
    both.put('first')
    hold = threading.Event()

    def rows() -> Iterator[int]:
        yield 1
        assert hold.wait(ALARM)
        yield 2

    lab.start(emp, worker, NUM_ROWS=1)
    emp.feed(rows(), 'both')
    assert [out.get(timeout=ALARM) for _ in range(2)] == ['first', ['both;_TID_0;', 1]]
    both.put('between')
    assert out.get(timeout=ALARM) == 'between'
    hold.set()
    assert [out.get(timeout=ALARM) for _ in range(2)] == [['both;_TID_1;', 2], 'end']
    emp.wait(ALARM)


def test_the_manager_takes_a_chunk_as_a_worker_would(lab: Lab) -> None:
    emp = lab.mp()
    own = emp.add_queue('own', 2)
    lab.start(emp, SUM, NUM_ROWS=2)
    emp.feed('abc', 'own')
    assert own.get(timeout=ALARM) == ['own;_TID_0;', 'a', 'b']
    assert own.get(timeout=ALARM) == ['own;_TID_1;', 'c']
    header, _ = own.get(timeout=ALARM)
    assert 'own' in header
    assert '_TID_' not in header
    emp.feed([1, 2])
    results = emp.wait(ALARM)
    assert results['own'].done == [0, 1]
    assert results.complete


def test_a_queue_made_after_the_start_is_there_for_workers(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            name = toolbox.control.get()
            if name is None:
                return False
            category, _, short = name.rpartition('|')
            queue = toolbox.kwargs[category][short] if category else getattr(toolbox, short)
            assert name in [row[0] for row in toolbox.Q_NAME_ID_LST]
            queue.put(name)
            return True
    """
    emp = lab.mp()
    control = emp.add_queue('control')
    lab.start(emp, worker)
    late = emp.add_queue('late', 2)
    control.put('late')
    assert late.get(timeout=ALARM) == 'late'
    emp.queue_cust_dict_category_create('kind', 'later', 1)
    control.put('kind|later')
    assert emp.queue_cust_dict_cat['kind']['later'].get(timeout=ALARM) == 'kind|later'
    control.put(None)
    emp.wait(ALARM)


def test_polling_loops_of_old_workers(lab: Lab) -> None:
    worker = """
        import queue

        def entry(toolbox):
            while toolbox.work.empty():
                pass
            got = []
            while len(got) < 20:
                try:
                    got.append(toolbox.work.get_nowait())
                except queue.Empty:
                    toolbox.hungry.put(len(got))
            toolbox.out.put(got)
            return False
    """
    emp = lab.mp()
    work, hungry, out = emp.add_queue('work'), emp.add_queue('hungry'), emp.add_queue('out')
    lab.start(emp, worker)
    for n in range(10):
        work.put(n)
    while hungry.get(timeout=ALARM) < 10:
        pass
    for n in range(10, 20):
        work.put(n)
    assert out.get(timeout=ALARM) == list(range(20))
    emp.wait(ALARM)


def test_empty_sees_the_end_of_the_stream(lab: Lab) -> None:
    """`while q.empty(): …` then `q.get()` is how old workers wait; the end of the stream is news as well."""
    worker = """
        def entry(toolbox):
            while toolbox.mp_input_q.empty():
                pass
            return toolbox.STOP_MSG not in toolbox.mp_input_q.get()
    """
    assert lab.run(worker, range(30)).complete


# ---- forward


def test_forward_holds_an_object_until_the_ticket_is_answered(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            toolbox.forward(toolbox.second, ('forwarded', chunk[1]))
            toolbox.second.put(('put', chunk[1]))
            toolbox.gate.get()
            return True
    """
    emp = lab.mp()
    second, gate = emp.add_queue('second', 1), emp.add_queue('gate')
    lab.start(emp, worker, NUM_ROWS=1)
    emp.feed('ab')
    for item in 'ab':
        assert second.get(timeout=ALARM) == ('put', item)
        assert second.empty(), 'the object came before the ticket was answered'
        gate.put('go')
        assert second.get(timeout=ALARM) == ('forwarded', item)
    emp.wait(ALARM)


@pytest.mark.parametrize('call', ['toolbox', 'chunk'])
def test_a_failing_try_forwards_nothing(lab: Lab, call: str) -> None:
    body = """
        TRIES = []

        def work(item, toolbox):
            toolbox.forward(toolbox.second, item)
            TRIES.append(item)
            if item == 'bad' or TRIES.count(item) < 2:
                raise ValueError(item)
    """
    classic = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            work(chunk[1], toolbox)
            return True
    """
    plain = """
        def entry(rows, toolbox):
            return work(rows[0], toolbox)
    """
    emp = lab.mp()
    second = emp.add_queue('second')
    lab.start(emp, body + (classic if call == 'toolbox' else plain), NUM_ROWS=1, RETRIES=1, ON_ERROR='skip',
              WORKER_CALL=call)  # fmt: skip
    emp.feed(['fine', 'bad', 'fine too'])
    results = emp.wait(ALARM)
    assert results['mp_input_q'].failed == [1]
    assert [second.get_nowait(), second.get_nowait()] == ['fine', 'fine too']
    assert second.empty()


def test_forward_without_a_ticket_is_a_put(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.forward(toolbox.out, 'at once')
            return toolbox.gate.get()
    """
    emp = lab.mp()
    out, gate = emp.add_queue('out'), emp.add_queue('gate')
    lab.start(emp, worker)
    assert out.get(timeout=ALARM) == 'at once'
    gate.put(False)
    emp.wait(ALARM)


def test_a_chain_of_queues_fed_by_forward(lab: Lab) -> None:
    """Stage one forwards, stage two collects; each object arrives exactly once."""
    worker = """
        def entry(toolbox):
            if toolbox.START_SEQUENCE_NUM == 0:
                chunk = toolbox.mp_input_q.get()
                if toolbox.STOP_MSG in chunk:
                    toolbox.stage.put(None)
                    return False
                toolbox.forward(toolbox.stage, sum(chunk[1:]))
                return True
            total = 0
            while (part := toolbox.stage.get()) is not None:
                total += part
            toolbox.mp_output_q.put(total)
            return False
    """
    emp = lab.mp()
    emp.add_queue('stage', 3)
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=10)
    emp.feed(range(1000))
    emp.wait(ALARM)
    assert emp.mp_output_q.get_nowait() == sum(range(1000))


# ---- the manager's lists


def test_names_ids_and_references() -> None:
    emp = eisenmp.Mp()
    listed = emp.q_name_id_lst
    emp.queue_cust_dict_std_create('blue_q_7', 3)
    emp.queue_cust_dict_category_create(('cat', 'a', 1), ('cat', 'b', 2))
    rows = emp.q_name_id_lst
    assert rows[0] == ('mp_input_q (default)', id(emp.mp_input_q), emp.mp_input_q)
    assert [name for name, _, _ in rows][-3:] == ['blue_q_7', 'cat|a', 'cat|b']
    for name, number, reference in rows:
        assert number == id(reference)
        for what in (name, number, reference):
            assert emp.find_queue(what) == (name, number, reference)
    assert emp.find_queue('mp_input_q')[2] is emp.mp_input_q
    assert emp.queue_cust_dict_std['blue_q_7'] is emp.queues['blue_q_7'] is emp.find_queue('blue_q_7')[2]
    assert emp.queue_cust_dict_cat['cat']['b'] is emp.queues['cat', 'b']
    assert listed == rows, 'custom queues are appended to the list that the user holds'
    for unknown in ('blue_q_8', 5, object()):
        with pytest.raises(KeyError):
            emp.find_queue(unknown)
    with pytest.raises(KeyError, match='blue_q_7'):
        emp.queues['blue_q_8']


@pytest.mark.parametrize(
    'wanted',
    [
        [('new', 1), ('taken', 1)],
        [('new', 1), ('new', 2)],
        [('new', 1), ('mp_input_q', 2)],
        [('new', 1), ('cat', 2)],
        [('new', 1), ('', 2)],
        [('new', 1), ('x', '2')],
        [('new', 1), ('NEXT_LIST', 2)],
        [('new', 1), ('only a name',)],
    ],
)
def test_a_create_call_makes_all_its_queues_or_none(wanted: list[Any]) -> None:
    emp = eisenmp.Mp()
    emp.queue_cust_dict_std_create('taken', 1)
    emp.queue_cust_dict_category_create('cat', 'one', 1)
    before = list(emp.q_name_id_lst)
    with pytest.raises(ValueError):
        emp.queue_cust_dict_std_create(*wanted)
    assert emp.q_name_id_lst == before
    assert set(emp.queue_cust_dict_std) == {'taken'}
    emp.queue_cust_dict_std_create('new', 1)


def test_one_name_in_two_categories_and_outside() -> None:
    emp = eisenmp.Mp()
    emp.queue_cust_dict_category_create(('b1', 'video', 1), ('b2', 'video', 1))
    emp.queue_cust_dict_std_create('video', 1)
    emp.queue_cust_dict_category_create('b1', 'audio', 1)
    for number, found in enumerate((emp.queues['b1', 'video'], emp.queues['b2', 'video'], emp.queues['video'])):
        found.put(number)
        assert found.full()
    assert emp.queue_cust_dict_cat['b2']['video'].get() == 1
    with pytest.raises(ValueError, match=r'b1\|audio'):
        emp.queue_cust_dict_category_create(('b3', 'audio', 1), ('b1', 'audio', 1))
    assert 'b3' not in emp.queue_cust_dict_cat
