"""The toolbox: the one argument of a classic entry function."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from eisenmp import constants
from eisenmp.payload import dumps
from eisenmp.wire import FOREVER, Kind, encode
from eisenmp.worker import ports
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.inbox import Inbox
from eisenmp.worker.proxies import OutputProxy, PrintProxy, QueueProxy, ToolsProxy

__all__ = ["Toolbox"]

_SPECIAL = {"mp_print_q": PrintProxy, "mp_tools_q": ToolsProxy}


class Toolbox:
    """Settings, custom attributes, queues and the worker's identity, all as attributes.

    What a worker writes here is its own; nothing of it reaches the manager or another worker. ``kwargs`` holds the
    same as a dict.
    """

    NEXT_LIST: Any = None  # the chunk taken last, with its header
    MULTI_TOOL: Any = None  # the tool taken last from mp_tools_q
    STOP_MSG = constants.STOP_MSG
    OUTPUT_HEADER = constants.OUTPUT_HEADER
    INPUT_HEADER = constants.INPUT_HEADER
    PERF_HEADER_ETA = constants.PERF_HEADER_ETA
    PERF_CURRENT_ETA = constants.PERF_CURRENT_ETA
    START_SEQUENCE_NUM: int
    WORKER_ID: int
    WORKER_NAME: str
    WORKER_PID: int
    Q_NAME_ID_LST: list[tuple[str, int, QueueProxy]]

    def __init__(self) -> None:
        self.kwargs: dict[str, Any] = {}
        self._inbox: Inbox
        self._numbers: dict[str, int] = {}
        self._by_number: dict[int, QueueProxy] = {}
        self._watches_leaving = False

    def __repr__(self) -> str:
        return f"<toolbox of {self.__dict__.get('WORKER_NAME', 'no worker')}>"

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if not name.startswith("_") and name != "kwargs":
            self.kwargs[name] = value

    # The names below are dynamic: settings, custom attributes, queues by name, categories.
    def __getattr__(self, name: str) -> Any:
        from eisenmp.errors import nearest

        raise AttributeError(f"the toolbox has no {name!r}{nearest(name, self.__dict__)}")

    def furnish(self, inbox: Inbox, setup: Mapping[str, Any]) -> None:
        """Fill the toolbox of a new worker. `setup`: see worker/main.py."""
        self._inbox = inbox
        self.Q_NAME_ID_LST = []
        slot = setup["slot"]
        self.START_SEQUENCE_NUM = slot
        self.WORKER_ID = slot + 1
        self.WORKER_NAME = setup["name"]
        self.WORKER_PID = os.getpid()
        for name in ("NEXT_LIST", "MULTI_TOOL", "STOP_MSG", "OUTPUT_HEADER", "INPUT_HEADER"):
            self.kwargs[name] = getattr(self, name)
        self.kwargs.update(PERF_HEADER_ETA=self.PERF_HEADER_ETA, PERF_CURRENT_ETA=self.PERF_CURRENT_ETA)
        self.update(setup["settings"].items())
        for row in setup["queues"]:
            self.add_queue(row)

    def update(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Set attributes."""
        for name, value in pairs:
            setattr(self, name, value)

    def set_shared(self, name: str, obj: Any) -> None:
        """An object that the manager has shared has arrived."""
        setattr(self, name, obj)

    def add_queue(self, row: tuple[int, str, str, str | None, int]) -> None:
        """A queue of the manager becomes an attribute, or an entry of its category's dict."""
        number, name, short, category, maxsize = row
        self._numbers[name] = number
        if short == "mp_output_q" and category is None:
            proxy: QueueProxy = OutputProxy(self._inbox, number, name, maxsize, self._numbers)
        else:
            proxy = _SPECIAL.get(short if category is None else "", QueueProxy)(self._inbox, number, name, maxsize)
        self._by_number[number] = proxy
        self.Q_NAME_ID_LST.append((name, id(proxy), proxy))
        if category is None:
            setattr(self, short, proxy)
        else:
            if category not in self.__dict__:
                setattr(self, category, {})
            self.__dict__[category][short] = proxy

    def queue_name(self, number: int) -> str:
        """The full name of a queue."""
        return self._by_number[number].name

    def forward(self, queue: QueueProxy, obj: Any) -> None:
        """Put `obj` into `queue` when the ticket that this thread took last is answered, and not if the worker dies.

        Without a ticket it is put at once. The bound of the queue does not hold it back.
        """
        lease = self._inbox.newest()
        if lease is None:
            queue.put(obj)
            return
        self._inbox.channel.send(
            encode(Kind.FORWARD, dumps(obj), queue=queue._number, serial=lease.serial, number=float(lease.queue))
        )

    @property
    def leaving(self) -> threading.Event:
        """Set when this process is about to be asked to end (``restart``, ``terminate``), before SIGTERM comes.

        Meanwhile the connections that it has are to be finished; new ones go elsewhere where the port is shared.
        Whoever keeps connections open answers with ``Connection: close`` from then on.
        """
        if not self._watches_leaving:  # a thread that most workers need not have
            self._watches_leaving = True
            threading.Thread(target=self._watch_leaving, name="eisenmp-leaving", daemon=True).start()
        return self._inbox.leaving

    def _watch_leaving(self) -> None:
        try:
            self._inbox.channel.wait_for(self._inbox.leaving.is_set)
        except Disconnected:
            pass  # a worker that is a thread has ended

    def listen(
        self, port: int, host: str = "127.0.0.1", *, backlog: int = ports.BACKLOG, shared: bool = False
    ) -> socket.socket:
        """This worker's listening socket; see :func:`eisenmp.listen`."""
        return ports.listen_for(self._inbox, port, host, backlog, shared=shared)

    def stop_job(self, value: Any = None) -> None:
        """First hit: no further chunk starts anywhere, `value` is the job's answer, results so far are kept."""
        self._inbox.channel.send(encode(Kind.STOP_JOB, dumps(value), number=FOREVER))
