"""What holds for every test: it leaves no process, no thread and no open file behind."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Container, Iterator
from pathlib import Path

import psutil
import pytest

from tests.spread import leave_out
from tests.support import ON_RAY

_PATIENCE = 5.0  # seconds that things which are just ending may take
_PROC = Path('/proc/self/fd')
_LISTED = Path('/proc/thread-self/children').exists()
# Opened once, when somebody asks for the first time, and kept: the interpreter's own and psutil's.
_LAZY = ('/dev/null', '/dev/urandom', '/proc', '/sys')


class _Belongings:
    """What this process holds now."""

    def __init__(self, foreign: frozenset[int]) -> None:
        self.children = children(foreign)
        self.threads = {ident: thread.name for thread in threading.enumerate() if (ident := thread.ident) is not None}
        self.files = _open_files()

    def beyond(self, before: '_Belongings') -> list[str]:
        """What is here and was not there before, in words."""
        found = [f'process {pid}: {_command(pid)}' for pid in self.children - before.children]
        found += [f'thread {self.threads[ident]}' for ident in self.threads.keys() - before.threads.keys()]
        return found + [f'open file {fd}: {target}' for fd, target in self.files.items() - before.files.items()]


def children(foreign: Container[int] = ()) -> set[int]:
    """The pids below this process, ended ones that nobody has waited for included; not `foreign` ones and theirs."""
    found: set[int] = set()
    unseen = [os.getpid()]
    while unseen:
        made = [pid for pid in _made_by(unseen.pop()) if pid not in foreign]
        found.update(made)
        unseen += made
    return found


def _made_by(pid: int) -> list[int]:
    """Its children, from the list that Linux has for each thread; psutil has to read about every process there is."""
    made: list[int] = []
    if not _LISTED:
        with contextlib.suppress(psutil.NoSuchProcess):
            made = [child.pid for child in psutil.Process(pid).children()]
        return made
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just gone
        for tid in os.listdir(f'/proc/{pid}/task'):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                made += map(int, Path(f'/proc/{pid}/task/{tid}/children').read_bytes().split())
    return made


def _command(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        return f'{process.status()} {" ".join(process.cmdline())[:200]}'
    except psutil.Error:
        return 'ended meanwhile'


def _open_files() -> dict[str, str]:
    """Descriptor -> what it is; empty where the system does not tell."""
    files: dict[str, str] = {}
    if not _PROC.is_dir():
        return files
    for fd in os.listdir(_PROC):
        try:
            target = os.readlink(_PROC / fd)
        except OSError:
            continue  # the one that was open for this very listing
        if not target.startswith(_LAZY):
            files[fd] = target
    return files


@pytest.fixture(scope='session', autouse=True)
def _key_of_job_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key with which job files are sealed is no business of whoever runs the tests."""
    os.environ['XDG_DATA_HOME'] = str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def foreign_processes() -> frozenset[int]:
    """Pids that tests of one module share and that have processes of their own, as a browser does."""
    return frozenset()


@pytest.fixture(autouse=True)
def leaves_nothing_behind(foreign_processes: frozenset[int]) -> Iterator[None]:
    """Fail a test that leaves a child process, a thread or an open file behind."""
    if ON_RAY:  # whose processes and threads come and go as it pleases
        yield
        return
    before = _Belongings(foreign_processes)
    path = list(sys.path)
    yield
    sys.path[:] = path  # workers that are threads of this process (engine inline) put their folders there
    left = _Belongings(foreign_processes).beyond(before)
    if not left:
        return
    deadline = time.monotonic() + _PATIENCE
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
        left = _Belongings(foreign_processes).beyond(before)
    if left:
        pytest.fail('left behind: ' + '; '.join(sorted(left)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """See spread.py."""
    parser.addoption(
        '--every-way', action='store_true', help='each case with each way to start workers, on this Python'
    )
    parser.addoption('--share', action='store_true', help='what another Python than the first has to run in CI')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test of ours that hangs in Python code fails by itself; only one that hangs deeper ends the whole run."""
    leave_out(config, items)
    for item in items:
        if not item.get_closest_marker('timeout') and hasattr(signal, 'SIGALRM'):
            limit = 120 if 'property' in item.path.parts else 30  # thousands of examples, on a busy machine
            item.add_marker(pytest.mark.timeout(limit, method='signal'))
