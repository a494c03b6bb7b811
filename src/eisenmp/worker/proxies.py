"""Queues as a worker sees them: the whole surface of ``queue.Queue``, asked for over the worker's channel.

A bounded ``put`` and every ``get`` is one round trip; a ``put`` into a queue without a bound waits for nothing.
"""

from __future__ import annotations

import queue
from typing import Any, Final

from eisenmp.constants import STOP_MSG, closing_header, parse_header, ticket_header
from eisenmp.payload import dumps, loads
from eisenmp.wire import FOREVER, Frame, Kind, encode
from eisenmp.worker.batch import Batch, failed_message, items_error
from eisenmp.worker.inbox import Inbox, put_message

__all__ = ["OutputProxy", "PrintProxy", "QueueProxy", "ToolsProxy"]

_NEWS: Final = 0.005  # seconds that empty() and get_nowait() wait for news, so that old polling loops sleep
_NEWS_MOST: Final = 0.05  # the same after many looks in a row at a queue that stays empty


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
        inbox = self._inbox
        lease = inbox.let_go(self._number)
        if lease is not None:
            inbox.answers.note(lease)
        while True:
            opened = inbox.stock.next_opened(self._number)
            if opened is not None:
                rows = self._unpack(*opened)
                if rows is None:
                    continue
                break
            frame = inbox.take(self._number, wait)
            if frame.kind == Kind.EMPTY:
                raise queue.Empty
            self._empty_looks = 0
            if frame.kind == Kind.MESSAGE:
                return loads(frame.payload)
            if frame.kind == Kind.END:
                rows = [closing_header(self.name), STOP_MSG]
                break
            self._open(frame)
        inbox.toolbox.NEXT_LIST = rows
        return rows

    def _open(self, frame: Frame) -> None:
        """Lay out the tickets of a chunk; one that does not unpickle fails its own tickets and nothing else."""
        try:
            self._inbox.stock.open(Batch(frame))
        except BaseException as error:
            wrong = items_error(error)
            serials = range(frame.serial, frame.serial + (frame.tickets or 1))
            self._inbox.channel.send(*[failed_message(wrong, frame.queue, serial) for serial in serials])

    def _unpack(self, batch: Batch, at: int) -> list[Any] | None:
        """The rows of one ticket, with its header; None: they do not unpickle."""
        serial = batch.serial + at
        self._inbox.hold(batch.queue, serial, batch if batch.tickets > 1 else None)
        try:
            return [ticket_header(self.name, serial), *batch.items(at)]
        except BaseException as error:
            self._inbox.let_go(self._number)
            self._inbox.channel.send(failed_message(items_error(error), batch.queue, serial))
            return None

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
        return int(self._inbox.ask(Kind.ASK, self._number, 0.0).number) + self._inbox.stock.count(self._number)

    def empty(self) -> bool:
        """Whether a ``get`` would wait. Waits some milliseconds for news first, so that polling it costs little."""
        if self._inbox.stock.count(self._number):
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
        number, value = self._numbers[name], dumps(result)
        if serial is None:
            self._inbox.channel.send(encode(Kind.CLOSING, value, queue=number))
        elif not self._inbox.keep_result(number, serial, value):  # it was answered before
            self._inbox.channel.send(encode(Kind.RESULT, value, queue=number, serial=serial))


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
