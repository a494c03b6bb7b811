"""What can be told beforehand about a machine, and afterwards about an error of its."""

import errno
import os
import socket
import sys

import pytest

from eisenmp.engines import processes
from eisenmp.surroundings import check_all, hint
from eisenmp.unnamed import clear_of_streams


def named() -> dict[str, tuple[bool, str]]:
    return {check.name: (check.ok, check.follows) for check in check_all()}


def test_all_is_there() -> None:
    checks = named()
    assert list(checks) == ['interpreter', 'shared memory', 'descriptors by message', 'process handles', 'open files']
    assert all(follows for _, follows in checks.values())
    assert checks['interpreter'] == (True, 'any start method')


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'executable', '')
    monkeypatch.delattr(socket, 'send_fds', raising=False)
    monkeypatch.delattr(os, 'pidfd_open', raising=False)
    monkeypatch.setattr('eisenmp.ring._new_file', lambda: os.open('/no/such/file', os.O_RDWR))
    checks = named()
    assert [name for name, (ok, _) in checks.items() if not ok][:4] == list(checks)[:4]
    assert 'fork' in checks['interpreter'][1]


@pytest.mark.parametrize(
    ('number', 'word'), [(errno.EMFILE, 'ulimit -n'), (errno.ENFILE, 'system'), (errno.EAGAIN, 'ulimit -u')]
)
def test_a_limit_is_named(number: int, word: str) -> None:
    assert word in hint(OSError(number, 'x'))


def test_what_is_no_limit_has_no_hint() -> None:
    assert hint(FileNotFoundError(errno.ENOENT, 'x')) == ''


def test_the_numbers_of_standard_streams_are_left_free(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    assert clear_of_streams(read) == read > 2
    os.close(read)
    os.close(write)
    kept = os.dup(0)
    try:
        os.close(0)
        assert os.open(os.devnull, os.O_RDONLY) == 0
        moved = clear_of_streams(0)
        assert moved > 2
        assert not os.get_inheritable(moved)
        with pytest.raises(OSError):
            os.fstat(0)
        os.close(moved)
        ends = processes.socket_pair()
        assert min(end.fileno() for end in ends) > 2
        ends[0].send(b'x')
        assert ends[1].recv(1) == b'x'
        for end in ends:
            end.close()
        assert processes._stream(0) is not None
    finally:
        os.dup2(kept, 0)
        os.close(kept)
