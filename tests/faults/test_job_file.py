"""Bad days of a job file: its manager is killed, the disk is full, the file is not what it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eisenmp.jobfile import JobReader
from eisenmp.jobfile.opening import file_system
from tests.support import ROOT, script_env, strict, write


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ('how', 'jobs', 'seed'), [('time', 15, 1), ('commit', 6, 2001)], ids=['at any time', 'at a commit']
)
def test_killed_again_and_again(tmp_path: Path, how: str, jobs: int, seed: int) -> None:
    command = [sys.executable, '-m', 'tests.faults.killed_jobs', str(tmp_path), '--how', how]
    done = subprocess.run(
        [*command, '--jobs', str(jobs), '--seed', str(seed)], cwd=ROOT, env=script_env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(job['seed'], job['wrong']) for job in told if job['wrong']] == [], done.stderr
    assert len(told) == jobs
    assert sum(job['kills'] for job in told) >= jobs
    assert any(job['again'] for job in told)


# ---- no room

FULL = """
    import resource, sys, time
    import eisenmp

    def large(item):
        time.sleep(0.002)  # more than one commit fits
        return b"x" * 20_000

    def go():
        with eisenmp.imap(large, range(200), job=sys.argv[1], engine='inline', max_workers=1, chunksize=2) as results:
            return sum(map(len, results))

    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        print(go())
    except eisenmp.JobFileError as error:
        print(error)
"""


def go(folder: Path, *arguments: str) -> str:
    script = write(folder, textwrap.dedent(FULL), 'script.py')
    done = subprocess.run(
        [sys.executable, *strict(), script, *arguments], env=script_env(), capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    return done.stdout.strip()


def goes_on_after(path: Path, folder: Path) -> None:
    """The file is whole, says what has happened, and the next start goes on."""
    with JobReader(str(path)) as reader:
        summary = reader.summary()
        assert 0 < summary.queues[0].finished < 100
        assert summary.runs[0].ended in (None, 'JobFileError')
        assert summary.owner is None
    assert go(folder, str(path)) == str(200 * 20_000)
    with JobReader(str(path)) as reader:
        assert reader.summary().state == 'complete'


@pytest.mark.skipif(sys.platform == 'win32', reason='no such limit')
def test_a_limit_of_size(tmp_path: Path) -> None:
    path = tmp_path / 'job.db'
    said = go(tmp_path, str(path), str(1 << 20))
    assert f'the job file {path} cannot be written: ' in said
    assert 'what is recorded so far is safe' in said
    goes_on_after(path, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of two mebibytes."""
    place = tmp_path / 'disk'
    place.mkdir()
    try:
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place], capture_output=True)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip('no right to mount a small disk')
    yield place
    subprocess.run(['umount', '--lazy', place], check=True)


def test_a_full_disk(tmp_path: Path, small: Path) -> None:
    path = small / 'job.db'
    said = go(tmp_path, str(path))
    assert f'the job file {path} cannot be written: database or disk is full. ' in said
    assert 'make room and start the program again' in said
    subprocess.run(['mount', '-o', 'remount,size=64m', small], check=True)
    goes_on_after(path, tmp_path)


@pytest.mark.parametrize('what', ['folder', 'file'])
def test_read_only(tmp_path: Path, what: str) -> None:
    folder = tmp_path / 'jobs'
    folder.mkdir()
    path = folder / 'job.db'
    go(tmp_path, str(path))
    closed = folder if what == 'folder' else path
    closed.chmod(0o500)
    if os.access(closed, os.W_OK):
        pytest.skip('this user may write anywhere')
    assert 'must be writable' in go(tmp_path, str(path))


def test_a_disk_that_is_read_only(tmp_path: Path, small: Path) -> None:
    subprocess.run(['mount', '-o', 'remount,size=64m', small], check=True)
    path = small / 'job.db'
    assert go(tmp_path, str(path)) == '4000000'
    subprocess.run(['mount', '-o', 'remount,ro', small], check=True)
    assert 'The file and its folder must be writable' in go(tmp_path, str(path))
    with JobReader(str(path)) as reader:  # but it can be read
        assert reader.summary().state == 'complete'
        assert len(list(reader.outcomes('mp_input_q (default)'))) == 100
    assert 'cannot be made' in go(tmp_path, str(small / 'other.db'))


# ---- where it lies

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw shared:2 - nfs4 server:/export rw
31 30 0:41 / /data/local\\040disk rw - xfs /dev/sdb1 rw
40 22 0:50 / /far rw - fuse.sshfs me@there:/ rw
broken
"""


@pytest.mark.parametrize(
    ('path', 'kind'),
    [
        ('/home/job.db', 'ext4'), ('/data/job.db', 'nfs4'), ('/data/local disk/job.db', 'xfs'), ('/database', 'ext4'),
        ('/far/a/b.db', 'fuse.sshfs'),
    ],
)  # fmt: skip
def test_file_systems(path: str, kind: str) -> None:
    assert file_system(MOUNTS, path) == kind


def test_a_network_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import eisenmp
    from eisenmp.jobfile import opening

    monkeypatch.setattr(opening, 'file_system', lambda *_: 'nfs4')
    options: dict[str, Any] = {'engine': 'inline', 'job': str(tmp_path / 'job.db')}
    with pytest.warns(RuntimeWarning, match=r'network file system \(nfs4\)') as caught:
        assert list(eisenmp.imap(len, ['a'], **options)) == [1]
    assert caught[0].filename == __file__
