"""What a worker process holds at a time: replies it waits for, leases, answers that wait for company, tools.

All of it changes under the channel's condition. Chunks that lie here are the stock's (worker/stock.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from eisenmp.parcel import open_place
from eisenmp.payload import Payload, dumps, loads
from eisenmp.wire import ALONE, ANY_QUEUE, AT_RETURN, FOREVER, PICKLED, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import answer_message
from eisenmp.worker.channel import Channel
from eisenmp.worker.stock import Stock

__all__ = ["Inbox", "Lease", "put_message"]


class Lease:
    """A ticket that a thread of this worker holds. ``value``: its result so far; the first one counts."""

    __slots__ = ("_serial", "at_return", "batch", "begun", "queue", "value", "where")

    def __init__(self, queue: int, serial: int, batch: object = None) -> None:
        self.queue = queue
        self._serial = serial
        self.where: Callable[[], int] | None = None  # tells which ticket of a batch is at work
        self.batch = batch  # that it came in; None: it came alone
        self.value: Payload = ()
        self.at_return = False  # it was held until the entry function returned for good
        self.begun = time.perf_counter()

    @property
    def serial(self) -> int:
        """The ticket."""
        return self._serial if self.where is None else self.where()

    def seconds(self) -> float:
        """How long it has been held."""
        return time.perf_counter() - self.begun


class Answers:
    """Answers to short chunks wait here for their neighbours' and go in one message with the next one that is sent."""

    def __init__(self) -> None:
        self._noted: deque[tuple[Lease, float]] = deque()

    def note(self, lease: Lease) -> None:
        """The ticket is answered."""
        self._noted.append((lease, lease.seconds()))

    def first(self) -> Lease | None:
        """What has waited longest."""
        try:
            return self._noted[0][0]
        except IndexError:
            return None

    def messages(self) -> list[list[Buffer]]:
        """All that was noted, and forget it."""
        messages: list[list[Buffer]] = []
        row: list[tuple[Lease, float]] = []
        while self._noted:
            lease, seconds = self._noted.popleft()
            if len(lease.value) > 1 or (row and not _follows(row[-1][0], lease)):
                messages += _answer(row)
                row = []
            row.append((lease, seconds))
            if len(lease.value) > 1:
                messages += _answer(row)
                row = []
        return messages + _answer(row)


def _follows(one: Lease, other: Lease) -> bool:
    alike = one.batch is not None and one.batch is other.batch and one.at_return == other.at_return
    return alike and one.serial + 1 == other.serial


def _answer(row: list[tuple[Lease, float]]) -> list[list[Buffer]]:
    if not row:
        return []
    lease, seconds = row[0]
    flags = AT_RETURN if lease.at_return else 0
    if len(row) == 1:
        return [answer_message(lease.queue, lease.serial, seconds, lease.value, flags)]
    pieces = [bytes(one.value[0]) if one.value else None for one, _ in row]
    value = dumps(pieces) if any(pieces) else ()
    seconds = sum([each for _, each in row])
    return [answer_message(lease.queue, lease.serial, seconds, value, PICKLED | flags, tickets=len(row))]


