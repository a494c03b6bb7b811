"""Tells a selector that something lies ready: a byte for however much that is."""

from __future__ import annotations

import selectors
import threading
from typing import Final

from eisenmp.engines.processes import manager_only, socket_pair

__all__ = ["Bell"]

_NEWS: Final = "news"  # the data of its key: unlike a waker, it is no call to return early


class Bell:
    """Registers itself with `selector`."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._read, self._write = socket_pair()
        for sock in (self._read, self._write):
            sock.setblocking(False)
            manager_only.add(sock)
        self._lock = threading.Lock()
        self._rung = False
        selector.register(self._read, selectors.EVENT_READ, _NEWS)

    def ring(self) -> None:
        """From any thread, after something was laid down; never blocks."""
        with self._lock:
            if self._rung:
                return
            self._rung = True
        try:
            self._write.send(b"x")
        except OSError:
            pass  # closed: nobody is left to hear it

    def hush(self) -> None:
        """Before what lies ready is taken: what is laid down from here on rings again.

        First the byte, then the mark: the other way round, a ring between the two would lose its byte and leave its
        mark, and nobody would ever be heard again.
        """
        try:
            self._read.recv(4096)
        except OSError:
            pass
        with self._lock:
            self._rung = False

    def close(self) -> None:
        """Free the sockets."""
        self._read.close()
        self._write.close()
