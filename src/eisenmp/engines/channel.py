"""The manager's end of one worker's channel: a non-blocking stream socket with buffers of its own.

The manager must never wait for one worker: a worker that was stopped in the middle of a message keeps its own channel
busy and nobody else's.

Large pieces of messages go through memory shared with the worker (ring.py), once both ends have it: the first large
piece, of either side, makes the manager offer it. What finds no room there goes through the socket as before.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from itertools import islice
from typing import Final

from eisenmp.engines.enclosures import Enclosures, HasDescriptor
from eisenmp.engines.sharing import Sharing
from eisenmp.errors import ProtocolError
from eisenmp.wire import Buffer, Decoder, Frame, Kind

__all__ = ["ManagerChannel"]

_IOV: Final = 64  # pieces handed to one sendmsg; the kernel takes 1024 at most
_READS: Final = 16  # receives in a row on one channel before others get their turn


class ManagerChannel:
    """Ordered messages out, decoded frames in.

    Args:
        sock: the manager's end of the pair.
        shares: whether large pieces may go through shared memory.
    """

    def __init__(self, sock: socket.socket, *, shares: bool = False) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.open = True
        self._decoder = Decoder(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
        self._kept: deque[tuple[list[Buffer], HasDescriptor | None]] = deque()  # noted by any thread, in order
        self._out: deque[Buffer] = deque()  # on its way; touched under the lock only
        self._lock = threading.Lock()  # one flush at a time
        self._enclosures = Enclosures()
        self._sharing = Sharing(self._decoder, self._enclosures) if shares and hasattr(socket, "send_fds") else None

    def keep(self, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        """Note a message; :meth:`flush` sends it. Callers see to it that only one of them notes at a time.

        `file`: its descriptor goes along, where the system can do that.
        """
        self._kept.append((pieces, file))

    def flush(self) -> bool:
        """Send as much of what was noted as goes now. True when nothing is left."""
        while self.step():
            if not self._kept:
                return True
        return False

    def step(self) -> bool:
        """The same, but no further than the next large message: while it is copied, others wait for their first one.

        True when all of that is sent; :attr:`more` tells whether more is noted.
        """
        with self._lock:
            large = False
            while self._kept and not large:
                message, file = self._kept.popleft()
                if file is not None and self.open:
                    self._enclosures.add(message, file)
                elif self._sharing is not None and self.open:
                    large = len(message) > 1
                    message = self._sharing.outgoing(message)
                self._out.extend(message)
            if not self.open:
                self._out.clear()
            return self._flush()

    @property
    def more(self) -> bool:
        """Whether something is noted that nobody has begun to send."""
        return bool(self._kept)

    def _flush(self) -> bool:
        out = self._out
        while out:
            try:
                sent = self._send(out)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # the worker is gone; its exit tells the rest
                out.clear()
                return True
            while out and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = memoryview(out[0])[sent:]
        return True

    def _send(self, out: deque[Buffer]) -> int:
        if (sent := self._enclosures.send(self.sock, out, _IOV)) is not None:
            return sent
        if len(out) == 1 or not hasattr(self.sock, "sendmsg"):  # Windows has no sendmsg
            return self.sock.send(out[0])
        return self.sock.sendmsg(list(islice(out, _IOV)))

    def receive(self) -> tuple[list[Frame], bool]:
        """Read what is there: (frames, whether the other side has closed).

        Raises:
            ProtocolError: what came is no message.
        """
        frames: list[Frame] = []
        for _ in range(_READS):
            try:
                with self._decoder.room() as room:  # a view that stays would keep the decoder from growing its memory
                    size = len(room)
                    count = self.sock.recv_into(room)
            except (BlockingIOError, InterruptedError):
                return frames, False
            except OSError:  # reset by a peer that died with unread bytes
                return frames, True
            if not count:
                return frames, True
            frames += [frame for frame in self._decoder.advance(count) if not self._is_ours(frame)]
            if count < size:  # no more is there; whatever comes now makes the socket readable again
                break
        return frames, False

    def _is_ours(self, frame: Frame) -> bool:
        """Whether the message is for the channel itself; then it is dealt with."""
        if frame.kind < Kind.RING_READY:
            return False
        if self._sharing is None:
            raise ProtocolError(f"message of kind {frame.kind}, and no memory is shared")
        self._sharing.heard(frame)
        return True

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
            self._kept.clear()
            self._enclosures.clear()
            self.sock.close()
            if self._sharing is not None:
                self._sharing.close()
