"""The other commands, and what goes for all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import eisenmp
from tests.cli.conftest import COMMAND, Command
from tests.support import ALARM, script_env, write

MANAGER = """
    import sys, threading
    import eisenmp

    class Number:  # pickled by value: workers know no __main__
        def __init__(self, value): self.value = value

    emp = eisenmp.Mp()
    emp.start(worker_modules=[{'WORKER_PATH': 'numbers_worker.py', 'WORKER_REF': 'entry'}], WORKER_CALL='chunk',
              PROCS_MAX=2, NUM_ROWS=5, RESULTS_STORE=True, factor=1)
    emp.feed(Number(n) for n in range(20))
    results = emp.wait(20)['mp_input_q'].values()
    print(sys.argv, len(emp.proc_list), results, __name__, __file__)
"""
NUMBERS = """
    def entry(rows, toolbox):
        return sum(number.value for number in rows) * toolbox.factor
"""


@pytest.fixture
def manager(folder: Path) -> None:
    write(folder, MANAGER, 'manager.py')
    write(folder, NUMBERS, 'numbers_worker.py')


@pytest.mark.usefixtures('manager')
def test_run(command: Command) -> None:
    done = command('run', 'manager.py', 'a', '--set', '-x')
    assert done.stdout == b"['manager.py', 'a', '--set', '-x'] 2 [10, 35, 60, 85] __main__ manager.py\n"
    settings = ('--set', 'NUM_PROCS=1', '--set', 'ROWS_MAX=10', '--set', 'factor=2')
    done = command('run', *settings, 'manager.py')
    assert done.stdout == b"['manager.py'] 1 [90, 290] __main__ manager.py\n"


@pytest.mark.usefixtures('manager')
@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--set', 'NUM_PROC=1', 'manager.py'), "did you mean 'NUM_PROCS'?"),
        (('--set', 'num_procs=1', 'manager.py'), "did you mean 'NUM_PROCS'?"),
        (('--set', 'NUM_PROCS=many', 'manager.py'), "NUM_PROCS='many' does not fit; allowed: a whole number"),
        (('--set', 'NUM_PROCS', 'manager.py'), 'allowed: NAME=VALUE'),
        (('--set', 'A=1', '--set', 'A=2', 'manager.py'), 'given twice'),
        (('--set', 'worker_modules=[]', 'manager.py'), 'cannot be overridden'),
        (('--set', 'JOB=5', 'manager.py'), 'JOB=5 does not fit; allowed: the path of a file'),
        (('manger.py',), "did you mean 'manager.py'?"),
        (('broken.py',), 'broken.py, line 1: SyntaxError'),
    ],
)
def test_run_of_what_cannot_be_run(command: Command, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    write(folder, 'def (', 'broken.py')
    done = command('run', *arguments, code=2)
    assert words in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1


def test_run_of_a_program_that_fails(command: Command, folder: Path) -> None:
    write(folder, 'def f():\n    raise ValueError("mine")\nf()\n', 'fails.py')
    err = command('run', 'fails.py', code=1).stderr.decode()
    assert 'ValueError: mine' in err
    assert 'script.py' not in err  # our own frames
    write(folder, 'import sys; sys.exit(7)', 'leaves.py')
    command('run', 'leaves.py', code=7)


IN_IMAP = """
    import itertools, eisenmp
    for n in eisenmp.imap(abs, itertools.count(), max_workers=1):
        if n == 10: print('now', flush=True)
