"""Ctrl-C, wherever it hits: no further chunk starts, all processes are gone at once, and few words are made of it."""

from __future__ import annotations

import signal
import textwrap
from pathlib import Path

import pytest

from tests.programs import METHODS, Program

PLACES = {
    'in wait': """
        emp = started()
        emp.feed(endless())
        emp.wait()
    """,
    'in outcomes': """
        emp = eisenmp.Mp()
        outcomes = emp.results.outcomes()
        started(emp)
        emp.feed(itertools.count())
        for outcome in outcomes:
            if outcome.ticket == 10:
                here()
    """,
    'in a get': """
        emp = started()
        reply = emp.add_queue('reply')
        emp.feed(endless())
        reply.get()
    """,
    'in a loop that polls': """
        def main():
            emp = started()
            emp.feed(endless())
            while not emp.begin_proc_shutdown:
                time.sleep(0.05)

        def outer():
            main()

        outer()
    """,
    'at the end of a block': """
        with started() as emp:
            emp.feed(endless())
    """,
    'in a block': """
        with started() as emp:
            emp.feed(endless())
            time.sleep(60)
    """,
    'deep in a block': """
        def down(level):
            time.sleep(60) if level == 0 else down(level - 1)

        with started() as emp:
            emp.feed(endless())
            down(9)
    """,
    'deep in a block of imap': """
        def down(level):
            if level == 0:
                here()
                time.sleep(60)
            down(level - 1)

        with eisenmp.imap(abs, itertools.count(), max_workers=2, start_method=METHOD) as results:
            for item in results:
                down(9)
    """,
    'in join': """
        emp = started()
        emp.feed(endless())
        emp.join()
    """,
    'when main has ended': """
        started().feed(endless())
    """,
    'while the generator blocks': """
        emp = started()
        emp.feed(endless(then=lambda: time.sleep(60)))
        emp.wait()
    """,
    'while the generator blocks and main polls': """
        emp = started()
        emp.feed(endless(then=lambda: time.sleep(60)))
        while not emp.begin_proc_shutdown:
            time.sleep(0.05)
    """,
    'in imap': """
        for item in eisenmp.imap(slow, itertools.count(), max_workers=2, chunksize=1, start_method=METHOD):
            if item == 10:
                here()
    """,
    'in imap without order': """
        for item in eisenmp.imap(slow, itertools.count(), max_workers=2, start_method=METHOD, ordered=False):
            if item == 10:
                here()
    """,
    'in the body of a loop': """
        for item in eisenmp.imap(abs, itertools.count(), max_workers=2, chunksize=1, start_method=METHOD):
            if item == 10:
                here()
                time.sleep(60)
    """,
    'in a block of imap_chunks': """
        with eisenmp.imap_chunks(slow, itertools.count(), max_workers=2, chunksize=3, start_method=METHOD) as results:
            for rows in results:
                if rows[0] == 12:
                    here()
    """,
    'in imap, while the generator blocks': """
        for item in eisenmp.imap(slow, endless(then=lambda: time.sleep(60)), max_workers=2, start_method=METHOD):
            pass
    """,
}
IN_START = textwrap.dedent("""
    from eisenmp.engines.local import LocalEngine

    real = LocalEngine.start

    def start(*args):
        process = real(*args)
        if args[1] == 1:
            here()
            sys.stdin.readline()
        return process

    LocalEngine.start = start
""")


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('place', PLACES)
def test_once(tmp_path: Path, place: str, method: str) -> None:
    with Program(tmp_path, PLACES[place], method) as program:
        program.says()
        program.workers()
        program.ctrl_c()
        seconds = program.ends()
    # At the very end of the interpreter nothing is raised any more, as when it waits for threads.
    assert program.process.returncode == (0 if place == 'when main has ended' else -signal.SIGINT)
    assert seconds < 2  # half a second on a machine that has time
    assert 'KeyboardInterrupt' in program.err
    assert len(program.err.splitlines()) <= 5, program.err


@pytest.mark.parametrize('method', METHODS)
def test_once_in_start(tmp_path: Path, method: str) -> None:
    """The second worker's process has just been made; `start` would return next."""
    with Program(tmp_path, IN_START + '\nstarted().feed(endless())\n', method) as program:
        program.says()
        program.ctrl_c()
        program.tell()
        seconds = program.ends()
    assert program.process.returncode == -signal.SIGINT
    assert seconds < 2
    assert len(program.err.splitlines()) <= 5, program.err


@pytest.mark.parametrize('method', METHODS)
def test_once_in_start_and_caught(tmp_path: Path, method: str) -> None:
    """What comes after a start that was broken off waits for nothing."""
    script = """
        emp = eisenmp.Mp()
        emp.feed(endless())
        try:
            with emp:
                try:
                    started(emp)
                except KeyboardInterrupt:
                    print('caught', emp.join(0), emp.begin_proc_shutdown, flush=True)
                for call in (emp.wait, lambda: started(emp), lambda: emp.feed([1])):
                    try:
                        call()
                    except BaseException as error:
                        print(type(error).__name__, flush=True)
        except KeyboardInterrupt:
            print('of the block', flush=True)
    """
    with Program(tmp_path, IN_START + textwrap.dedent(script), method) as program:
        program.says()
        program.ctrl_c()
        program.tell()
        program.ends()
    assert program.process.returncode == 0, program.err
    words = ['caught True True', 'KeyboardInterrupt', 'JobOver', 'KeyboardInterrupt', 'of the block']
    assert program.out.splitlines() == words


