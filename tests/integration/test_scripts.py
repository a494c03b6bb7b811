"""Programs as users write them: no main guard, on stdin, in cells, at their end; and what a library must not do."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import ALARM, run_script, script_env, strict, write

SUM = """
    def entry(rows):
        return sum(rows)
"""

JOB = """
    import eisenmp

    print('body')
    emp = eisenmp.Mp()
    emp.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'entry'}],
              NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True, WORKER_CALL='chunk', START_METHOD=METHOD)
    emp.run_q_feeder(generator=(n for n in range(30)))
    print(emp.wait(20)['mp_input_q'].values())
"""


@pytest.mark.parametrize('how', ['file', 'stdin', '-c'])
@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_no_main_guard_is_needed(tmp_path: Path, method: str, how: str) -> None:
    write(tmp_path, SUM)
    done = run_script(tmp_path, f'METHOD = {method!r}\n' + textwrap.dedent(JOB), how=how, flags=strict(method))
    assert done.stdout == 'body\n[45, 145, 245]\n'
    assert done.stderr == ''


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_cells_of_a_notebook(tmp_path: Path, method: str) -> None:
    """Cells run in ``__main__``, which has no file, inside a running event loop; classes are defined in cells."""
    write(tmp_path, 'def entry(item, toolbox): return item.moved(toolbox.by)\n')
    done = run_script(
        tmp_path,
        f"""
        import __main__, asyncio, code

        CELLS = ['''
        import eisenmp
        class Point:
            def __init__(self, x): self.x = x
            def moved(self, by): return Point(self.x + by)
        ''', '''
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='item',
                  NUM_PROCS=2, NUM_ROWS=1, RESULTS_STORE=True, START_METHOD={method!r}, by=100)
        emp.feed(Point(n) for n in range(3))
        ''', '''
        points = [row[0] for row in emp.wait(20)['mp_input_q'].values()]
        ''', '''
        class Point: pass  # the cell is run again, changed
        print([point.x for point in points], isinstance(points[0], Point), emp)
        ''']

        async def notebook():
            shell = code.InteractiveInterpreter(__main__.__dict__)
            del __main__.__file__
            for number, cell in enumerate(CELLS):
                source = cell.replace('\\n        ', '\\n').strip() + '\\n'
                assert shell.runsource(source, f'<cell {{number}}>', 'exec') is False
                await asyncio.sleep(0)

        asyncio.run(notebook())
        """,
        flags=strict(method),
    )
    assert done.stdout.startswith('[100, 101, 102] False <')
    assert done.stderr == ''


def test_a_main_guard_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, SUM)
    text = (
        'METHOD = "spawn"\ndef main():\n'
        + textwrap.indent(textwrap.dedent(JOB), '    ')
        + "\nif __name__ == '__main__':\n    main()\n"
    )
    assert run_script(tmp_path, text).stdout == 'body\n[45, 145, 245]\n'


def test_a_module_run_with_dash_m(tmp_path: Path) -> None:
    write(tmp_path, SUM)
    write(tmp_path, 'METHOD = "spawn"\n' + textwrap.dedent(JOB), 'package/__main__.py')
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-m', 'package'],
        cwd=tmp_path,
        env=script_env(),
        capture_output=True,
        text=True,
        timeout=ALARM,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, 'body\n[45, 145, 245]\n', '')


def test_importing_and_making_a_manager_changes_nothing(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import logging, multiprocessing, os, signal, sys, threading, warnings

        events = []
        sys.addaudithook(lambda event, args: events.append(event))

        def state():
            return dict(
                threads=threading.enumerate(), path=list(sys.path), hooks=(sys.excepthook, threading.excepthook),
                signals=[signal.getsignal(n) for n in (2, 15, 17)], mask=signal.pthread_sigmask(signal.SIG_BLOCK, []),
                method=multiprocessing.get_start_method(allow_none=True), handlers=list(logging.getLogger().handlers),
                filters=list(warnings.filters), environ=dict(os.environ), cwd=os.getcwd(), umask=os.umask(0o22),
                streams=(sys.stdout, sys.stderr), files=len(os.listdir('/proc/self/fd')),
                switch=sys.getswitchinterval(), recursion=sys.getrecursionlimit(),
            )

        before = state()
        import eisenmp
        emp = eisenmp.Mp()
        emp.queue_cust_dict_std_create('blue_q_7', 3)
        emp.queues['blue_q_7'].put(1)
        assert emp.queues['blue_q_7'].get() == 1
        emp.run_q_feeder(generator=range(10))
        emp.share('model', [1])
        after = state()
        assert before == after, {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        started = [e for e in events if e.startswith(('os.fork', 'os.posix_spawn', 'subprocess.', 'os.exec', 'socket.',
                                                      'ctypes.', '_thread.start', 'os.system', 'os.spawn'))]
        assert started == [], started
        heavy = [name for name in ('argparse', 'asyncio', 'http', 'sqlite3', 'rich', 'psutil', 'numpy', 'cloudpickle',
                                   'multiprocessing.synchronize', 'multiprocessing.queues') if name in sys.modules]
        print(heavy)
        """,
    )
    assert done.stdout == '[]\n'


