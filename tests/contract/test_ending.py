"""All the ways a job ends: by itself, by stop_job, stop, kill, by leaving the block; and its processes."""

import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import psutil
import pytest

import eisenmp
from tests.contract.test_classic import SUM
from tests.support import ALARM, ON_RAY, Lab, wait_until

# Holds its chunk until the gate opens.
HOLDS = """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.say.put(chunk[1])
    toolbox.gate.get()
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], chunk[1]])
    return True
"""


def _holding(lab: Lab, items: Any, **settings: Any) -> eisenmp.Mp:
    """A job with two chunks in the hands of two workers."""
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('say', 0), ('gate', 0))
    lab.start(emp, HOLDS, **{'NUM_PROCS': 2, 'NUM_ROWS': 1, 'RESULTS_STORE': True, **settings})
    emp.feed(items)
    assert {emp.queues['say'].get(timeout=ALARM) for _ in range(2)} == {0, 1}
    return emp


def _gone(emp: eisenmp.Mp, lab: Lab) -> None:
    assert emp.join(ALARM)
    for process in emp.proc_list:
        assert not process.is_alive()
        assert process.exitcode is not None
    if not lab.in_process and not ON_RAY:  # there, the cluster itself is below this process
        assert psutil.Process().children(recursive=True) == []


# ---- wait, stop, kill


def test_wait_with_a_time_limit(lab: Lab) -> None:
    emp = _holding(lab, range(2))
    for limit in (0, 0.02):
        with pytest.raises(TimeoutError, match='2 leased'):
            emp.wait(limit)
    over = [emp.begin_proc_shutdown]
    for _ in range(2):
        emp.queues['gate'].put('go')
    assert emp.wait(ALARM)['mp_input_q'].values() == [0, 1]
    assert [*over, emp.begin_proc_shutdown] == [False, True]
    assert emp.wait(0) is emp.results, 'once more, at once'


def test_stop_finishes_what_is_leased_and_leaves_the_rest(lab: Lab) -> None:
    emp = _holding(lab, count())
    emp.stop()
    emp.stop()
    for _ in range(2):
        emp.queues['gate'].put('go')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.done == [0, 1]
    assert [results[n].value for n in (0, 1)] == [0, 1]
    assert results.unread == list(range(2, len(results)))
    assert results.failed == []
    _gone(emp, lab)


def test_kill_ends_everything_now_and_keeps_results_so_far(lab: Lab) -> None:
    emp = _holding(lab, range(8))
    emp.queues['gate'].put('go')
    wait_until(lambda: len(emp.results['mp_input_q']) == 8 and len(emp.results['mp_input_q'].done) == 1)
    emp.kill()
    with pytest.raises(eisenmp.JobKilled, match='1 of 8'):
        emp.wait(ALARM)
    _gone(emp, lab)
    (done,) = emp.results['mp_input_q'].done
    assert emp.results['mp_input_q'][done].value == done
    assert emp.begin_proc_shutdown
    emp.kill()  # again: nothing to do


def test_before_the_start_there_is_nothing_to_end() -> None:
    emp = eisenmp.Mp()
    assert emp.proc_list == []
    assert not emp.begin_proc_shutdown
    for call in (emp.wait, emp.stop, emp.kill, emp.join):
        with pytest.raises(eisenmp.SettingsError, match='start'):
            call()
    with eisenmp.Mp():
        pass


# ---- the block


def test_a_block_waits_at_its_end(lab: Lab) -> None:
    with lab.mp() as emp:
        lab.start(emp, SUM, NUM_ROWS=10, RESULTS_STORE=True)
        emp.feed(range(30))
    assert emp.results['mp_input_q'].values() == [45, 145, 245]
    _gone(emp, lab)


def test_a_block_that_raises_kills_the_job(lab: Lab) -> None:
    mine = RuntimeError('of the block')
    emp = _holding(lab, count())
    with pytest.raises(RuntimeError) as caught, emp:
        raise mine
    assert caught.value is mine
    assert mine.__context__ is None
    _gone(emp, lab)


