"""The thread that serves the live page of one job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from eisenmp.address import Address
from eisenmp.engines.processes import manager_only
from eisenmp.errors import SettingsError
from eisenmp.web import Shown
from eisenmp.web.app import Metrics, make_app
from eisenmp.web.gate import Gate

__all__ = ["Page"]

_THREAD: Final = "eisenmp-page"
_PATIENCE: Final = 1.0  # seconds that browsers get to hear the last state
_TICK: Final = 1.0  # seconds
_MOST: Final = 64  # connections at a time


class Page:
    """Listens from the beginning, answers from :meth:`start` on.

    Args:
        address: where.
        token: what to ask for; None: one that nobody can guess.
        shown: what is shown, and what may be done.
        metrics: for Prometheus.

    Raises:
        SettingsError: nobody can listen there.
    """

    def __init__(self, address: Address, token: str | None, shown: Shown, metrics: Metrics) -> None:
        self._token = token or secrets.token_urlsafe(24)
        self._socket = _listen(address)
        manager_only.add(self._socket)
        self.url = f"{address.url(self._socket.getsockname()[1])}#token={self._token}"
        app = Gate(make_app(shown, metrics), address, self._token)
        self._server = _Server(
            _Config(
                app,
                http=_Connection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """The job is over, and the live view has told so: let browsers hear it, and be gone."""
        self._server.leave()
        if self._thread.ident is None:
            self._socket.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        logger = logging.getLogger("uvicorn.error")
        logger.addFilter(_is_worth_telling)
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        except Exception as error:
            logging.getLogger("eisenmp").warning(
                "the live page is not served any more: %s: %s", type(error).__name__, error
            )
        finally:
            self._socket.close()
            logger.removeFilter(_is_worth_telling)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """What the server says of its start and end is for nobody, when it is ours; others may run in this program."""
    return record.levelno >= logging.WARNING or record.threadName != _THREAD


def _listen(address: Address) -> socket.socket:
    error: OSError | None = None
    for port in address.ports:
        try:
            family = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((address.host, port), family=family)
        except OSError as why:
            error = why
    where = f"{address.host}:{address.ports[0]}"
    reason = (error.strerror if error is not None else None) or error
    raise SettingsError(
        f"DASHBOARD: the live page cannot be served at {where}: {reason}; another port, or True for a free one"
    ) from error


class _Config(uvicorn.Config):
    """Leaves the program's loggers as they are."""

    def configure_logging(self) -> None:
        pass


class _Server(uvicorn.Server):
    """Looks at its clock once a second: ten times, as is usual, take the interpreter from the feeders ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaves = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # the clock is for the date in its answers
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaves.wait(), _TICK)

    def leave(self) -> None:
        """Answer what has been asked, and end. From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._leaves.set)


class _Connection(H11Protocol):
    """One that a worker does not inherit, when it is forked: for browsers it would never end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._descriptor: _Descriptor | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override,unused-ignore]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._descriptor = _Descriptor(sock.fileno())
            manager_only.add(self._descriptor)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._descriptor is not None:
            manager_only.discard(self._descriptor)
            self._descriptor = None
        super().connection_lost(exc)


class _Descriptor:
    """What a forked child closes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def close(self) -> None:
        os.close(self._number)
