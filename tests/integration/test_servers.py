"""Long-lived workers: servers that keep their ports, are looked after, replaced one by one, and ended in good order."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp.listeners import SPREADS
from eisenmp.traffic import _LISTEN, _dump
from tests.support import ALARM, FORKS, Lab, script_env, wait_until, write

pytestmark = FORKS
LINUX = pytest.mark.skipif(not SPREADS, reason='sockets of their own on one port: on Linux only')

# Answers '<pid> <slot>'. With SIGTERM it answers what it has accepted and leaves. /hang: never.
HTTP = """
    import os
    import signal
    import threading
    import time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    import eisenmp

    def serve(sock, slot):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == '/hang':
                    threading.Event().wait()
                body = f'{os.getpid()} {slot}'.encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *args):
                pass

        server = ThreadingHTTPServer(sock.getsockname()[:2], Handler, bind_and_activate=False)
        server.daemon_threads = False
        server.socket.close()
        server.socket = sock
        return server

    def serve_until_sigterm(*servers):
        asked = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
        threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
        for thread in threads:
            thread.start()
        while not asked:
            time.sleep(0.01)  # a wait without an end might sleep through a signal that comes just before it
        for server in servers:
            server.shutdown()
            server.server_close()  # waits for what is being answered
"""
ONE_PORT = (
    HTTP
    + """
    def entry(toolbox):
        serve_until_sigterm(serve(eisenmp.listen(0), toolbox.START_SEQUENCE_NUM))
        toolbox.mp_output_q.put(('ended', toolbox.START_SEQUENCE_NUM))
        return False
"""
)
# Takes one port number for good.
OWN_PORT = (
    HTTP
    + """
    def entry(toolbox):
        _, *ports = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in ports:
            return False
        slot = toolbox.START_SEQUENCE_NUM
        servers = [serve(eisenmp.listen(port), slot) for port in ports]
        toolbox.mp_output_q.put((slot, ports, os.getpid()))
        serve_until_sigterm(*servers)
        return False
"""
)


@pytest.fixture
def fork_lab(tmp_path: Path) -> Iterator[Lab]:
    """Processes that start soonest."""
    made = Lab(tmp_path, 'fork')
    yield made
    made.close()


def ask(port: int, path: str = '/', timeout: float = ALARM) -> list[str]:
    """What the server says, in words."""
    with urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=timeout) as answer:
        return str(answer.read().decode()).split()


def up_and_listening(emp: eisenmp.Mp, addresses: int = 1) -> list[int]:
    """The ports, once all workers are up."""
    wait_until(lambda: len(emp.listening) >= addresses and all(w.phase == 'up' for w in emp.snapshot().workers))
    return [port for _, port in emp.listening]


def stop(pid: int) -> None:
    """Stop a process, and all its threads, for certain."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f'/proc/{pid}/task')
    if tasks.is_dir():
        wait_until(lambda: all(') T ' in (task / 'stat').read_text() for task in tasks.iterdir()))


