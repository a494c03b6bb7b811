"""``eisenmp map`` among other programs: pipes that pause and close, full disks, Ctrl-C, files that appear at once."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import COMMAND, Command
from tests.support import ALARM, script_env, wait_until


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """`eisenmp map`, in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, 'map', *arguments],
        cwd=folder,
        env=script_env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_results_come_while_the_input_pauses(folder: Path) -> None:
    with start(folder, 'worker.py:upper') as job:
        assert job.stdin is not None
        assert job.stdout is not None
        for line in (b'one\n', b'two\n', b'three\nfour\n'):
            job.stdin.write(line)
            job.stdin.flush()
            assert os.read(job.stdout.fileno(), 100).startswith(line.split()[0].upper())
        job.stdin.close()
        assert job.wait(ALARM) == 0


def shell(folder: Path, pipeline: str) -> tuple[list[int], str, str, float]:
    """(exit code of each program, stdout, stderr, seconds)"""
    command = shlex.join(COMMAND)
    script = f'eisenmp() {{ exec {command} "$@"; }}; {pipeline}; echo "${{PIPESTATUS[@]}}" >&3'
    read, write = os.pipe()
    began = time.monotonic()
    script = script.replace('>&3', f'>&{write}')
    done = subprocess.run(
        ['bash', '-c', script], cwd=folder, env=script_env(), capture_output=True, timeout=ALARM, pass_fds=(write,)
    )
    os.close(write)
    with os.fdopen(read) as codes:
        return (
            list(map(int, codes.read().split())),
            done.stdout.decode(),
            done.stderr.decode(),
            time.monotonic() - began,
        )


def test_head_ends_an_endless_job(folder: Path) -> None:
    codes, out, err, _ = shell(folder, 'yes | (eisenmp map worker.py:upper) | head -2')
    assert out == 'Y\nY\n'
    assert err == ''
    assert codes[1:] == [141, 0]


def test_a_reader_that_leaves_is_noticed_between_two_results(folder: Path) -> None:
    """Nothing is written any more, so no write can tell: the input gives one line and then waits."""
    with start(folder, 'worker.py:upper') as job:
        assert job.stdin is not None
        assert job.stdout is not None
        job.stdin.write(b'one\n')
        job.stdin.flush()
        assert os.read(job.stdout.fileno(), 100) == b'ONE\n'
        job.stdout.close()
        assert job.wait(5) == 141
        assert job.stderr is not None
        assert job.stderr.read() == b''


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
@pytest.mark.parametrize('where', ['> /dev/full', '--out /dev/full'])
def test_a_full_disk(folder: Path, where: str) -> None:
    codes, _, err, _ = shell(folder, f'(eisenmp map worker.py:upper words.txt {where}) | cat')
    assert codes == [3, 0]
    assert 'cannot be written: No space left on device' in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ('closed', 'code', 'words'),
    [('<&-', 2, 'no standard input'), ('>&- <words.txt', 3, 'no standard output'), ('2>&- <words.txt', 0, '')],
)
def test_streams_that_are_closed(folder: Path, closed: str, code: int, words: str) -> None:
    codes, _, err, _ = shell(folder, f'(eisenmp map worker.py:upper {closed}) | cat')
    assert codes == [code, 0]
    assert words in err
    codes, out, _, _ = shell(folder, '(eisenmp map worker.py:upper words.txt <&-) | cat')
    assert codes == [0, 0]
    assert out == (folder / 'words.txt').read_text('utf-8').upper()


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c(folder: Path, number: int, code: int) -> None:
    (folder / 'out').write_text('before')
    with start(folder, 'worker.py:slow', '--range', '0:1000000', '--chunksize', '1', '--out', 'out') as job:
        try:
            wait_until(lambda: any(path.stat().st_size for path in folder.glob('.out.*')), 'the first result')
            children = psutil.Process(job.pid).children(recursive=True)
            assert children
            began = time.monotonic()
            os.killpg(job.pid, number) if number == signal.SIGINT else job.send_signal(number)
            _, err = job.communicate(timeout=ALARM)
            assert time.monotonic() - began < 2
        finally:
            job.kill()
    assert job.returncode == code
    wait_until(lambda: not any(child.is_running() for child in children), 'the end of all processes')
    assert len(err.splitlines()) <= 2, err
    assert b'Traceback' not in err
    assert (folder / 'out').read_text() == 'before'
    assert list(folder.glob('.out.*')) == []


def test_out_appears_when_all_is_done(command: Command, folder: Path) -> None:
    out = folder / 'out.txt'
    command('map', 'worker.py:upper', 'words.txt', '--out', 'out.txt')
    first = out.read_bytes()
    assert first.decode() == (folder / 'words.txt').read_text('utf-8').upper()
    out.chmod(0o640)
    (folder / 'link').symlink_to(out)
    assert command('map', 'worker.py:upper', 'out.txt', '-o', 'link').stdout == b''  # its own input
    assert out.read_bytes() == first
    assert out.stat().st_mode & 0o777 == 0o640
    assert (folder / 'link').is_symlink()
    command('map', 'worker.py:no_threes', '--range', '0:9', '-o', 'out.txt', code=1)
    assert out.read_bytes() == first  # a job that has failed leaves it alone
    assert list(folder.glob('.out*')) == []


def test_memory_stays_flat_when_nobody_reads(folder: Path) -> None:
    """An endless input and a reader that takes nothing: the input is read no further than the window."""
    with start(folder, 'worker.py:same', '--range', f'0:{10**18}', '-j', '1') as job:
        try:
            assert job.stdout is not None
            os.read(job.stdout.fileno(), 100)
            process = psutil.Process(job.pid)
            time.sleep(0.5)
            before = process.memory_info().rss
            time.sleep(1)
            assert process.memory_info().rss - before < 50_000_000
        finally:
            if job.stdout is not None:
                job.stdout.close()
            assert job.wait(ALARM) == 141
