"""Descriptors that go along with messages to a worker: shared memory, listening sockets."""

from __future__ import annotations

import socket
from array import array
from collections import deque
from itertools import islice, takewhile
from typing import Final, Protocol

from eisenmp.wire import ALONE, Buffer

__all__ = ["Enclosures", "HasDescriptor"]

_FLAGS_AT: Final = 1  # in a message's header


class HasDescriptor(Protocol):
    """A file or socket; -1 once it is closed."""

    def fileno(self) -> int: ...


class Enclosures:
    """What has to be sent with which message, in order. Called under the channel's lock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Buffer, HasDescriptor]] = deque()

    def add(self, message: list[Buffer], file: HasDescriptor) -> None:
        """`file` goes along with this message, which is about to be appended to what is sent."""
        self._waiting.append((message[0], file))

    def send(self, sock: socket.socket, out: deque[Buffer], most: int) -> int | None:
        """Send the next message that has a descriptor, or what comes before it. None: there is none on its way.

        A descriptor arrives with the bytes it was sent with, and a receiver may get other bytes in the same go; so
        such a message is sent by itself.
        """
        if not self._waiting:
            return None
        message, file = self._waiting[0]
        if out[0] is not message:
            return sock.sendmsg(list(islice(takewhile(lambda piece: piece is not message, out), most)))
        try:
            count = sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file.fileno()]))])
        except (BlockingIOError, InterruptedError):
            raise
        except OSError:  # too many descriptors are under way in this system, or it was closed meanwhile
            alone = bytearray(message)
            alone[_FLAGS_AT] |= ALONE
            count = sock.send(alone)
        self._waiting.popleft()
        return count

    def clear(self) -> None:
        """The channel ends."""
        self._waiting.clear()