SERVER = """
    import threading

    def serve(toolbox):
        toolbox.up.put(1)
        toolbox.requests.get()

    def server(toolbox):
        threading.Thread(target=serve, args=(toolbox,)).start()
        return False
"""
SERVERS = textwrap.dedent("""
    emp = eisenmp.Mp()
    emp.queue_cust_dict_std_create(('up', 0), ('requests', 0))
    started(emp)
    for _ in range(2):
        emp.queues['up'].get()
    emp.wait()
    here()
""")


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('end', ['emp.join()', 'with emp: pass', 'time.sleep(60)', ''])
def test_once_when_only_servers_are_left(tmp_path: Path, end: str, method: str) -> None:
    """The job is over, but threads of the workers live on."""
    with Program(tmp_path, SERVERS + end, method, 'server', SERVER) as program:
        program.says()
        program.workers()
        program.ctrl_c()
        seconds = program.ends()
    assert program.process.returncode in (-signal.SIGINT, -signal.SIGINT if end else 0)
    assert seconds < 2
    assert 'KeyboardInterrupt' in program.err
    assert len(program.err.splitlines()) <= 5, program.err


KEPT = {
    'wait': """
        emp = started()
        emp.feed(endless())
        try:
            emp.wait()
        except KeyboardInterrupt:
            tell(emp)
    """,
    'outcomes': """
        emp = started()
        emp.feed(endless())
        try:
            for outcome in emp.results.outcomes():
                pass
        except KeyboardInterrupt:
            tell(emp)
    """,
    'block': """
        try:
            with started() as emp:
                emp.feed(endless())
                time.sleep(60)
        except KeyboardInterrupt:
            tell(emp)
    """,
}
TELL = textwrap.dedent("""
    def tell(emp):
        results = emp.results['mp_input_q']
        values = [results[ticket].value for ticket in results.done]
        living = sum(process.is_alive() for process in emp.proc_list)
        print('kept', len(values) >= 2, set(values), living, emp.begin_proc_shutdown, flush=True)
        before = len(results)
        try:
            emp.wait()
        except eisenmp.JobKilled as error:
            print('killed', len(results) - before, flush=True)
""")


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', ['plain', 'classic'])
@pytest.mark.parametrize('place', KEPT)
def test_who_catches_it_has_the_results_so_far(tmp_path: Path, place: str, style: str, method: str) -> None:
    with Program(tmp_path, TELL + textwrap.dedent(KEPT[place]), method, style) as program:
        program.says()
        program.workers()
        program.ctrl_c()
        program.ends()
    assert program.process.returncode == 0
    assert program.out == 'kept True {1} 0 True\nkilled 0\n'
    assert program.err == ''


@pytest.mark.parametrize('place', ['in wait', 'in a loop that polls', 'in a block', 'in imap', 'when main has ended'])
@pytest.mark.parametrize('method', METHODS)
def test_twice(tmp_path: Path, place: str, method: str) -> None:
    """Now, wherever the second one hits."""
    with Program(tmp_path, PLACES[place], method) as program:
        program.says()
        program.workers()
        program.ctrl_c()
        program.ctrl_c()
        seconds = program.ends()
    assert seconds < 2


THREADS = """
    emp = started()
    reply = emp.add_queue('reply')
    threading.Thread(target=reply.get).start()
    emp.feed(endless())
    try:
        while True:
            time.sleep(0.05)
    finally:
        print('left', flush=True)
"""


@pytest.mark.parametrize('method', METHODS)
def test_a_thread_of_the_program_waits_for_the_job(tmp_path: Path, method: str) -> None:
    """The interpreter waits for it, and it waits for the job: the Ctrl-C must end the job before that."""
    with Program(tmp_path, THREADS, method) as program:
        program.says()
        program.workers()
        program.ctrl_c()
        seconds = program.ends()
    assert program.process.returncode == -signal.SIGINT
    assert seconds < 2
    assert len(program.err.splitlines()) <= 5, program.err


def test_the_hook_is_there_while_a_job_runs_and_nobody_else_has_one(tmp_path: Path) -> None:
    script = """
        first = sys.excepthook
        emp = started()
        print('ours', sys.excepthook is not first, flush=True)
        emp.kill()
        emp.join()
        print('gone', sys.excepthook is first, flush=True)
        sys.excepthook = lambda kind, error, trace: print('mine', kind.__name__, *error.__notes__, flush=True)
        emp = started()
        emp.feed(endless())
        emp.wait()
    """
    with Program(tmp_path, script, 'fork') as program:
        program.says('ours True')
        program.says('gone True')
        program.says()
        program.ctrl_c()
        program.ends()
    assert program.out.startswith('mine KeyboardInterrupt eisenmp: the job was ended; mp_input_q (default): ')
    assert program.err == ''


def test_other_exceptions_are_shown_as_ever(tmp_path: Path) -> None:
    script = """
        emp = started()
        emp.feed(endless())
        sys.stdin.readline()
        try:
            1 / 0
        finally:
            emp.kill()
    """
    with Program(tmp_path, script, 'fork') as program:
        program.says()
        program.tell()
        program.ends()
    assert program.process.returncode == 1
    assert program.err.startswith('Traceback (most recent call last):\n')
    assert program.err.endswith('ZeroDivisionError: division by zero\n')
