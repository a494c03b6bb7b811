"""The lock of a job, and what its end is waited for with. When the lock is given back, what was made ready is sent.

Sending is a system call: done under the lock it would hold everybody else up, and each send would be a message of its
own. So whoever holds the lock only notes what is to go out, and `after` is called once the lock is free.

There is no state beside the lock itself: a Ctrl-C may hit the user's thread between any two lines of this file.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Guard", "Latch"]


class Latch:
    """A ``threading.Event`` that is set once, and that a Ctrl-C in a thread that waits can do no harm.

    An event has a lock inside. A Ctrl-C that hits just when it was taken leaves it taken, and whoever sets the event or
    asks for it then waits for ever; one that hits when it was given back makes another exception of the Ctrl-C. Here
    every thread waits for a lock of its own, in one call.
    """

    def __init__(self) -> None:
        self._set = False
        self._waiting: deque[Any] = deque()  # locks that are held, until the latch falls

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def set(self) -> None:
        """It has happened: whoever waits goes on."""
        self._set = True
        while self._waiting:
            try:
                self._waiting.popleft().release()
            except IndexError:
                return  # another thread was faster

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has happened, `timeout` seconds at most; return whether it has."""
        if self._set:
            return True
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        if not self._set:  # else `set` may have looked before
            mine.acquire(True, -1 if timeout is None else max(0.0, timeout))
        try:
            self._waiting.remove(mine)
        except ValueError:
            pass
        return self._set


class Guard:
    """A re-entrant lock for ``with`` and for ``threading.Condition``, with something to do after it."""

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self.after: Callable[[], None] | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock."""
        return bool(self._lock.acquire(blocking, timeout))

    def release(self) -> None:
        """Give the lock back; the last of nested holds sends what was noted."""
        self._lock.release()
        if self.after is not None and not self._lock._is_owned():
            self.after()

    def unstick(self) -> None:
        """After a Ctrl-C in this thread, where it cannot hold the lock: it may have hit before the lock was given back.

        A ``with`` statement is not safe from that when its context manager is written in Python.
        """
        while self._lock._is_owned():
            self._lock.release()

    def __enter__(self) -> bool:
        return bool(self._lock.acquire())

    def __exit__(self, *_: object) -> None:
        if self._lock._is_owned():  # else a Ctrl-C has hit while a condition gave it back to wait
            self.release()

    def without(self, call: Callable[[], None]) -> None:
        """Call it with the lock given back, whole, and take that again."""
        saved = self._release_save()
        try:
            call()
        finally:
            self._acquire_restore(saved)

    def condition(self) -> threading.Condition:
        """A condition on this lock."""
        return threading.Condition(self)  # type: ignore[arg-type]  # it asks for no more than what is here

    # What a Condition asks of its lock, so that waiting gives it back whole and sends as well.

    def _release_save(self) -> Any:
        saved = self._lock._release_save()
        if self.after is not None:
            self.after()
        return saved

    def _acquire_restore(self, state: Any) -> None:
        self._lock._acquire_restore(state)

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())