def test_a_whole_job_changes_no_global(tmp_path: Path) -> None:
    write(tmp_path, SUM)
    done = run_script(
        tmp_path,
        textwrap.dedent("""
            import logging, multiprocessing, os, signal, sys, threading
            multiprocessing.set_start_method('spawn')
            METHOD = 'spawn'

            def state():
                return (sys.excepthook, threading.excepthook, list(sys.path),
                        [signal.getsignal(n) for n in (2, 15, 17)], signal.pthread_sigmask(signal.SIG_BLOCK, []),
                        multiprocessing.get_start_method(), os.getcwd(),
                        list(logging.getLogger().handlers), sys.stdout, sys.stderr, dict(os.environ))

            before = state()
        """)
        + textwrap.dedent(JOB)
        + textwrap.dedent("""
            assert emp.join(20)
            assert state() == before
        """),
    )
    assert done.stdout == 'body\n[45, 145, 245]\n'


# Refuses the modules behind POSIX semaphores and shared memory, in every process that inherits PYTHONPATH.
NO_SEMAPHORES = """
    import sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.removeprefix('multiprocessing.') in ('_multiprocessing', '_posixshmem', 'synchronize'):
                raise ImportError(f'This platform lacks a functioning sem_open implementation ({name})')

    sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_no_semaphores_are_needed(tmp_path: Path, method: str) -> None:
    site = tmp_path / 'site'
    write(site, NO_SEMAPHORES, 'sitecustomize.py')
    write(
        tmp_path,
        """
        import sys

        def entry(rows):
            try:
                import multiprocessing.synchronize
            except ImportError:
                assert '_multiprocessing' not in sys.modules
                return sum(rows)
        """,
    )
    env = script_env()
    env['PYTHONPATH'] = f'{site}{os.pathsep}{env["PYTHONPATH"]}'
    text = "import sys; assert any(type(f).__name__ == 'Refuse' for f in sys.meta_path)\n"
    text += f'METHOD = {method!r}\n' + textwrap.dedent(JOB)
    assert run_script(tmp_path, text, env=env, flags=strict(method)).stdout == 'body\n[45, 145, 245]\n'


@pytest.mark.parametrize('executable', ['None', "''"])
def test_without_sys_executable_workers_are_forked(tmp_path: Path, executable: str) -> None:
    """As in a Python that is embedded in an Android app."""
    write(tmp_path, SUM)
    text = f'import sys\nsys.executable = {executable}\nMETHOD = "spawn"\n' + textwrap.dedent(JOB)
    assert run_script(tmp_path, text, flags=strict('fork')).stdout == 'body\n[45, 145, 245]\n'


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_the_interpreter_waits_for_a_job_as_for_threads(tmp_path: Path, method: str) -> None:
    """The main thread ends right after the start; what is fed is done, printed lines arrive."""
    write(
        tmp_path,
        """
        def entry(rows):
            print('sum', sum(rows))
        """,
    )
    done = run_script(
        tmp_path,
        f"""
        import eisenmp

        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=2,
                  NUM_ROWS=10, START_METHOD={method!r})
        emp.run_q_feeder(generator=(n for n in range(1000)))
        print('the script ends')
        """,
        flags=strict(method),
    )
    lines = done.stdout.splitlines()
    assert lines.count('the script ends') == 1
    assert sorted(line for line in lines if 'sum' in line) == sorted(
        f'sum {sum(range(n, n + 10))}' for n in range(0, 1000, 10)
    )
    assert done.stderr == ''


def test_a_failure_that_nobody_asked_for_is_told_at_the_end(tmp_path: Path) -> None:
    write(tmp_path, 'def entry(rows): raise OSError("no camera")\n')
    done = run_script(
        tmp_path,
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=1)
        emp.run_q_feeder(generator=[1])
        """,
    )
    assert done.stdout == ''
    assert 'OSError: no camera' in done.stderr
    assert len(done.stderr.splitlines()) <= 5