"""
WHILE_A_JOB_RUNS = """
    import itertools, time, eisenmp
    emp = eisenmp.Mp()
    reader = emp.results.outcomes()
    emp.start(worker_modules=[{'WORKER_PATH': 'math', 'WORKER_REF': 'isqrt'}], WORKER_CALL='item', NUM_PROCS=1)
    emp.feed(itertools.count())
    next(reader)
    reader.close()
    print('now', flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize('text', [IN_IMAP, WHILE_A_JOB_RUNS])
def test_run_and_ctrl_c(folder: Path, text: str) -> None:
    write(folder, text, 'endless.py')
    with subprocess.Popen(
        [*COMMAND, 'run', 'endless.py'],
        cwd=folder,
        env=script_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as job:
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == b'now\n'
            os.killpg(job.pid, signal.SIGINT)
            _, err = job.communicate(timeout=ALARM)
        finally:
            job.kill()
    assert job.returncode == 130
    assert len(err.splitlines()) == 1
    assert b'interrupted at endless.py, line' in err


def test_override() -> None:
    def workers() -> int:
        with eisenmp.imap(abs, [1, 2], max_workers=2, engine='inline') as results:
            assert list(results) == [1, 2]
            return len(results._course.emp.proc_list)

    with eisenmp.override(NUM_PROCS=1):
        assert workers() == 1
        with eisenmp.override(PROCS_MAX=3, colour='red'):
            assert workers() == 3
        assert workers() == 1
    assert workers() == 2
    with pytest.raises(eisenmp.SettingsError, match='NUM_PROCS'), eisenmp.override(NUM_PROCS=0):
        pass


def test_demo(command: Command) -> None:
    listed = command('demo', '--list').stdout.decode()
    for name in ('anagrams', 'flights', 'primes', 'search'):
        assert name in listed
    assert b"did you mean 'primes'?" in command('demo', 'prime', code=2).stderr
    done = command('demo', '--set', 'NUM_PROCS=1', 'primes', '--count', '100', '--rows', '10')
    assert b'100 numbers in' in done.stdout
    assert b'usage:' in command('demo', 'primes', '--help').stdout


def test_doctor(command: Command) -> None:
    done = command('doctor', '--json', code=0)
    told = json.loads(done.stdout)
    assert told['broken'] == []
    findings = {finding['name']: finding for finding in told['findings']}
    assert findings['cores']['value']['usable'] == eisenmp.usable_cores()
    assert findings['job by spawn']['value']['items_per_second'] > 1000
    assert {'sem_open', 'shared memory', 'memfd', 'open files', 'engines', 'Python'} <= findings.keys()
    text = command('doctor', '--no-test').stdout.decode()
    assert 'everything works' in text
    assert 'job by' not in text


def test_doctor_of_a_sick_machine(folder: Path) -> None:
    """Too few descriptors for a worker to be started."""
    pytest.importorskip('resource')
    program = (
        'import resource, sys; from eisenmp.cli import main\n'
        'resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))\n'
        'sys.argv[1:] = ["doctor"]; sys.exit(main())'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=folder, env=script_env(), capture_output=True, timeout=ALARM, text=True
    )
    assert done.returncode == 1, done
    assert 'BROKEN open files' in done.stdout
    assert 'ulimit -n' in done.stdout


def test_help_and_version(command: Command) -> None:
    assert eisenmp.__version__ in command('--version').stdout.decode()
    for name in ('demo', 'doctor', 'map', 'results', 'resume', 'retry', 'run', 'status', 'top'):
        assert name in command('--help').stdout.decode()
        text = command(name, '--help').stdout.decode()
        assert text.startswith(f'Usage: eisenmp {name}')
        assert '  -h, --help' in text


def test_every_option_has_help() -> None:
    from eisenmp.cli.app import cli

    context = __import__('click').Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.help
        for parameter in command.params:
            assert parameter.param_type_name == 'argument' or getattr(parameter, 'help', None), (name, parameter.name)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('mpa',), "did you mean 'map'?"),
        (('--vers',), '--version'),
    ],
)
def test_a_command_that_is_not_there(command: Command, arguments: tuple[str, ...], words: str) -> None:
    assert words in command(*arguments, code=2).stderr.decode()


def test_without_its_extra(folder: Path) -> None:
    """The bare library has no command line library; it says what to install."""
    (folder / 'click.py').write_text('raise ImportError("not installed")')
    for arguments in (['-m', 'eisenmp', 'map'], ['-c', 'import sys; from eisenmp.cli import main; sys.exit(main())']):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**script_env(), 'PYTHONPATH': f'{folder}{os.pathsep}{script_env()["PYTHONPATH"]}'},
            capture_output=True,
            timeout=ALARM,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr == "eisenmp: the command needs its extra: pip install 'eisenmp[cli]'\n"


def test_a_library_that_loads_nothing_of_it(folder: Path) -> None:
    program = (
        'import sys, eisenmp; list(eisenmp.imap(abs, [1], engine="inline"))\n'
        'import eisenmp.cli.block\n'  # what workers load
        'print({"click", "rich", "eisenmp.cli.app"} & set(sys.modules))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=folder, env=script_env(), capture_output=True, timeout=ALARM, text=True
    )
    assert done.stdout == 'set()\n', done


def test_completion(folder: Path) -> None:
    """By click's means: the shell asks the command itself."""
    for words, at, expected in (
        ('eisenmp ', 1, {'demo', 'doctor', 'map', 'results', 'run', 'status'}),
        ('eisenmp demo ', 2, {'anagrams', 'primes', 'search', 'flights', 'longrun'}),
        ('eisenmp run --set NUM', 3, {'NUM_PROCS=', 'NUM_ROWS='}),
        ('eisenmp map --start-method ', 3, {'spawn', 'forkserver', 'fork'}),
    ):
        env = script_env(_EISENMP_COMPLETE='bash_complete', COMP_WORDS=words, COMP_CWORD=str(at))
        done = subprocess.run(COMMAND, cwd=folder, env=env, capture_output=True, timeout=ALARM, text=True)
        assert expected <= {line.partition(',')[2] for line in done.stdout.splitlines()}, (words, done)
