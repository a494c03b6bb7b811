"""``eisenmp map --job``, ``resume``, ``retry``: the real commands, killed for real."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from eisenmp.jobfile import JobReader, JobSummary
from tests.cli.conftest import COMMAND, Command
from tests.support import script_env, wait_until, write

LOGGED = """
    import os, time

    def slowly(line):
        with open('log', 'a') as log:
            log.write(line + '\\n')
        time.sleep(0.005)
        return line.upper()

    def picky(line):
        if line.endswith('7') and not os.path.exists('healed'):
            raise ValueError(f'no sevens: {line}')
        return line

    def deadly(line):
        if line == '7' and not os.path.exists('healed'):
            os._exit(3)
        return line
"""


@pytest.fixture
def place(folder: Path) -> Path:
    write(folder, LOGGED, 'logged.py')
    (folder / 'numbers.txt').write_text(''.join(f'{n}\n' for n in range(200)))
    return folder


def job(place: Path) -> JobSummary:
    with JobReader(str(place / 'job.db')) as reader:
        return reader.summary()


def killed(place: Path, *arguments: str) -> None:
    """Start a command, and kill it by force when some of its work is in the file."""
    program = subprocess.Popen([*COMMAND, *arguments], cwd=place, env=script_env(), stdout=subprocess.DEVNULL)

    def has_begun() -> bool:
        try:
            return sum(queue.finished for queue in job(place).queues) > 5
        except Exception:  # it is being made
            return False

    try:
        wait_until(has_begun)
    finally:
        program.kill()
        program.wait()


MAP = ('map', 'logged.py:slowly', '--chunksize', '4', '-j', '1', '--job', 'job.db')


def test_map_goes_on_and_so_does_resume(command: Command, place: Path) -> None:
    killed(place, *MAP, '--out', 'out.txt', 'numbers.txt')
    parts = [name for name in os.listdir(place) if name.endswith('.part')]
    assert len(parts) == 1
    before = job(place).queues[0].items
    assert job(place).state == 'interrupted'
    done = command('resume', 'job.db')
    assert done.stderr == b''
    expected = [str(n) for n in range(200)]
    assert (place / 'out.txt').read_text().split() == expected
    assert [name for name in os.listdir(place) if name.endswith('.part')] == []
    assert job(place).state == 'complete'
    log = (place / 'log').read_text().split()
    assert sorted(set(log)) == sorted(expected)
    assert 200 <= len(log) <= 200 + max(0, len(set(log)) - before)
    (place / 'log').unlink()
    done = command(*MAP, 'numbers.txt')  # again, to another output
    assert done.stdout.decode().split() == expected
    assert not (place / 'log').exists()


def test_map_of_standard_input(command: Command, place: Path) -> None:
    numbers = (place / 'numbers.txt').read_bytes()
    first = command(*MAP, stdin=numbers)
    (place / 'log').unlink()
    again = command('resume', 'job.db', stdin=numbers)
    assert again.stdout == first.stdout == numbers
    assert not (place / 'log').exists()
    assert 'all of it is done' in again.stderr.decode()


def test_map_of_other_lines_is_refused(command: Command, place: Path) -> None:
    command(*MAP, 'numbers.txt')
    changed = b''.join(b'%d\n' % (n if n != 40 else -n) for n in range(200))
    done = command(*MAP, stdin=changed, code=1)
    assert "ticket _TID_10 of queue 'mp_input_q (default)'" in done.stderr.decode()
    done = command(*MAP, '--force', stdin=changed)
    assert len(done.stdout.split()) == 200
    write(place, LOGGED.replace('upper', 'lower'), 'logged.py')
    done = command(*MAP, 'numbers.txt', code=1)
    assert 'another job: func' in done.stderr.decode()


def test_failed_items_run_again_when_told_to(command: Command, place: Path) -> None:
    options = ('map', 'logged.py:picky', '--chunksize', '4', '-j', '1', '--on-error', 'skip', '--job', 'job.db')
    first = command(*options, 'numbers.txt', code=1)
    assert len(first.stdout.split()) == 180
    assert 'numbers.txt, line 8: ValueError: no sevens: 7' in first.stderr.decode()
    again = command(*options, 'numbers.txt', code=1)
    assert (again.stdout, b'20 of 200 items failed' in again.stderr) == (first.stdout, True)
    assert (job(place).queues[0].failed, job(place).queues[0].done) == (20, 30)
    with JobReader(str(place / 'job.db')) as reader:
        assert [failure.items[0][3] for failure in reader.failures()][:2] == [
            'ValueError: no sevens: 7', 'ValueError: no sevens: 17'
        ]  # fmt: skip
        assert [o.state for o in reader.outcomes('mp_input_q (default)')].count('failed') == 20
    assert command('retry', 'job.db', '--set-aside').stdout == b'no such tickets\n'
    assert command('retry', 'job.db').stdout == b'20 tickets run again at the next start: eisenmp resume job.db\n'
    assert (job(place).queues[0].failed, job(place).queues[0].done) == (0, 30)
    (place / 'healed').touch()
    assert len(command('resume', 'job.db').stdout.split()) == 200
    assert job(place).queues[0].done == 50


def test_items_set_aside_run_again_when_told_to(command: Command, place: Path) -> None:
    options = ('map', 'logged.py:deadly', '--chunksize', '4', '-j', '1', '--on-error', 'skip', '--job', 'job.db')
    first = command(*options, 'numbers.txt', code=1)
    assert first.stdout.split() == [b'%d' % n for n in range(200) if n != 7]
    assert job(place).queues[0].set_aside == 1
    assert command(*options, 'numbers.txt', code=1).stdout == first.stdout
    assert b'no such tickets' in command('retry', 'job.db', '--failed').stdout
    assert b'1 ticket runs again' in command('retry', 'job.db', '--set-aside').stdout
    (place / 'healed').touch()
    assert command('resume', 'job.db').stdout.split() == [b'%d' % n for n in range(200)]


# ---- resume of any program

PROGRAM = """
    import sys, time, eisenmp

    def double(item):
        time.sleep(0.005)
        return 2 * item

    print(sys.argv[1:], sum(eisenmp.imap(double, range(300), job='job.db', max_workers=1, chunksize=5)))
