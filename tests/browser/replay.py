"""A server that plays an invented job to the live page, as fast as the page can take it: hours in seconds.

For tests of what would take too long with a real job, and to look at the page while one changes it:

    python -m tests.browser.replay        # prints an address; the page is read from the source tree
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

__all__ = ['TOKEN', 'Invented', 'Replay']

TOKEN: Final = 'a token for the replay'
STATIC: Final = Path(__file__).resolve().parents[2] / 'src' / 'eisenmp' / 'web' / 'static'
STEP: Final = 0.5  # seconds of the invented job between two states
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'"
)
_TYPES: Final = {'.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html'}
_LONG: Final = 7200  # states: an hour


class Invented:
    """A job that never was: so many workers, chunks of about 0.4 s, every now and then a failure, a death, a straggler."""

    def __init__(self, slots: int = 4, seed: int = 1, *, endless: bool = False) -> None:
        self.endless = endless
        self.draw = random.Random(seed)
        self.n = 0
        self.last: dict[str, Any] | None = None
        self.stopping = False
        self.slots: list[dict[str, Any]] = []
        self.done = self.failed = self.aside = self.restarts = self.failures = self.chunk = 0
        self.resize(slots)

    @property
    def seconds(self) -> float:
        """Of the job's clock."""
        return self.n * STEP

    def resize(self, count: int) -> None:
        """Another number of workers, at once."""
        while len(self.slots) < count:
            slot = len(self.slots)
            self.slots.append({'slot': slot, 'pid': 4000 + slot, 'restarts': 0, 'kind': 'start', 'since': self.seconds})
            self.slots[slot]['until'] = self.seconds + 0.3
            self.slots[slot]['ticket'] = ''
        del self.slots[count:]

    def die(self, worker: dict[str, Any]) -> None:
        """The worker's process is gone; another one comes after a moment."""
        worker.update(kind='down', since=self.seconds, until=self.seconds + 1.2, ticket='')
        worker['pid'] += 100
        worker['restarts'] += 1
        self.restarts += 1

    def history(self) -> dict[str, Any]:
        """As for a page that is opened now."""
        nothing: dict[str, Any] = {'t': [], 'rate': [], 'p50': [], 'p95': [], 'queues': {}, 'cpu': {}, 'memory': {}}
        return {'kind': 'history', 'series': nothing, 'lanes': [], 'failures': [], 'logs': [], 'state': self.last}

    def state(self) -> dict[str, Any]:
        """The next state."""
        self.n += 1
        lanes: list[list[Any]] = []
        failures: list[dict[str, Any]] = []
        took: list[float] = []
        logs: list[dict[str, Any]] = []
        for worker in self.slots:
            while worker['until'] <= self.seconds:
                self._next(worker, lanes, failures, took, logs)
            lanes.append([worker['slot'], worker['since'], None, worker['kind'], worker['ticket'], 1])
        wave = 1 + 0.3 * (self.n % 80) / 80
        rate = round(len(took) * 1000 / STEP * wave)
        total = 1000 * _LONG
        took.sort()
        stream = {
            'name': 'orders',
            'done': self.done,
            'total': total,
            'made': self.done + 8000,
            'rate': rate,
            'left': 3600.0,
            'feeders': 1,
        }
        other = {
            'name': 'pictures',
            'done': self.done // 9,
            'total': None,
            'made': self.done // 8,
            'rate': rate / 9,
            'left': None,
            'feeders': 2,
        }
        whole = {
            **stream,
            'name': 'all',
            'done': self.done + self.done // 9,
            'total': None if self.endless else total * 10 // 9,
        }
        working = [worker for worker in self.slots if worker['kind'] == 'work']
        self.last = {
            'kind': 'state', 'n': self.n,
            'job': {'name': 'invented.py', 'pid': 1234, 'started': 1_764_000_000.0, 'version': '2.0.0', 'python': '3.12.1', 'engine': 'local', 'start_method': 'spawn'},
            'seconds': self.seconds, 'over': False, 'stopping': self.stopping, 'slots': len(self.slots), 'up': len(working), 'restarts': self.restarts,
            'chunks': {'done': self.chunk, 'failed': self.failed, 'partly_failed': 0, 'set_aside': self.aside},
            'all': whole, 'streams': [stream, other],
            'latency': {'p50': took[len(took) // 2] if took else None, 'p95': took[-1] if took else None, 'n': len(took)},
            'queues': [
                {'name': 'orders', 'fill': 4 + self.n % 7, 'bound': 16, 'full': False},
                {'name': 'pictures', 'fill': (self.n // 20) % 30, 'bound': 0, 'full': False},
                {'name': 'ports|video_in', 'fill': 3, 'bound': 3, 'full': True},
            ],
            'workers': [self._worker(worker) for worker in self.slots],
            'manager': {'pid': 1234, 'cpu': 12.5, 'memory': 61 << 20},
            'lanes': lanes, 'failures': failures, 'logs': logs,
            'can': ['stop', 'restart', 'resize', 'retry'],
        }  # fmt: skip
        return self.last

    def _worker(self, worker: dict[str, Any]) -> dict[str, Any]:
        working = worker['kind'] == 'work'
        return {
            'slot': worker['slot'], 'name': f'Process-{worker["slot"] + 1}', 'pid': worker['pid'],
            'state': {'work': 'working', 'start': 'starting', 'down': 'gone'}[worker['kind']],
            'ticket': worker['ticket'], 'age': max(0.0, self.seconds - worker['since']) if working else None,
            'rate': 2.4, 'cpu': self.draw.uniform(70, 100) if working else 2.0,
            'memory': (40 << 20) + 9000 * (self.n % 600) + worker['slot'] * (1 << 20), 'restarts': worker['restarts'],
        }  # fmt: skip

    def _next(
        self, worker: dict[str, Any], lanes: list[Any], failures: list[Any], took: list[float], logs: list[Any]
    ) -> None:
        """What the worker was at has ended; the next thing begins."""
        ended = worker['until']
        slot, draw = worker['slot'], self.draw
        lanes.append([slot, worker['since'], ended, worker['kind'], worker['ticket'], 1])
        if worker['kind'] == 'work':
            self.chunk += 1
            self.done += 1000
            took.append(ended - worker['since'])
            logs.append(
                {
                    'seconds': ended,
                    'level': draw.choice(['print', 'DEBUG', 'INFO', 'WARNING']),
                    'worker': f'Process-{slot + 1}',
                    'text': f'{worker["ticket"]}: {draw.randrange(10**6)} rows <b>& more</b>',
                }
            )
            if draw.random() < 0.01:
                self._fail(worker, ended, failures)
        if worker['kind'] == 'work' and draw.random() < 0.008:
            self.die(worker)
            return
        idle = draw.choice([0, 0, 0, 0.4])
        lasts = draw.uniform(0.2, 0.6) if draw.random() > 0.01 else 7.0
        worker.update(
            kind='work', since=ended + idle, until=ended + idle + lasts, ticket=f'orders_TID_{self.chunk + slot}'
        )

    def _fail(self, worker: dict[str, Any], ended: float, failures: list[Any]) -> None:
        self.failures += 1
        aside = self.draw.random() < 0.3
        self.aside += aside
        self.failed += not aside
        text = (
            "CrashError: its workers died: exit codes -9, -9, -9"
            if aside
            else "ValueError: <img src=x onerror=alert(1)> is no number"
        )
        failures.append({'id': self.failures, 'seconds': ended, 'queue': 'orders', 'ticket': int(worker['ticket'].rpartition('_')[2]), 'slot': worker['slot'], 'kind': 'set aside' if aside else 'failed', 'text': text, 'traceback': f'Traceback (most recent call last):\n  File "worker.py", line 12, in entry\n    number = int(row[3])\n{text}'})  # fmt: skip


class Replay:
    """Serves the page and an invented job on the loopback address.

    Args:
        job: what is played.
        pace: called before each state; it may wait. False ends the stream.
    """

    def __init__(self, job: Invented, pace: Callable[[int], bool]) -> None:
        self.job = job
        self.pace = pace
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self.pages = 0
        self.closing = threading.Event()
        replay = self

        class Handler(_Handler):
            owner = replay

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.05})
        self._thread.start()

    @property
    def address(self) -> str:
        """Where the page is, with its token."""
        return f'http://127.0.0.1:{self._server.server_port}/#token={TOKEN}'

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What one page is told."""
        self.pages += 1
        page = self.pages
        yield 'history', self.job.history()
        while not self.closing.is_set() and self.pace(self.job.n) and page == self.pages:  # the newest page has the job
            yield 'state', self.job.state()

    def act(self, name: str, body: dict[str, Any]) -> str:
        """Take an action."""
        self.actions.append((name, body))
        if name == 'resize':
            self.job.resize(int(body['workers']))
        elif name == 'stop':
            self.job.stopping = True
        elif name == 'restart':
            for worker in self.job.slots:
                if body.get('slot') in (None, worker['slot']):
                    self.job.die(worker)
        return f'{name}: as you wish.'

    def close(self) -> None:
        """End all of it."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Replay

    def do_GET(self) -> None:
        path = self.path.split('?')[0]
        if path == '/events':
            self._events()
            return
        file = STATIC / ('index.html' if path == '/' else path.removeprefix('/static/'))
        if not file.resolve().is_relative_to(STATIC) or not file.is_file():
            self._answer(404, b'', 'text/plain')
            return
        self._answer(200, file.read_bytes(), _TYPES.get(file.suffix, 'text/plain') + '; charset=utf-8')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])) or b'{}')
        if not self._allowed():
            return
        said = self.owner.act(self.path.removeprefix('/actions/'), body)
        self._answer(200, json.dumps({'said': said}).encode(), 'application/json')

    def _allowed(self) -> bool:
        if self.headers['Authorization'] == f'Bearer {TOKEN}':
            return True
        self._answer(401, b'{"error": "no such token"}', 'application/json')
        return False

    def _events(self) -> None:
        if not self._allowed():
            return
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.end_headers()
        try:
            for name, data in self.owner.events():
                self.wfile.write(f'event: {name}\ndata: {json.dumps(data)}\n\n'.encode())
        except OSError:
            pass  # the page has gone

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Content-Security-Policy', POLICY)
        self.send_header('Cache-Control', 'no-cache')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants to read it."""


if __name__ == '__main__':
    speed = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    ahead = int(sys.argv[2]) if len(sys.argv) > 2 else 60

    def pace(n: int) -> bool:
        """The first states at once, so that there is something to look at."""
        if n >= ahead:
            time.sleep(STEP / speed)
        return True

    server = Replay(Invented(), pace)
    print(server.address, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()
