"""Makes a selector that waits return: one socket pair, written by any thread, read by the one that waits."""

from __future__ import annotations

import selectors

from eisenmp.engines.base import Ready
from eisenmp.engines.processes import manager_only, socket_pair

__all__ = ["Waker", "others"]


def others(ready: Ready) -> Ready:
    """What a selector has told, without the calls of a waker."""
    return [entry for entry in ready if entry[0].data is not None]


class Waker:
    """Registers itself with `selector`, with data None."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._read, self._write = socket_pair()
        for sock in (self._read, self._write):
            sock.setblocking(False)
            manager_only.add(sock)
        manager_only.add(selector)
        selector.register(self._read, selectors.EVENT_READ, None)

    def wake(self) -> None:
        """Never blocks; may be called when nobody waits, and after the end."""
        try:
            self._write.send(b"x")
        except OSError:
            pass  # full: it is awake; closed: nobody is left to wake

    def heard(self, ready: Ready) -> Ready:
        """What else the selector has told; all calls so far are taken in. For the one who waits: he was meant."""
        rest = others(ready)
        if len(rest) < len(ready):
            try:
                while self._read.recv(4096):
                    pass
            except BlockingIOError:
                pass
        return rest

    def close(self) -> None:
        """Free the sockets."""
        self._read.close()
        self._write.close()