def free_ports(count: int) -> list[int]:
    socks = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Crowd:
    """Clients that ask again and again, each time by a new connection."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.answers: Counter[str] = Counter()  # by slot
        self.failures: list[BaseException] = []
        self._port = port
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._enough.is_set():
            try:
                self.answers[ask(self._port)[1]] += 1
            except Exception as error:
                self.failures.append(error)
                time.sleep(0.01)  # a server that is gone: no storm of failures

    def close(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()


# ---- port groups


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_port_groups_by_category(tmp_path: Path, method: str) -> None:
    """As the seed has them: queues by category, the sequence number decides, a chunk is a group of ports."""
    lab = Lab(tmp_path, method)
    worker = OWN_PORT.replace(
        "toolbox.mp_input_q", "(toolbox.batch_1, toolbox.batch_7)[toolbox.START_SEQUENCE_NUM]['ports']"
    )
    ports = free_ports(4)
    emp = lab.mp()
    emp.queue_cust_dict_category_create(('batch_1', 'ports', 1), ('batch_7', 'ports', 1))
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=2)
    emp.run_q_feeder(generator=iter(ports[:2]), input_q=emp.queue_cust_dict_cat['batch_1']['ports'])
    emp.run_q_feeder(generator=iter(ports[2:]), input_q=emp.queue_cust_dict_cat['batch_7']['ports'])
    groups = {slot: (group, pid) for slot, group, pid in (emp.mp_output_q.get(timeout=ALARM) for _ in range(2))}
    assert {slot: group for slot, (group, _) in groups.items()} == {0: ports[:2], 1: ports[2:]}
    for at, port in enumerate(ports):
        assert ask(port) == [str(groups[at // 2][1]), str(at // 2)]
    assert not emp.begin_proc_shutdown
    emp.terminate()
    results = emp.wait(ALARM)
    assert [len(results[f'{category}|ports'].done) for category in ('batch_1', 'batch_7')] == [1, 1]
    lab.close()


def test_a_process_lives_while_its_servers_do(fork_lab: Lab) -> None:
    """The entry function starts them in threads and returns; the job is over then, the process is not."""
    worker = (
        HTTP
        + """
    def entry(toolbox):
        _, *ports = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in ports:
            return False
        servers = [serve(eisenmp.listen(port), 0) for port in ports]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        signal.signal(signal.SIGTERM, lambda *_: [server.shutdown() for server in servers])
        return False
