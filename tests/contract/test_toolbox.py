"""The toolbox: settings, attributes, queues, identity, shared objects, tools; and what a worker says."""

import enum
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import eisenmp
from eisenmp.utils import eisenmp_constants
from tests.cluster.clusters import ROOM
from tests.support import ALARM, ON_RAY, Lab


def test_what_is_in_a_toolbox(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            names = [
                'WORKER_ID', 'WORKER_NAME', 'WORKER_PID', 'START_SEQUENCE_NUM', 'NEXT_LIST', 'MULTI_TOOL', 'STOP_MSG',
                'OUTPUT_HEADER', 'INPUT_HEADER', 'PERF_HEADER_ETA', 'PERF_CURRENT_ETA',
                'NUM_PROCS', 'NUM_ROWS', 'RESULTS_STORE', 'RESULT_LABEL', 'START_METHOD', 'ON_ERROR',
                'sleep_time', 'num_of_lists', 'BLUE', 'nothing', 'nested',
            ]
            found = {name: getattr(toolbox, name) for name in names}
            for name in names:
                assert toolbox.kwargs[name] == found[name], name
            found['ids'] = [row[0] for row in toolbox.Q_NAME_ID_LST]
            for name, number, queue in toolbox.Q_NAME_ID_LST:
                assert number == id(queue)
            by_name = {row[0]: row[2] for row in toolbox.Q_NAME_ID_LST}
            assert by_name['blue_q_7'] is toolbox.blue_q_7 is toolbox.kwargs['blue_q_7']
            assert by_name['batch_1|video_in'] is toolbox.batch_1['video_in'] is toolbox.kwargs['batch_1']['video_in']
            for name in ('mp_input_q', 'mp_output_q', 'mp_print_q', 'mp_info_q', 'mp_tools_q'):
                assert by_name[name + ' (default)'] is getattr(toolbox, name) is toolbox.kwargs[name]
            assert 'worker_modules' not in found
            try:
                toolbox.sleep_tme
            except AttributeError as error:
                found['error'] = str(error)
            toolbox.out.put(found)
            return False
    """
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('blue_q_7', 3), ('out', 0))
    emp.queue_cust_dict_category_create(('batch_1', 'audio_lg', 5), ('batch_1', 'video_in', 1))
    nested = {'rows': [(1, 2), {'x': None}]}
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=3, RESULTS_STORE=True, RESULT_LABEL='fake production',
              sleep_time=20, num_of_lists=0, BLUE='a custom one in capitals', nothing=None, nested=nested)  # fmt: skip
    first, second = sorted(
        (emp.queues['out'].get(timeout=ALARM) for _ in range(2)), key=lambda found: found['WORKER_ID']
    )
    emp.wait(ALARM)
    for number, found in enumerate((first, second)):
        assert found['START_SEQUENCE_NUM'] == number
        assert found['WORKER_ID'] == number + 1
        assert found['WORKER_NAME'] == f'Process-{number + 1}'
        assert found['WORKER_PID'] == emp.proc_list[number].pid
        assert found['ids'] == [name for name, _, _ in emp.q_name_id_lst]
        assert (found['NUM_PROCS'], found['NUM_ROWS'], found['RESULTS_STORE']) == (2, 3, True)
        assert found['RESULT_LABEL'] == 'fake production'
        assert (found['sleep_time'], found['num_of_lists'], found['nothing']) == (20, 0, None)
        assert found['BLUE'] == 'a custom one in capitals'
        assert found['nested'] == nested
        assert 'sleep_time' in found['error']
        for name in ('STOP_MSG', 'OUTPUT_HEADER', 'INPUT_HEADER', 'PERF_HEADER_ETA', 'PERF_CURRENT_ETA'):
            assert found[name] == getattr(eisenmp_constants, name)
    assert (first['WORKER_PID'] == os.getpid()) == lab.in_process


def test_defaults_are_filled_in(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.out.put((toolbox.NUM_PROCS, toolbox.NUM_ROWS))
            return False
    """
    emp = lab.mp()
    emp.add_queue('out')
    lab.start(emp, worker, NUM_PROCS=None)
    cores = ROOM if lab.name == 'ray' else eisenmp.usable_cores()
    assert emp.queues['out'].get(timeout=ALARM) == (cores, 1000)
    emp.wait(ALARM)
    assert len(emp.proc_list) == cores


def test_what_a_worker_writes_is_its_own_and_stays(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], (toolbox.num_of_lists, toolbox.seen)])
                return False
            assert toolbox.NEXT_LIST is chunk
            toolbox.num_of_lists += 1
            toolbox.seen.append(chunk[1])
            toolbox.brand_new = toolbox.kwargs['brand_new'] + 1 if hasattr(toolbox, 'brand_new') else 1
            assert toolbox.brand_new == toolbox.num_of_lists == toolbox.kwargs['num_of_lists']
            return True
    """
    seen: list[int] = []
    results = lab.run(worker, range(40), NUM_PROCS=2, NUM_ROWS=1, num_of_lists=0, seen=seen)
    if ON_RAY and len(results.closing) == 1:  # the other one has found its place when all was done
        lists = [*results.closing.values(), (0, [])]
    else:
        lists = [results.closing[slot] for slot in (0, 1)]
    assert sum(count for count, _ in lists) == 40
    assert [len(rows) for _, rows in lists] == [count for count, _ in lists]
    assert sorted(lists[0][1] + lists[1][1]) == list(range(40))
    assert seen == [], "the manager's list"


def test_attributes_of_any_kind(lab: Lab) -> None:
    worker = """
        def entry(rows, toolbox):
            return [toolbox.function(n) + toolbox.table['big'][n] for n in rows]
    """
    offset = 1000
    table = {'big': list(range(100_000))}
    results = lab.run(worker, range(5), WORKER_CALL='chunk', function=lambda n: n + offset, table=table)
    assert results['mp_input_q'].values() == [[1000 + 2 * n for n in range(5)]]


# ---- shared objects and tools


def test_share_before_the_start_and_after(lab: Lab) -> None:
    answered = threading.Event()
    emp = lab.mp()

    def items() -> Iterator[int]:
        yield 1
        assert answered.wait(ALARM)
        emp.share('model', {'version': 2})
        emp.share('late', 'brand new')
        yield from range(2, 20)

    emp.share('model', {'version': 1})
    with emp.results.outcomes(ordered=True) as reader:
        worker = 'def entry(rows, toolbox): return toolbox.model["version"], getattr(toolbox, "late", None)\n'
        lab.start(emp, worker, WORKER_CALL='chunk', NUM_PROCS=2, NUM_ROWS=1)
        emp.feed(items())
        assert next(reader).value == (1, None)
        answered.set()
        assert {outcome.value for outcome in reader} == {(2, 'brand new')}
    emp.wait(ALARM)


def test_a_shared_object_reaches_a_replacement(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.out.put((toolbox.before, getattr(toolbox, 'after', None)))
            return toolbox.gate.get()
    """
    emp = lab.mp()
    out, gate = emp.add_queue('out'), emp.add_queue('gate')
    emp.share('before', [1])
    lab.start(emp, worker)
    assert out.get(timeout=ALARM) == ([1], None)
    emp.share('after', [2])
    emp.share('before', [3])
    emp.proc_list[0].kill()
    assert out.get(timeout=ALARM) == ([3], [2])
    gate.put(False)
    emp.wait(ALARM)


