"""Worker modules: every kind of file, dotted names, folders, siblings, and the order they are loaded in."""

import logging
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from tests.support import ALARM, ENGINES, FORKS, Lab, wait_until, write

SUM = """
def entry(rows):
    return sum(rows)
"""


def _sum(emp: eisenmp.Mp, path: Any, ref: str = 'entry', **settings: Any) -> list[Any]:
    """Run a small job with that module."""
    emp.start(
        worker_modules=[{'WORKER_PATH': path, 'WORKER_REF': ref}],
        **{'NUM_PROCS': 1, 'NUM_ROWS': 10, 'RESULTS_STORE': True, 'WORKER_CALL': 'chunk', **settings},
    )
    emp.feed(range(15))
    return emp.wait(ALARM)['mp_input_q'].values()


# ---- kinds of files


def test_a_source_file(lab: Lab) -> None:
    assert _sum(lab.mp(), lab.file(SUM)) == [45, 60]


@pytest.mark.parametrize(
    'name', ['wörker mit leer %zeichen.py', 'a.b.c.py', 'class.py', '1.py', 'json.py', 'eisenmp.py']
)
def test_a_source_file_of_any_name(lab: Lab, name: str) -> None:
    """Even one whose name is a keyword, a number, or a module's that the worker needs itself."""
    assert _sum(lab.mp(), lab.file('import json\n' + SUM if name != 'json.py' else SUM, 'folder/' + name)) == [45, 60]


def test_a_path_object_and_a_link(lab: Lab) -> None:
    path = Path(lab.file(SUM))
    assert _sum(lab.mp(), path) == [45, 60]
    link = path.with_name('link.py')
    link.symlink_to(path)
    assert _sum(lab.mp(), link) == [45, 60]


@pytest.mark.parametrize('start_method', ['spawn', 'forkserver', pytest.param('fork', marks=FORKS)])
def test_a_compiled_file_without_its_source(lab: Lab, start_method: str) -> None:
    source = lab.file(SUM)
    compiled = py_compile.compile(source, cfile=str(lab.folder / 'worker.pyc'), doraise=True)
    os.remove(source)
    assert _sum(lab.mp(), compiled, START_METHOD=start_method) == [45, 60]


def _compiler() -> str | None:
    """The reason why no extension can be compiled here, if there is one."""
    command = (sysconfig.get_config_var('CC') or 'cc').split()[0]
    if shutil.which(command) is None:
        return f'no C compiler: {command} is not installed'
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    return None if header.exists() else f'no C headers of Python: {header} is not there'