def test_a_block_raises_what_stopped_the_job(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return 1 / rows[0]\n', WORKER_CALL='chunk')
    with pytest.raises(ZeroDivisionError), emp:
        emp.feed([0])
    _gone(emp, lab)


# ---- first hit


@pytest.mark.parametrize('how', ['stop_job', 'StopJob', 'import'])
@pytest.mark.parametrize('call', ['toolbox', 'chunk', 'item'])
def test_the_first_hit_ends_an_endless_search(lab: Lab, call: str, how: str) -> None:
    work = {
        'stop_job': """
def work(item, toolbox):
    if item == 777:
        toolbox.stop_job({'hit': item})
    return item
""",
        'StopJob': """
import eisenmp

def work(item, toolbox):
    if item == 777:
        raise eisenmp.StopJob({'hit': item})
    return item
""",
        'import': """
from eisenmp import StopJob

class Hit(StopJob):
    pass

def work(item, toolbox):
    if item == 777:
        raise Hit({'hit': item})
    return item
""",
    }[how]
    styles = {
        'toolbox': """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], [work(item, toolbox) for item in chunk[1:]]])
    return True
""",
        'chunk': """
def entry(rows, toolbox):
    return [work(item, toolbox) for item in rows]
""",
        'item': """
def entry(item, toolbox):
    return work(item, toolbox)
""",
    }
    emp = lab.mp()
    lab.start(emp, work + styles[call], NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True, WORKER_CALL=call)
    emp.feed(count())
    results = emp.wait(ALARM)
    assert results.answer == {'hit': 777}
    done = results['mp_input_q'].done
    assert done[:70] == list(range(70)), 'results so far are kept'
    assert results['mp_input_q'][5].value == list(range(50, 60))
    assert results['mp_input_q'].failed == []
    _gone(emp, lab)


def test_the_first_hit_in_a_space_that_has_no_len(lab: Lab) -> None:
    space = eisenmp.spaces.Product('abc', repeat=90)
    worker = """
def entry(item, toolbox):
    if ''.join(item).endswith('cab'):
        toolbox.stop_job(item)
"""
    results = lab.run(worker, space, WORKER_CALL='item')
    assert space.index(results.answer) % 27 == 2 * 9 + 1


def test_the_first_of_several_hits_is_the_answer(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            mine = toolbox.order.get()
            toolbox.stop_job(mine)  # the second one is told the end of `order`, and stops the job with that
            toolbox.said.put(mine)
            return False
    """
    emp = lab.mp()
    order, said = emp.add_queue('order'), emp.add_queue('said')
    lab.start(emp, worker, NUM_PROCS=2)
    order.put('first')
    assert 'first' in [said.get(timeout=ALARM) for _ in range(2)]
    assert emp.wait(ALARM).answer == 'first'


def test_a_hit_reaches_workers_that_wait_at_a_queue(lab: Lab) -> None:
    """Told to stop at the next queue call: for a get that is under way, and for a put that finds no room."""
    worker = """
        def entry(toolbox):
            role = toolbox.START_SEQUENCE_NUM
            if role == 0:
                toolbox.ready.put('getter')
                got = toolbox.nothing.get()
                assert toolbox.STOP_MSG in got
            elif role == 1:
                toolbox.narrow.put(1)
                toolbox.ready.put('putter')
                toolbox.narrow.put(2)
            else:
                toolbox.gate.get()
                toolbox.stop_job('hit')
            return False
    """
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('ready', 0), ('nothing', 0), ('narrow', 1), ('gate', 0))
    lab.start(emp, worker, NUM_PROCS=3)
    assert {emp.queues['ready'].get(timeout=ALARM) for _ in range(2)} == {'getter', 'putter'}
    emp.queues['gate'].put('go')
    assert emp.wait(ALARM).answer == 'hit'
    _gone(emp, lab)


def test_after_a_hit_no_further_chunk_starts(lab: Lab) -> None:
    worker = """
        def entry(rows, toolbox):
            toolbox.started.put(rows[0])
            if rows[0] == 1:
                toolbox.stop_job('hit')
                toolbox.mp_info_q.put('said')
            else:
                toolbox.gate.get()
    """
    emp = lab.mp()
    started, gate = emp.add_queue('started'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1, WORKER_CALL='chunk')
    emp.feed(count())
    assert {started.get(timeout=ALARM) for _ in range(2)} == {0, 1}
    assert emp.mp_info_q.get(timeout=ALARM) == 'said'
    gate.put('go')
    emp.wait(ALARM)
    assert started.empty()


# ---- processes


def test_handles_of_processes(lab: Lab) -> None:
    emp = _holding(lab, range(2))
    names = [process.name for process in emp.proc_list]
    assert names == ['Process-1', 'Process-2']
    for process in emp.proc_list:
        assert process.is_alive()
        assert process.exitcode is None
        assert (process.pid == os.getpid()) == lab.in_process
        process.join(0.01)
        assert process.is_alive()
        assert psutil.pid_exists(process.pid)
    for _ in range(2):
        emp.queues['gate'].put('go')
    emp.wait(ALARM)
    for process in emp.proc_list:
        process.join()
        assert not process.is_alive()
        assert process.exitcode == 0
    assert emp.join(ALARM)


@pytest.mark.parametrize('how', ['kill', 'terminate'])
def test_a_worker_ended_by_hand_is_replaced(lab: Lab, how: str, caplog: pytest.LogCaptureFixture) -> None:
    emp = _holding(lab, range(2))
    victim = emp.proc_list[1]
    getattr(victim, how)()
    victim.join(ALARM)
    told = -15 if not ON_RAY else 255  # Ray tells of no signals
    assert victim.exitcode == (-9 if how == 'kill' or lab.in_process else told)
    lost = emp.queues['say'].get(timeout=ALARM)  # the replacement has taken up the same ticket
    assert lost in (0, 1)
    wait_until(lambda: emp.proc_list[1] is not victim)
    assert emp.proc_list[1].name == 'Process-2'
    assert emp.proc_list[1].is_alive()
    # A dead thread's call still waits at the gate where threads are workers; its getter was withdrawn with it.
    for _ in range(2):
        emp.queues['gate'].put('go')
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [0, 1]
    assert sorted(outcome.attempts for outcome in results) == [1, 2]
    assert 'Process-2' in caplog.text


def test_servers_in_threads_outlive_their_entry_function(process_lab: Lab) -> None:
    worker = """
        import threading

        def serve(toolbox):
            while (request := toolbox.requests.get()) is not None:
                toolbox.replies.put((toolbox.WORKER_ID, request * 2))

        def entry(toolbox):
            for _ in range(2):
                threading.Thread(target=serve, args=(toolbox,)).start()
            return False
    """
    emp = process_lab.mp()
    requests, replies = emp.add_queue('requests'), emp.add_queue('replies')
    process_lab.start(emp, worker)
    emp.wait(ALARM)
    assert emp.begin_proc_shutdown
    (process,) = emp.proc_list
    assert process.is_alive()
    assert not emp.join(0)
    for n in range(10):
        requests.put(n)
        assert replies.get(timeout=ALARM) == (1, 2 * n)
    requests.put(None)
    process.join(0.01)
    assert process.is_alive(), 'one server is left'
    requests.put(None)
    process.join(ALARM)
    assert process.exitcode == 0
    _gone(emp, process_lab)


def test_threads_that_still_work_keep_their_tickets(process_lab: Lab) -> None:
    """The entry function returns, its threads go on taking chunks until the end of the stream."""
    worker = """
        import threading

        def work(toolbox):
            while toolbox.STOP_MSG not in (chunk := toolbox.mp_input_q.get()):
                if chunk[1] == 0:
                    toolbox.started.put('a thread holds a ticket')
                    toolbox.gate.get()
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], chunk[1]])

        def entry(toolbox):
            if toolbox.START_SEQUENCE_NUM == 0:
                threading.Thread(target=work, args=(toolbox,)).start()
                return False
            toolbox.hold.get()
            return False
    """
    emp = process_lab.mp()
    started, gate, hold = emp.add_queue('started'), emp.add_queue('gate'), emp.add_queue('hold')
    process_lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1, RESULTS_STORE=True)
    emp.feed(range(5))
    assert started.get(timeout=ALARM)
    gate.put('go')
    wait_until(lambda: len(emp.results['mp_input_q'].done) >= 4)
    hold.put('go')
    results = emp.wait(ALARM)
    assert results['mp_input_q'].values()[:4] == [0, 1, 2, 3]
    _gone(emp, process_lab)


def test_wait_in_several_threads(lab: Lab) -> None:
    emp = _holding(lab, range(2))
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(emp.wait(ALARM).complete)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        emp.queues['gate'].put('go')
    for thread in threads:
        thread.join(ALARM)
    assert seen == [True, True, True]


def test_two_jobs_at_once_and_one_after_the_other(lab: Lab) -> None:
    one = _holding(lab, range(2))
    two = lab.mp()
    lab.start(two, lab.file(SUM, 'second.py'), NUM_ROWS=10, RESULTS_STORE=True)
    two.feed(range(20))
    assert two.wait(ALARM)['mp_input_q'].values() == [45, 145]
    assert not one.begin_proc_shutdown
    for _ in range(2):
        one.queues['gate'].put('go')
    assert one.wait(ALARM)['mp_input_q'].values() == [0, 1]


def test_a_generator_that_never_comes_back_holds_nobody_up(lab: Lab) -> None:
    """It blocks in `next`; stop and kill do not wait for it."""
    hold = threading.Event()
    begun = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        begun.set()
        hold.wait(ALARM)

    try:
        emp = lab.mp()
        lab.start(emp, SUM, NUM_ROWS=1)
        emp.feed(items())
        assert begun.wait(ALARM)
        wait_until(lambda: emp.results['mp_input_q'].done == [0])
        emp.stop()
        assert emp.wait(ALARM / 2)['mp_input_q'].done == [0]
        _gone(emp, lab)
    finally:
        hold.set()


# ---- generators and what they hold


def _rows(closed: threading.Event, begun: threading.Event) -> Iterator[int]:
    try:
        for item in count():
            if item == 5:
                begun.set()
            yield item
    finally:
        closed.set()


@pytest.mark.parametrize('how', ['stop', 'kill', 'block', 'fails'])
def test_a_generator_that_only_its_feeder_has_is_closed(lab: Lab, how: str) -> None:
    """As by a loop that is left: its `finally` clauses run, in the feeder's thread."""
    closed, begun = threading.Event(), threading.Event()
    emp = lab.mp()
    worker = 'def entry(rows): return rows[0] if rows[0] < 20 else 1 / 0\n'
    lab.start(emp, worker, NUM_ROWS=1, WORKER_CALL='chunk')
    emp.feed(_rows(closed, begun))
    if how == 'fails':
        with pytest.raises(ZeroDivisionError):
            emp.wait(ALARM)
    else:
        assert begun.wait(ALARM)
    if how == 'block':
        with pytest.raises(RuntimeError, match='mine'), emp:
            raise RuntimeError('mine')
        assert closed.is_set(), 'before the block is left'
    elif how != 'fails':
        getattr(emp, how)()
    assert closed.wait(ALARM)
    _gone(emp, lab)