"""


def test_resume_starts_the_same_program(
    command: Command, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = write(place, PROGRAM, 'program.py')
    first = subprocess.run(
        [sys.executable, script, 'a b', '--c'], cwd=place, env=script_env(), capture_output=True, check=True
    )
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    again = subprocess.run(
        [*COMMAND, 'resume', str(place / 'job.db')], cwd=elsewhere, env=script_env(), capture_output=True, check=True
    )  # fmt: skip
    assert again.stdout == first.stdout == b"['a b', '--c'] 89700\n"


def test_resume_says_why_not(command: Command, place: Path) -> None:
    assert 'no job file' in command('resume', 'job.db', code=2).stderr.decode()
    program = subprocess.Popen(
        [sys.executable, '-'], cwd=place, env=script_env(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert program.stdin is not None
    program.stdin.write(
        b"import eisenmp\nfor n in eisenmp.imap(len, iter(input, 1), job='job.db', engine='inline'): pass\n"
    )
    program.stdin.close()
    program.wait()
    assert 'came from standard input' in command('resume', 'job.db', code=2).stderr.decode()
    change(place, "UPDATE meta SET value = 'x' WHERE name = 'seal'")
    assert 'Say --trust' in command('resume', 'job.db', code=2).stderr.decode()


def change(place: Path, statement: str) -> None:
    db = sqlite3.connect(place / 'job.db')
    with db:
        db.execute(statement)
    db.close()


def test_a_foreign_file_is_trusted_when_told_to(command: Command, place: Path) -> None:
    write(place, PROGRAM, 'program.py')
    subprocess.run([sys.executable, 'program.py'], cwd=place, env=script_env(), check=True, capture_output=True)
    change(place, "UPDATE meta SET value = 'x' WHERE name = 'seal'")
    refused = subprocess.run([sys.executable, 'program.py'], cwd=place, env=script_env(), capture_output=True)
    assert b'JobFileUntrusted' in refused.stderr
    assert command('resume', 'job.db', '--trust').stdout == b'[] 89700\n'


def test_resume_forces_when_told_to(command: Command, place: Path) -> None:
    script = write(place, PROGRAM, 'program.py')
    subprocess.run([sys.executable, script], cwd=place, env=script_env(), check=True, capture_output=True)
    write(place, PROGRAM.replace('2 * item', '3 * item'), 'program.py')
    assert b'JobFileMismatch' in command('resume', 'job.db', code=1).stderr
    assert command('resume', 'job.db', '--force').stdout == b'[] 89700\n'
    assert 'func' in (job(place).runs[-1].forced or '')


def is_held(place: Path) -> bool:
    try:
        return job(place).owner is not None
    except Exception:  # it is being made
        return False


def test_nobody_disturbs_a_job_that_runs(command: Command, place: Path) -> None:
    program = subprocess.Popen(
        [*COMMAND, *MAP], cwd=place, env=script_env(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_held(place))
        for arguments, code in ((('resume', 'job.db'), 2), (('retry', 'job.db'), 3), (MAP, 1)):
            done = command(*arguments, code=code)
            assert f'in use by process {program.pid} ' in done.stderr.decode()
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate()
    assert json.loads(json.dumps(job(place).program))['argv'][-6:] == list(MAP[-6:])


def test_part_files_of_commands_that_run_are_left_alone(command: Command, place: Path) -> None:
    (place / '.out.txt.old.part').touch()
    program = subprocess.Popen(
        [*COMMAND, 'map', 'worker.py:upper', '--out', 'out.txt'], cwd=place, env=script_env(), stdin=subprocess.PIPE
    )
    try:
        wait_until(
            lambda: [name for name in os.listdir(place) if name.endswith('.part')] not in ([], ['.out.txt.old.part'])
        )
        command('map', 'worker.py:upper', '--out', 'out.txt', 'numbers.txt')
        assert len([name for name in os.listdir(place) if name.endswith('.part')]) == 1
    finally:
        program.communicate(b'x\n')
    assert program.returncode == 0
    assert (place / 'out.txt').read_text() == 'X\n'