@pytest.fixture(scope='session')
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A worker module compiled to machine code, as Android packages ship them."""
    reason = _compiler()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp('extension')
    write(
        folder,
        """
        calls = 0

        def entry(rows, toolbox):
            global calls
            calls += 1
            toolbox.places.put((__file__, __name__.rsplit('.', 1)[-1], calls))
            return sum(rows)

        def classic(toolbox):
            chunk = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in chunk:
                return False
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], sum(chunk[1:])])
            return True
        """,
        'wrk.py',
    )
    build = """
        from Cython.Build import cythonize
        from setuptools import setup

        setup(ext_modules=cythonize('wrk.py', language_level=3, quiet=True),
              script_args=['-q', 'build_ext', '--inplace'])
    """
    done = subprocess.run(
        [sys.executable, write(folder, build, 'build.py')],
        cwd=folder,
        env={**os.environ, 'CFLAGS': '-O0 -w'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = [file for file in folder.iterdir() if file.suffix in ('.so', '.pyd')]
    return made


@pytest.mark.timeout(150)
@pytest.mark.parametrize('engine', [pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES])
def test_an_extension_module(tmp_path: Path, extension: Path, engine: str) -> None:
    """Under its full name, as build tools call it, and under the short one of Android packages; alone in its folder."""
    lab = Lab(tmp_path, engine)
    for name in (extension.name, 'wrk' + extension.suffix):
        path = tmp_path / name
        shutil.copy(extension, path)
        emp = lab.mp()
        places = emp.add_queue('places')
        assert _sum(emp, path, **ENGINES[engine]) == [45, 60]
        assert places.get(timeout=ALARM)[:2] == (str(path), 'wrk')
    emp = lab.mp()
    assert _sum(emp, path, 'classic', WORKER_CALL='toolbox', **ENGINES[engine]) == [45, 60]


def test_two_extension_modules_of_one_name(lab: Lab, extension: Path) -> None:
    for folder in ('one', 'two'):
        (lab.folder / folder).mkdir()
        shutil.copy(extension, lab.folder / folder)
    emp = lab.mp()
    emp.add_queue('places')
    side = lab.file("""
        def side(toolbox):
            pass
    """)
    emp.start(
        worker_modules=[
            {'WORKER_PATH': lab.folder / 'one' / extension.name, 'WORKER_REF': 'classic'},
            {'WORKER_PATH': side, 'WORKER_REF': 'side'},
        ],
        NUM_PROCS=1,
    )
    emp.feed([1])
    emp.wait(ALARM)
    other = lab.mp()
    places = other.add_queue('places')
    assert _sum(other, lab.folder / 'two' / extension.name) == [45, 60]
    assert places.get(timeout=ALARM)[0] == str(lab.folder / 'two' / extension.name)


# ---- names and folders


def test_a_dotted_name(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.file(SUM, 'a_package/__init__.py')
    lab.file('from . import entry\n', 'a_package/inner.py')
    monkeypatch.syspath_prepend(str(lab.folder))
    assert _sum(lab.mp(), 'a_package') == [45, 60]
    assert _sum(lab.mp(), 'a_package.inner') == [45, 60]
    assert _sum(lab.mp(), 'math', 'fsum') == [45.0, 60.0]


@pytest.mark.parametrize(
    'path', ['worker.py', './worker.py', 'sub/worker.py', 'sub/../worker.py', '../{here}/worker.py']
)
def test_relative_paths(lab: Lab, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    lab.file(SUM)
    lab.file(SUM, 'sub/worker.py')
    monkeypatch.chdir(lab.folder)
    assert _sum(lab.mp(), path.format(here=lab.folder.name)) == [45, 60]


def test_a_relative_path_means_where_the_job_was_started(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement loads the same file, wherever the manager has gone meanwhile."""
    lab.file("""
        def entry(toolbox):
            toolbox.out.put(__file__)
            return toolbox.gate.get()
    """)
    monkeypatch.chdir(lab.folder)
    emp = lab.mp()
    out, gate = emp.add_queue('out'), emp.add_queue('gate')
    emp.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'entry'}], NUM_PROCS=1)
    assert out.get(timeout=ALARM) == str(lab.folder / 'worker.py')
    monkeypatch.chdir('/')
    emp.proc_list[0].kill()
    assert out.get(timeout=ALARM) == str(lab.folder / 'worker.py')
    gate.put(False)
    emp.wait(ALARM)


@pytest.mark.parametrize('engine', [pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES])
def test_one_file_name_in_two_folders(tmp_path: Path, engine: str) -> None:
    lab = Lab(tmp_path, engine)
    one = lab.file(
        """
        import threading

        HERE = 'one'

        def entry(toolbox):
            toolbox.out.put((HERE, __file__, __name__))
            return False
        """,
        'one/worker.py',
    )
    two = lab.file(
        """
        HERE = 'two'

        def entry(toolbox):
            toolbox.out.put((HERE, __file__, __name__))
        """,
        'two/worker.py',
    )
    emp = lab.mp()
    out = emp.add_queue('out')
    modules = [{'WORKER_PATH': one, 'WORKER_REF': 'entry'}, {'WORKER_PATH': two, 'WORKER_REF': 'entry'}]
    emp.start(worker_modules=modules, NUM_PROCS=1, **ENGINES[engine])
    second, first = out.get(timeout=ALARM), out.get(timeout=ALARM)
    assert second[:2] == ('two', two)
    assert first[:2] == ('one', one)
    assert first[2] != second[2]
    emp.wait(ALARM)


