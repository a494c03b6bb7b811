"""Queues as the manager's own threads see them: the whole surface of ``queue.Queue``."""

from __future__ import annotations

import queue as std_queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from eisenmp.constants import STOP_MSG, closing_header, ticket_header
from eisenmp.errors import ClusterError
from eisenmp.exchange import Exchange
from eisenmp.ledger import Chunk
from eisenmp.payload import dumps, loads
from eisenmp.queues import Getter, Message, NamedQueue, Putter
from eisenmp.remote import LostError, brought

__all__ = ["ManagerQueue"]

_MANAGER: Final = -1  # worker number of the manager itself, in leases


class ManagerQueue:
    """One named queue, in the manager. What is put is pickled at once, so an error shows here and now."""

    def __init__(self, exchange: Exchange, queue: NamedQueue) -> None:
        self._exchange = exchange
        self._queue = queue
        self.on_put: Callable[[Any], bool] | None = None  # takes the object itself: True, it went elsewhere

    def __repr__(self) -> str:
        return f"<queue {self.name!r} maxsize={self.maxsize} qsize={self.qsize()}>"

    @property
    def name(self) -> str:
        """As in ``q_name_id_lst``."""
        return self._queue.name

    @property
    def maxsize(self) -> int:
        """The bound; 0: none."""
        return self._queue.maxsize

    @property
    def number(self) -> int:
        """Its place in the job's table of queues."""
        return self._queue.number

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an object by hand: it has no ticket and is delivered once.

        Raises:
            queue.Full: no room within `timeout` seconds, or at once with ``block=False``.
            PayloadError: `obj` cannot be pickled.
        """
        _check(timeout if block else None)
        if self.on_put is not None and self.on_put(obj):
            return
        message = Message(dumps(obj))
        exchange = self._exchange
        with exchange.lock:
            if not self._queue.maxsize:
                exchange.add_message(self._queue, message)
                return
            cond = exchange.lock.condition()
            putter = Putter(None, message, lambda: self._settle(putter, cond))
            exchange.put(self._queue, putter)
            try:
                cond.wait_for(lambda: not putter.live, timeout if block else 0)
            finally:  # a Ctrl-C too: what was not accepted will not be put
                refused = putter.live
                if refused:
                    exchange.withdraw(self._queue, putter)
            if refused:
                raise std_queue.Full

    @staticmethod
    def _settle(putter: Putter, cond: threading.Condition) -> None:
        putter.live = False
        cond.notify()

    def put_nowait(self, obj: Any) -> None:
        """``put(obj, block=False)``."""
        self.put(obj, block=False)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next object, or the next chunk as ``[header, item, …]``, as a worker gets it.

        A chunk that the manager takes is answered at once, without a result.

        A thread that reads ``results.outcomes()`` too must not wait here for what depends on outcomes it has not read:
        they hold the feeders back when the window is full. Read them in another thread, or ``close`` that reader first.

        Raises:
            queue.Empty: nothing came within `timeout` seconds, or at once with ``block=False``.
            ClusterError: what was put lay on another machine, which is gone; and it was put by hand, not forwarded. Or
                the whole cluster is gone, and large items of a chunk with it.
        """
        _check(timeout if block else None)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            entry = self._next(block, timeout)
            if entry is None:
                return [closing_header(self.name), STOP_MSG]
            if isinstance(entry, Chunk):
                try:
                    return [ticket_header(self.name, entry.serial), *_rows(entry)]
                except LostError as error:
                    raise ClusterError(
                        f"_TID_{entry.serial} of queue {self.name!r} cannot be had any more: {error}"
                    ) from error
            try:
                payload = brought(entry.payload)
            except LostError as error:
                with self._exchange.lock:
                    if not self._exchange.on_lost(self._queue, entry):
                        raise ClusterError(
                            f"a message of queue {self.name!r} cannot be had any more: {error}"
                        ) from error
                timeout = None if end is None else max(0.0, end - time.monotonic())
                continue
            return loads(payload)

    def _next(self, block: bool, timeout: float | None) -> Message | Chunk | None:
        exchange = self._exchange
        got: list[Message | Chunk | None] = []
        with exchange.lock:
            cond = exchange.lock.condition()

            def deliver(_: NamedQueue, entry: Message | Chunk | None) -> None:
                got.append(entry)
                cond.notify()

            getter = Getter(None, deliver)
            exchange.get(self._queue, getter)
            try:
                if not got and block and exchange.drive is not None:
                    begin = time.monotonic()
                    exchange.drive(getter, got, timeout)
                    timeout = None if timeout is None else max(0.0, timeout - (time.monotonic() - begin))
                cond.wait_for(lambda: bool(got), timeout if block else 0)
            except BaseException:  # Ctrl-C: nothing must be handed to somebody who does not wait any more
                exchange.withdraw(self._queue, getter)
                exchange.give_again(self._queue, got)
                raise
            if not got:
                exchange.withdraw(self._queue, getter)
                raise std_queue.Empty
            entry = got[0]
            if isinstance(entry, Chunk):
                exchange.ledger.lease(entry, _MANAGER, 0.0, begun=True)
                exchange.ledger.done(_MANAGER, entry.queue, entry.serial, _MANAGER, 0.0)
                exchange.on_manager_read(entry.queue, entry.serial)
        return entry

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def qsize(self) -> int:
        """How many objects and chunks are queued."""
        with self._exchange.lock:
            return self._queue.fill

    def empty(self) -> bool:
        """Whether nothing is queued."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether a ``put`` would wait."""
        with self._exchange.lock:
            return self._queue.full


def _rows(chunk: Chunk) -> list[Any]:
    """The items of one ticket."""
    whole = loads(brought(chunk.payload))
    if chunk.nested:
        return list(loads((whole[chunk.skip],)))
    at = chunk.skip * chunk.rows
    return list(whole[at : at + chunk.items])


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
