"""The manager's end of one worker's channel: a non-blocking stream socket with buffers of its own.

The manager must never wait for one worker: a worker that was stopped in the middle of a message keeps its own channel
busy and nobody else's.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from itertools import islice
from typing import Final

from eisenmp.wire import Buffer, Decoder, Frame, Kind

__all__ = ["ManagerChannel"]

_IOV: Final = 64  # pieces handed to one sendmsg; the kernel takes 1024 at most
_READS: Final = 16  # receives in a row on one channel before others get their turn


class ManagerChannel:
    """Ordered messages out, decoded frames in."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.open = True
        self._decoder = Decoder(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
        self._out: deque[memoryview] = deque()
        self._lock = threading.Lock()  # several threads send, the loop flushes

    def send(self, pieces: list[Buffer]) -> bool:
        """Send as much as goes now and keep the rest. True when nothing is left over."""
        with self._lock:
            if not self.open:
                return True
            self._out.extend([memoryview(p).cast("B") for p in pieces if len(p)])
            return self._flush()

    def flush(self) -> bool:
        """Send more of what was kept. True when nothing is left."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        out = self._out
        while out:
            try:
                sent = self._sendmsg(list(islice(out, _IOV)))
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # the worker is gone; its exit tells the rest
                out.clear()
                return True
            while sent:
                size = len(out[0])
                if sent < size:
                    out[0] = out[0][sent:]
                    break
                sent -= size
                out.popleft()
        return True

    def _sendmsg(self, pieces: list[memoryview]) -> int:
        if hasattr(self.sock, "sendmsg"):
            return self.sock.sendmsg(pieces)
        return self.sock.send(pieces[0])  # Windows

    def receive(self) -> tuple[list[Frame], bool]:
        """Read what is there: (frames, whether the other side has closed).

        Raises:
            ProtocolError: what came is no message.
        """
        frames: list[Frame] = []
        for _ in range(_READS):
            try:
                count = self.sock.recv_into(self._decoder.room())
            except (BlockingIOError, InterruptedError):
                return frames, False
            except OSError:  # reset by a peer that died with unread bytes
                return frames, True
            if not count:
                return frames, True
            frames += self._decoder.advance(count)
        return frames, False

    def drain(self) -> list[Frame]:
        """Read all that a dead worker has left."""
        frames: list[Frame] = []
        while True:
            more, closed = self.receive()
            frames += more
            if closed or not more:
                return frames

    def close(self) -> None:
        """Give up the channel; what was not sent is forgotten."""
        with self._lock:
            self.open = False
            self._out.clear()
            self.sock.close()