"""
    )
    ports = free_ports(2)
    emp = fork_lab.mp()
    fork_lab.start(emp, worker, NUM_ROWS=2)
    emp.feed(ports)
    emp.wait(ALARM)
    assert emp.begin_proc_shutdown
    pids = {ask(port)[0] for port in ports}
    assert pids == {str(emp.proc_list[0].pid)}
    assert not emp.join(0)
    with pytest.raises(eisenmp.JobOver, match='entry function has returned'):
        emp.restart(0)
    emp.terminate()
    assert emp.join(ALARM)
    assert emp.proc_list[0].exitcode == 0


def test_nobody_hoards_port_numbers_that_it_does_not_ask_for(fork_lab: Lab) -> None:
    """A worker that took some in no time looks like one that could do with more; it will not ask again."""
    worker = """
        import os, threading

        def entry(toolbox):
            taken = []
            for _ in range(toolbox.MANY[toolbox.START_SEQUENCE_NUM]):
                taken.append(toolbox.mp_input_q.get()[1])
            toolbox.mp_output_q.put((toolbox.START_SEQUENCE_NUM, taken))
            toolbox.hold_q.get()  # serves from now on
            return False
    """
    emp = fork_lab.mp()
    emp.add_queue('hold_q')
    emp.feed(range(5000, 5012))
    fork_lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1, MANY=(9, 3))
    taken = dict(emp.mp_output_q.get(timeout=ALARM) for _ in range(2))
    assert [len(taken[slot]) for slot in (0, 1)] == [9, 3]
    assert sorted(taken[0] + taken[1]) == list(range(5000, 5012))
    assert emp.mp_input_q.qsize() == 0
    for _ in range(2):
        emp.queues['hold_q'].put('enough')
    emp.wait(ALARM)


# ---- supervision


def test_dead_servers_get_their_own_ports_back(fork_lab: Lab) -> None:
    ports = free_ports(2)
    emp = fork_lab.mp()
    fork_lab.start(emp, OWN_PORT, NUM_PROCS=2, NUM_ROWS=1, RESTARTS=20, CRASH_RETRIES=0)
    emp.feed(ports)
    first = {slot: (group, pid) for slot, group, pid in (emp.mp_output_q.get(timeout=ALARM) for _ in range(2))}
    for _ in range(3):
        victims = [(slot, handle.pid) for slot, handle in enumerate(emp.proc_list)]
        for slot, pid in victims if _ else victims[::-1]:
            assert first[slot][1] == pid
            os.kill(pid, signal.SIGKILL)
        again = {slot: (group, pid) for slot, group, pid in (emp.mp_output_q.get(timeout=ALARM) for _ in range(2))}
        assert {slot: group for slot, (group, _) in again.items()} == {slot: g for slot, (g, _) in first.items()}
        first = again
    for slot, (group, pid) in first.items():
        assert ask(group[0]) == [str(pid), str(slot)]
    assert [worker.restarts for worker in emp.snapshot().workers] == [3, 3]
    emp.terminate()
    results = emp.wait(ALARM)
    assert [(outcome.value, outcome.error, outcome.attempts) for outcome in results['mp_input_q']] == [
        (None, None, 4)
    ] * 2


def test_a_server_that_dies_too_often_ends_the_job_with_words(fork_lab: Lab) -> None:
    worker = """
        import os

        def entry(toolbox):
            toolbox.mp_input_q.get()
            os._exit(7)
    """
    emp = fork_lab.mp()
    fork_lab.start(emp, worker, NUM_ROWS=1, RESTARTS=2)
    emp.feed([5000])
    with pytest.raises(eisenmp.WorkerStartError, match=r'slot 0 died 3 times within 60 s.*RESTARTS=2.*exit code 7'):
        emp.wait(ALARM)


@LINUX
def test_what_waits_in_the_queue_of_a_dead_server_is_answered_by_the_next(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, ONE_PORT, RESTARTS=5)
    (port,) = up_and_listening(emp)
    before = ask(port)[0]
    stop(int(before))
    clients = [socket.create_connection(('127.0.0.1', port)) for _ in range(5)]
    for client in clients:
        client.sendall(b'GET / HTTP/1.0\r\n\r\n')
    os.kill(int(before), signal.SIGKILL)
    for client in clients:
        client.settimeout(ALARM)
        answer = b''
        while more := client.recv(1 << 16):
            answer += more
        assert answer.startswith(b'HTTP/1.0 200')
        assert not answer.endswith(f'{before} 0'.encode())
        client.close()


@LINUX
def test_a_hung_server_is_found_among_those_of_its_port(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, ONE_PORT, NUM_PROCS=2, RESTARTS=5, HEALTH_CHECK='/', HEALTH_EVERY=0.05, HEALTH_TIMEOUT=1.0)
    up_and_listening(emp)
    wait_until(lambda: all(worker.healthy for worker in workers_of(emp)), 'the first checks')
    pids = [handle.pid for handle in emp.proc_list]
    stop(pids[1])
    wait_until(lambda: emp.proc_list[1].pid != pids[1], 'the hung one is replaced')
    assert emp.proc_list[0].pid == pids[0], 'the other one is left alone'
    assert emp.snapshot().workers[1].restarts == 1


def workers_of(emp: eisenmp.Mp) -> list[Any]:
    job = emp._job
    assert job is not None
    with job.lock:
        return list(job.crew.workers.values())


def test_a_check_that_is_a_function_may_hang_itself(fork_lab: Lab) -> None:
    """It runs in the manager, and is the one who knows what is wrong."""
    release = threading.Event()
    seen: list[Any] = []

    def check(worker: Any) -> bool:
        seen.append(worker)
        if len(seen) == 2:
            release.wait()
        return True

    emp = fork_lab.mp()
    fork_lab.start(emp, ONE_PORT, RESTARTS=5, HEALTH_CHECK=check, HEALTH_EVERY=0.02, HEALTH_TIMEOUT=0.3)
    up_and_listening(emp)
    before = emp.proc_list[0].pid
    wait_until(lambda: emp.proc_list[0].pid != before)
    wait_until(lambda: len(seen) > 3, 'the next process is checked although the last check still hangs')
    assert (seen[0].slot, seen[0].name, seen[0].pid) == (0, 'Process-1', before)
    assert seen[-1].addresses == tuple(emp.listening)
    assert seen[-1].pid == emp.proc_list[0].pid
    release.set()


# ---- restarts


@LINUX
@pytest.mark.parametrize('method', ['spawn', 'fork'])
def test_a_rolling_restart_loses_no_request(tmp_path: Path, method: str) -> None:
    lab = Lab(tmp_path, method)
    emp = lab.mp()
    lab.start(emp, ONE_PORT, NUM_PROCS=2, HEALTH_CHECK='/')
    (port,) = up_and_listening(emp)
    before = [handle.pid for handle in emp.proc_list]
    crowd = Crowd(port)
    try:
        wait_until(lambda: len(crowd.answers) == 2, 'both answer')
        emp.restart_all(ALARM)
        after = [handle.pid for handle in emp.proc_list]
        crowd.answers.clear()
        wait_until(lambda: len(crowd.answers) == 2, 'both answer again')
    finally:
        crowd.close()
    assert crowd.failures == []
    assert not set(before) & set(after)
    assert [emp.mp_output_q.get(timeout=ALARM) for _ in range(2)] == [('ended', 0), ('ended', 1)]
    assert [worker.restarts for worker in emp.snapshot().workers] == [0, 0], 'it is no death'
    lab.close()


# Connections are kept open until the worker is about to leave: the answer says so then, as Farewell of examples/asgi.
FAREWELL = (
    ONE_PORT.replace("def do_GET", "protocol_version = 'HTTP/1.1'\n\n            def do_GET")
    .replace("def serve(sock, slot):", "def serve(sock, slot, leaving):")
    .replace("toolbox.START_SEQUENCE_NUM))", "toolbox.START_SEQUENCE_NUM, toolbox.leaving))", 1)
    .replace(
        "self.end_headers()",
        "self.send_header(*(('Connection', 'close') if leaving.is_set() else ('X-Stay', '1')))"
        "\n                self.end_headers()",
    )
)


class Regulars(Crowd):
    """Clients that keep their connections."""

    def _run(self) -> None:
        connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=ALARM)
        while not self._enough.is_set():
            try:
                connection.request('GET', '/')
                self.answers[connection.getresponse().read().decode().split()[0]] += 1
            except Exception as error:
                self.failures.append(error)
                connection.close()
                time.sleep(0.01)
        connection.close()


@LINUX
@pytest.mark.parametrize('crowd_of', [Crowd, Regulars])
def test_a_server_that_is_alone_loses_no_request_either(fork_lab: Lab, crowd_of: type[Crowd]) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, FAREWELL, NUM_PROCS=1)
    (port,) = up_and_listening(emp)
    crowd = crowd_of(port)
    pids = [emp.proc_list[0].pid]
    try:
        for _ in range(4):
            wait_until(lambda: crowd.answers.total() > 20, 'it answers')
            emp.restart(0, ALARM)
            crowd.answers.clear()
            pids.append(emp.proc_list[0].pid)
        wait_until(lambda: crowd.answers.total() > 20, 'the last one answers')
    finally:
        crowd.close()
    assert crowd.failures == []
    assert len(set(pids)) == 5


@LINUX
def test_what_waits_for_a_hung_server_that_is_replaced_waits_for_the_next(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, ONE_PORT, NUM_PROCS=1, GRACE=0.2)
    (port,) = up_and_listening(emp)
    stop(emp.proc_list[0].pid)
    crowd = Crowd(port)
    try:
        wait_until(lambda: (waiting_at(port) or 0) >= 4, 'they wait')
        emp.restart(0, ALARM)
        wait_until(lambda: crowd.answers.total() > 20, 'the next one answers')
    finally:
        crowd.close()
    assert crowd.failures == []


def waiting_at(port: int) -> int:
    """Connections that nobody has accepted."""
    return sum(queued for _, queued, _ in _dump(port, _LISTEN))


def test_a_restart_of_one_slot_gives_it_its_ports_again(fork_lab: Lab) -> None:
    ports = free_ports(2)
    emp = fork_lab.mp()
    fork_lab.start(emp, OWN_PORT, NUM_PROCS=2, NUM_ROWS=1)
    emp.feed(ports)
    first = {slot: (group, pid) for slot, group, pid in (emp.mp_output_q.get(timeout=ALARM) for _ in range(2))}
    for _ in range(4):  # more often than it might die
        emp.restart(1, ALARM)
        slot, group, pid = emp.mp_output_q.get(timeout=ALARM)
        assert (slot, group) == (1, first[1][0])
        assert ask(group[0]) == [str(pid), '1']
        assert pid == emp.proc_list[1].pid
    assert emp.proc_list[0].pid == first[0][1]
    emp.terminate()
    assert [outcome.error for outcome in emp.wait(ALARM)['mp_input_q']] == [None, None]


@LINUX
def test_fewer_servers_lose_no_request(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, ONE_PORT, NUM_PROCS=2)
    (port,) = up_and_listening(emp)
    crowd = Crowd(port)
    try:
        wait_until(lambda: len(crowd.answers) == 2, 'both answer')
        emp.resize(1)
        assert emp.mp_output_q.get(timeout=ALARM) == ('ended', 1)
        wait_until(lambda: len(emp.proc_list) == 1, 'it is gone')
        crowd.answers.clear()
        wait_until(lambda: sum(crowd.answers.values()) > 20, 'the other one answers')
        assert set(crowd.answers) == {'0'}
        emp.resize(3)
        wait_until(lambda: len(crowd.answers) == 3, 'all three answer')
    finally:
        crowd.close()
    assert crowd.failures == []
    emp.terminate()
    assert emp.join(ALARM)


def test_the_ports_of_a_server_too_many_wait_for_who_comes_next(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, OWN_PORT, NUM_PROCS=2, NUM_ROWS=1)
    emp.feed(free_ports(2))
    first = {slot: group for slot, group, _ in (emp.mp_output_q.get(timeout=ALARM) for _ in range(2))}
    emp.resize(1)
    wait_until(lambda: emp.mp_input_q.qsize() == 1, 'it is gone, and its port is there')
    emp.resize(2)
    slot, group, pid = emp.mp_output_q.get(timeout=ALARM)
    assert (slot, group) == (1, first[1])
    assert ask(group[0]) == [str(pid), '1']
    emp.terminate()
    assert emp.join(ALARM)


# It hears SIGTERM and goes on.
DEAF = """
    import signal, threading

    def entry(toolbox):
        signal.signal(signal.SIGTERM, lambda *_: None)
        toolbox.mp_output_q.put('up')
        while True:
            threading.Event().wait(0.01)
