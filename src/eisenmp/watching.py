"""Whoever watches a job: the live view, and what shows it. Nothing of it is loaded for a job that nobody watches."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from eisenmp.address import address_of
from eisenmp.surroundings import file_limit, workers_within

if TYPE_CHECKING:
    from eisenmp.control.server import ControlServer
    from eisenmp.job import Job
    from eisenmp.live import Live
    from eisenmp.live.actions import Steered
    from eisenmp.web.page import Page

__all__ = ["Watching"]

_AFTER: Final = 1.0  # seconds of a job before it can be watched from elsewhere


def _facts(job: Job) -> Mapping[str, object]:
    from eisenmp.live import job_facts

    return job_facts(job)


class Watching:
    """Of one manager.

    Args:
        emp: what people may steer.
        info: rows that workers have reported through mp_info_q, by name.
    """

    def __init__(self, emp: Steered, info: Callable[[], Mapping[str, int]]) -> None:
        self._emp = emp
        self._info = info
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._page: Page | None = None
        self._control: ControlServer | None = None
        self._ended = False

    @property
    def url(self) -> str | None:
        """Where the live page is; None: there is none."""
        return None if self._page is None else self._page.url

    def live(self, job: Job) -> Live:
        """The live view; made when it is asked for first."""
        with self._lock:
            if self._live is None:
                from eisenmp.live import Actions, live_view

                self._live = live_view(job, self._info, Actions(self._emp, resizable=job.settings.ENGINE != "inline"))
                if self._ended:
                    self._live.end()
            return self._live

    def begin(self, job: Job) -> None:
        """Open what the settings ask for, before any worker is started.

        Raises:
            SettingsError: the page cannot be served, or what is needed for it is not installed.
        """
        self._open_spans(job)
        self._open_page(job)
        if job.settings.CONTROL_SOCKET:
            with job.lock:  # in a while: most jobs are over by then
                job.exchange.at(job.clock() + _AFTER, None, lambda: job.later.append(lambda: self._open_control(job)))

    def end(self) -> None:
        """No process is left."""
        with self._lock:
            self._ended = True
            live = self._live
        if live is not None:
            live.end()
        if self._control is not None:
            self._control.close()
        if self._page is not None:
            self._page.close()

    def _open_control(self, job: Job) -> None:
        from eisenmp.control.places import supported

        limit = file_limit()
        if not supported() or (limit is not None and job.settings.procs > workers_within(limit)):
            return  # its descriptors may be the very ones that the last worker lacks
        from eisenmp.control.server import ControlServer

        control = ControlServer(lambda: self.live(job), partial(_facts, job))
        try:
            control.open()
        except OSError as error:  # no place for it is no reason to disturb anybody
            logging.getLogger("eisenmp").info("the job cannot be watched by eisenmp top: %s", error)
        else:
            self._control = control

    def _open_spans(self, job: Job) -> None:
        wanted = job.settings.OPENTELEMETRY
        if not wanted and (wanted is not None or "opentelemetry.trace" not in sys.modules):
            return
        from eisenmp.live.spans import open_spans

        spans = open_spans(wanted, job.clock)
        if spans is not None:
            live = self.live(job)
            live.on_look.append(spans.add)
            live.begin()

    def _open_page(self, job: Job) -> None:
        address = address_of(job.settings.DASHBOARD)
        if address is None:
            return
        from eisenmp.live.durations import Durations
        from eisenmp.web import open_page  # an extra

        live, durations = self.live(job), Durations()
        self._page = open_page(address, job.settings.DASHBOARD_TOKEN, live, durations)
        live.on_look.append(durations.add)
        live.begin()
        try:
            if sys.stderr is not None:
                print(f"eisenmp: the live page is at {self._page.url}", file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # nobody reads it, or it was closed; `dashboard_url` tells as well
        if not address.is_local:
            job.news(
                f"DASHBOARD={job.settings.DASHBOARD!r} is open to other machines, and nothing is encrypted: who "
                "listens on the way learns the token, and with it may stop the job; a tunnel (ssh -L) is safer"
            )
