"""What tests share: worker files from a text, jobs in any engine, scripts in a process of their own, alarms."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import eisenmp

__all__ = [
    'ALARM',
    'ENGINES',
    'FORKS',
    'ON_RAY',
    'ROOT',
    'Lab',
    'run_script',
    'script_env',
    'strict',
    'wait_until',
    'write',
]

ROOT: Final = Path(__file__).resolve().parents[1]
ALARM: Final = 20.0  # seconds after which something that should have happened long ago counts as a deadlock

ON_RAY: Final = bool(os.environ.get('EISENMP_TESTS_ON_RAY'))  # make test-ray says so

ENGINES: Final[dict[str, dict[str, Any]]] = {
    'inline': {'ENGINE': 'inline'},
    'spawn': {'START_METHOD': 'spawn'},
    'forkserver': {'START_METHOD': 'forkserver'},
    'fork': {'START_METHOD': 'fork'},
}
if ON_RAY:
    for _name in [name for name in ENGINES if name != 'inline']:
        del ENGINES[_name]
    ENGINES['ray'] = {'ENGINE': 'ray'}

# From 3.12 on Python warns about a fork beside threads, which is what START_METHOD='fork' asks for.
FORKS: Final = pytest.mark.filterwarnings(
    r'ignore:This process \(pid=\d+\) is multi-threaded, use of fork:DeprecationWarning'
)


def strict(start_method: str | None = None) -> tuple[str, ...]:
    """Flags for a script: warnings are errors, but for the one of a fork beside threads."""
    return ('-W', 'error', *(('-W', 'ignore:This process:DeprecationWarning') if start_method == 'fork' else ()))


def write(folder: Path, text: str, name: str = 'worker.py') -> str:
    """Write a (worker) file and return its path. The text may be indented as a whole."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding='utf-8')
    return str(path)


def wait_until(condition: Callable[[], Any], what: str = 'the condition', seconds: float = ALARM) -> None:
    """Wait until ``condition()`` holds. The deadline is an alarm, not a measurement."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f'{what} did not come true within {seconds:g} s')
        time.sleep(0.002)


def script_env(**more: str) -> dict[str, str]:
    """The environment for a script that is to find this tree's eisenmp, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT / 'src'), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, 'PYTHONIOENCODING': 'utf-8', **more}


def run_script(
    folder: Path,
    text: str,
    *,
    how: str = 'file',
    flags: Iterable[str] | None = None,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    stdin: str = '',
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, in `folder`, and check its exit code.

    Args:
        folder: where it runs, and where its file is written.
        text: the program; may be indented as a whole.
        how: ``'file'``, ``'stdin'`` or ``'-c'``.
        flags: for the interpreter, instead of :func:`strict`.
        code: the exit code to expect.
        env: instead of :func:`script_env`.
        stdin: what there is to read for a program that did not come that way itself.
    """
    text = textwrap.dedent(text)
    command = [sys.executable, *(strict() if flags is None else flags)]
    if how == 'file':
        command.append(write(folder, text, 'script.py'))
    else:
        command += ['-c', text] if how == '-c' else ['-']
    done = subprocess.run(
        command,
        cwd=folder,
        env=script_env() if env is None else env,
        input=text if how == 'stdin' else stdin,
        capture_output=True,
        text=True,
        encoding='utf-8',
        timeout=2 * ALARM,
        check=False,
    )
    assert done.returncode == code, f'exit code {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}'
    return done


class Lab:
    """One engine and one folder: writes worker files, runs jobs, and ends those that a failing test left running.

    Args:
        folder: for the worker files.
        name: one of ``ENGINES``.
    """

    def __init__(self, folder: Path, name: str = 'spawn') -> None:
        self.folder = folder
        self.name = name
        self.in_process = name == 'inline'
        self._settings = ENGINES[name]
        self._jobs: list[eisenmp.Mp] = []

    def mp(self) -> eisenmp.Mp:
        """A new manager."""
        self._jobs.append(eisenmp.Mp())
        return self._jobs[-1]

    def adopt(self, emp: eisenmp.Mp | None) -> None:
        """A manager that was made elsewhere and may have to be ended."""
        if emp is not None:
            self._jobs.append(emp)

    def file(self, text: str, name: str = 'worker.py') -> str:
        """Write a worker file; see :func:`write`."""
        return write(self.folder, text, name)

    def start(self, emp: eisenmp.Mp, worker: str, **settings: Any) -> None:
        """Start a job whose one module is a file with this text, or this path; its function is ``entry``."""
        path = self.file(worker) if '\n' in worker else worker
        modules = [{'WORKER_PATH': path, 'WORKER_REF': 'entry'}]
        emp.start(**{'worker_modules': modules, 'NUM_PROCS': 1, **self._settings, **settings})

    def run(self, worker: str, items: Iterable[Any] = (), **settings: Any) -> eisenmp.Results:
        """Run a whole job: feed `items` to the default queue, keep the results, wait for them."""
        emp = self.mp()
        self.start(emp, worker, **{'RESULTS_STORE': True, 'NUM_ROWS': 10, **settings})
        emp.run_q_feeder(generator=items)
        results = emp.wait(ALARM)
        assert emp.join(ALARM)
        return results

    def close(self) -> None:
        """End what still runs."""
        for emp in self._jobs:
            try:
                emp.kill()
                emp.join(ALARM)
            except eisenmp.SettingsError:
                pass  # never started