"""


def test_who_does_not_listen_to_sigterm_is_killed_after_the_grace(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, DEAF, GRACE=0.5)
    assert emp.mp_output_q.get(timeout=ALARM) == 'up'
    before = emp.proc_list[0]
    emp.restart(0, ALARM)
    assert before.exitcode == -signal.SIGKILL
    assert emp.mp_output_q.get(timeout=ALARM) == 'up'
    emp.terminate()
    assert emp.join(ALARM)
    assert emp.proc_list[0].exitcode == -signal.SIGKILL


def test_who_waits_for_commands_hears_the_end_of_them(fork_lab: Lab) -> None:
    """A recorder: a queue of commands for each worker, one for all that they say."""
    worker = """
        import os, threading

        def entry(toolbox):
            commands = toolbox.commands[f'worker_{toolbox.START_SEQUENCE_NUM}']
            said = toolbox.status_q
            while True:
                command = commands.get()
                if toolbox.STOP_MSG in command:
                    said.put((toolbox.START_SEQUENCE_NUM, 'closed', os.getpid()))
                    return False
                said.put((toolbox.START_SEQUENCE_NUM, command, os.getpid()))
    """
    emp = fork_lab.mp()
    emp.queue_cust_dict_category_create(('commands', 'worker_0', 0), ('commands', 'worker_1', 0))
    emp.queue_cust_dict_std_create('status_q', 0)
    fork_lab.start(emp, worker, NUM_PROCS=2)
    commands, status = emp.queue_cust_dict_cat['commands'], emp.queue_cust_dict_std['status_q']

    def told(slot: int, command: str) -> int:
        commands[f'worker_{slot}'].put(command)
        who, what, pid = status.get(timeout=ALARM)
        assert (who, what) == (slot, command)
        return int(pid)

    first = told(0, 'start')
    emp.restart(0, ALARM)
    assert status.get(timeout=ALARM) == (0, 'closed', first), 'in good order, before SIGTERM'
    assert told(0, 'start') != first
    told(1, 'start')
    emp.terminate()
    assert sorted(status.get(timeout=ALARM)[:2] for _ in range(2)) == [(0, 'closed'), (1, 'closed')]
    emp.wait(ALARM)
    assert emp.join(ALARM)
    assert [handle.exitcode for handle in emp.proc_list] == [0, 0]


def test_a_plain_worker_is_replaced_between_chunks(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, 'import os\ndef entry(rows): return rows[0], os.getpid()\n', WORKER_CALL='chunk', NUM_ROWS=1,
                   RESULTS_STORE=True, NUM_PROCS=2)  # fmt: skip
    go_on = threading.Event()

    def numbers() -> Iterator[int]:
        yield from range(20)
        go_on.wait(ALARM)
        yield from range(20, 40)

    emp.feed(numbers())
    wait_until(lambda: len(emp.results['mp_input_q'].done) == 20)
    before = {handle.pid for handle in emp.proc_list}
    emp.restart_all(ALARM)
    after = {handle.pid for handle in emp.proc_list}
    go_on.set()
    outcomes = emp.wait(ALARM)['mp_input_q']
    assert [value[0] for value in outcomes.values()] == list(range(40))
    assert {value[1] for value in outcomes.values()[:20]} <= before
    assert {value[1] for value in outcomes.values()[20:]} <= after
    assert not before & after


@pytest.mark.parametrize('slot', [-1, 1, 'all', None, True, 0.0])
def test_there_is_no_such_slot(fork_lab: Lab, slot: Any) -> None:
    emp = fork_lab.mp()
    with pytest.raises(eisenmp.SettingsError, match='not been started'):
        emp.restart(0)
    fork_lab.start(emp, 'def entry(rows): return rows\n', WORKER_CALL='chunk')
    with pytest.raises(eisenmp.SettingsError, match='no worker slot .*; allowed: 0 to 0'):
        emp.restart(slot)


def test_a_job_that_ends_meanwhile_says_so(fork_lab: Lab) -> None:
    emp = fork_lab.mp()
    fork_lab.start(emp, DEAF)
    emp.mp_output_q.get(timeout=ALARM)
    with pytest.raises(TimeoutError, match='slot 0 is not at work again after 0.1 s'):
        emp.restart(0, 0.1)
    threading.Timer(0.1, emp.kill).start()
    with pytest.raises(eisenmp.JobOver, match='ended meanwhile'):
        emp.restart_all()
    with pytest.raises(eisenmp.JobOver):
        emp.restart(0)


# ---- the end


def test_sigterm_to_the_manager_ends_all_in_good_order(tmp_path: Path) -> None:
    """As a service is stopped: what the program's handler does is one call."""
    path = write(tmp_path, ONE_PORT)
    script = write(
        tmp_path,
        f"""
        import signal
        import eisenmp

        emp = eisenmp.Mp()
        signal.signal(signal.SIGTERM, lambda *_: emp.terminate())
        with emp:
            emp.start(worker_modules=[{{'WORKER_PATH': {path!r}, 'WORKER_REF': 'entry'}}], NUM_PROCS=2)
            for _ in range(2):
                assert emp.mp_output_q.get()
            print([handle.exitcode for handle in emp.proc_list if handle.join() is None])
        """,
        'service.py',
    )
    text = Path(path).read_text().replace('while not asked:', "print('up', flush=True)\n    while not asked:")
    Path(path).write_text(text)
    service = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=script_env())
    try:
        assert service.stdout is not None
        assert [service.stdout.readline() for _ in range(2)] == ['up\n', 'up\n']
        service.terminate()
        assert service.stdout.read() == '[0, 0]\n'
        assert service.wait(ALARM) == 0
    finally:
        service.kill()
        service.wait()
        assert service.stdout is not None
        service.stdout.close()


