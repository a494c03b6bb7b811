"""``eisenmp status`` and ``eisenmp results``, as commands, on files that commands have made."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from eisenmp import job_status
from tests.cli.conftest import COMMAND, Command
from tests.support import ALARM, script_env, wait_until, write

LINES = b''.join(f'{n}\n'.encode() for n in range(200))
FORK = ('--start-method', 'fork', '-j', '2', '--job', 'job.db')


@pytest.fixture(autouse=True)
def _own_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_DATA_HOME', str(folder / 'home'))


def test_status_of_a_map(command: Command) -> None:
    command('map', *FORK, '--on-error', 'skip', '--total', '200', 'worker.py:no_threes', stdin=LINES, code=1)
    told = command('status', 'job.db').stdout.decode().splitlines()
    assert told[0] == 'job file       job.db'
    assert told[1].startswith('state          complete; last written ')
    assert told[2:4] == ['held by        nobody', 'progress       200 of 200 items (100.0 %)']
    failed = [line for line in told if line.startswith('failed ')]
    assert 'ValueError: no threes: ' in failed[-1]
    seen = json.loads(command('status', '--json', 'job.db').stdout)
    assert (seen['state'], seen['done'], seen['total'], seen['left']) == ('complete', 200, 200, None)
    assert seen['queues'][0]['restore_point'] == seen['queues'][0]['finished']


def test_status_while_it_runs_and_after_its_end_by_force(command: Command, folder: Path) -> None:
    (folder / 'lines.txt').write_bytes(LINES * 5)
    call = [*COMMAND, 'map', *FORK, '--chunksize', '2', 'worker.py:slow', 'lines.txt']
    running = subprocess.Popen(call, cwd=folder, env=script_env(), stdout=subprocess.DEVNULL)
    try:
        path = folder / 'job.db'
        wait_until(lambda: (folder / 'job.db').exists() and bool(sqlite_tables(path)) and job_status(path).done > 5)
        told = command('status', 'job.db').stdout.decode()
        assert 'state          running;' in told
        assert f'held by        process {running.pid} on ' in told
        assert 'of 1,000 items' not in told  # nobody has said so
        assert command('results', 'job.db').stdout.startswith(b'0\n1\n2\n')  # as far as it is
    finally:
        running.kill()
        running.wait(ALARM)
    told = command('status', 'job.db').stdout.decode()
    assert 'state          interrupted;' in told
    assert 'it is gone, its lock counts for nothing' in told


def sqlite_tables(path: Path) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'progress'").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        db.close()


@pytest.mark.parametrize('verb', ['status', 'results'])
def test_what_is_no_job_file(command: Command, verb: str) -> None:
    assert b'words.txt is not a job file' in command(verb, 'words.txt', code=2).stderr
    assert b'there is no job file' in command(verb, 'nowhere.db', code=2).stderr


@pytest.mark.parametrize('on_error', ['skip', 'yield'])
@pytest.mark.parametrize('more', [(), ('--json',)])
def test_lines_as_the_map_has_printed_them(command: Command, on_error: str, more: tuple[str, ...]) -> None:
    function = 'worker.py:no_threes' if not more else 'worker.py:as_set'  # which JSON does not know at 3
    done = command('map', *FORK, *more, '--on-error', on_error, function, stdin=LINES, code=1)
    assert command('results', 'job.db').stdout == done.stdout
    assert command('results', 'job.db', '--out', 'again.txt').stdout == b''
    rows = [json.loads(line) for line in command('results', 'job.db', '--format', 'jsonl').stdout.splitlines()]
    values = [row['value'] for row in rows if row['error'] is None]
    printed = done.stdout.decode().splitlines()
    assert values == ([json.loads(line) for line in printed] if more else printed)
    assert len([row for row in rows if row['error']]) == (200 - len(values))


def test_lines_of_a_csv_map(command: Command, folder: Path) -> None:
    done = command('map', *FORK, '--csv', '--chunksize', '1', 'worker.py:total', 'table.csv')
    assert command('results', 'job.db').stdout == done.stdout
    command('results', 'job.db', '--out', 'out.csv')
    with open(folder / 'out.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['name'], row['total']) for row in rows] == [('Ann', '3'), ('Bob, jr.', '7'), ('two\nlines', '11')]
    assert done.stdout.startswith(b'name,total\n')


def test_lines_with_the_answer_at_the_end(command: Command) -> None:
    done = command('map', *FORK, 'worker.py:finds', '--range', '0:100000')
    assert done.stdout.endswith(b'found 5000\n')
    assert command('results', 'job.db').stdout == done.stdout


JOB = """
    import os, eisenmp
    def double(number):
        return {'number': number, 'double': 2 * number}
    with eisenmp.imap(double, range(20000), job='imap.db', max_workers=2, engine='inline') as results:
        print(sum(result['double'] for result in results))
"""


def test_results_of_a_program(command: Command, folder: Path) -> None:
    write(folder, JOB, 'job.py')
    total = int(command('run', 'job.py').stdout)
    lines = command('results', 'imap.db').stdout.splitlines()
    assert sum(json.loads(line)['value']['double'] for line in lines) == total
    text = command('results', 'imap.db', '--format', 'csv', '--out', '-').stdout.decode()
    assert sum(int(row['double']) for row in csv.DictReader(io.StringIO(text))) == total
    command('results', 'imap.db', '-o', 'out.sqlite')
    db = sqlite3.connect(folder / 'out.sqlite')
    assert db.execute('SELECT sum(double), count(*) FROM results').fetchone() == (total, 20000)
    db.close()
    assert b"a stream" in command('results', 'imap.db', '--format', 'sqlite', code=2).stderr
    assert b'parquet' in command('results', 'imap.db', '--format', 'parket', code=2).stderr


def test_a_reader_that_leaves_ends_it_quietly(command: Command, folder: Path) -> None:
    write(folder, JOB, 'job.py')
    command('run', 'job.py')
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, 'results', 'imap.db'], cwd=folder, env=script_env(), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    _, told = process.communicate(timeout=ALARM)
    assert (process.returncode, told) == (141, b'')


def test_a_file_from_elsewhere(command: Command, folder: Path) -> None:
    write(folder, JOB, 'job.py')
    command('run', 'job.py')
    (folder / 'home' / 'eisenmp' / 'job.key').unlink()
    assert b'--trust' in command('results', 'imap.db', code=2).stderr
    assert command('results', 'imap.db', '--trust').stdout.count(b'\n') == 20000
    assert b'made by another user' in command('status', 'imap.db').stdout
