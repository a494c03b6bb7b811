"""Jobs in the classic style: the worker takes a list from a queue and answers under its header."""

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

import eisenmp
from tests.support import ALARM, Lab

SUM = """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], sum(chunk[1:])])
    return True
"""

ECHO = """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], chunk])
    return True
"""


def test_every_chunk_once_and_the_last_one_short(lab: Lab) -> None:
    results = lab.run(ECHO, (n * n for n in range(25)), NUM_PROCS=2)
    chunks = results['mp_input_q'].values()
    assert [chunk[0] for chunk in chunks] == [f'mp_input_q (default);_TID_{n};' for n in range(3)]
    assert [len(chunk) - 1 for chunk in chunks] == [10, 10, 5]
    assert [item for chunk in chunks for item in chunk[1:]] == [n * n for n in range(25)]
    assert results.complete


def test_no_empty_chunk_when_the_items_fill_the_chunks(lab: Lab) -> None:
    assert lab.run(SUM, range(20)).as_dict() == {'mp_input_q (default)': [(0, 45), (1, 145)]}


def test_an_empty_generator_ends_the_job_without_a_ticket(lab: Lab) -> None:
    results = lab.run(SUM, iter(()), NUM_PROCS=2)
    assert len(results) == 0
    assert results.complete


@pytest.mark.parametrize(
    'items',
    [range(12), list(range(12)), dict.fromkeys(range(12)), set(range(12)), map(int, '012345678901')],
    ids=['range', 'list', 'dict', 'set', 'map'],
)
def test_any_iterable_feeds(items: Any, tmp_path: Any) -> None:
    lab = Lab(tmp_path, 'inline')
    expected = 46 if isinstance(items, map) else 66
    assert sum(lab.run(SUM, items)['mp_input_q'].values()) == expected


def test_the_default_is_a_thousand_items_in_a_chunk(lab: Lab) -> None:
    results = lab.run(SUM, range(2500), NUM_ROWS=None)
    assert len(results['mp_input_q']) == 3
    assert sum(results['mp_input_q'].values()) == sum(range(2500))


def test_end_of_stream_reaches_every_reader_and_stays(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG not in chunk:
                return True
            again = toolbox.mp_input_q.get()
            assert toolbox.STOP_MSG in str(again[-1])
            assert len(chunk) == len(again) == 2
            assert '_TID_' not in chunk[0]
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], toolbox.WORKER_ID])
            return False
    """
    results = lab.run(worker, range(30), NUM_PROCS=3)
    assert results.closing == {0: 1, 1: 2, 2: 3}
    assert [outcome.value for outcome in results['mp_input_q']] == [None, None, None]


def test_one_reader_gets_a_queue_in_order(lab: Lab) -> None:
    """As with ``queue.Queue``, whatever is handed out ahead and given back: quick calls make the manager hand out
    chunks ahead, each slow one makes the worker give them back.
    """
    worker = """
        import time

        SEEN = []

        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], SEEN])
                return False
            SEEN.append(chunk[1])
            if chunk[1] % 40 == 39:
                time.sleep(0.06)  # this is the work
            return True
    """
    results = lab.run(worker, range(300), NUM_ROWS=1, BUFFER_CHUNKS=100)
    assert results.closing[0] == list(range(300))


def test_an_item_that_looks_like_the_end_ends_nothing(lab: Lab) -> None:
    items = ['STOP', 'STOP_MSG', None, '', 'stop', 'END', b'STOP', 'mp_input_q (default);_END_;', '_TID_0']
    results = lab.run(ECHO, items * 2, NUM_ROWS=1)
    assert [chunk[1] for chunk in results['mp_input_q'].values()] == items * 2


def test_feeders_before_and_after_the_start_share_a_queue(lab: Lab) -> None:
    emp = lab.mp()
    hold = threading.Event()

    def held() -> Iterator[int]:
        yield from range(5)
        assert hold.wait(ALARM)  # without it the stream might end before the other feeders are there
        yield from range(5, 25)

    emp.run_q_feeder(generator=held())
    emp.feed(range(100, 125))
    lab.start(emp, ECHO, NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True)
    emp.run_q_feeder(map(int, range(200, 225)), emp.mp_input_q)
    emp.run_q_feeder(generator=range(300, 325), input_q=emp.mp_input_q)
    hold.set()
    chunks = emp.wait(ALARM)['mp_input_q'].values()
    assert [chunk[0] for chunk in chunks] == [f'mp_input_q (default);_TID_{n};' for n in range(12)]
    items = sorted(item for chunk in chunks for item in chunk[1:])
    assert items == [h * 100 + n for h in range(4) for n in range(25)]
    by_feeder = {chunk[1] // 100: [] for chunk in chunks}  # type: dict[int, list[int]]
    for chunk in chunks:
        assert len({item // 100 for item in chunk[1:]}) == 1, 'items of two feeders in one chunk'
        by_feeder[chunk[1] // 100] += chunk[1:]
    assert all(feed == sorted(feed) for feed in by_feeder.values())


def test_several_queues_and_categories_at_once(lab: Lab) -> None:
    worker = """
        OPEN = ['audio', 'video', 'plain']

        def entry(toolbox):
            queues = {
                'audio': toolbox.batch_1['audio_lg'],
                'video': toolbox.batch_7['audio_lg'],
                'plain': toolbox.blue_q_7,
            }
            for name in list(OPEN):
                chunk = queues[name].get()
                if toolbox.STOP_MSG in chunk:
                    OPEN.remove(name)
                else:
                    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], (chunk[0], sum(chunk[1:]))])
            return OPEN
    """
    emp = lab.mp()
    emp.queue_cust_dict_category_create(('batch_1', 'audio_lg', 5), ('batch_7', 'audio_lg', 1))
    emp.queue_cust_dict_std_create('blue_q_7', 3)
    lab.start(emp, worker, NUM_ROWS=10, RESULTS_STORE=True)
    emp.run_q_feeder(generator=range(30), input_q=emp.queue_cust_dict_cat['batch_1']['audio_lg'])
    emp.run_q_feeder(generator=range(50), input_q=emp.queue_cust_dict_cat['batch_7']['audio_lg'])
    emp.run_q_feeder(generator=range(15), input_q=emp.queue_cust_dict_std['blue_q_7'])
    results = emp.wait(ALARM)
    assert set(results) == {'batch_1|audio_lg', 'batch_7|audio_lg', 'blue_q_7'}
    assert results['batch_1|audio_lg'].values() == [
        (f'batch_1|audio_lg;_TID_{n};', sum(range(10 * n, 10 * n + 10))) for n in range(3)
    ]
    assert [value for _, value in results['batch_7|audio_lg'].values()] == [45, 145, 245, 345, 445]
    assert [value for _, value in results['blue_q_7'].values()] == [45, 60]


def test_the_end_does_not_wait_for_the_leases_of_others(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                toolbox.news.put('the end')
                return False
            toolbox.news.put(chunk[1])
            if chunk[1] == 'server':
                toolbox.gate.get()
            return True
    """
    emp = lab.mp()
    news, gate = emp.add_queue('news'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1)
    emp.run_q_feeder(generator=['server'])
    assert sorted([news.get(timeout=ALARM), news.get(timeout=ALARM)]) == ['server', 'the end']
    assert not emp.begin_proc_shutdown
    gate.put('close')
    assert emp.wait(ALARM).complete


