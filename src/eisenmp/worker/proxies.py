"""Queues as a worker sees them: the whole surface of ``queue.Queue``, asked for over the worker's channel.

A bounded ``put`` and every ``get`` is one round trip; a ``put`` into a queue without a bound waits for nothing.
"""

from __future__ import annotations

import queue
from typing import Any, Final

from eisenmp.constants import STOP_MSG, closing_header, parse_header, ticket_header
from eisenmp.errors import PayloadError
from eisenmp.payload import Payload, dumps, dumps_error, loads
from eisenmp.wire import FOREVER, HAS_VALUE, Buffer, Frame, Kind, encode
from eisenmp.worker.inbox import Inbox, put_message

__all__ = ["OutputProxy", "PrintProxy", "QueueProxy", "ToolsProxy", "answer_message"]

_NEWS: Final = 0.005  # seconds that empty() and get_nowait() wait for news, so that old polling loops sleep
_NEWS_MOST: Final = 0.05  # the same after many looks in a row at a queue that stays empty


def answer_message(queue_number: int, serial: int, seconds: float, value: Payload = ()) -> list[Buffer]:
    """The answer to a ticket, with its result where one goes along."""
    flags = HAS_VALUE if value else 0
    return encode(Kind.ANSWER, value, queue=queue_number, serial=serial, number=seconds, flags=flags)


class QueueProxy:
    """One queue of the manager, in a worker."""

    def __init__(self, inbox: Inbox, number: int, name: str, maxsize: int) -> None:
        self._inbox = inbox
        self._number = number
        self._empty_looks = 0
        self.name = name
        self.maxsize = maxsize

    def __repr__(self) -> str:
        return f"<queue {self.name!r} maxsize={self.maxsize}>"

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next object, or the next chunk as ``[header, item, …]``.

        Asking again answers the chunk that this thread took from this queue before. When all feeders of the queue
        are done and nothing is left, returns ``[header, STOP_MSG]``.

        Raises:
            queue.Empty: nothing came within `timeout` seconds, or at once with ``block=False``.
        """
        wait = self._wait(block, timeout)
        answers = []
        lease = self._inbox.let_go(self._number)
        if lease is not None:
            answers.append(answer_message(lease.queue, lease.serial, lease.seconds()))
        while True:
            frame = self._inbox.take(self._number, wait, *answers)
            answers.clear()
            if frame.kind == Kind.EMPTY:
                raise queue.Empty
            self._empty_looks = 0
            if frame.kind == Kind.END:
                rows = [closing_header(self.name), STOP_MSG]
            elif frame.kind == Kind.MESSAGE:
                return loads(frame.payload)
            else:
                chunk = self._unpack(frame, answers)
                if chunk is None:
                    continue
                rows = chunk
            self._inbox.toolbox.NEXT_LIST = rows
            return rows

    def _unpack(self, frame: Frame, answers: list[list[Buffer]]) -> list[Any] | None:
        """The rows of a chunk; a chunk that does not unpickle fails its own ticket and nothing else."""
        lease = self._inbox.hold(frame)
        try:
            rows: list[Any] = loads(frame.payload)
        except Exception as error:
            self._inbox.let_go(self._number)
            wrong = PayloadError(f"the items cannot be unpickled in the worker: {type(error).__name__}: {error}")
            wrong.__cause__ = error
            answers.append(
                encode(
                    Kind.FAILED,
                    dumps_error(wrong),
                    queue=lease.queue,
                    serial=lease.serial,
                    number=lease.seconds(),
                )
            )
            return None
        rows.insert(0, ticket_header(self.name, frame.serial))
        return rows

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an object by hand: it has no ticket and is delivered once.

        Raises:
            queue.Full: no room within `timeout` seconds, or at once with ``block=False``.
            PayloadError: `obj` cannot be pickled.
        """
        wait = _timeout(block, timeout)
        if not self.maxsize:
            self._inbox.channel.send(put_message(self._number, obj))
            return
        if self._inbox.ask(Kind.PUT, self._number, wait, dumps(obj)).kind == Kind.FULL:
            raise queue.Full

    def put_nowait(self, obj: Any) -> None:
        """``put(obj, block=False)``."""
        self.put(obj, block=False)

    def qsize(self) -> int:
        """How many objects and chunks are queued, those handed out ahead to this worker included."""
        return int(self._inbox.ask(Kind.ASK, self._number, 0.0).number) + self._inbox.ahead(self._number)

    def empty(self) -> bool:
        """Whether a ``get`` would wait. Waits some milliseconds for news first, so that polling it costs little."""
        if self._inbox.ahead(self._number):
            return False
        reply = self._inbox.ask(Kind.ASK, self._number, self._patience())
        if reply.number or reply.flags:
            self._empty_looks = 0
            return False
        return True

    def full(self) -> bool:
        """Whether a ``put`` would wait."""
        return bool(self.maxsize) and self.qsize() >= self.maxsize

    def _wait(self, block: bool, timeout: float | None) -> float:
        return _timeout(block, timeout) if block else self._patience()

    def _patience(self) -> float:
        self._empty_looks += 1
        return min(_NEWS * max(1, self._empty_looks // 4), _NEWS_MOST)


class OutputProxy(QueueProxy):
    """``mp_output_q``: what is put under a ticket's header is that ticket's result, anything else is a message."""

    def __init__(self, inbox: Inbox, number: int, name: str, maxsize: int, numbers: dict[str, int]) -> None:
        super().__init__(inbox, number, name, maxsize)
        self._numbers = numbers

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """``put([toolbox.OUTPUT_HEADER + header, result])`` gives the result of a ticket.

        It becomes visible together with the ticket's answer: when this thread asks the queue again, or returns.
        """
        header = obj[0] if isinstance(obj, list | tuple) and obj else None
        parsed = parse_header(header) if isinstance(header, str) else None
        if parsed is None or parsed[0] not in self._numbers:
            super().put(obj, block, timeout)
            return
        name, serial = parsed
        result = obj[1] if len(obj) == 2 else list(obj[1:])
        kind = Kind.CLOSING if serial is None else Kind.RESULT
        self._inbox.channel.send(encode(kind, dumps(result), queue=self._numbers[name], serial=serial or 0))


class PrintProxy(QueueProxy):
    """``mp_print_q``: what is put is printed by the manager, whole lines at a time."""

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Print ``str(obj)`` in the manager."""
        self._inbox.channel.send(encode(Kind.PRINT, (str(obj).encode("utf-8", "backslashreplace"),)))


class ToolsProxy(QueueProxy):
    """``mp_tools_q``: every worker process gets every tool once, in the order they were put."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next tool that this process has not read; also kept as ``toolbox.MULTI_TOOL``."""
        wait = self._wait(block, timeout)
        frame = self._inbox.next_tool(None if wait == FOREVER else wait)
        if frame is None:
            raise queue.Empty
        self._empty_looks = 0
        self._inbox.toolbox.MULTI_TOOL = loads(frame.payload)
        return self._inbox.toolbox.MULTI_TOOL

    def qsize(self) -> int:
        """Tools that this process has not read yet, as far as they have arrived."""
        self._inbox.ask(Kind.ASK, self._number, 0.0)  # what was sent before the reply has arrived with it
        return len(self._inbox.tools)

    def empty(self) -> bool:
        """Whether all tools are read."""
        return not self._inbox.tools and self.qsize() == 0


def _timeout(block: bool, timeout: float | None) -> float:
    if not block:
        return 0.0
    if timeout is None:
        return FOREVER
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return float(timeout)
