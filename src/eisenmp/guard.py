"""The lock of a job. When it is given back, what was made ready under it is sent.

Sending is a system call: done under the lock it would hold everybody else up, and each send would be a message of its
own. So whoever holds the lock only notes what is to go out, and `after` is called once the lock is free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Guard"]


class Guard:
    """A re-entrant lock for ``with`` and for ``threading.Condition``, with something to do after it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0  # only changed by the holder
        self.after: Callable[[], None] | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock."""
        got = self._lock.acquire(blocking, timeout)
        if got:
            self._depth += 1
        return got

    def release(self) -> None:
        """Give the lock back; the last of nested holds sends what was noted."""
        self._depth -= 1
        last = not self._depth
        self._lock.release()
        if last and self.after is not None:
            self.after()

    def __enter__(self) -> bool:
        self._lock.acquire()
        self._depth += 1
        return True

    def __exit__(self, *_: object) -> None:
        self.release()

    def condition(self) -> threading.Condition:
        """A condition on this lock."""
        return threading.Condition(self)  # type: ignore[arg-type]  # it asks for no more than what is here

    # What a Condition asks of its lock, so that waiting gives it back whole and sends as well.

    def _release_save(self) -> Any:
        depth, self._depth = self._depth, 0
        saved = self._lock._release_save()  # type: ignore[attr-defined]
        if self.after is not None:
            self.after()
        return depth, saved

    def _acquire_restore(self, state: Any) -> None:
        depth, saved = state
        self._lock._acquire_restore(saved)  # type: ignore[attr-defined]
        self._depth = depth

    def _is_owned(self) -> bool:
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]
