"""The worker's end of its channel: any thread may send, and whichever thread waits does the reading.

There is no reader thread: a worker with one thread gets its chunk on the very thread that asked, without a hand-over.
With several threads one of those that wait reads, and wakes the others when something for them has come.

When the manager offers shared memory, large pieces go through it (ring.py): here they are read in place.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from eisenmp.wire import ALONE, LARGE, Buffer, Decoder, Frame, Kind, encode, place

if TYPE_CHECKING:
    from eisenmp.ring import Lender, Writer

__all__ = ["Channel", "Disconnected", "WorkerChannel"]

_IOV: Final = 64
_DESCRIPTORS: Final = 64  # bytes that hold what comes beside a message; there is one at most


class Disconnected(BaseException):
    """The manager is gone. No ``except Exception`` of a user's function may swallow it."""


class Channel(Protocol):
    """What a worker needs of its way to the manager, whatever carries the bytes.

    ``cond`` guards what messages change; ``noted`` gives the messages that wait to go with the next one, ahead of it.
    """

    cond: threading.Condition
    noted: Callable[[], list[list[Buffer]]]

    def send(self, *messages: list[Buffer]) -> None:
        """Send messages in one go, in order."""
        ...

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait, while messages come in, until ``ready()``. It is called under `cond`."""
        ...

    def watch_manager(self) -> None:
        """See to it that this process ends when the manager goes away."""
        ...


class WorkerChannel:
    """Blocking, ordered, private to this worker.

    Args:
        sock: this end of the pair.
        on_frame: called for each message that came, under `cond`.
        shared_process: the worker is a thread of the manager (engine ``inline``): it must not end the process.
    """

    def __init__(self, sock: socket.socket, on_frame: Callable[[Frame], None], *, shared_process: bool) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._on_frame = on_frame
        self._shared_process = shared_process
        self.cond = threading.Condition()
        self.noted: Callable[[], list[list[Buffer]]] = list  # what waits to go with the next message, ahead of it
        self._sending = threading.Lock()
        self._reading = False
        self._decoder = Decoder(1, Kind.LAST_TO_WORKER)
        self._shared: tuple[Lender, Writer] | None = None
        self._descriptors: deque[int] = deque()  # that have come, and their messages are not decoded yet
        self._takes_descriptors = hasattr(sock, "recvmsg_into") and hasattr(socket, "SCM_RIGHTS")

    def send(self, *messages: list[Buffer]) -> None:
        """Send messages in one go, in order."""
        with self._sending:
            try:
                messages = (*self.noted(), *messages)
                if self._shared is not None:
                    messages = self._placed(messages, *self._shared)
                self._send([memoryview(p).cast("B") for message in messages for p in message if len(p)])
            except BaseException as error:  # still under the lock: nobody else may send now
                if _is_of_the_system(error):
                    self._lost()
                self._broken_off()
                raise

    def _placed(self, messages: tuple[list[Buffer], ...], lender: Lender, writer: Writer) -> tuple[list[Buffer], ...]:
        """The messages with their large pieces in shared memory, after the news of what is free there again."""
        news = []
        if done := lender.done():
            from eisenmp.ring import packed

            news.append(encode(Kind.FREED, (packed(done),)))
        return (*news, *[place(message, writer.put, LARGE) for message in messages])

    def _send(self, pieces: list[memoryview]) -> None:
        if not hasattr(self._sock, "sendmsg"):  # Windows
            self._sock.sendall(b"".join(pieces))
            return
        while pieces:
            sent = self._sock.sendmsg(pieces[:_IOV])
            while sent:
                size = len(pieces[0])
                if sent < size:
                    pieces[0] = pieces[0][sent:]
                    break
                sent -= size
                del pieces[0]

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Read messages, or wait while another thread reads them, until ``ready()``. It is called under `cond`."""
        with self.cond:
            while not ready():
                if self._reading:
                    self.cond.wait()
                    continue
                self._reading = True
                self.cond.release()
                frames: list[Frame] = []
                try:
                    frames = self._receive()
                finally:
                    self.cond.acquire()
                    self._reading = False
                    self.cond.notify_all()
                for frame in frames:
                    self._on_frame(frame)

    def _receive(self) -> list[Frame]:
        try:
            count = self._read(self._decoder.room())
        except OSError as error:
            if not _is_of_the_system(error):
                raise
            count = 0
        if not count:
            self._lost()
        frames: list[Frame] = []
        for frame in self._decoder.advance(count):
            if frame.kind < Kind.LISTENING:
                frames.append(frame)
            elif frame.kind < Kind.RING:
                frames.append(self._with_descriptor(frame))
            else:
                self._deal_with(frame)
        return frames

    def _read(self, room: memoryview) -> int:
        if not self._takes_descriptors:
            return self._sock.recv_into(room)
        count, beside, _, _ = self._sock.recvmsg_into([room], _DESCRIPTORS, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS) and len(data) >= array("i").itemsize:
                self._descriptors.append(array("i", data)[0])
        return count

    def _with_descriptor(self, frame: Frame) -> Frame:
        """LISTENING brings its descriptor in the field `skip`."""
        if frame.kind != Kind.LISTENING or frame.flags & ALONE:
            return frame
        if not self._descriptors:  # this process may open no more files, so the system has dropped it
            return frame._replace(flags=frame.flags | ALONE)
        return frame._replace(skip=self._descriptors.popleft())

    def _share(self, fd: int) -> None:
        """The manager offers memory. If it cannot be had, say nothing: then the socket carries everything."""
        from eisenmp.ring import Lender, Memory, Writer

        try:
            memory = Memory(fd)
        except (OSError, ValueError):
            return
        lender = Lender(memory, 0)
        lender.live_on()
        self._decoder.open = lender.open
        with self._sending:  # nothing of ours lies there before the manager knows
            self._send([memoryview(piece) for piece in encode(Kind.RING_READY)])
            self._shared = lender, Writer(memory, memory.half)

    def _deal_with(self, frame: Frame) -> None:
        """The message is for the channel itself."""
        if frame.kind == Kind.RING and self._descriptors and not frame.flags & ALONE:
            self._share(self._descriptors.popleft())
        elif frame.kind == Kind.FREE and self._shared is not None:
            from eisenmp.ring import unpacked

            self._shared[1].free(unpacked(frame.body))

    def _lost(self) -> None:
        if self._shared_process:
            raise Disconnected
        os._exit(1)  # the manager is gone: nobody wants the work, nobody reads the traceback

    def _broken_off(self) -> None:
        """A signal handler of the user's has raised in the middle of a message, whose rest will never come.

        Nobody could read what follows it; the manager would take its first bytes for the rest. So this process ends.
        """
        if self._shared_process:
            return  # signals come to the main thread, which is none of ours
        if sys.__stderr__ is not None:  # prints go through the channel
            import traceback

            traceback.print_exc(file=sys.__stderr__)
            sys.__stderr__.flush()
        os._exit(1)

    def watch_manager(self) -> None:
        """Start the thread that ends this process when the manager goes away while nobody here reads."""
        if hasattr(select, "poll"):
            threading.Thread(target=self._watch, name="eisenmp-watch-manager", daemon=True).start()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._sock, 0)  # no wish but the news of a hang-up, which poll gives unasked
        while True:
            for _, what in poll.poll():
                if what & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    os._exit(1)


def _is_of_the_system(error: BaseException) -> bool:
    """Not a `TimeoutError`, say, that a signal handler of the user's has raised: those have no number."""
    return isinstance(error, OSError) and error.errno is not None
