"""``HEALTH_CHECK``: whether a worker still does what it is there for. One that does not is killed, and replaced.

A path is asked on each address where the slot listens by ``eisenmp.listen``; a URL is asked as it stands, with the
slot in the place of ``{slot}``; a function is called, in a thread of the manager, with a :class:`Checked`.

Each process has a thread that asks, and dies with it: a function that hangs keeps nobody but its own process's thread.
The clock (:class:`Pulse`) is pure: between a check that begins and one that has come through, ``HEALTH_TIMEOUT``
seconds may pass; before the first one comes through, ten at least, for servers take a while to get ready.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from eisenmp.crew import Worker
from eisenmp.job import Job
from eisenmp.listeners import Address, Group, Listeners

__all__ = ["Checked", "HealthDesk", "Pulse", "check_of"]

_GET_READY: Final = 10.0  # seconds from the first check to the first that comes through
_AGAIN: Final = 0.2  # seconds between checks that fail; less with a short time-out
_GOOD: Final = range(200, 400)  # statuses


class Checked(NamedTuple):
    """The worker that a check is about. ``addresses``: where it listens by ``eisenmp.listen``."""

    slot: int
    name: str
    pid: int
    addresses: tuple[Address, ...]


class Unknown(Exception):  # noqa: N818 - an answer, if not a good one
    """The check cannot be made here."""


class Pulse:
    """Of one process. Seconds all."""

    passed: bool = False  # once
    since: float | None = None  # when the first check began of those that have not come through

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    def begins(self, now: float) -> None:
        """A check begins."""
        if self.since is None:
            self.since = now

    def comes_through(self) -> None:
        """It has come through."""
        self.passed = True
        self.since = None

    @property
    def due(self) -> float | None:
        """When the process counts as hung; None: nothing speaks against it."""
        if self.since is None:
            return None
        return self.since + (self.timeout if self.passed else max(self.timeout, _GET_READY))


class HealthDesk:
    """Checks all workers of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stops: dict[int, threading.Event] = {}  # by worker number
        self._said = False

    def up(self, worker: Worker) -> None:
        """Its modules are loaded. Under the job's lock."""
        setting = self._job.settings.HEALTH_CHECK
        if setting is None or worker.number in self._stops:
            return
        stop = self._stops[worker.number] = threading.Event()
        check = check_of(setting, self._job.listeners, self._job.settings.HEALTH_TIMEOUT)
        run = Watch(self._job, worker, check, stop, self._cannot).run
        try:
            threading.Thread(target=run, name=f"eisenmp-health-{worker.slot}", daemon=True).start()
        except RuntimeError as error:  # the system gives no thread
            self._cannot(str(error))

    def gone(self, worker: Worker) -> None:
        """Its process has ended, or needs no watching any more. Under the job's lock."""
        stop = self._stops.pop(worker.number, None)
        if stop is not None:
            stop.set()

    def close(self) -> None:
        """The job is over."""
        for stop in self._stops.values():
            stop.set()
        self._stops.clear()

    def _cannot(self, why: str) -> None:
        """Say once that the check is of no use."""
        if not self._said:
            self._said = True
            self._job.news(f"HEALTH_CHECK cannot be made: {why}")