# ---- listen


def test_listen_in_threads_of_the_manager(tmp_path: Path) -> None:
    """ENGINE='inline': the worker's own thread knows whose it is, others must say."""
    worker = """
        import threading
        import eisenmp

        def entry(toolbox):
            sock = eisenmp.listen(0)
            got = []

            def other():
                try:
                    eisenmp.listen(0)
                except eisenmp.SettingsError as error:
                    got.append(str(error))
                with toolbox.listen(0) as another:
                    got.append(another.getsockname())

            toolbox.up_q.put(1)
            toolbox.go_q.get()
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            toolbox.mp_output_q.put((sock.getsockname(), *got))
            sock.close()
            toolbox.on_q.get()
            return False
    """
    lab = Lab(tmp_path, 'inline')
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('up_q', 0), ('go_q', 0), ('on_q', 0))
    lab.start(emp, worker, NUM_PROCS=2)
    for _ in range(2):
        emp.queues['up_q'].get(timeout=ALARM)
    for _ in range(2):
        emp.queues['go_q'].put('go')
    said = [emp.mp_output_q.get(timeout=ALARM) for _ in range(2)]
    for _ in range(2):
        emp.queues['on_q'].put('on')
    emp.wait(ALARM)
    assert said[0] == said[1]
    here, words, there = said[0]
    assert here == there
    assert 'toolbox.listen' in words
    lab.close()


