"""What a worker process holds at a time: replies it waits for, chunks handed out ahead, leases, tools.

All of it changes under the channel's condition. A chunk that was handed out ahead and not begun within some
milliseconds is given back: a worker that settles into one long call must not sit on work that others could do.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import count
from typing import Any, Final

from eisenmp.parcel import open_place
from eisenmp.payload import dumps, loads
from eisenmp.wire import ANY_QUEUE, FOREVER, Buffer, Frame, Kind, encode
from eisenmp.worker.channel import WorkerChannel

__all__ = ["Inbox", "Lease"]

_PATIENCE: Final = 0.02  # seconds that a chunk may wait here for its turn
_PARK_AFTER: Final = 50  # idle rounds after which the giving-back thread goes to sleep for good


class Lease:
    """A ticket that a thread of this worker holds."""

    __slots__ = ("begun", "queue", "serial")

    def __init__(self, queue: int, serial: int) -> None:
        self.queue = queue
        self.serial = serial
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """How long it has been held."""
        return time.perf_counter() - self.begun


class Inbox:
    """Requests and their replies, leases by thread, chunks handed out ahead.

    `plain` workers take chunks of any queue, so what is handed out ahead lies in one buffer; classic ones ask a queue.
    """

    def __init__(self, toolbox: Any, *, plain: bool) -> None:
        self.toolbox = toolbox
        self.plain = plain
        self.channel: WorkerChannel  # set right after it is made: each needs the other
        self.tools: deque[Frame] = deque()
        self.tools_seen = 0
        self.on_queue: Any = None  # called with the row of a queue made after the start
        self._ahead: dict[int, deque[Frame]] = {}
        self._replies: dict[int, Frame] = {}
        self._refusing: set[int] = set()  # queues whose chunks were given back: until the next request, no more ahead
        self._requests = count(1)
        self._leases: dict[int, dict[int, Lease]] = {}  # thread -> queue -> lease
        self._giving = False
        self._closed = False
        self._parked = threading.Event()

    def on_frame(self, frame: Frame) -> None:
        """Take in one message from the manager; runs under the channel's condition."""
        kind = frame.kind
        if kind == Kind.CHUNK and not frame.number:
            self._keep(frame)
        elif kind == Kind.SHARE:
            name, place = loads(frame.payload)
            self.toolbox.set_shared(name, open_place(place))
        elif kind == Kind.TOOL:
            self.tools.append(frame)
            self.tools_seen += 1
        elif kind == Kind.QUEUE:
            self.on_queue(loads(frame.payload))
        else:
            self._replies[int(frame.number) if kind == Kind.CHUNK else frame.serial] = frame

    def ask(self, kind: int, queue: int, timeout: float, payload: tuple[Buffer, ...] = ()) -> Frame:
        """Send a request and wait for its reply."""
        request = next(self._requests)
        self.channel.send(encode(kind, payload, queue=queue, serial=request, number=timeout))
        return self._reply(request)

    def take(self, queue: int, timeout: float, *answers: list[Buffer]) -> Frame:
        """Send `answers` and get the next entry of a queue (or of any): CHUNK, MESSAGE, END or EMPTY."""
        while True:
            frame = self._take_ahead(queue)
            if frame is not None:
                self.channel.send(*answers, encode(Kind.TAKEN, queue=frame.queue, serial=frame.serial))
                return frame
            request = next(self._requests)
            self.channel.send(*answers, encode(Kind.GET, queue=queue, serial=request, number=timeout))
            answers = ()
            reply = self._reply(request)
            self._refusing.discard(queue)
            if reply.kind != Kind.AHEAD:
                return reply

    def _take_ahead(self, queue: int) -> Frame | None:
        with self.channel.cond:
            waiting = self._ahead.get(queue)
            return waiting.popleft() if waiting else None

    def ahead(self, queue: int) -> int:
        """How many chunks of the queue lie here, handed out ahead."""
        return len(self._ahead.get(queue, ()))

    def hold(self, frame: Frame) -> Lease:
        """This thread has taken a chunk: it holds the ticket until it asks the same queue again, or returns."""
        lease = Lease(frame.queue, frame.serial)
        self._leases.setdefault(threading.get_ident(), {})[frame.queue] = lease
        return lease

    def let_go(self, queue: int) -> Lease | None:
        """The lease of this thread on that queue is over."""
        return self._leases.get(threading.get_ident(), {}).pop(queue, None)

    def let_go_all(self) -> list[Lease]:
        """All leases of this thread are over, oldest first."""
        leases = self._leases.pop(threading.get_ident(), {})
        return sorted(leases.values(), key=lambda lease: lease.begun)

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
        """The worker is done: its helping thread ends."""
        with self.channel.cond:
            self._closed = True
            self._parked.set()

    def _reply(self, request: int) -> Frame:
        self.channel.wait_for(lambda: request in self._replies)
        return self._replies.pop(request)

    def _keep(self, frame: Frame) -> None:
        queue = ANY_QUEUE if self.plain else frame.queue
        if queue in self._refusing:  # it has crossed what was given back, which comes before it
            self.channel.send(_give_back_message(frame))
            return
        self._ahead.setdefault(queue, deque()).append(frame)
        if not self._giving:
            self._giving = True
            threading.Thread(target=self._give_back, name="eisenmp-give-back", daemon=True).start()
        elif not self._parked.is_set():
            self._parked.set()

    def _give_back(self) -> None:
        """Return what has lain here for too long; sleeps for good while nothing is handed out ahead."""
        seen: dict[int, Frame] = {}
        idle = 0
        self._parked.set()
        while True:
            time.sleep(_PATIENCE)
            with self.channel.cond:
                stale = [queue for queue, frames in self._ahead.items() if frames and seen.get(queue) is frames[0]]
                for queue in stale:
                    # sent before anybody here can ask again: the request must not overtake it
                    self.channel.send(*[_give_back_message(frame) for frame in self._ahead[queue]])
                    self._ahead[queue].clear()
                    self._refusing.add(queue)
                seen = {queue: frames[0] for queue, frames in self._ahead.items() if frames}
                idle = 0 if seen or stale else idle + 1
                if idle > _PARK_AFTER:
                    self._parked.clear()
            if idle > _PARK_AFTER:
                self._parked.wait()
                idle = 0
            if self._closed:
                return


def _give_back_message(frame: Frame) -> list[Buffer]:
    return encode(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial)


def put_message(queue: int, obj: Any) -> list[Buffer]:
    """An object for a queue without a bound: no reply is wanted."""
    return encode(Kind.PUT, dumps(obj), queue=queue, number=FOREVER)