@pytest.mark.parametrize(
    ('name', 'obj', 'error'),
    [
        ('two words', 1, ValueError),
        ('class', 1, ValueError),
        ('mp_input_q', 1, ValueError),
        ('WORKER_ID', 1, ValueError),
        ('queue_of_mine', 1, ValueError),
        ('lock', threading.Lock(), TypeError),
    ],
)
def test_what_cannot_be_shared(name: str, obj: Any, error: type[Exception]) -> None:
    emp = eisenmp.Mp()
    emp.add_queue('queue_of_mine')
    with pytest.raises(error, match=name if error is ValueError else 'lock'):
        emp.share(name, obj)


def test_every_worker_gets_every_tool_in_order(lab: Lab) -> None:
    worker = """
        import queue

        def entry(toolbox):
            got = [toolbox.mp_tools_q.get() for _ in range(2)]
            assert toolbox.MULTI_TOOL == 'two'
            toolbox.ready.put(toolbox.WORKER_ID)
            got.append(toolbox.mp_tools_q.get(timeout=20))
            assert toolbox.MULTI_TOOL == {'three': 3}
            assert toolbox.mp_tools_q.empty()
            try:
                toolbox.mp_tools_q.get_nowait()
            except queue.Empty:
                got.append('no more')
            toolbox.out.put(got)
            return False
    """
    emp = lab.mp()
    ready, out = emp.add_queue('ready'), emp.add_queue('out')
    emp.mp_tools_q.put('one')
    lab.start(emp, worker, NUM_PROCS=2)
    emp.mp_tools_q.put('two')
    assert {ready.get(timeout=ALARM), ready.get(timeout=ALARM)} == {1, 2}
    emp.mp_tools_q.put({'three': 3})
    for _ in range(2):
        assert out.get(timeout=ALARM) == ['one', 'two', {'three': 3}, 'no more']
    emp.wait(ALARM)