class Inbox:
    """Requests and their replies, leases by thread. `plain`: see :class:`eisenmp.worker.stock.Stock`."""

    def __init__(self, toolbox: Any, *, plain: bool) -> None:
        self.toolbox = toolbox
        self.plain = plain
        self.answers = Answers()
        self.stock = Stock(plain=plain, noted=self.answers.first)
        self.channel: Channel  # see connect
        self.tools: deque[Frame] = deque()
        self.tools_seen = 0
        self.leaving = threading.Event()  # this process is about to be asked to end
        self.on_queue: Any = None  # called with the row of a queue made after the start
        self.worked_until: float | None = None  # since then the thread that works packs and sends results
        self._sending = 0.0  # seconds spent on that and not told yet
        self._replies: dict[int, Frame] = {}
        self._requests = count(1)
        self._given_up: set[int] = set()  # requests whose thread was interrupted while it waited
        self._leases: dict[int, dict[int, Lease]] = {}  # thread -> queue -> lease
        self._results = threading.Lock()  # between a result that is put and the answer that ends its lease

    def connect(self, channel: Channel) -> None:
        """Use this channel: each needs the other."""
        self.channel = self.stock.channel = channel
        channel.noted = self.answers.messages

    def on_frame(self, frame: Frame) -> None:
        """Take in one message from the manager; runs under the channel's condition."""
        kind = frame.kind
        if kind == Kind.CHUNK and not frame.number:
            self.stock.keep(frame)
        elif kind == Kind.SHARE:
            name, place = loads(frame.payload)
            self.toolbox.set_shared(name, open_place(place))
        elif kind == Kind.TOOL:
            self.tools.append(frame)
            self.tools_seen += 1
        elif kind == Kind.QUEUE:
            self.on_queue(loads(frame.payload))
        elif kind == Kind.LEAVING:
            self.leaving.set()
        else:
            request = int(frame.number) if kind == Kind.CHUNK else frame.serial
            if request in self._given_up:
                self._given_up.discard(request)
                self._pass_on(frame)
            else:
                self._replies[request] = frame

    def ask(self, kind: int, queue: int, timeout: float, payload: Payload = ()) -> Frame:
        """Send a request and wait for its reply."""
        request = next(self._requests)
        self.channel.send(encode(kind, payload, queue=queue, serial=request, number=timeout))
        return self._reply(request)

    def take(self, queue: int, timeout: float, *answers: list[Buffer]) -> Frame:
        """Send `answers` and get the next entry of a queue (or of any): CHUNK, MESSAGE, END or EMPTY."""
        while True:
            frame = self.stock.take(queue)
            if frame is not None:
                taken = encode(
                    Kind.TAKEN, queue=frame.queue, serial=frame.serial, tickets=frame.tickets, skip=self._told()
                )
                self._send(*answers, taken)
                return frame
            request = next(self._requests)
            self._send(*answers, encode(Kind.GET, queue=queue, serial=request, number=timeout, skip=self._told()))
            answers = ()
            reply = self._reply(request)
            self.stock.asked(queue)
            if reply.kind != Kind.AHEAD:
                return reply

    def _send(self, *messages: list[Buffer]) -> None:
        """Send, and note how long that takes, packing included."""
        begun, self.worked_until = self.worked_until or time.perf_counter(), None
        self.channel.send(*messages)
        self._sending += time.perf_counter() - begun

    def _told(self) -> int:
        """Microseconds spent on sending since the last call."""
        told = int(self._sending * 1e6)
        self._sending -= told * 1e-6
        return max(0, min(told, 0xFFFF_FFFF))  # two threads of a classic worker may both tell the same

    def hold(self, queue: int, serial: int, batch: object = None) -> Lease:
        """This thread has taken a chunk: it holds the ticket until it asks the same queue again, or returns."""
        lease = Lease(queue, serial, batch)
        self._leases.setdefault(threading.get_ident(), {})[queue] = lease
        return lease

    def let_go(self, queue: int) -> Lease | None:
        """The lease of this thread on that queue is over."""
        with self._results:
            return self._leases.get(threading.get_ident(), {}).pop(queue, None)

    def let_go_all(self) -> list[Lease]:
        """All leases of this thread are over, oldest first."""
        with self._results:
            leases = self._leases.pop(threading.get_ident(), {})
        return sorted(leases.values(), key=lambda lease: lease.begun)

    def keep_result(self, queue: int, serial: int, value: Payload) -> bool:
        """The result of a ticket, for its answer. False: no thread of this worker holds the ticket now."""
        with self._results:
            for leases in self._leases.values():
                lease = leases.get(queue)
                if lease is not None and lease.serial == serial:
                    lease.value = lease.value or value
                    return True
        return False

    def newest(self) -> Lease | None:
        """The lease that this thread took last and still holds."""
        leases = self._leases.get(threading.get_ident())
        return max(leases.values(), key=lambda lease: lease.begun) if leases else None

    def next_tool(self, timeout: float | None) -> Frame | None:
        """The next tool that this process has not read yet; None when none comes in time."""
        end = None if timeout is None else time.monotonic() + timeout
        while end is not None and not self.tools:
            # nothing here wakes a reader at a set time: the manager, which keeps the clock, answers after a while
            rest = end - time.monotonic()
            self.ask(Kind.ASK, ANY_QUEUE, max(0.0, min(rest, 0.05)))
            if rest <= 0:
                break
        if end is not None:
            with self.channel.cond:
                return self.tools.popleft() if self.tools else None
        self.channel.wait_for(lambda: bool(self.tools))
        with self.channel.cond:
            return self.tools.popleft() if self.tools else None

    def close(self) -> None:
        """The worker is done."""
        self.stock.close()

    def _reply(self, request: int) -> Frame:
        try:
            self.channel.wait_for(lambda: request in self._replies)
        except BaseException:  # a signal handler of the user's has raised: a reply will come all the same
            with self.channel.cond:
                frame = self._replies.pop(request, None)
                if frame is None:
                    self._given_up.add(request)
                else:
                    self._pass_on(frame)
            raise
        return self._replies.pop(request)

    def _pass_on(self, frame: Frame) -> None:
        """A reply that nobody waits for any more: what it brings is for the next one who asks, here or elsewhere."""
        if frame.kind == Kind.CHUNK:
            self.stock.keep(frame)  # as if handed out ahead: it is given back soon
        elif frame.kind == Kind.LISTENING and not frame.flags & ALONE:
            os.close(frame.skip)
        elif frame.kind == Kind.MESSAGE:
            self.channel.send(encode(Kind.PUT, frame.payload, queue=frame.queue, number=FOREVER))


def put_message(queue: int, obj: Any) -> list[Buffer]:
    """An object for a queue without a bound: no reply is wanted."""
    return encode(Kind.PUT, dumps(obj), queue=queue, number=FOREVER)