def test_a_worker_file_imports_its_siblings(lab: Lab) -> None:
    lab.file('FACTOR = 10\n', 'deep/helper_of_mine.py')
    path = lab.file(
        """
        import helper_of_mine

        def entry(rows):
            from helper_of_mine import FACTOR
            return FACTOR * sum(rows)
        """,
        'deep/worker.py',
    )
    assert _sum(lab.mp(), path) == [450, 600]


def test_a_module_that_looks_at_itself(lab: Lab) -> None:
    """What needs the module's entry in sys.modules: dataclasses with string annotations, pickle, inspect."""
    path = lab.file("""
        from __future__ import annotations
        import dataclasses, inspect, pickle, sys, typing

        @dataclasses.dataclass
        class Row:
            n: int
            kind: typing.ClassVar[str] = 'row'

        assert [field.name for field in dataclasses.fields(Row)] == ['n']
        assert __name__ != '__main__'
        assert sys.modules[__name__].Row is Row

        def entry(rows):
            assert pickle.loads(pickle.dumps(Row(5))) == Row(5)
            assert 'class Row' in inspect.getsource(Row)
            assert typing.get_type_hints(Row)['n'] is int
            return sum(rows)

        if __name__ == '__main__':
            raise SystemExit('a worker module is no script')
    """)
    assert _sum(lab.mp(), path) == [45, 60]


def test_the_manager_never_imports_a_worker_module(lab: Lab) -> None:
    path = lab.file("""
        import os

        assert os.getpid() != int(os.environ['MANAGER_PID_OF_TEST'])

        def entry(rows):
            return sum(rows)
    """)
    os.environ['MANAGER_PID_OF_TEST'] = str(os.getpid())
    try:
        before = set(sys.modules)
        assert _sum(lab.mp(), path) == [45, 60]
        assert not [name for name in set(sys.modules) - before if 'worker' in name and not name.startswith('eisenmp.')]
        assert str(lab.folder) not in sys.path
    finally:
        del os.environ['MANAGER_PID_OF_TEST']


@pytest.mark.parametrize('start_method', ['spawn', 'forkserver'])
def test_what_a_worker_does_not_need_is_not_loaded(lab: Lab, start_method: str) -> None:
    """It would be start-up time, once for each worker."""
    path = lab.file("""
        import sys

        def entry(rows):
            return sorted({'logging', 'traceback', 'cloudpickle', 'mmap', 'subprocess'} & set(sys.modules))
    """)
    assert _sum(lab.mp(), path, START_METHOD=start_method) == [[], []]


