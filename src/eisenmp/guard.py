"""The lock of a job. When it is given back, what was made ready under it is sent.

Sending is a system call: done under the lock it would hold everybody else up, and each send would be a message of its
own. So whoever holds the lock only notes what is to go out, and `after` is called once the lock is free.

There is no state beside the lock itself: a Ctrl-C may hit the user's thread between any two lines of this file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Guard"]


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
