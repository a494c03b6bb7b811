"""The message desk of the dispatcher: what workers put by hand, ask and print. Runs under the job's lock."""

from __future__ import annotations

import math
import pickle
import socket
from typing import Any, Final

from eisenmp.constants import PERF_CURRENT_ETA, PERF_HEADER_ETA
from eisenmp.crew import Worker
from eisenmp.errors import ProtocolError
from eisenmp.job import Job
from eisenmp.listeners import Wanted
from eisenmp.payload import Payload, opened
from eisenmp.queues import Message, Putter
from eisenmp.wire import ALONE, ANY_QUEUE, OF_WARNING, Buffer, Frame, Kind, encode

__all__ = ["MessageDesk"]

_WARNING: Final[dict[str, type | tuple[type, ...]]] = {  # what a message about one must have; see worker/warned.py
    "worker": str,
    "slot": (int, type(None)),
    "ticket": (int, type(None)),
    "process": int,
    "text": str,
    "categories": list,
    "filename": str,
    "lineno": int,
    "module": (str, type(None)),
}


class MessageDesk:
    """Messages have no ticket: they are delivered once and never sent again.

    Args:
        job: the job.
        tools: TOOL messages so far; new workers get them with their setup.
    """

    def __init__(self, job: Job, tools: list[list[Buffer]]) -> None:
        self._job = job
        self._tools = tools
        self.info: dict[str, int] = {}

    def put(self, worker: Worker, frame: Frame) -> None:
        """A worker puts an object into a queue; with a request number it waits for room."""
        job, request = self._job, frame.serial
        queue = job.table[frame.queue]
        if queue.category is None and queue.short == "mp_tools_q":
            self.tool(frame.payload)
            return
        if queue.category is None and queue.short == "mp_info_q" and self._is_progress(frame.payload):
            return
        if not request:
            job.exchange.add_message(queue, Message(frame.payload))
            return

        def accepted() -> None:
            putter.live = False
            job.engine.send(worker.number, encode(Kind.ACCEPTED, serial=request))

        def too_late() -> None:
            job.exchange.withdraw(queue, putter)
            job.engine.send(worker.number, encode(Kind.FULL, serial=request))

        putter = Putter(worker.number, Message(frame.payload), accepted)
        job.exchange.put(queue, putter)
        if putter.live and frame.number >= 0:
            job.exchange.at(job.clock() + frame.number, putter, too_late)

    def tool(self, payload: Payload) -> None:
        """Send a tool to every worker there is; those to come get it with their setup."""
        self._tools.append(encode(Kind.TOOL, payload))
        self._job.crew.broadcast(self._tools[-1])

    def ask(self, worker: Worker, frame: Frame) -> None:
        """How many entries a queue has; with a time to wait, not before there is one or the time is over."""
        job = self._job
        queue = None if frame.queue == ANY_QUEUE else job.table[frame.queue]

        def ended() -> bool:
            told = worker.ending and not job.still_needs(worker, queue)
            return queue is not None and (told or job.exchange.ended(queue))

        def reply() -> None:
            fill = queue.fill if queue else 0
            job.engine.send(
                worker.number, encode(Kind.COUNT, serial=frame.serial, number=float(fill), flags=int(ended()))
            )

        if frame.number <= 0 or (queue is not None and queue.entries) or ended():
            reply()
        else:
            job.exchange.at(job.clock() + frame.number, None, reply)

    def listen(self, worker: Worker, frame: Frame) -> None:
        """A worker wants its slot's socket of an address."""
        wanted, backlog = _wanted(opened(frame.body))
        job, request = self._job, frame.serial
        try:
            sock, shared = job.listeners.socket_for(worker.slot, wanted, backlog)
            if not hasattr(socket, "send_fds"):  # Windows
                told = sock.share(job.crew.handles[worker.slot].pid)  # type: ignore[attr-defined,unused-ignore]
                job.engine.send(
                    worker.number, encode(Kind.LISTENING, (pickle.dumps(told),), flags=ALONE, serial=request)
                )
                return
        except (OSError, OverflowError) as error:
            self._no_descriptor(worker, request, (getattr(error, "errno", None) or 0, _text(error)))
            return
        worker.listens.add(wanted)
        job.engine.send(worker.number, encode(Kind.LISTENING, rows=int(shared), serial=request), sock)

    def _no_descriptor(self, worker: Worker, request: int, instead: object) -> None:
        answer = encode(Kind.LISTENING, (pickle.dumps(instead),), flags=ALONE, serial=request)
        self._job.engine.send(worker.number, answer)

    def printed(self, worker: Worker, frame: Frame) -> None:
        """Whole lines for the manager's standard output, or its standard error."""
        text = bytes(frame.body).decode("utf-8", "replace")
        stderr = bool(frame.flags & 1)
        self._job.later.append(lambda: self._job.listener.lines(text, stderr=stderr, worker=worker.name))

    def log(self, worker: Worker, frame: Frame) -> None:
        """A log record, or a warning."""
        fields = opened(frame.body)
        if not (isinstance(fields, dict) and all(isinstance(name, str) for name in fields)):
            raise ProtocolError("a log record without fields")
        if frame.flags & OF_WARNING:
            _check_warning(fields)
            self._job.later.append(lambda: self._job.listener.warned(fields))
        else:
            self._job.later.append(lambda: self._job.listener.log(fields))

    def _is_progress(self, payload: Payload) -> bool:
        """``[PERF_HEADER_ETA + name, rows]`` feeds the display; anything else on mp_info_q is a message."""
        try:
            header, rows = opened(payload[0])
        except (ProtocolError, TypeError, ValueError):
            return False  # something else, for whoever reads the queue
        for mark in (PERF_HEADER_ETA, PERF_CURRENT_ETA):
            if isinstance(header, str) and header.startswith(mark) and _is_count(rows):
                name = header[len(mark) :]
                self.info[name] = self.info.get(name, 0) + int(rows)
                return True
        return False


def _check_warning(fields: dict[str, Any]) -> None:
    for name, kinds in _WARNING.items():
        if not isinstance(fields.get(name), kinds):
            raise ProtocolError(f"a warning with {name} {fields.get(name)!r}")
    if not all(isinstance(name, str) for name in fields["categories"]):
        raise ProtocolError("a warning of categories without names")


def _wanted(parts: object) -> tuple[Wanted, int]:
    if not (isinstance(parts, tuple) and [type(part) for part in parts] == [int, str, int, int, bool]):
        raise ProtocolError("a request for a listening socket without an address")
    family, host, port, backlog, shared = parts
    if family not in (socket.AF_INET, socket.AF_INET6) or not 0 <= port <= 65535 or not 1 <= backlog <= 1 << 20:
        raise ProtocolError("a request for a listening socket that makes no sense")
    return Wanted(family, host, port, shared), backlog


def _text(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is_count(rows: object) -> bool:
    return isinstance(rows, int) or (isinstance(rows, float) and math.isfinite(rows))