def test_a_worker_that_never_asks_again_does_not_sit_on_its_neighbours_chunk(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.ports.put((toolbox.WORKER_ID, toolbox.mp_input_q.get()[1]))
            toolbox.gate.get()
            return False
    """
    emp = lab.mp()
    ports, gate = emp.add_queue('ports'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_PROCS=3, NUM_ROWS=1)
    emp.run_q_feeder(generator=[8001, 8002, 8003])
    got = [ports.get(timeout=ALARM) for _ in range(3)]
    assert sorted(worker for worker, _ in got) == [1, 2, 3]
    assert sorted(port for _, port in got) == [8001, 8002, 8003]
    for _ in range(3):
        gate.put('close')
    assert emp.wait(ALARM).complete


def test_a_ticket_is_answered_when_the_worker_asks_again_or_returns(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            first = toolbox.mp_input_q.get()
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + first[0], 'one'])
            toolbox.say.put('put')
            toolbox.gate.get()
            second = toolbox.mp_input_q.get()
            toolbox.say.put('asked again')
            toolbox.gate.get()
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + second[0], 'two'])
            return False
    """
    emp = lab.mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_ROWS=1, RESULTS_STORE=True)
    emp.run_q_feeder(generator=['a', 'b'])
    assert say.get(timeout=ALARM) == 'put'
    assert emp.results['mp_input_q'][0].state == 'leased', 'a result shows before its ticket is answered'
    gate.put(1)
    assert say.get(timeout=ALARM) == 'asked again'
    assert emp.results['mp_input_q'][0].state == 'done'
    assert emp.results['mp_input_q'][1].state == 'leased'
    gate.put(2)
    assert emp.wait(ALARM)['mp_input_q'].values() == ['one', 'two']


def test_late_results_count_and_the_first_one_wins(lab: Lab) -> None:
    worker = """
        HEADERS = []

        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG not in chunk:
                HEADERS.append(chunk[0])
                if len(HEADERS) == 2:
                    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], 'in time'])
                return True
            for header in HEADERS[:2]:
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, 'late'])
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, 'later'])
            return False
    """
    results = lab.run(worker, range(3), NUM_ROWS=1)
    assert results['mp_input_q'].values() == ['late', 'in time', None]
    assert results.complete


