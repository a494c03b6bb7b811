"""The real command, in a process of its own, in a folder of its own with real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import ALARM, ROOT, script_env, write

WORKER: Final = """
    import os, time
    import eisenmp

    def upper(line):
        return line.upper()

    def same(item):
        return item

    def length(line):
        return len(line)

    def nothing(line):
        print('seen', line)

    def no_threes(line):
        if '3' in line:
            raise ValueError(f'no threes: {line}')
        return line

    def total(row):
        return {'name': row['name'], 'total': int(row['a']) + int(row['b'])}

    def slow(line):
        time.sleep(0.05)
        return line

    def dies_of_seven(line):
        if line == '7':
            os._exit(3)
        return line

    def hangs_at_seven(line):
        if line == '7':
            time.sleep(600)
        return line

    def leaves(line):
        raise SystemExit(4)

    def finds(item):
        if item == 5000:
            raise eisenmp.StopJob('found 5000')

    tries = []

    def third_time(line):
        tries.append(line)
        if tries.count(line) < 3:
            raise OSError('not yet')
        return line

    def as_set(item):
        return {item} if item == 3 else item

    def bytes_of(line):
        return line.encode('utf-8', 'surrogateescape')
"""

COMMAND: Final = [sys.executable, '-W', 'error', '-m', 'eisenmp']

Command = Callable[..., 'subprocess.CompletedProcess[bytes]']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a worker file, a word list, and a table."""
    write(tmp_path, WORKER)
    words = (ROOT / 'README.md').read_text('utf-8').split()
    (tmp_path / 'words.txt').write_text('\n'.join(words) + '\n', 'utf-8')
    (tmp_path / 'table.csv').write_text('name,a,b\nAnn,1,2\n"Bob, jr.",3,4\n"two\nlines",5,6\n', 'utf-8')
    return tmp_path


@pytest.fixture
def command(folder: Path) -> Command:
    """Run it and check its exit code: command('map', 'worker.py:upper', stdin=b'...', code=0)."""

    def run(*arguments: str, stdin: bytes = b'', code: int = 0, **options: Any) -> subprocess.CompletedProcess[bytes]:
        if 'stdin' not in options:
            options['input'] = stdin
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=folder, env=script_env(), capture_output=True, timeout=ALARM, **options
        )
        assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr.decode()[-4000:])
        return done

    return run
