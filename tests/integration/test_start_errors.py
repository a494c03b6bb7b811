"""A module that cannot be loaded: one error with file and line, soon, before any chunk is handed out."""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

import eisenmp
from tests.support import ALARM, ENGINES, FORKS, Lab, run_script

FINE = 'def entry(toolbox): return False\n'


def _fails(lab: Lab, words: str, *modules: tuple[Any, str], **settings: Any) -> eisenmp.WorkerStartError:
    """Start that job and return its error, having checked everything that goes for all of them."""
    emp = lab.mp()

    def job() -> None:
        emp.start(
            worker_modules=[{'WORKER_PATH': path, 'WORKER_REF': ref} for path, ref in modules],
            **{'NUM_PROCS': 2, 'NUM_ROWS': 1, **ENGINES[lab.name], **settings},
        )
        emp.feed(count())
        emp.wait(ALARM)

    began = time.monotonic()
    with pytest.raises(eisenmp.WorkerStartError, match=words) as caught:
        job()
    took = time.monotonic() - began
    assert took < 3, f'{took:.2f} s'  # one second is promised; this machine may be busy
    if emp.proc_list:
        assert emp.begin_proc_shutdown
        assert emp.join(ALARM)
        assert [outcome for outcome in emp.results['mp_input_q'] if outcome.state != 'unread'] == []
    return caught.value


def test_a_path_that_is_nearly_right(lab: Lab) -> None:
    lab.file(FINE, 'audio_worker.py')
    error = _fails(lab, "did you mean 'audio_worker.py'", (lab.folder / 'audio_wroker.py', 'entry'))
    assert str(lab.folder) in str(error)


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        ('nothing/like/it.py', 'no folder .*nothing/like'),
        ('zzz.py', 'zzz.py'),
        ('./', 'folder'),
        ('folder.py', 'folder'),
    ],
)
def test_a_path_that_is_wrong(lab: Lab, monkeypatch: pytest.MonkeyPatch, path: str, words: str) -> None:
    (lab.folder / 'folder.py').mkdir()
    monkeypatch.chdir(lab.folder)
    _fails(lab, words, (path, 'entry'))


def test_a_wrong_path_further_down_the_list(lab: Lab) -> None:
    _fails(lab, 'watchdog.py', (lab.file(FINE), 'entry'), (lab.folder / 'watchdog.py', 'entry'))


@pytest.fixture(params=[pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES])
def any_lab(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Lab]:
    """The same folder, in each engine."""
    other = Lab(lab.folder, request.param)
    yield other
    other.close()


def test_a_function_that_is_nearly_there(any_lab: Lab) -> None:
    path = any_lab.file('def worker_entrance(toolbox): return False\n')
    error = _fails(any_lab, "no function 'worker_entrace'.*did you mean 'worker_entrance'", (path, 'worker_entrace'))
    assert path in str(error)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            'def entry(toolbox):\n    x = (1,\n    return False\n',
            r"worker.py, line 2: SyntaxError: '\(' was never closed",
        ),
        ('import sys\n\nraise OSError("no camera")\n', 'worker.py, line 3: OSError: no camera'),
        ('def entry(): pass\n\nimport no_such_module_here\n', 'worker.py, line 3: ModuleNotFoundError'),
        ('def helper():\n    return {}["key"]\n\nhelper()\n', "worker.py, line 2: KeyError: 'key'"),
        ('import sys\nsys.exit(3)\n', 'worker.py, line 2: SystemExit: 3'),
        ('entry = 5\n', "worker.py: TypeError: .*'entry' is no function but int"),
        ('x = "\\xff"\n\tentry = 1\n', 'worker.py, line 2: IndentationError'),
    ],
    ids=['syntax', 'raises', 'import', 'deeper', 'exit', 'no function', 'indent'],
)
def test_a_module_that_does_not_load(any_lab: Lab, text: str, words: str) -> None:
    error = _fails(any_lab, words, (any_lab.file(text), 'entry'))
    assert any_lab.folder.name in str(error)
    assert 'Traceback' in ''.join(error.__notes__), 'the remote traceback is missing'


def test_a_sibling_that_does_not_load(any_lab: Lab) -> None:
    name = f'sibling_{any_lab.name}'
    any_lab.file('\n\nbroken = 1 / 0\n', f'{name}.py')
    _fails(any_lab, f'{name}.py, line 3: ZeroDivisionError', (any_lab.file(f'import {name}\n' + FINE), 'entry'))


def test_a_side_module_that_raises(any_lab: Lab) -> None:
    side = any_lab.file('def start(toolbox):\n    raise ConnectionError("no database")\n', 'side.py')
    _fails(any_lab, 'side.py, line 2: ConnectionError: no database', (any_lab.file(FINE), 'entry'), (side, 'start'))


@pytest.mark.parametrize('path', ['no_such_package', 'no_such_package.worker', 'eisenmp.watchdogg', 'tests.nowhere'])
def test_a_dotted_name_that_is_nowhere(lab: Lab, path: str) -> None:
    _fails(lab, f'{path.split(".")[-1]}', (path, 'entry'))


def test_a_function_that_is_nowhere_in_a_dotted_module(lab: Lab) -> None:
    _fails(lab, "did you mean 'mp_start_show_threads'", ('eisenmp.watchdog', 'mp_start_show_thread'))


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return _explode, ('only the manager has this module',)


def _explode(text: str) -> None:
    raise RuntimeError(text)


def test_an_attribute_that_does_not_arrive(lab: Lab) -> None:
    _fails(lab, "'my_model'.*RuntimeError: only the manager", (lab.file(FINE), 'entry'), my_model=_Bomb())


def test_a_shared_object_that_does_not_arrive(lab: Lab) -> None:
    emp = lab.mp()
    emp.share('my_model', _Bomb())
    lab.start(emp, FINE)
    with pytest.raises(eisenmp.WorkerStartError, match=r'shared object.*RuntimeError: only the manager'):
        emp.wait(ALARM)


def test_what_the_user_sees(lab: Lab) -> None:
    """A script that knows nothing of errors: exit code 1, a short text that names the place, once."""
    lab.file('def entry(toolbox):\n    retrun False\n')
    done = run_script(
        lab.folder,
        """
        import eisenmp

        emp = eisenmp.Mp()
        emp.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'entry'}], NUM_PROCS=4)
        emp.run_q_feeder(generator=range(10))
        emp.wait()
        """,
        code=1,
    )
    assert done.stdout == ''
    lines = done.stderr.splitlines()
    assert len([line for line in lines if 'worker.py, line 2: SyntaxError' in line]) == 1
    assert len(lines) < 40  # how deep it goes depends on who learns of it first, the feeder's call or `wait`
    assert lines[0] == 'Traceback (most recent call last):'