def test_of_several_results_for_a_ticket_the_first_one_counts(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            for result in ('first', 'second', None):
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], result])
            return True
    """
    assert lab.run(worker, 'ab', NUM_ROWS=1)['mp_input_q'].values() == ['first', 'first']


def test_threads_of_a_worker_each_take_chunks(lab: Lab) -> None:
    worker = """
        import threading

        def entry(toolbox):
            def work():
                while True:
                    chunk = toolbox.mp_input_q.get()
                    if toolbox.STOP_MSG in chunk:
                        return
                    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], (chunk[1:], threading.get_ident())])
                    meet.wait(timeout=20) if len(seen) < 4 and not seen.add(threading.get_ident()) else None

            seen = set()
            meet = threading.Barrier(4)  # the first four chunks are held by four threads at once
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return False
    """
    results = lab.run(worker, range(200), NUM_ROWS=5, BUFFER_CHUNKS=16)
    values = results['mp_input_q'].values()
    assert [item for rows, _ in values for item in rows] == list(range(200))
    assert len({ident for _, ident in values}) == 4


def test_threads_read_different_queues_while_the_entry_reads_a_third(lab: Lab) -> None:
    worker = """
        import threading

        def drain(toolbox, queue, into):
            while True:
                chunk = queue.get()
                if toolbox.STOP_MSG in chunk:
                    return
                into.extend(chunk[1:])

        def entry(toolbox):
            got = {'red': [], 'green': [], 'mp_input_q': []}
            threads = [
                threading.Thread(target=drain, args=(toolbox, getattr(toolbox, name), got[name]))
                for name in ('red', 'green')
            ]
            for thread in threads:
                thread.start()
            drain(toolbox, toolbox.mp_input_q, got['mp_input_q'])
            for thread in threads:
                thread.join()
            toolbox.mp_output_q.put(got)
            return False
    """
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('red', 2), ('green', 0))
    emp.feed(range(100), 'red')
    emp.feed(range(200), 'green')
    emp.feed(range(300))
    lab.start(emp, worker, NUM_ROWS=7)
    results = emp.wait(ALARM)
    assert emp.mp_output_q.get(timeout=ALARM) == {
        'red': list(range(100)),
        'green': list(range(200)),
        'mp_input_q': list(range(300)),
    }
    assert results.complete


def test_a_generator_that_raises_after_some_items(lab: Lab) -> None:
    mine = ZeroDivisionError('of the generator')

    def broken() -> Iterator[int]:
        yield from range(25)
        raise mine

    emp = lab.mp()
    lab.start(emp, SUM, NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True)
    emp.run_q_feeder(generator=broken())
    with pytest.raises(ZeroDivisionError) as caught:
        emp.wait(ALARM)
    assert caught.value is mine
    assert emp.results['mp_input_q'].values() == [45, 145, 110], 'what was made is finished'


def test_one_feeder_raises_and_the_others_are_finished(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, SUM, NUM_ROWS=10, RESULTS_STORE=True)
    go = threading.Event()

    def fine() -> Iterator[int]:
        assert go.wait(ALARM)
        yield from range(50)

    def fail() -> Iterator[int]:
        raise LookupError('no more rows')

    def broken() -> Iterator[int]:
        go.set()
        yield from fail()

    emp.run_q_feeder(generator=fine())
    emp.run_q_feeder(generator=broken())
    with pytest.raises(LookupError, match='no more rows'):
        emp.wait(ALARM)
    assert sum(emp.results['mp_input_q'].values()) == sum(range(50))


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda emp: emp.run_q_feeder(generator=count), 'call the generator function|cannot be iterated'),
        (lambda emp: emp.run_q_feeder(generator=5), '5'),
        (lambda emp: emp.run_q_feeder(), 'None'),
        (lambda emp: emp.run_q_feeder(generator=[1], input_q=[]), 'input_q'),
        (lambda emp: emp.run_q_feeder(generator=[1], input_q=eisenmp.Mp().mp_input_q), 'input_q'),
        (lambda emp: emp.run_q_feeder(generator=[1], total=-1), '-1'),
    ],
    ids=['not called', 'number', 'nothing', 'no queue', 'foreign queue', 'total'],
)
def test_what_cannot_be_fed_is_refused_with_words(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(eisenmp.Mp())


def test_feeding_a_job_that_is_over_is_refused(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, SUM)
    emp.run_q_feeder(generator=[1])
    emp.wait(ALARM)
    with pytest.raises(eisenmp.JobOver, match='over'):
        emp.run_q_feeder(generator=[2])


def test_a_manager_runs_one_job(lab: Lab) -> None:
    emp = lab.mp()
    path = lab.file(SUM)
    lab.start(emp, path)
    with pytest.raises(RuntimeError, match='started before'):
        lab.start(emp, path)
    emp.run_q_feeder(generator=[1])
    emp.wait(ALARM)
