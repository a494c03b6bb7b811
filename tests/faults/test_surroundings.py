"""Poor surroundings: real programs where something is missing, full or closed. They work, or say what is wrong."""

import os
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import ALARM, ROOT, script_env, strict, write

METHODS = ['spawn', 'forkserver', 'fork']
STYLES = ['classic', 'plain']

# Gets numbers and large bytes, gives sums and large bytes back; uses a large shared object.
WORKER = """
    import os, stat

    HELD = []

    def size(row):
        return len(row) if isinstance(row, bytes) else row

    def plain(rows, toolbox):
        assert len(toolbox.table) == 3 << 20
        if getattr(toolbox, 'says', False):
            print('a line of a worker')
            say_past_us()
        return sum(map(size, rows)), bytes(rows[-1])

    def say_past_us():  # as a library in C does
        for fd in (1, 2):
            try:
                os.write(fd, b'')
            except OSError:
                pass
            assert not stat.S_ISSOCK(os.fstat(fd).st_mode)

    def dies(rows):  # every second process, at its second chunk
        HELD.append(rows)
        if len(HELD) == 2 and os.getpid() % 2:
            os._exit(3)
        return rows[0]

    def classic(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in rows:
            return False
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, plain(rows, toolbox)])
        return True
"""

# 24 chunks of a number and a mebibyte: the results are checked here, whatever becomes of the output.
JOB = """
    import sys, time
    import eisenmp

    def items():
        for n in range(24):
            yield n
            yield bytes(LARGE)

    emp = eisenmp.Mp()
    emp.share('table', bytes(3 << 20))
    emp.start(worker_modules=[dict(WORKER_PATH=WORKER, WORKER_REF=STYLE)], START_METHOD=METHOD, NUM_PROCS=PROCS,
              WORKER_CALL='chunk' if STYLE == 'plain' else 'toolbox', NUM_ROWS=2, RESULTS_STORE=True, **MORE)
    emp.feed(items())
    values = emp.wait(30)['mp_input_q'].values()
    assert values == [(n + LARGE, bytes(LARGE)) for n in range(24)]
    assert emp.join(10)
"""