def test_a_worker_hands_a_tool_to_all(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            if toolbox.START_SEQUENCE_NUM == 0:
                toolbox.mp_tools_q.put('from the first')
            toolbox.out.put(toolbox.mp_tools_q.get(timeout=20))
            return False
    """
    emp = lab.mp()
    out = emp.add_queue('out')
    lab.start(emp, worker, NUM_PROCS=3)
    assert [out.get(timeout=ALARM) for _ in range(3)] == ['from the first'] * 3
    emp.wait(ALARM)


def test_rows_done_reach_the_display(lab: Lab) -> None:
    worker = """
        def entry(rows, toolbox):
            toolbox.mp_info_q.put([toolbox.PERF_HEADER_ETA + 'audio', len(rows)])
            toolbox.mp_info_q.put('a message of mine')
    """
    emp = lab.mp()
    lab.start(emp, worker, WORKER_CALL='chunk', NUM_ROWS=10)
    emp.feed(range(25))
    emp.wait(ALARM)
    assert emp.snapshot().info == {'audio': 25}
    assert [emp.mp_info_q.get_nowait() for _ in range(3)] == ['a message of mine'] * 3
    assert emp.mp_info_q.empty()


# ---- what workers say


def test_prints_arrive_as_whole_lines(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    worker = """
        import sys

        def entry(rows, toolbox):
            for n in rows:
                toolbox.mp_print_q.put(f'<{toolbox.WORKER_ID} queue {n} ' + 'x' * 200 + '>')
                if not toolbox.inline:
                    print(f'<{toolbox.WORKER_ID}', 'print', n, 'x' * 200, end='>\\n')
                    print(f'<{toolbox.WORKER_ID} error {n} ' + 'x' * 200 + '>', file=sys.stderr)
    """
    lab.run(worker, range(200), NUM_PROCS=2, WORKER_CALL='chunk', inline=lab.in_process)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    for line in lines + err.splitlines():
        assert line[0] == '<'
        assert line[-201:] == 'x' * 200 + '>'
    assert sum('queue' in line for line in lines) == 200
    for kind in () if lab.in_process else ('print', 'error'):
        said = [line.split()[2] for line in (err if kind == 'error' else out).splitlines() if f' {kind} ' in line]
        assert sorted(map(int, said)) == list(range(200))


def test_every_way_to_print(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    worker = """
        import sys, warnings

        def entry(toolbox):
            if not toolbox.inline:
                print('an umlaut: ü, a snowman: \\u2603, half a pair:', '\\ud800')
            print('two\\nlines')
            sys.stdout.write('in ')
            sys.stdout.write('pieces\\n')
            sys.stdout.writelines(['a\\n', 'b\\n'])
            print('flushed', flush=True)
            print(file=sys.stdout)
            toolbox.mp_print_q.put({'not': 'a text'})
            sys.stdout.write('without an end')
            return False
    """
    emp = lab.mp()
    lab.start(emp, worker, inline=lab.in_process)
    emp.wait(ALARM)
    emp.join(ALARM)
    out = capsys.readouterr().out
    if lab.in_process:
        assert "{'not': 'a text'}\n" in out  # the rest is an ordinary print of this process
        return
    assert out.startswith('an umlaut: ü, a snowman: \u2603, half a pair:')
    assert out.split('\n', 1)[1] == "two\nlines\nin pieces\na\nb\nflushed\n\n{'not': 'a text'}\nwithout an end\n"


def test_the_manager_prints_through_the_queue_too(capsys: pytest.CaptureFixture[str]) -> None:
    emp = eisenmp.Mp()
    emp.mp_print_q.put('before the start')
    assert capsys.readouterr().out == 'before the start\n'


def test_log_records_arrive_with_their_origin(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        import logging

        log = logging.getLogger('of.the.worker')

        def entry(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            log.debug('not wanted')
            log.info('at %s with %d items', chunk[1], len(chunk) - 1, extra={'camera': 7})
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception('went wrong')
            return True
    """
    caplog.set_level(logging.INFO)
    lab.run(worker, 'ab', NUM_ROWS=1)
    records = [record for record in caplog.records if record.name == 'of.the.worker']
    assert [record.getMessage() for record in records] == [
        'at a with 1 items',
        'went wrong',
        'at b with 1 items',
        'went wrong',
    ]
    assert [record.levelname for record in records] == ['INFO', 'ERROR'] * 2
    assert records[0].__dict__['camera'] == 7
    assert records[0].filename == 'worker.py'
    assert 'ZeroDivisionError: division by zero' in caplog.text
    if lab.in_process:
        return  # an ordinary record of this process
    for number, record in enumerate(records):
        assert record.__dict__['worker'] == 'Process-1'
        assert record.__dict__['slot'] == 0
        assert record.__dict__['ticket'] == number // 2
        assert record.process != os.getpid()


def test_log_levels_are_the_managers(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        import logging

        def entry(toolbox):
            for name in ('loud', 'loud.child', 'quiet', 'other'):
                logging.getLogger(name).debug('debug of %s', name)
                logging.getLogger(name).warning('warning of %s', name)
            return False
    """
    caplog.set_level(logging.ERROR, 'quiet')
    caplog.set_level(logging.DEBUG, 'loud')  # the handler's own level is set with it
    emp = lab.mp()
    lab.start(emp, worker)
    emp.wait(ALARM)
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if 'loud' in text] == [
        'debug of loud',
        'warning of loud',
        'debug of loud.child',
        'warning of loud.child',
    ]
    assert [text for text in said if 'loud' not in text] == ['warning of other']


class Loud(enum.IntEnum):
    """A level of the user's own."""

    DEBUG = logging.DEBUG


class Module(enum.StrEnum):
    LOUD = 'loud.by.enumeration'


def test_loggers_and_levels_may_be_named_by_enumerations(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A worker reads them before it can find the user's classes."""
    worker = """
        import logging

        def entry(toolbox):
            logging.getLogger('loud.by.enumeration').debug('said')
            return False
    """
    caplog.set_level(Loud.DEBUG, Module.LOUD)
    emp = lab.mp()
    lab.start(emp, worker)
    emp.wait(ALARM)
    assert 'said' in caplog.text


def test_a_log_level_that_is_raised_later(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        import logging

        def entry(toolbox):
            toolbox.gate.get()
            logging.getLogger('mine').info('no longer wanted')
            logging.getLogger('mine').error('still wanted')
            return False
    """
    caplog.set_level(logging.INFO, 'mine')
    emp = lab.mp()
    gate = emp.add_queue('gate')
    lab.start(emp, worker)
    logging.getLogger('mine').setLevel(logging.ERROR)
    gate.put('go')
    emp.wait(ALARM)
    assert [record.getMessage() for record in caplog.records] == ['still wanted']


def test_a_log_record_that_does_not_travel(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    worker = """
        import logging, threading

        def entry(toolbox):
            logging.getLogger('mine').warning('with %s', 'a lock', extra={'lock': threading.Lock()})
            return False
    """
    emp = lab.mp()
    lab.start(emp, worker)
    emp.wait(ALARM)
    assert 'with a lock' in caplog.text


def test_warnings_arrive_with_their_class_and_place(process_lab: Lab) -> None:
    worker = """
        import warnings

        class Own(FutureWarning):
            pass

        def entry(rows):
            warnings.warn('row is odd')
            warnings.warn('of a class of mine', Own)
            return len(rows)
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        process_lab.run(worker, range(2), WORKER_CALL='chunk', NUM_ROWS=1)
    told = [w for w in caught if w.filename.startswith(str(process_lab.folder))]  # forks warn too
    assert {(w.category, os.path.basename(w.filename), w.lineno, str(w.message)) for w in told} == {
        (UserWarning, 'worker.py', 8, 'row is odd'),
        (FutureWarning, 'worker.py', 9, 'of a class of mine'),
    }