@pytest.mark.parametrize('start_method', ['spawn', 'forkserver'])
def test_logging_that_is_imported_late(lab: Lab, start_method: str, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.file("""
        def entry(rows):
            import logging
            logging.getLogger('late').warning('rows %d', len(rows))
            logging.getLogger('late').debug('unwanted')
            return logging.getLogger().level
    """)
    level = logging.getLogger().level
    assert _sum(lab.mp(), path, START_METHOD=start_method) == [level, level]
    records = [record for record in caplog.records if record.name == 'late']
    assert [(record.getMessage(), record.__dict__['worker']) for record in records] == [
        ('rows 10', 'Process-1'),
        ('rows 5', 'Process-1'),
    ]


# ---- the list


@pytest.mark.parametrize(
    'keys',
    [
        ('WORKER_PATH', 'WORKER_REF'),
        ('worker_path', 'worker_ref'),
        ('Worker_Path', 'WORKER_ref'),
    ],
)
def test_the_spelling_of_the_keys(lab: Lab, keys: tuple[str, str]) -> None:
    emp = lab.mp()
    emp.start(worker_modules=[dict(zip(keys, (lab.file(SUM), 'entry'), strict=True))], WORKER_CALL='chunk', NUM_PROCS=1)
    emp.feed([1])
    emp.wait(ALARM)


TRACED = """
    import pathlib

    def note(text):
        with pathlib.Path(__file__).with_name('trace').open('a') as file:
            print(text, pathlib.Path(__file__).stem, file=file)

    note('load')

    def entry(toolbox):
        note('call')
        return False

    def again(toolbox):
        note('again')
"""


def test_last_in_first_out(lab: Lab) -> None:
    modules = [
        {'WORKER_PATH': lab.file(TRACED, f'{name}.py'), 'WORKER_REF': 'entry'} for name in ('proper', 'second', 'third')
    ]
    emp = lab.mp()
    emp.start(worker_modules=modules, NUM_PROCS=1)
    emp.wait(ALARM)
    assert (lab.folder / 'trace').read_text().splitlines() == [
        'load third',
        'call third',
        'load second',
        'call second',
        'load proper',
        'call proper',
    ]


def test_one_module_several_times(lab: Lab) -> None:
    path = lab.file(TRACED)
    modules = [{'WORKER_PATH': path, 'WORKER_REF': ref} for ref in ('entry', 'again', 'again')]
    emp = lab.mp()
    emp.start(worker_modules=modules, NUM_PROCS=1)
    emp.wait(ALARM)
    lines = (lab.folder / 'trace').read_text().splitlines()
    assert lines == ['load worker', 'again worker', 'again worker', 'call worker']


def test_side_modules_run_beside_the_worker_proper(lab: Lab) -> None:
    """A module behind the first one starts its own thread, shares the toolbox, and may use the queues."""
    side = lab.file(
        """
        import threading

        def watch(toolbox):
            while True:
                toolbox.beats.put((toolbox.WORKER_ID, toolbox.num_of_lists))
                toolbox.next_beat.get()

        def start_watch(toolbox):
            toolbox.watched = True
            threading.Thread(target=watch, args=(toolbox,), daemon=True).start()
        """,
        'side.py',
    )
    proper = lab.file("""
        def entry(toolbox):
            assert toolbox.watched
            chunk = toolbox.mp_input_q.get()
            toolbox.num_of_lists += 1
            return toolbox.STOP_MSG not in chunk
    """)
    emp = lab.mp()
    beats, next_beat = emp.add_queue('beats'), emp.add_queue('next_beat')
    emp.start(
        worker_modules=[
            {'WORKER_PATH': proper, 'WORKER_REF': 'entry'},
            {'WORKER_PATH': side, 'WORKER_REF': 'start_watch'},
        ],
        NUM_PROCS=1,
        NUM_ROWS=1,
        num_of_lists=0,
    )
    assert beats.get(timeout=ALARM)[0] == 1
    feeding = iter(range(3))
    emp.feed(feeding)
    results = emp.wait(ALARM)
    next_beat.put('a beat that may come too late')
    assert results.complete
    assert emp.join(ALARM), 'a daemon thread keeps no worker alive'


def test_the_watchdog_that_comes_along(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    emp = lab.mp()
    gate = emp.add_queue('gate')
    proper = lab.file('def entry(toolbox): return toolbox.gate.get()\n')
    emp.start(
        worker_modules=[
            {'WORKER_PATH': proper, 'WORKER_REF': 'entry'},
            {'WORKER_PATH': 'eisenmp.watchdog', 'WORKER_REF': 'mp_start_show_threads'},
        ],
        NUM_PROCS=1,
        sleep_time=0.01,
    )
    said: list[str] = []

    def two_lines() -> bool:
        said.append(capsys.readouterr().out)
        return ''.join(said).count('\n') >= 2

    wait_until(two_lines)
    gate.put(False)
    emp.wait(ALARM)
    assert emp.join(ALARM)
    line = ''.join(said).splitlines()[0]
    assert line.startswith('Process-1')
    assert 'MainThread' in line
    assert 'watchdog' in line
