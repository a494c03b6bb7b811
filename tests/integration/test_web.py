"""The live page's server: asked over its socket, of jobs that run."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import io
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import eisenmp
from eisenmp.address import Address
from eisenmp.web.stream import events
from tests.support import ALARM, FORKS, Lab, wait_until

TOKEN = 'a-token-for-the-tests'
GATED = """
def entry(item, toolbox):
    toolbox.say.put(item)
    toolbox.gate.get()
    if item == 3:
        raise ValueError('three')
    return item
"""


class Served:
    """A job with a page, whose workers wait at a gate, and a browser without a window."""

    def __init__(self, lab: Lab, worker: str = GATED, **settings: Any) -> None:
        self.emp = emp = lab.mp()
        self.say, self.gate = emp.add_queue('say'), emp.add_queue('gate')
        given = {'WORKER_CALL': 'item', 'NUM_ROWS': 1, 'ON_ERROR': 'skip', 'CONTROL_SOCKET': False}
        lab.start(emp, worker, **{'DASHBOARD': True, 'DASHBOARD_TOKEN': TOKEN, **given, **settings})
        assert emp.dashboard_url is not None
        url, _, self.token = emp.dashboard_url.partition('#token=')
        self.host, _, port = url.removeprefix('http://').rstrip('/').rpartition(':')
        self.port = int(port)

    @contextmanager
    def asked(self, method: str, path: str, body: bytes | None = None, **headers: Any) -> Iterator[Any]:
        """An answer whose body has not been read. Headers with `_` for `-`; None: without it."""
        told: dict[str, str | None] = {'Authorization': f'Bearer {self.token}'}
        if method == 'POST':
            told['Content-Type'] = 'application/json'
        told |= {name.replace('_', '-'): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ALARM)
        try:
            connection.request(method, path, body, {name: value for name, value in told.items() if value is not None})
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: Any) -> tuple[int, Any, str]:
        """(status, headers, body)"""
        with self.asked(method, path, body, **headers) as response:
            return response.status, response.headers, response.read().decode()

    def get(self, path: str, **headers: Any) -> tuple[int, Any, str]:
        return self.ask('GET', path, **headers)

    def post(self, action: str, body: bytes = b'{}', **headers: Any) -> tuple[int, str]:
        """(status, what was said)"""
        status, _, text = self.ask('POST', f'/actions/{action}', body, **headers)
        told = json.loads(text)
        return status, told.get('said') or told['error']

    def finish(self, items: int) -> None:
        for _ in range(items):
            self.gate.put(None)
        if not items:
            self.emp.stop()
        self.emp.wait(ALARM)
        assert self.emp.join(ALARM)


def messages(response: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data) of server-sent events, until they end."""
    event = ''
    for line in response:
        name, _, value = line.decode().rstrip('\n').partition(': ')
        if name == 'event':
            event = value
        elif name == 'data':
            yield event, json.loads(value)