def test_what_was_printed_before_a_fork_is_printed_once(tmp_path: Path) -> None:
    write(tmp_path, 'import atexit\natexit.register(print, "exit of a worker")\n' + textwrap.dedent(SUM))
    text = "import sys\nsys.stdout.write('not flushed; ')\nMETHOD = 'fork'\n" + textwrap.dedent(JOB)
    text = "import atexit\natexit.register(print, 'exit of the manager')\n" + text
    done = run_script(tmp_path, text, flags=strict('fork'))
    assert done.stdout.replace('exit of a worker\n', '') == 'not flushed; body\n[45, 145, 245]\nexit of the manager\n'


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_what_a_worker_inherits(tmp_path: Path, method: str) -> None:
    """Search path, arguments, folder, environment, flags; not the manager's input."""
    write(
        tmp_path,
        """
        import os, sys

        def entry(toolbox):
            try:
                text = input()
            except EOFError:
                text = 'no input'
            toolbox.out.put({
                'path': [p for p in sys.path if p != os.path.dirname(__file__)],
                'argv': sys.argv, 'cwd': os.getcwd(), 'env': os.environ['OF_MINE'], 'input': text,
                'bytes': sys.flags.bytes_warning, 'x': dict(sys._xoptions), 'name': __name__,
                'main': getattr(sys.modules['__main__'], 'secret', None),
            })
            return False
        """,
    )
    done = run_script(
        tmp_path,
        f"""
        import os, sys
        import eisenmp

        secret = 'of the script'
        sys.path.append('/of/mine')
        sys.argv.append('an argument')
        os.environ['OF_MINE'] = 'set by the script'
        emp = eisenmp.Mp()
        out = emp.add_queue('out')
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1,
                  START_METHOD={method!r})
        found = out.get(timeout=20)
        emp.wait(20)
        here = os.getcwd()
        assert found['path'] == [p for p in sys.path if p != here], (found['path'], sys.path)
        assert found['argv'] == sys.argv
        assert found['cwd'] == here
        assert found['env'] == 'set by the script'
        assert found['input'] == 'no input', found['input']
        assert (found['bytes'], found['x'].get('utf8')) == (1, True)
        assert found['main'] is None or {method!r} == 'fork', 'the script was imported in a worker'
        assert input() == 'a line for the script'
        print('fine')
        """,
        flags=('-b', '-X', 'utf8', *strict(method)),
        stdin='a line for the script\n',
    )
    assert done.stderr == ''
    assert done.stdout == 'fine\n'