class Watch:
    """One process under watch: the thread that asks, and what is made of the answers."""

    def __init__(
        self,
        job: Job,
        worker: Worker,
        check: Callable[[Checked], None],
        stop: threading.Event,
        cannot: Callable[[str], None],
    ) -> None:
        self._job = job
        self._worker = worker
        self._check = check
        self._stop = stop
        self._cannot = cannot
        self._pulse = Pulse(job.settings.HEALTH_TIMEOUT)
        self._trouble = "it does not answer"

    def run(self) -> None:
        """Check again and again, until told to stop."""
        delay = 0.0
        while not self._stop.wait(delay):
            checked = self._begin()
            if checked is None:
                return
            trouble = ""
            try:
                self._check(checked)
            except Unknown as error:
                self._cannot(str(error))
                trouble = ""
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
            delay = self._heard(trouble)

    def _begin(self) -> Checked | None:
        job, worker = self._job, self._worker
        with job.lock:
            pid = job.crew.handles[worker.slot].known_pid
            if job.crew.workers.get(worker.number) is not worker or pid is None:
                return None
            new = self._pulse.since is None
            self._pulse.begins(job.clock())
            if new:
                self._look_later()
            addresses = tuple(group.address for group in job.listeners.groups_of(worker.slot))
            return Checked(worker.slot, worker.name, pid, addresses)

    def _heard(self, trouble: str) -> float:
        """Seconds to the next check."""
        job, settings = self._job, self._job.settings
        with job.lock:
            if trouble:
                self._trouble = trouble
                return min(_AGAIN, settings.HEALTH_TIMEOUT / 10)
            self._pulse.comes_through()
            if not self._worker.healthy:
                self._worker.healthy = True
                job.engine.wake()  # somebody may wait for that
            return settings.HEALTH_EVERY

    def _look_later(self) -> None:
        due = self._pulse.due
        if due is not None:
            self._job.exchange.at(due, None, self._look)
            self._job.engine.wake()

    def _look(self) -> None:
        """Under the job's lock, when it might be hung."""
        job, worker, due = self._job, self._worker, self._pulse.due
        if self._stop.is_set() or worker.leaving or due is None or job.crew.workers.get(worker.number) is not worker:
            return
        if job.clock() < due:
            self._look_later()
            return
        seconds = job.clock() - (self._pulse.since or 0.0)
        worker.trouble = f"a HEALTH_CHECK that failed for {seconds:.1f} s ({self._trouble})"
        job.engine.kill(worker.number)


def check_of(setting: Any, listeners: Listeners, timeout: float) -> Callable[[Checked], None]:
    """The check as a function that raises when all is not well."""
    if callable(setting):

        def call(checked: Checked) -> None:
            if not setting(checked):
                raise ValueError("the check has returned something false")

        return call
    if setting.startswith("/"):
        return lambda checked: _ask_path(setting, checked, listeners, timeout)
    return lambda checked: _ask_url(setting.format(slot=checked.slot), timeout)


def _ask_url(url: str, timeout: float) -> None:
    from urllib.parse import urlsplit  # only a check by URL needs it

    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout) as sock:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        _ask(sock, parts.netloc, path)


def _ask_path(path: str, checked: Checked, listeners: Listeners, timeout: float) -> None:
    groups = listeners.groups_of(checked.slot)
    if not groups:
        raise ConnectionError("it does not listen by eisenmp.listen; give a URL or a function where it never does")
    for group in groups:
        _ask_group(path, checked.slot, group, listeners, timeout)


def _ask_group(path: str, slot: int, group: Group, listeners: Listeners, timeout: float) -> None:
    """Ask this very worker, by its own one of the sockets that share the port."""
    six = group.wanted.family == socket.AF_INET6
    host, port = group.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    with socket.socket(group.wanted.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.bind(("::" if six else "", 0))
        own_port = sock.getsockname()[1]
        if not listeners.pin(group, slot, own_port):
            raise Unknown(f"the workers on port {port} cannot be told apart (one shared socket); give a function")
        try:
            sock.connect((host, port))
        finally:
            listeners.unpin(group, own_port)
        _ask(sock, f"[{host}]:{port}" if six else f"{host}:{port}", path)


def _ask(sock: socket.socket, host: str, path: str) -> None:
    from http.client import HTTPConnection

    connection = HTTPConnection("")
    connection.sock = sock
    connection.request("GET", path, headers={"Host": host, "Connection": "close", "User-Agent": "eisenmp"})
    answer = connection.getresponse()
    answer.close()
    if answer.status not in _GOOD:
        raise ConnectionError(f"{path} answers with status {answer.status} {answer.reason}")
