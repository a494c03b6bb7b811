"""Who drives the loop: its own thread, or for a while a feeder, or a thread that waits in a `get` (shortcut.py).

A feeder whose iterable never waits keeps the interpreter for milliseconds at a time. Meanwhile the loop's thread, woken
by an answer, waits for the interpreter, and workers wait for the loop. So such a feeder takes in itself what has come,
each time it has put something in; and the loop's thread stays out of its way, since a thread that wakes only to find
its work done costs the feeder the processor just when it hands out more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Turns"]

_OFTEN: Final = 2  # turns of feeders since the loop looked last; from then on they drive
_PATIENCE: Final = 0.003  # seconds after which the loop looks again: an iterable may wait without telling
_HANDOVER: Final = 0.002  # seconds that a reader gives the loop to make way


class Turns:
    """Counts the turns that others take. Any thread may call.

    A reader takes the floor: as long as it has it, the loop does not listen. For what one of two listeners takes in,
    the other may not be woken any more.
    """

    def __init__(self) -> None:
        self._count = 0
        self._over = threading.Event()
        self._aside = False  # the loop waits here
        self._floor = False  # a reader has it, or wants it
        self._made_way = threading.Event()

    def begin(self) -> None:
        """A feeder or a reader takes a turn."""
        self._count += 1
        self._over.clear()

    def end(self) -> None:
        """They wait, or there is something that only the loop may do: it shall go on at once."""
        self._count = 0
        self._over.set()

    def take_floor(self, wake: Callable[[], None]) -> bool:
        """Have the loop listen no more, until :meth:`leave_floor`.

        `wake` calls it away from where it listens. False: another reader has the floor, or the loop does not make way.
        """
        if self._floor:
            return False
        self._made_way.clear()
        self._floor = True  # first: either the loop sees this, or is seen here to have gone on
        if self._aside:
            return True
        wake()
        if self._made_way.wait(_HANDOVER):
            return True
        self._floor = False
        return False

    def leave_floor(self) -> None:
        """The loop may listen again, and will when nobody has taken a turn for a moment."""
        self._floor = False

    def driven(self) -> bool:
        """Whether others drive. Then the loop has waited a moment in this call, and asks again."""
        if self._floor:
            self._over.clear()
        elif self._count < _OFTEN:
            return False
        self._count = 0
        self._aside = True
        self._made_way.set()
        self._over.wait(_PATIENCE)
        self._aside = False
        return True
