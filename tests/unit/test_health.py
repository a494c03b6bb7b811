"""HEALTH_CHECK: the clock of one process, and what the checks ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from eisenmp.health import Checked, Pulse, check_of
from eisenmp.listeners import Listeners

ME = Checked(3, 'Process-4', 1234, ())


def test_a_process_may_take_a_while_to_get_ready() -> None:
    assert Pulse(2.0).due is None
    pulse = Pulse(2.0)
    pulse.begins(100.0)
    assert pulse.due == 110.0
    pulse.begins(105.0)
    assert pulse.due == 110.0, 'what counts is the first check that failed'
    pulse.comes_through()
    assert pulse.passed
    assert pulse.due is None


def test_later_it_has_the_time_out() -> None:
    pulse = Pulse(2.0)
    pulse.begins(100.0)
    pulse.comes_through()
    pulse.begins(200.0)
    assert pulse.due == 202.0
    pulse.begins(201.5)
    assert pulse.due == 202.0
    pulse.comes_through()
    pulse.begins(210.0)
    assert pulse.due == 212.0


def test_a_time_out_above_that_counts_from_the_start() -> None:
    pulse = Pulse(60.0)
    pulse.begins(0.0)
    assert pulse.due == 60.0


class Site(BaseHTTPRequestHandler):
    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers['Host']))
        self.send_response(503 if 'ill' in self.path else 302 if 'moved' in self.path else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    server = HTTPServer(('127.0.0.1', 0), Site)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Site.asked.clear()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_asked_with_the_slot_in_its_place(site: int) -> None:
    check_of(f'http://127.0.0.1:{site}/of/{{slot}}?deep=1', Listeners(), 5.0)(ME)
    assert Site.asked == [('/of/3?deep=1', f'127.0.0.1:{site}')]
    check_of(f'http://127.0.0.1:{site}/moved', Listeners(), 5.0)(ME)


def test_a_bad_status_is_told(site: int) -> None:
    with pytest.raises(ConnectionError, match='/ill answers with status 503'):
        check_of(f'http://127.0.0.1:{site}/ill', Listeners(), 5.0)(ME)


def test_nobody_there() -> None:
    with pytest.raises(OSError):
        check_of('http://127.0.0.1:1/', Listeners(), 5.0)(ME)
    with pytest.raises(ConnectionError, match=r'does not listen by eisenmp\.listen'):
        check_of('/', Listeners(), 5.0)(ME)


def test_a_function_gets_the_worker_and_may_say_no() -> None:
    seen: list[Checked] = []

    def check(checked: Checked) -> bool:
        seen.append(checked)
        return len(seen) < 2

    asks = check_of(check, Listeners(), 5.0)
    asks(ME)
    with pytest.raises(ValueError, match='false'):
        asks(ME)
    assert seen == [ME, ME]