def run(
    folder: Path,
    method: str = 'spawn',
    style: str = 'plain',
    *,
    poor: str = '',
    end: str = "print('all there')",
    procs: int | None = 2,
    large: int = 1 << 20,
    more: str = '{}',
    wrap: str = '',
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the job as a program of its own.

    Args:
        folder: for its files.
        method: START_METHOD.
        style: of the worker.
        poor: what each interpreter does first, the workers' as well.
        end: what the program does when the results are there and right.
        procs: workers.
        large: bytes of every second item.
        more: settings, as text.
        wrap: a line for the shell, where `"$@"` is the program.
        cwd: where it runs.
        env: instead of the usual one; PYTHONPATH is set in any case.
        limit: called in the new process.
    """
    worker = write(folder, WORKER)
    site = folder / 'site'
    write(site, poor, 'sitecustomize.py')
    words = {'WORKER': worker, 'STYLE': style, 'METHOD': method, 'PROCS': procs, 'LARGE': large}
    text = ''.join(f'{name} = {value!r}\n' for name, value in words.items()) + f'MORE = {more}\n'
    script = write(folder, text + textwrap.dedent(JOB) + textwrap.dedent(end), 'script.py')
    env = dict(script_env() if env is None else env)
    env['PYTHONPATH'] = os.pathsep.join([str(site), str(ROOT / 'src')])
    command = [sys.executable, *strict(method), script]
    if wrap:
        command = ['sh', '-c', wrap, 'sh', *command]
    return subprocess.run(
        command,
        cwd=cwd or folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=2 * ALARM,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=limit,
    )


def works(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, 'all there\n', '')


# ---- what may be missing

NO_SEMAPHORES = """
import _multiprocessing

class SemLock:
    SEM_VALUE_MAX = 1

    def __init__(self, *_):
        raise OSError(38, 'Function not implemented')

_multiprocessing.SemLock = SemLock
"""

NO_SYNCHRONIZE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == 'multiprocessing.synchronize':
            raise ImportError('This platform lacks a functioning sem_open implementation')

sys.meta_path.insert(0, Refuse())
"""

NO_MEMFD = 'import os\nvars(os).pop("memfd_create", None)\n'

NO_FOLDER_IN_MEMORY = """
import os
_open, _stat = os.open, os.stat

def open_(path, *args, **kwargs):
    if str(path).startswith('/dev/shm'):
        raise FileNotFoundError(2, 'No such file or directory', path)
    return _open(path, *args, **kwargs)

os.open = open_
"""

NO_ROOM = """
import os
_open = os.open

def open_(path, flags, *args, **kwargs):
    if flags & os.O_CREAT:
        raise OSError(28, 'No space left on device', path)
    return _open(path, flags, *args, **kwargs)

os.open = open_
"""

NO_PIDFD = 'import os\nvars(os).pop("pidfd_open", None)\n'

MISSING = {
    'semaphores': NO_SEMAPHORES,
    'multiprocessing.synchronize': NO_SYNCHRONIZE,
    'memfd': NO_MEMFD,
    'a folder in memory': NO_FOLDER_IN_MEMORY,
    'memfd and a folder in memory': NO_MEMFD + NO_FOLDER_IN_MEMORY,
    'memfd and room for files': NO_MEMFD + NO_ROOM,
    'handles of processes': NO_PIDFD,
    'all of that': NO_SEMAPHORES + NO_MEMFD + NO_ROOM + NO_PIDFD,
}


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('what', MISSING)
def test_without(tmp_path: Path, what: str, style: str) -> None:
    works(run(tmp_path, 'spawn', style, poor=MISSING[what]))


@pytest.mark.parametrize('method', ['forkserver', 'fork'])
@pytest.mark.parametrize('style', STYLES)
def test_without_any_of_that(tmp_path: Path, method: str, style: str) -> None:
    works(run(tmp_path, method, style, poor=MISSING['all of that']))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('executable', [None, ''])
def test_without_an_interpreter_to_start(tmp_path: Path, method: str, executable: str | None) -> None:
    """A Python inside of another program: classic workers are forked, whatever the start method says."""
    text = f'import sys\nsys.executable = {executable!r}\n'
    done = run(tmp_path, method, 'classic', poor=text)
    assert (done.returncode, done.stdout) == (0, 'all there\n')
    assert 'fork' in done.stderr or not done.stderr  # Python 3.12 warns of it


@pytest.mark.parametrize('method', METHODS)
def test_on_one_processor(tmp_path: Path, method: str) -> None:
    if not hasattr(os, 'sched_setaffinity'):
        pytest.skip('this system binds no process to a processor')
    cpu = min(os.sched_getaffinity(0))
    end = 'assert len(emp.proc_list) == 1, emp.proc_list\nprint("all there")'
    works(run(tmp_path, method, procs=None, limit=lambda: os.sched_setaffinity(0, {cpu}), end=end))


# ---- what may be full or forbidden


@pytest.mark.parametrize('method', METHODS)
def test_in_a_folder_that_is_gone(tmp_path: Path, method: str) -> None:
    gone = tmp_path / 'gone'
    gone.mkdir()
    works(run(tmp_path, method, wrap=f'rmdir {gone}; exec "$@"', cwd=gone))


@pytest.mark.parametrize('method', METHODS)
def test_without_a_home_and_in_a_folder_that_may_not_be_written(tmp_path: Path, method: str) -> None:
    closed = tmp_path / 'closed'
    closed.mkdir()
    closed.chmod(0o555)
    keep = ('LD_LIBRARY_PATH', 'SYSTEMROOT')
    works(run(tmp_path, method, cwd=closed, env={name: os.environ[name] for name in keep if name in os.environ}))


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('method', METHODS)
def test_where_no_file_may_grow(tmp_path: Path, method: str, style: str) -> None:
    """The limit holds for files without a name too, so nothing can be shared."""
    limit = 1 << 16
    works(run(tmp_path, method, style, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))


MOUNT = 'mount -t tmpfs -o size=64k tmpfs full && mount -t tmpfs -o size=64k tmpfs /dev/shm'


@pytest.mark.parametrize('method', METHODS)
def test_folders_of_temporary_files_that_are_full(tmp_path: Path, method: str) -> None:
    """For real, where this process may mount something; where not, see above: `memfd and room for files`."""
    full = tmp_path / 'full'
    full.mkdir()
    trial = ['unshare', '-m', 'sh', '-c', MOUNT]
    if not shutil.which('unshare') or subprocess.run(trial, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip('this user may not mount anything')
    env = {**script_env(), 'TMPDIR': str(full)}
    works(run(tmp_path, method, poor=NO_MEMFD, wrap=f'exec unshare -m sh -c \'{MOUNT} && exec "$@"\' sh "$@"', env=env))


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('procs', [12, 20])
def test_64_descriptors_and_more_to_share(tmp_path: Path, method: str, procs: int) -> None:
    works(run(tmp_path, method, procs=procs, limit=few_files))


@pytest.mark.parametrize('method', METHODS)
def test_64_descriptors_and_too_many_workers(tmp_path: Path, method: str) -> None:
    done = run(tmp_path, method, procs=40, limit=few_files)
    assert (done.returncode, done.stdout) == (1, '')
    *_, last = done.stderr.splitlines()
    assert 'no process: [Errno 24] Too many open files' in last
    assert 'the limit is 64' in last
    assert len(done.stderr.splitlines()) <= 16, done.stderr


@pytest.mark.parametrize('method', METHODS)
def test_64_descriptors_and_workers_that_die(tmp_path: Path, method: str) -> None:
    """A replacement needs what its predecessor had, and nothing that was lost piles up."""
    end = """
        for _ in range(3):
            emp = eisenmp.Mp()
            emp.start(worker_modules=[dict(WORKER_PATH=WORKER, WORKER_REF='dies')], START_METHOD=METHOD, NUM_PROCS=8,
                      WORKER_CALL='chunk', NUM_ROWS=1, RESULTS_STORE=True, CRASH_RETRIES=100)
            emp.feed(range(24))
            assert emp.wait(30)['mp_input_q'].values() == list(range(24))
            assert emp.join(10)
        print('all there')
    """
    done = run(tmp_path, method, procs=2, limit=few_files, end=end)
    assert (done.returncode, done.stdout) == (0, 'all there\n'), done.stderr


# ---- where the output goes

PRINTS = '{"says": True, "RESULTS_PRINT": True, "RESULTS_DICT_PRINT": True, "RESULT_LABEL": "x" * 100_000}'
TOLD = "with open(sys.argv[1], 'w') as file:\n    file.write('all there')\n"


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(
    'shell',
    [
        '"$@" {told} | head -c 5',
        '"$@" {told} > /dev/full',
        '"$@" {told} >&-',
        '"$@" {told} <&-',
        '"$@" {told} 2>&-',
        '"$@" {told} 2> /dev/full',
        '"$@" {told} <&- >&- 2>&-',
    ],
)
def test_an_output_that_takes_nothing(tmp_path: Path, method: str, shell: str) -> None:
    """What the settings print, and what workers print: results are right, and a line or two say what is lost."""
    told = tmp_path / 'told'
    done = run(tmp_path, method, more=PRINTS, large=1 << 10, end=TOLD, wrap=shell.format(told=told))
    assert told.exists(), done.stderr
    assert told.read_text(encoding='utf-8') == 'all there'
    assert 'Traceback' not in done.stderr
    assert len(done.stderr.splitlines()) <= 4, done.stderr