def test_errors_of_listen_come_where_it_is_called(fork_lab: Lab) -> None:
    worker = """
        import eisenmp

        def entry(toolbox):
            for arguments in toolbox.tries:
                try:
                    eisenmp.listen(*arguments).close()
                except Exception as error:
                    toolbox.mp_output_q.put((type(error).__name__, str(error)))
            return False
    """
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        emp = fork_lab.mp()
        fork_lab.start(emp, worker, tries=[(port,), (0, '192.0.2.1'), (0, 'no.such.host.invalid'), ('80',), (0, None)])
        emp.wait(ALARM)
        emp.join(ALARM)
        said = [emp.mp_output_q.get_nowait() for _ in range(5)]
    assert said[0][0] == 'OSError'
    assert f'listen: 127.0.0.1:{port}: Address already in use' in said[0][1]
    assert 'listen: 192.0.2.1:0: Cannot assign' in said[1][1]
    assert said[2][0] == 'gaierror'
    assert said[3] == ('SettingsError', "listen: port='80' does not fit; allowed: a whole number from 0 to 65535")
    assert said[4][0] == 'SettingsError'


def test_listen_outside_a_worker_is_an_ordinary_socket() -> None:
    with eisenmp.listen(0) as sock:
        socket.create_connection(sock.getsockname()).close()
        assert sock.getblocking()
    with pytest.raises(eisenmp.SettingsError, match='backlog=0'):
        eisenmp.listen(0, backlog=0)