def test_a_generator_that_somebody_else_has_goes_on(lab: Lab) -> None:
    """What the job did not take is still there."""
    closed, begun = threading.Event(), threading.Event()
    items = _rows(closed, begun)
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return rows[0]\n', NUM_ROWS=1, WORKER_CALL='chunk')
    emp.feed(items)
    assert begun.wait(ALARM)
    emp.stop()
    results = emp.wait(ALARM)['mp_input_q']
    wait_until(lambda: all(feeder.done for feeder in emp._started().feeders))
    assert emp.snapshot().feeders[0].made >= len(results.done)
    assert next(items) == emp.snapshot().feeders[0].made
    assert not closed.is_set()
    items.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize('kind', [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_generator_raises_what_no_exception_is(lab: Lab, kind: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise kind('mine')

    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return rows[0]\n', NUM_ROWS=1, WORKER_CALL='chunk', RESULTS_STORE=True)
    emp.feed(items())
    with pytest.raises(kind, match='mine'):
        emp.wait(ALARM)
    assert emp.results['mp_input_q'].values() == [0, 1, 2], 'what was made is finished'
    _gone(emp, lab)


# ---- what a worker leaves behind


@pytest.mark.parametrize('how', ['itself', 'kill', 'death'])
def test_a_grandchild_is_left_behind(process_lab: Lab, how: str) -> None:
    """It has all that its parent had open, the channel too: neither the job's end nor a death is hidden by that."""
    if ON_RAY and how == 'death':
        pytest.skip('Ray learns of a death by the end of a connection, which a grandchild may hold open')
    worker = """
        import os, subprocess, sys, time

        def entry(rows, toolbox):
            if rows[0] < 2:
                for fd in os.listdir('/proc/self/fd'):
                    try:
                        os.set_inheritable(int(fd), True)
                    except OSError:
                        pass  # the one of this listing
                child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False)
                child.returncode = 0  # no warning that it lives on
                toolbox.left.put((os.getpid(), child.pid))
            if rows[0] < 2:
                toolbox.gate.get()
    """
    emp = process_lab.mp()
    left, gate = emp.add_queue('left'), emp.add_queue('gate')
    process_lab.start(emp, worker, NUM_PROCS=1, NUM_ROWS=1, WORKER_CALL='chunk', CRASH_RETRIES=2)
    emp.feed(range(1))
    pid, child = left.get(timeout=ALARM)
    children = [child]
    try:
        if how == 'kill':
            emp.kill()
        elif how == 'death':
            os.kill(pid, signal.SIGKILL)
            pid, child = left.get(timeout=ALARM)
            children.append(child)
        gate.put('go')
        assert emp.join(ALARM)
        assert emp.results['mp_input_q'].complete == (how != 'kill')
        assert all(map(psutil.pid_exists, children))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


# ---- threads that outlive their entry function, in the middle of a batch


def test_the_end_finds_a_thread_in_the_middle_of_a_batch(process_lab: Lab) -> None:
    """What it is at is booked as done, and its result still counts; what it had not begun is nobody's."""
    worker = """
        import threading

        def work(toolbox):
            while toolbox.STOP_MSG not in (chunk := toolbox.mp_input_q.get()):
                if chunk[1] == 2000:
                    toolbox.said.put('at it')
                    toolbox.gate.get()
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], chunk[1]])

        def entry(toolbox):
            if toolbox.START_SEQUENCE_NUM == 0:
                threading.Thread(target=work, args=(toolbox,)).start()
            else:
                toolbox.hold.get()
            return False
    """
    emp = process_lab.mp()
    said, gate, hold = emp.add_queue('said'), emp.add_queue('gate'), emp.add_queue('hold')
    process_lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1, RESULTS_STORE=True, BUFFER_CHUNKS=500)
    emp.feed(range(4000))
    assert said.get(timeout=ALARM)
    hold.put('go')
    results = emp.wait(ALARM)['mp_input_q']
    assert 2000 in results.done
    assert results[2000].value is None, 'no result so far'
    assert results.unread == list(range(2001, len(results))), 'no further chunk starts'
    gate.put('go')
    assert emp.join(ALARM)
    assert [outcome.value for outcome in results[:2001]] == list(range(2001)), (
        'nothing is lost, and a late result counts'
    )
    assert results.done == list(range(2001))