@pytest.fixture(scope='module')
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One job for all requests that change nothing."""
    lab = Lab(tmp_path_factory.mktemp('served'), 'inline')
    one = Served(lab)
    one.emp.feed(range(5))
    one.say.get(timeout=ALARM)
    yield one
    one.finish(5)
    lab.close()


def lab_of(tmp_path: Path, name: str) -> Iterator[Lab]:
    lab = Lab(tmp_path, name)
    yield lab
    lab.close()


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Lab]:
    yield from lab_of(tmp_path, 'inline')


@pytest.fixture
def spawning(tmp_path: Path) -> Iterator[Lab]:
    yield from lab_of(tmp_path, 'spawn')


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Lab]:
    yield from lab_of(tmp_path, 'fork')


# ---- the page


def test_the_page_and_its_files_need_no_token_and_name_their_types(served: Served) -> None:
    status, headers, text = served.get('/', Authorization=None)
    assert status == 200
    assert headers['Content-Type'] == 'text/html; charset=utf-8'
    assert '<html' in text
    status, headers, text = served.get('/static/style.css', Authorization=None)
    assert (status, headers['Content-Type']) == (200, 'text/css; charset=utf-8')
    assert headers['Cache-Control'] == 'no-cache'


def test_every_file_that_the_page_names_is_there(served: Served) -> None:
    _, _, text = served.get('/')
    named = [part.split('"')[0] for part in text.split('="/static/')[1:]]
    named += [part.split('"')[0] for part in text.split('="static/')[1:]]
    assert len(named) >= 3
    for name in named:
        assert served.get(f'/static/{name}')[0] == 200, name
    assert 'https://' not in text  # nothing from anywhere else


@pytest.mark.parametrize(
    'path',
    [
        *('/static/../app.py', '/static/%2e%2e/app.py', '/static/..%2fgate.py', '/static//etc/passwd', '/static/'),
        *('/static/js', '/static/style.css/', '/static/nothing.js', '/static/js%00main.js'),
    ],
)
def test_nothing_else_is_given_away(served: Served, path: str) -> None:
    status, _, text = served.get(path)
    assert status == 404
    assert 'import' not in text


@pytest.mark.parametrize(
    'path', ['/', '/static/style.css', '/static/no', '/metrics', '/events?', '/nothing', '/actions/x']
)
def test_every_answer_tells_browsers_what_to_hold_to(served: Served, path: str) -> None:
    for token in (None, f'Bearer {TOKEN}'):
        with served.asked('GET', path, Authorization=token) as response:
            headers = response.headers
        policy = headers['Content-Security-Policy']
        assert policy.startswith("default-src 'none';")
        assert 'unsafe' not in policy
        assert headers['X-Content-Type-Options'] == 'nosniff'
        assert headers['Referrer-Policy'] == 'no-referrer'
        assert headers['Access-Control-Allow-Origin'] is None
        assert headers['Server'] is None
        assert len(headers.get_all('Content-Security-Policy')) == 1
        assert headers['Cache-Control'] in ('no-cache', 'no-store')


# ---- who may ask

GUARDED = ['/events', '/metrics', '/actions/stop', '/nothing', '//', '/Static/style.css', '/staticx']


WRONG = [
    *(None, '', TOKEN, 'Bearer', 'Bearer ', 'Bearer ä', f'Bearer {TOKEN}x', f'Bearer {TOKEN[:-1]}'),
    *(f'Bearer {TOKEN.upper()}', f'Basic {TOKEN}'),
]


@pytest.mark.parametrize('path', GUARDED)
def test_nothing_but_the_page_is_told_without_the_token(served: Served, path: str) -> None:
    for shown in WRONG:
        told = shown and shown.encode().decode('latin-1')
        for method in ('GET', 'POST'):
            status, headers, text = served.ask(method, path, Authorization=told)
            assert status == 401, shown
            assert headers['WWW-Authenticate'] == 'Bearer'
            assert json.loads(text)['error'].startswith('the token is missing or wrong')
    assert not served.emp._started().exchange.stopping


def test_the_token_is_no_part_of_an_address(served: Served) -> None:
    assert served.get(f'/metrics?token={TOKEN}', Authorization=None)[0] == 401
    assert served.get('/metrics', Authorization=None, Cookie=f'token={TOKEN}')[0] == 401


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:8080', 'localhost.evil.example', '10.1.2.3', ''])
def test_by_the_name_of_another_nothing_is_told(served: Served, host: str) -> None:
    for path in ('/', '/static/style.css', '/events', '/metrics'):
        status, _, text = served.get(path, Host=host)
        assert status == 403
        assert 'Host' in json.loads(text)['error']


@pytest.mark.parametrize('host', ['localhost', 'localhost:8642', '127.0.0.1', '[::1]:1'])
def test_by_a_name_of_ours_it_is(served: Served, host: str) -> None:
    assert served.get('/metrics', Host=host)[0] == 200


@pytest.mark.parametrize(
    'headers',
    [
        {'Origin': 'http://evil.example'},
        {'Origin': 'null'},
        {'Origin': 'https://127.0.0.1'},
        {'Origin': ''},
        {'Sec_Fetch_Site': 'cross-site'},
        {'Sec_Fetch_Site': 'same-site'},
    ],
    ids=str,
)
def test_pages_of_other_sites_do_nothing_even_with_the_token(served: Served, headers: dict[str, Any]) -> None:
    assert served.post('stop', **headers) == (403, 'the request comes from a page of another site')
    assert not served.emp._started().exchange.stopping


def test_our_own_page_does(served: Served) -> None:
    origin = f'http://{served.host}:{served.port}'
    status, said = served.post('restart', b'{"slot": 99}', Origin=origin, Sec_Fetch_Site='same-origin')
    assert (status, said) == (400, 'restart: there is no worker slot 99; allowed: 0 to 0')


# ---- actions


@pytest.mark.parametrize(
    ('action', 'body', 'status', 'said'),
    [
        ('stp', b'{}', 404, "no action 'stp' (did you mean 'stop'?)"),
        ('__init__', b'{}', 404, "no action '__init__'"),
        ('stop', b'{"now": 1}', 400, "stop: unknown argument 'now'; it takes nothing"),
        ('restart', b'{"slt": 1}', 400, "restart: unknown argument 'slt' (did you mean 'slot'?); it takes slot"),
        ('restart', b'{"slot": "0"}', 400, "restart: there is no worker slot '0'; allowed: 0 to 0"),
        ('restart', b'{"slot": true}', 400, 'restart: there is no worker slot True'),
        ('stop', b'[]', 400, 'the arguments are no JSON object'),
        ('stop', b'{', 400, 'the arguments are no JSON'),
        ('stop', b'[' * 4000, 400, 'the arguments are no JSON'),
        ('stop', b'\xff', 400, 'the arguments are no JSON'),
        ('stop', b'{"x": "' + b'x' * 5000 + b'"}', 413, 'the arguments are more than 4096 bytes'),
    ],
)
def test_what_cannot_be_done_is_said_and_not_done(
    served: Served, action: str, body: bytes, status: int, said: str
) -> None:
    told = served.post(action, body)
    assert told[0] == status
    assert told[1].startswith(said)
    assert not served.emp._started().exchange.stopping


def test_forms_of_other_sites_cannot_even_ask(served: Served) -> None:
    """A form sends no JSON; what does must be allowed to, and nobody is (there is no answer to OPTIONS)."""
    for kind in ('text/plain', 'application/x-www-form-urlencoded', None):
        assert served.post('stop', Content_Type=kind)[0] == 415
    assert served.ask('OPTIONS', '/actions/stop', Authorization=None, Origin='http://evil.example')[0] == 401
    assert served.get('/actions/stop')[0] == 405


HELD = """
import os, time

