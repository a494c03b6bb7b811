"""The control socket: where it is, who gets in, what is said, and that nobody who listens badly holds a job up."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from eisenmp.control import Connection, ConnectionEnded, ControlServer, find_jobs
from eisenmp.control import server as server_module
from eisenmp.control.places import folder_for, is_own, listening_socket, own_folder, sockets, tidy
from eisenmp.control.protocol import Lines, encoded, request_of
from eisenmp.errors import JobOver, ProtocolError
from eisenmp.live import Live
from eisenmp.live.ears import Ears
from tests.support import ALARM, wait_until
from tests.unit.fakes import Heard
from tests.unit.test_live import busy_look

pytestmark = pytest.mark.skipif(not hasattr(socket, 'AF_UNIX'), reason='no such sockets here')


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's own place, with a short path: 107 letters are all that a socket's may have."""
    path = tempfile.mkdtemp(prefix='ctl')
    monkeypatch.setenv('XDG_RUNTIME_DIR', path)
    yield Path(path)
    shutil.rmtree(path)


class Steered:
    """What may be done to a job: notes it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, dict[str, Any]]] = []

    def can(self, snapshot: object) -> list[str]:
        return ['stop']

    def do(self, name: str, arguments: Mapping[str, Any]) -> str:
        if name == 'late':
            raise JobOver('too late')
        if name == 'odd':
            raise RuntimeError('something odd')
        self.done.append((name, dict(arguments)))
        return f'{name} was done'


class Bench:
    """A live view that somebody can watch from elsewhere."""

    def __init__(self) -> None:
        self.steered = Steered()
        seconds = iter(range(1, 1_000_000))
        look: Callable[[], Any] = lambda: busy_look(float(next(seconds)))  # noqa: E731
        self.live = Live({'name': 'job.py'}, look, Ears(Heard(), lambda: 0.0), self.steered, every=0.002)  # type: ignore[arg-type]
        self.server = ControlServer(lambda: self.live, lambda: {'name': 'job.py', 'pid': os.getpid()})
        self.server.open()
        self.open: list[Connection] = []

    def connect(self) -> Connection:
        self.open.append(Connection(self.server.path, patience=ALARM))
        return self.open[-1]

    def close(self) -> None:
        self.live.end()
        self.server.close()
        for connection in self.open:
            connection.close()


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def until(connection: Connection, *kinds: str) -> dict[str, Any]:
    """The next message of one of these kinds."""
    while True:
        message = connection.next_message(ALARM)
        assert message is not None, f'no {kinds}'
        if message['kind'] in kinds:
            return message


def ends_in_order(connection: Connection) -> bool:
    """Read to the end; whether the job has told of it."""
    while True:
        try:
            assert connection.next_message(ALARM) is not None
        except ConnectionEnded as ended:
            return ended.in_order


# ---- places


def test_the_folder_is_where_the_system_keeps_such_things() -> None:
    assert folder_for({'XDG_RUNTIME_DIR': '/run/user/7'}, 7, '/tmp') == '/run/user/7/eisenmp'
    assert folder_for({}, 7, '/tmp') == '/tmp/eisenmp-7'
    assert folder_for({'XDG_RUNTIME_DIR': 'here'}, 7, '/tmp') == '/tmp/eisenmp-7', 'a relative path says nothing'


def test_folder_and_socket_are_the_user_s_alone(bench: Bench, home: Path) -> None:
    assert stat.S_IMODE((home / 'eisenmp').stat().st_mode) == 0o700
    assert stat.S_IMODE(os.stat(bench.server.path).st_mode) == 0o600
    assert [path.name for path in (home / 'eisenmp').iterdir()] == [os.path.basename(bench.server.path)]


@pytest.mark.parametrize('room', [1, 2, 3])
def test_where_descriptors_run_out_nothing_is_left(home: Path, room: int) -> None:
    """A socket, a selector, and two for the one who wakes it."""
    resource = pytest.importorskip('resource')
    server = ControlServer(lambda: None, dict)  # type: ignore[arg-type,return-value]
    numbers = [os.dup(0) for _ in range(room + 1)]
    for number in numbers:
        os.close(number)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (numbers[-1], before[1]))
    try:
        with pytest.raises(OSError, match='Too many open files'):
            server.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert server.path == ''
    assert list((home / 'eisenmp').iterdir()) == []
    server.close()


@pytest.mark.parametrize('how', ['open to others', 'a link', 'a file'])
def test_a_folder_that_somebody_else_may_have_laid_there_is_not_used(home: Path, how: str) -> None:
    folder, elsewhere = home / 'eisenmp', home / 'elsewhere'
    elsewhere.mkdir(mode=0o700)
    if how == 'a link':
        folder.symlink_to(elsewhere)
    elif how == 'a file':
        folder.touch(mode=0o600)
    else:
        folder.mkdir()
        folder.chmod(0o750)
    for make in (True, False):
        with pytest.raises(PermissionError, match='not a folder that is open to this user alone'):
            own_folder(make=make)
    with pytest.raises(PermissionError):
        list(find_jobs())
    with pytest.raises(OSError):
        Bench()


def test_no_folder_no_jobs(home: Path) -> None:
    assert list(find_jobs()) == []
    assert not list(home.iterdir()), 'who only looks makes none'


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(home: Path, bench: Bench) -> None:
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait(ALARM)
    folder = home / 'eisenmp'
    for name in (f'{dead.pid}-1.sock', f'{os.getpid()}-999.sock'):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(folder / name))
    (folder / 'notes.txt').touch()
    alive, path = listening_socket(str(folder))  # as of a process in another container, whose number is nobody's here
    os.rename(path, folder / f'{dead.pid}-2.sock')
    with alive:
        tidy(str(folder))
        left = sorted(path for _, path in sockets(str(folder)))
        assert str(folder / f'{dead.pid}-1.sock') not in left
        assert len(left) == 3
    assert [found.name for found in find_jobs()] == ['job.py']
    assert sorted(path.name for path in folder.iterdir()) == sorted([os.path.basename(bench.server.path), 'notes.txt'])


def test_a_path_that_is_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path / ('x' * 100)))
    (tmp_path / ('x' * 100)).mkdir()
    with pytest.raises(OSError):
        Bench()
    assert list((tmp_path / ('x' * 100) / 'eisenmp').iterdir()) == []


@pytest.mark.parametrize('more', range(4))
def test_a_process_that_may_open_no_more_files(home: Path, more: int) -> None:
    """Wherever it fails: nothing is left open (see conftest.py), and no name."""
    resource = pytest.importorskip('resource')
    folder = own_folder(make=True)
    server = ControlServer(lambda: Pump(), dict)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + more, before[1]))
    try:
        with pytest.raises(OSError, match='Too many open files'):
            server.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert folder is not None
    assert os.listdir(folder) == []


def test_who_knocks_when_there_is_no_descriptor_left_is_let_in_later(bench: Bench) -> None:
    resource = pytest.importorskip('resource')
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as sock:
        with open(os.devnull) as last:
            resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), before[1]))
        try:
            sock.settimeout(ALARM)
            sock.connect(bench.server.path)
            spent = time.process_time()
            time.sleep(0.3)
            assert time.process_time() - spent < 0.2, 'it does not try all the time'
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert sock.recv(4096).startswith(b'{"kind":"hello"')


def test_who_is_at_the_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert is_own(one)
        if hasattr(socket, 'SO_PEERCRED'):
            monkeypatch.setattr(os, 'getuid', lambda: 12345)
            assert is_own(one) is (os.geteuid() == 0), 'root may'


def test_nobody_else_gets_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, 'is_own', lambda sock: False)
    with pytest.raises(ConnectionEnded):
        bench.connect()


# ---- lines


def test_lines_come_in_pieces() -> None:
    lines = Lines(10)
    assert [lines.add(piece) for piece in (b'ab', b'c\nd', b'\n\nef', b'\n')] == [[], [b'abc'], [b'd', b''], [b'ef']]
    assert lines.add(b'0123456789') == []
    with pytest.raises(ProtocolError, match='more than 10 bytes'):
        lines.add(b'x')


def test_requests() -> None:
    assert request_of(b'{"do": "watch"}') == ('watch', None, {})
    assert request_of(b'{"do": "restart", "id": 3, "with": {"slot": 1}}') == ('restart', 3, {'slot': 1})


BAD = [b'', b'no', b'[]', b'{}', b'{"do": 3}', b'{"do": "x", "id": "1"}', b'{"do": "x", "with": []}', b'[' * 4000]


@pytest.mark.parametrize('line', BAD)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        request_of(line)


# ---- watching


def test_the_past_and_then_each_state_and_the_end(bench: Bench) -> None:
    connection = bench.connect()
    assert connection.job == {'name': 'job.py', 'pid': os.getpid()}
    connection.watch()
    assert until(connection, 'history', 'state')['kind'] == 'history'
    first, second = until(connection, 'state'), until(connection, 'state')
    assert second['n'] == first['n'] + 1
    bench.live.end()
    bench.server.close()
    assert ends_in_order(connection)
    assert not os.path.exists(bench.server.path)
    assert list(find_jobs()) == []


def test_who_does_not_watch_costs_the_job_nothing(bench: Bench) -> None:
    (found,) = find_jobs()
    assert (found.name, found.pid, found.path) == ('job.py', os.getpid(), bench.server.path)
    assert bench.connect().next_message(0.05) is None
    assert bench.live.state is None, 'nobody has looked at the job'


def test_who_came_without_watching_hears_of_the_end(bench: Bench) -> None:
    connection = bench.connect()
    bench.server.close()
    assert ends_in_order(connection)


def test_actions_and_their_answers(bench: Bench) -> None:
    connection, other = bench.connect(), bench.connect()
    connection.watch()
    numbers = [connection.ask('restart', slot=1), connection.ask('late'), connection.ask('odd')]
    answers = [until(connection, 'said', 'error') for _ in range(3)]
    assert [(answer['id'], answer['kind'], answer['text']) for answer in answers] == [
        (numbers[0], 'said', 'restart was done'),
        (numbers[1], 'error', 'too late'),
        (numbers[2], 'error', 'RuntimeError: something odd'),
    ]
    assert bench.steered.done == [('restart', {'slot': 1})]
    assert other.next_message(0.02) is None, 'whoever asks is answered'


class Pump:
    """Shows what a test says, when it says so. States are large: what the kernel keeps is soon full."""

    actions = None

    def __init__(self) -> None:
        self.n = 0
        self.sends: list[Callable[[bytes], None]] = []

    def subscribe(self, send: Callable[[bytes], None]) -> Callable[[], None]:
        send(json.dumps({'kind': 'history', 'n': self.n}).encode())
        self.sends.append(send)
        return lambda: self.sends.remove(send)

    def tell(self) -> None:
        self.n += 1
        for send in tuple(self.sends):
            send(json.dumps({'kind': 'state', 'n': self.n, 'more': 'x' * 50_000}).encode())


def test_somebody_who_reads_nothing_holds_nobody_up_and_gets_the_past_anew_when_he_reads_on(home: Path) -> None:
    pump = Pump()
    server = ControlServer(lambda: pump, dict)
    server.open()
    slow, quick = Connection(server.path), Connection(server.path)
    try:
        for connection in (slow, quick):
            connection.watch()
            assert until(connection, 'history')['n'] == 0
        while not any(client.behind for client in server._clients):
            pump.tell()
            assert until(quick, 'state')['n'] == pump.n, 'none is left out'
            assert pump.n < 1000
        assert max(sum(map(len, client._box)) for client in server._clients) < 25 * 50_000
        seen = 0
        while (message := until(slow, 'state', 'history'))['kind'] == 'state':
            assert message['n'] == seen + 1
            seen += 1
        assert message['n'] == pump.n > seen, 'what lay in the box is lost, and told anew'
        pump.tell()
        assert until(slow, 'state', 'history')['n'] == until(quick, 'state')['n'] == pump.n
    finally:
        server.close()
        slow.close()
        quick.close()


def test_a_stopped_one_does_not_delay_the_end(bench: Bench) -> None:
    slow = bench.connect()
    slow.watch()
    until(slow, 'state')
    bench.live.end()
    began = time.monotonic()
    bench.server.close()
    assert time.monotonic() - began < ALARM
    assert not any(thread.name == 'eisenmp-control' for thread in threading.enumerate())


def test_whoever_leaves_is_forgotten(bench: Bench) -> None:
    for _ in range(3):
        connection = bench.connect()
        connection.watch()
        until(connection, 'state')
        connection.close()
    wait_until(lambda: not bench.server._clients and not bench.live._sends, 'they are forgotten')


@pytest.mark.parametrize('said', [b'nonsense\n', b'x' * 5000, b'{"do": 1}\n', encoded({'do': 'watch', 'with': 3})])
def test_whoever_talks_nonsense_is_shown_out_and_nobody_else(bench: Bench, said: bytes) -> None:
    good = bench.connect()
    good.watch()
    with socket.socket(socket.AF_UNIX) as bad:
        bad.settimeout(ALARM)
        bad.connect(bench.server.path)
        bad.sendall(said)
        while bad.recv(4096):
            pass
    until(good, 'state')


def test_only_so_many_at_a_time(bench: Bench) -> None:
    many = [bench.connect() for _ in range(16)]
    with pytest.raises(ConnectionEnded):
        bench.connect()
    many[0].close()
    wait_until(lambda: len(bench.server._clients) < 16, 'there is room')
    bench.connect()


# ---- the other side


def test_a_job_that_does_not_answer_is_named(home: Path) -> None:
    folder = own_folder(make=True)
    assert folder is not None
    sock, path = listening_socket(folder)
    with sock, pytest.raises(OSError):
        Connection(path, patience=0.01)
    os.unlink(path)


@pytest.mark.parametrize('line', [b'{"kind": "hello", "protocol": 99}\n', b'{"kind": "state"}\n', b'[]\n', b'hello\n'])
def test_a_job_that_speaks_otherwise(home: Path, line: bytes) -> None:
    folder = own_folder(make=True)
    assert folder is not None
    sock, path = listening_socket(folder)
    sock.setblocking(True)

    def answer() -> None:
        theirs, _ = sock.accept()
        with theirs:
            theirs.sendall(line)
            theirs.recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    with sock, pytest.raises(ProtocolError):
        Connection(path, patience=ALARM)
    thread.join(ALARM)
    assert json.loads(encoded({'a': 1})) == {'a': 1}
