"""Who drives the loop: its own thread, or for a while a feeder.

A feeder whose iterable never waits keeps the interpreter for milliseconds at a time. Meanwhile the loop's thread, woken
by an answer, waits for the interpreter, and workers wait for the loop. So such a feeder takes in itself what has come,
each time it has put something in; and the loop's thread stays out of its way, since a thread that wakes only to find
its work done costs the feeder the processor just when it hands out more.
"""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["Turns"]

_OFTEN: Final = 2  # turns of feeders since the loop looked last; from then on they drive
_PATIENCE: Final = 0.003  # seconds after which the loop looks again: an iterable may wait without telling


class Turns:
    """Counts the turns that feeders take. Any thread may call."""

    def __init__(self) -> None:
        self._count = 0
        self._over = threading.Event()

    def begin(self) -> None:
        """A feeder takes a turn."""
        self._count += 1
        self._over.clear()

    def end(self) -> None:
        """The feeders wait, or there is something that only the loop may do: it shall go on at once."""
        self._count = 0
        self._over.set()

    def driven(self) -> bool:
        """Whether feeders drive. Then the loop has waited a moment in this call, and asks again."""
        if self._count < _OFTEN:
            return False
        self._count = 0
        self._over.wait(_PATIENCE)
        return True
