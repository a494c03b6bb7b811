"""A worker on a cluster as users see it in ``emp.proc_list``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Final

from eisenmp.engines.base import Exit
from eisenmp.engines.ray.groups import Hello, machine
from eisenmp.guard import Latch

__all__ = ["ActorHandle"]

_SOON: Final = 5.0  # seconds in which a cluster that has room starts a worker


class ActorHandle:
    """Looks like a process.

    Args:
        name: of the worker.
        send_signal: does that, in the worker's process.
    """

    def __init__(self, name: str, send_signal: Callable[[int], None]) -> None:
        self.name = name
        self.hello: Hello | None = None
        self.end: Exit | None = None
        self._send_signal = send_signal
        self._begun = time.monotonic()
        self._there = Latch()
        self._over = Latch()

    def __repr__(self) -> str:
        if self.hello is None:
            where = "not placed yet"
        else:
            where = f"pid={self.hello.pid} on {self.hello.host}"
        state = "running" if self.end is None else f"ended with {self.end.text}"
        return f"<worker {self.name} {where} {state}>"

    @property
    def pid(self) -> int:
        """Its pid, on its machine. Waits until the cluster has found a place for it; 0: that never came to pass."""
        self._there.wait()
        return 0 if self.hello is None else self.hello.pid

    @property
    def known_pid(self) -> int | None:
        """Its pid, if it is there and runs on this machine; elsewhere, the number means another process."""
        if self.hello is None or not self.hello.machine or self.hello.machine != machine():
            return None
        return self.hello.pid

    @property
    def awaits(self) -> str:
        """What it waits for before it can begin, in words; empty: nothing, or it was asked for just now."""
        if self.hello is not None or self.end is not None or time.monotonic() - self._begun < _SOON:
            return ""
        return "a place on the Ray cluster"

    @property
    def exitcode(self) -> int | None:
        """None while it runs; negative for a kill. Of a process that died by itself, nobody can tell: 255."""
        if self.end is None:
            return None
        return 255 if self.end.code is None else self.end.code

    def is_alive(self) -> bool:
        """Whether it still runs, as far as is known."""
        return self.end is None

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, `timeout` seconds at most."""
        self._over.wait(timeout)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._send_signal(signal.SIGKILL)

    def came(self, hello: Hello) -> None:
        """It has been placed."""
        self.hello = hello
        self._there.set()

    def ended(self, end: Exit) -> None:
        """It is gone, and all of it is dealt with."""
        self.end = end
        self._there.set()
        self._over.set()