def entry(item, toolbox):
    toolbox.say.put(item)
    while not os.path.exists({gate!r}):
        time.sleep(0.002)
    return item
"""


def test_stop_drains_the_job_and_the_last_state_says_that_it_is_over(inline: Lab, tmp_path: Path) -> None:
    gate = tmp_path / 'gate'  # not a queue, which ends with the job that is stopped
    served = Served(inline, HELD.format(gate=str(gate)))
    served.emp.feed(range(1000))
    served.say.get(timeout=ALARM)
    with served.asked('GET', '/events') as response:
        told = messages(response)
        assert next(told)[0] == 'history'
        assert served.post('stop') == (200, 'the job stops: what is running is finished, nothing else is begun')
        assert served.post('restart', b'{"slot": 0}')[0] == 409
        gate.touch()
        served.finish(0)
        states = [state for event, state in told if event == 'state']
    assert [state['over'] for state in states] == [False] * (len(states) - 1) + [True]
    last = states[-1]
    assert last['chunks']['done'] == 1
    assert last['can'] == []
    assert [state['n'] for state in states] == list(range(states[0]['n'], states[0]['n'] + len(states)))


def test_restart_puts_a_fresh_process_in_the_slot(spawning: Lab) -> None:
    served = Served(spawning)
    served.emp.feed(range(3))
    served.say.get(timeout=ALARM)
    with served.asked('GET', '/events') as response:
        told = messages(response)
        before = next(state for event, state in told if event == 'state' and state['up'])
        assert before['can'] == ['stop', 'restart', 'resize']
        assert served.post('restart') == (200, 'all workers are restarted, one after the other')
        served.gate.put(None)
        after = next(state for _, state in told if state['up'] and state['workers'][0]['pid'] != pid_of(before))
        served.finish(3)
        lanes = [lane for _, state in told for lane in state['lanes']]
    assert pid_of(before) and pid_of(after)
    assert after['restarts'] == 0  # nothing has died
    assert 'work' in {lane[3] for lane in lanes}


def pid_of(state: dict[str, Any]) -> int:
    pid = state['workers'][0]['pid']
    assert isinstance(pid, int)
    return pid


# ---- events


def test_the_numbers_move_and_failures_and_prints_arrive(inline: Lab) -> None:
    served = Served(inline)
    served.emp.mp_print_q.put('the manager says so')
    served.emp.feed(range(5))
    with served.asked('GET', '/events') as response:
        assert response.headers['Content-Type'].startswith('text/event-stream')
        told = messages(response)
        event, history = next(told)
        assert (event, history['kind']) == ('history', 'history')
        seen = [history['state']] if history['state'] is not None else []
        failures, logs = list(history['failures']), list(history['logs'])
        for _ in range(5):
            served.gate.put(None)
        for _, state in told:
            seen.append(state)
            failures += state['failures']
            logs += state['logs']
    assert seen[-1]['streams'][0]['done'] == 5
    assert seen[-1]['chunks'] == {'done': 4, 'failed': 0, 'partly_failed': 1, 'set_aside': 0}
    assert [row['text'] for row in failures] == ['item 0: ValueError: three']
    assert 'in entry' in failures[0]['traceback']
    assert 'the manager says so' in [row['text'] for row in logs]
    assert all(state['job']['pid'] == os.getpid() for state in seen)
    served.finish(0)


def test_who_comes_late_sees_the_past(served: Served) -> None:
    with served.asked('GET', '/events') as response:
        wait_until(lambda: served.emp.live_view().state is not None)
        told = messages(response)
        _, history = next(told)
        _, state = next(told)
    if history['state'] is not None:
        assert state['n'] == history['state']['n'] + 1
        assert len(history['series']['t']) >= 1
    assert state['workers'][0]['state'] == 'working'
    assert state['workers'][0]['ticket'] == 'mp_input_q_TID_0'


def test_a_browser_that_does_not_keep_up_begins_anew() -> None:
    """What waits for it is bounded."""

    class Chatty:
        sends: list[Any] = []
        left = 0

        def subscribe(self, send: Any) -> Any:
            self.sends.append(send)
            send(b'{"kind":"history"}')

            def leave() -> None:
                self.left += 1

            return leave

    async def read() -> list[bytes]:
        live = Chatty()
        told: list[bytes] = []
        stream = events(live)  # type: ignore[arg-type]
        told.append(await anext(stream))
        for n in range(1000):
            live.sends[0](b'%d' % n)
        told.append(await anext(stream))
        live.sends[1](b'{"n":1000}')
        live.sends[1](b'')
        told += [message async for message in stream]
        assert live.left == 2
        return told

    told = asyncio.run(read())
    assert told == [
        b'event: history\ndata: {"kind":"history"}\n\n',
        b'event: history\ndata: {"kind":"history"}\n\n',
        b'event: state\ndata: {"n":1000}\n\n',
    ]


# ---- metrics


def test_metrics_are_what_prometheus_reads(served: Served) -> None:
    wait_until(lambda: bool((served.emp.live_view().state or {}).get('streams')))  # it may be the first of these tests
    _, headers, text = served.get('/metrics')
    assert headers['Content-Type'].startswith('text/plain')
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    queue = ('queue', 'mp_input_q')
    assert found['eisenmp_items_total', queue] == 0
    assert found['eisenmp_items_expected', queue] == 5
    assert found['eisenmp_chunks_total', ('outcome', 'done')] == 0
    assert found['eisenmp_queue_fill', queue] > 0
    assert found['eisenmp_worker_up', ('slot', '0')] == 1
    assert found['eisenmp_worker_restarts_total', ('slot', '0')] == 0
    assert found['eisenmp_manager_memory_bytes',] > 1 << 20
    assert any(name[0] == 'eisenmp_job_info' for name in found)


def test_metrics_count_chunks_and_their_seconds(inline: Lab) -> None:
    served = Served(inline)
    served.emp.feed(range(5))
    for _ in range(4):
        served.gate.put(None)
    for _ in range(5):
        served.say.get(timeout=ALARM)
    wait_until(lambda: (served.emp.live_view().state or {}).get('chunks', {}).get('done') == 3)
    _, _, text = served.get('/metrics')
    assert 'eisenmp_chunks_total{outcome="partly_failed"} 1.0' in text
    assert 'eisenmp_chunk_seconds_bucket{le="+Inf",queue="mp_input_q"} 4.0' in text
    assert 'eisenmp_chunk_seconds_count{queue="mp_input_q"} 4.0' in text
    served.finish(1)


# ---- the server itself


def test_a_port_that_is_taken_is_named_and_nothing_is_started(inline: Lab) -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            eisenmp.SettingsError, match=rf'cannot be served at 127.0.0.1:{port}: Address already in use'
        ):
            Served(inline, DASHBOARD=port)


def test_true_takes_the_next_port_that_is_free(inline: Lab, served: Served) -> None:
    other = Served(inline)
    assert other.port != served.port
    assert other.token == TOKEN
    other.finish(0)


def test_the_port_is_free_again_at_once(inline: Lab) -> None:
    served = Served(inline)
    served.finish(0)
    again = Served(inline, DASHBOARD=served.port)
    assert again.port == served.port
    again.finish(0)


def test_the_address_is_said_once_with_a_token_that_is_new_each_time(
    inline: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = set()
    for _ in range(2):
        served = Served(inline, DASHBOARD_TOKEN=None)
        served.finish(0)
        assert capsys.readouterr().err == f'eisenmp: the live page is at {served.emp.dashboard_url}\n'
        tokens.add(served.token)
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_a_standard_error_that_nobody_reads_is_no_reason_not_to_start(
    inline: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    for broken in (None, closed):
        with monkeypatch.context() as patched:
            patched.setattr('sys.stderr', broken)
            served = Served(inline)
        assert served.get('/metrics')[0] == 200
        served.finish(0)


def test_of_a_job_that_is_over_there_is_a_view_that_says_so(inline: Lab) -> None:
    emp = inline.mp()
    inline.start(emp, GATED, WORKER_CALL='item', CONTROL_SOCKET=False)
    emp.stop()
    emp.wait(ALARM)
    assert emp.join(ALARM)
    told: list[bytes] = []
    emp.live_view().subscribe(told.append)
    assert told[-1] == b''
    assert emp.live_view().over


def test_without_the_extra_it_is_said_how_to_get_it(inline: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec

    def lacking(name: str) -> Any:
        return None if name in ('uvicorn', 'starlette') else there(name)

    monkeypatch.setattr('eisenmp.web.find_spec', lacking)
    with pytest.raises(eisenmp.SettingsError, match=r"needs starlette, uvicorn, .* pip install 'eisenmp\[web\]'"):
        Served(inline)


def test_a_page_for_other_machines_comes_with_a_warning(
    inline: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Address, 'is_local', False)  # tests open nothing to other machines
    served = Served(inline, DASHBOARD='127.0.0.1:18642')
    served.finish(0)
    assert any('open to other machines' in record.message for record in caplog.records)


@pytest.mark.parametrize(('name', 'value'), [('DASHBOARD', '8080'), ('DASHBOARD', None), ('DASHBOARD_TOKEN', 'short')])
def test_settings_that_do_not_fit_are_refused(inline: Lab, name: str, value: Any) -> None:
    with pytest.raises(eisenmp.SettingsError, match=f'{name}={value!r} does not fit; allowed: '):
        Served(inline, **{name: value})


def test_the_program_s_log_has_nothing_of_the_server(inline: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        served = Served(inline)
        served.get('/metrics')
        served.finish(0)
    assert [record.name for record in caplog.records if 'uvicorn' in record.name or 'starlette' in record.name] == []
    assert logging.getLogger('uvicorn.error').filters == []


def test_workers_do_not_learn_the_token(inline: Lab) -> None:
    worker = """
    def entry(item, toolbox):
        return 'DASHBOARD_TOKEN' in toolbox.kwargs, hasattr(toolbox, 'DASHBOARD_TOKEN'), toolbox.DASHBOARD
    """
    results = inline.run(worker, [1], WORKER_CALL='item', DASHBOARD=True, DASHBOARD_TOKEN=TOKEN)
    assert results['mp_input_q (default)'][0].value == [(False, False, True)]


def test_a_start_that_fails_gives_the_port_back(inline: Lab) -> None:
    emp = inline.mp()
    with pytest.raises(eisenmp.WorkerStartError):
        inline.start(emp, 'no/such/worker.py', DASHBOARD=18643)
    broken = """
    raise RuntimeError('on import')
    """
    emp = inline.mp()
    inline.start(emp, broken, DASHBOARD=18643)
    with pytest.raises(eisenmp.WorkerStartError):
        emp.wait(ALARM)
    assert emp.join(ALARM)
    with socket.create_server(('127.0.0.1', 18643)):
        pass


@FORKS
def test_forked_workers_inherit_no_connection_of_a_browser(forking: Lab) -> None:
    """Else a browser would wait for the end of its stream until the last of them is gone."""
    worker = """
    import os

    def entry(item, toolbox):
        toolbox.say.put({os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')
                         if os.path.exists(f'/proc/self/fd/{fd}')})
    """
    emp = forking.mp()
    say = emp.add_queue('say')
    forking.start(emp, worker, WORKER_CALL='item', NUM_ROWS=1, DASHBOARD=True, MAX_CHUNKS_PER_WORKER=1)
    with events_of(emp) as told:
        assert next(told)[0] == 'history'
        assert emp.dashboard_url is not None
        port = int(emp.dashboard_url.rpartition(':')[2].partition('/')[0])
        ours = {os.readlink(f'/proc/self/fd/{sock.fileno()}') for sock in served_sockets(port)}
        assert len(ours) == 2  # it listens, and has one connection
        emp.feed(range(3))
        theirs = [say.get(timeout=ALARM) for _ in range(3)]
        for links in theirs[1:]:  # the first one may have been forked before
            assert not ours & links
        emp.wait(ALARM)
        assert [event for event, _ in told][-1] == 'state'
    assert emp.join(ALARM)


@contextmanager
def events_of(emp: eisenmp.Mp) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """What a browser is told of a job."""
    assert emp.dashboard_url is not None
    address, _, token = emp.dashboard_url.removeprefix('http://').partition('/#token=')
    connection = http.client.HTTPConnection(address, timeout=ALARM)
    try:
        connection.request('GET', '/events', headers={'Authorization': f'Bearer {token}'})
        with connection.getresponse() as response:
            yield messages(response)
    finally:
        connection.close()


def served_sockets(port: int) -> list[socket.socket]:
    """The server's own ends: sockets of this process that are bound to its port."""
    import gc

    return [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, socket.socket)
        and thing.fileno() >= 0
        and thing.family == socket.AF_INET
        and thing.getsockname()[1] == port
    ]


def test_the_short_forms_have_it_too() -> None:
    with eisenmp.imap(abs, range(-3, 0), engine='inline', dashboard=True) as results:
        assert results.dashboard_url is not None
        assert results.dashboard_url.startswith('http://127.0.0.1:')
        assert list(results) == [3, 2, 1]
    with eisenmp.imap(abs, range(-3, 0), engine='inline') as results:
        assert results.dashboard_url is None


@FORKS
def test_it_is_there_while_servers_of_the_workers_still_run(forking: Lab) -> None:
    """Entry functions that leave their servers in threads have returned, so the job is over; its page is not."""
    worker = """
    import threading

    def entry(toolbox):
        threading.Thread(target=toolbox.gate.get).start()
        return False
    """
    emp = forking.mp()
    gate = emp.add_queue('gate')
    forking.start(emp, worker, DASHBOARD=True)
    emp.wait(ALARM)
    with events_of(emp) as told:
        states = (state for event, state in told if event == 'state')
        state = next(states)
        assert (state['over'], state['workers'][0]['state']) == (False, 'returned')
        gate.put(None)
        assert [state['over'] for state in states][-1]
    assert emp.join(ALARM)
