"""What people may do to a job that runs, from a page or a terminal: by name, with plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from eisenmp.errors import SettingsError, nearest
from eisenmp.events import Snapshot

__all__ = ["Actions", "Steered", "UnknownActionError"]


class UnknownActionError(LookupError):
    """Nothing of that name can be done."""


class Steered(Protocol):
    """A manager."""

    def stop(self) -> None: ...
    def restart(self, slot: int, timeout: float | None = None) -> None: ...
    def restart_all(self, timeout: float | None = None) -> None: ...


class Actions:
    """Does what is asked for, and waits for nothing.

    Args:
        emp: to whose job.
    """

    def __init__(self, emp: Steered) -> None:
        self._emp = emp
        self._known: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
            "stop": (self._stop, ()),
            "restart": (self._restart, ("slot",)),
        }

    def can(self, snapshot: Snapshot) -> list[str]:
        """Which of them the job can take now."""
        if snapshot.over or snapshot.stopping:
            return []
        up = any(worker.phase in ("waiting", "starting", "up") for worker in snapshot.workers)
        return ["stop", *(["restart"] if up else [])]

    def do(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Do one of them; return what was done, in words.

        Raises:
            UnknownActionError: there is none of that name.
            SettingsError: the arguments do not fit.
            JobOver: it is too late.
        """
        if name not in self._known:
            there_are = ", ".join(self._known)
            raise UnknownActionError(f"no action {name!r}{nearest(name, self._known)}; there are: {there_are}")
        action, allowed = self._known[name]
        for given in arguments:
            if given not in allowed:
                takes = f"it takes {', '.join(allowed)}" if allowed else "it takes nothing"
                raise SettingsError(f"{name}: unknown argument {given!r}{nearest(given, allowed)}; {takes}")
        return action(**arguments)

    def _stop(self) -> str:
        self._emp.stop()
        return "the job stops: what is running is finished, nothing else is begun"

    def _restart(self, slot: int | None = None) -> str:
        try:
            if slot is None:
                self._emp.restart_all(timeout=0)
            else:
                self._emp.restart(slot, timeout=0)
        except TimeoutError:
            pass  # nobody waits for the end of it
        return "all workers are restarted, one after the other" if slot is None else f"worker slot {slot} is restarted"
