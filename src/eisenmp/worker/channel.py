"""The worker's end of its channel: any thread may send, and whichever thread waits does the reading.

There is no reader thread: a worker with one thread gets its chunk on the very thread that asked, without a hand-over.
With several threads one of those that wait reads, and wakes the others when something for them has come.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from eisenmp.wire import Buffer, Decoder, Frame, Kind

__all__ = ["Disconnected", "WorkerChannel"]

_IOV: Final = 64


class Disconnected(BaseException):
    """The manager is gone. No ``except Exception`` of a user's function may swallow it."""


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

    def send(self, *messages: list[Buffer]) -> None:
        """Send messages in one go, in order."""
        try:
            with self._sending:
                noted = self.noted()
                self._send([memoryview(p).cast("B") for message in (*noted, *messages) for p in message if len(p)])
        except OSError:
            self._lost()

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
            count = self._sock.recv_into(self._decoder.room())
        except OSError:
            count = 0
        if not count:
            self._lost()
        return self._decoder.advance(count)

    def _lost(self) -> None:
        if self._shared_process:
            raise Disconnected
        os._exit(1)  # the manager is gone: nobody wants the work, nobody reads the traceback

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