def test_one_socket_for_all_if_that_is_wanted(fork_lab: Lab) -> None:
    worker = ONE_PORT.replace('eisenmp.listen(0)', 'eisenmp.listen(0, shared=True)')
    emp = fork_lab.mp()
    fork_lab.start(emp, worker, NUM_PROCS=2, RESTARTS=5)
    (port,) = up_and_listening(emp)
    stop(emp.proc_list[0].pid)
    assert {ask(port)[1] for _ in range(8)} == {'1'}, 'nobody waits for the one that is stopped'


# ---- cores


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='this system nails nobody to a core')
@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_workers_and_their_threads_keep_to_their_cores(tmp_path: Path, method: str) -> None:
    worker = """
        import os, threading
        cores_at_import = sorted(os.sched_getaffinity(0))

        def entry(toolbox):
            seen = []
            thread = threading.Thread(target=lambda: seen.append(sorted(os.sched_getaffinity(0))))
            thread.start()
            thread.join()
            toolbox.mp_output_q.put((toolbox.START_SEQUENCE_NUM, sorted(os.sched_getaffinity(0)), seen[0]))
            return False
    """
    here = sorted(os.sched_getaffinity(0))
    lab = Lab(tmp_path, method)
    emp = lab.mp()
    lab.start(emp, worker, NUM_PROCS=3, CPU_AFFINITY={0: here[-1], 2: [here[0]]})
    emp.wait(ALARM)
    emp.join(ALARM)
    assert sorted(emp.mp_output_q.get_nowait() for _ in range(3)) == [
        (0, [here[-1]], [here[-1]]),
        (1, here, here),
        (2, [here[0]], [here[0]]),
    ]
    lab.close()


def test_a_core_that_is_not_there_starts_nothing(fork_lab: Lab) -> None:
    if not hasattr(os, 'sched_getaffinity'):
        pytest.skip('this system nails nobody to a core')
    emp = fork_lab.mp()
    with pytest.raises(eisenmp.SettingsError, match='core 99999'):
        fork_lab.start(emp, 'def entry(toolbox): return False\n', CPU_AFFINITY=[99999])
    assert emp.proc_list == []
