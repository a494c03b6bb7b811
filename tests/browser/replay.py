"""A server that plays an invented job to the live page, as fast as the page can take it: hours in seconds.

For tests of what would take too long with a real job, and to look at the page while one changes it:

    python -m tests.browser.replay        # prints an address; the page is read from the source tree
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.browser.invented import STEP, Invented

__all__ = ['TOKEN', 'Replay']

TOKEN: Final = 'a token for the replay'
STATIC: Final = Path(__file__).resolve().parents[2] / 'src' / 'eisenmp' / 'web' / 'static'
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'"
)
_TYPES: Final = {'.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html'}


class Replay:
    """Serves the page and an invented job on the loopback address.

    Args:
        job: what is played.
        pace: called before each state; it may wait. False ends the stream.
        port: where; 0: any that is free.
    """

    def __init__(self, job: Invented, pace: Callable[[int], bool], port: int = 0) -> None:
        self.job = job
        self.pace = pace
        self.actions: list[tuple[str, dict[str, Any]]] = []
        self.pages = 0
        self.closing = threading.Event()
        replay = self

        class Handler(_Handler):
            owner = replay

        self._server = ThreadingHTTPServer(('127.0.0.1', port), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.05})
        self._thread.start()

    @property
    def address(self) -> str:
        """Where the page is, with its token."""
        return f'http://127.0.0.1:{self.port}/#token={TOKEN}'

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

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
            for worker in self.job.workers:
                if body.get('slot') in (None, worker.slot):
                    self.job.die(worker)
        return f'{name}: as you wish.'

    def close(self) -> None:
        """End all of it."""
        if self.closing.is_set():
            return
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