def test_a_job_in_another_thread_than_the_main_one(tmp_path: Path) -> None:
    write(tmp_path, SUM)
    text = 'METHOD = "spawn"\ndef job():\n' + textwrap.indent(textwrap.dedent(JOB), '    ')
    text += '\nimport threading\nthread = threading.Thread(target=job)\nthread.start()\nthread.join()\n'
    assert run_script(tmp_path, text).stdout == 'body\n[45, 145, 245]\n'


def test_the_thread_that_started_a_job_may_end_before_it(tmp_path: Path) -> None:
    """Linux ends children with the *thread* that forked them; that must not be the user's."""
    write(tmp_path, SUM)
    done = run_script(
        tmp_path,
        """
        import threading
        import eisenmp

        emp = eisenmp.Mp()

        def start():
            emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk',
                      NUM_PROCS=2, NUM_ROWS=10, RESULTS_STORE=True)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        pids = [process.pid for process in emp.proc_list]
        emp.feed(range(30))
        print(emp.wait(20)['mp_input_q'].values())
        assert [process.pid for process in emp.proc_list] == pids
        """,
    )
    assert done.stdout == '[45, 145, 245]\n'
    assert done.stderr == ''


def test_a_job_inside_a_worker(tmp_path: Path) -> None:
    write(tmp_path, 'def square(n): return n * n\n', 'inner.py')
    write(
        tmp_path,
        """
        import eisenmp, os

        def entry(rows):
            emp = eisenmp.Mp()
            emp.start(worker_modules=[dict(WORKER_PATH=os.path.join(os.path.dirname(__file__), 'inner.py'),
                                           WORKER_REF='square')], WORKER_CALL='item', NUM_PROCS=1, RESULTS_STORE=True)
            emp.feed(rows)
            return sum(emp.wait(20)['mp_input_q'].values()[0])
        """,
    )
    text = 'METHOD = "spawn"\n' + textwrap.dedent(JOB)
    expected = [sum(n * n for n in range(at, at + 10)) for at in (0, 10, 20)]
    done = run_script(tmp_path, text)
    assert done.stdout == f'body\n{expected}\n'
    assert done.stderr == ''


def test_a_fork_of_the_users_own_while_a_job_runs(tmp_path: Path) -> None:
    """The copy ends without waiting for a job that is not its own, and without ending it."""
    write(tmp_path, 'def entry(toolbox):\n    toolbox.gate.get()\n    return False\n')
    done = run_script(
        tmp_path,
        """
        import os, sys, warnings
        import eisenmp

        emp = eisenmp.Mp()
        gate = emp.add_queue('gate')
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1)
        warnings.simplefilter('ignore', DeprecationWarning)
        pid = os.fork()
        if not pid:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert emp.proc_list[0].is_alive()
        gate.put(1)
        emp.wait(20)
        print('fine')
        """,
    )
    assert done.stdout == 'fine\n'
    assert done.stderr == ''


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_a_program_without_standard_streams(tmp_path: Path, method: str) -> None:
    """Started by a daemon that closes descriptors 0 to 2: there is nowhere to print to, and the work is done."""
    write(
        tmp_path,
        """
        import logging, sys

        def entry(rows, toolbox):
            print('to nobody')
            print('to nobody', file=sys.stderr)
            toolbox.mp_print_q.put('to nobody')
            logging.warning('to nobody')
            return sum(rows)
        """,
    )
    write(
        tmp_path,
        f'METHOD = {method!r}\n'
        + textwrap.dedent(JOB.replace("METHOD)", "METHOD, RESULTS_PRINT=True, INFO_ENABLE=True)"))
        + "\nwith open('result', 'w') as file:\n    print(emp.results['mp_input_q'].values(), file=file)\n",
        'script.py',
    )
    shell = f'exec {sys.executable} -W ignore script.py <&- >&- 2>&-'
    done = subprocess.run(['sh', '-c', shell], cwd=tmp_path, env=script_env(), timeout=ALARM, check=False)
    assert done.returncode == 0
    assert (tmp_path / 'result').read_text() == '[45, 145, 245]\n'
