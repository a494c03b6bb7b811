"""What people may do to a job that runs, from a page or a terminal: by name, with plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from eisenmp.errors import SettingsError, nearest
from eisenmp.events import Snapshot

__all__ = ["Actions", "Doer", "Steered", "UnknownActionError"]


class UnknownActionError(LookupError):
    """Nothing of that name can be done."""


class Steered(Protocol):
    """A manager."""

    def stop(self) -> None: ...
    def restart(self, slot: int, timeout: float | None = None) -> None: ...
    def restart_all(self, timeout: float | None = None) -> None: ...
    def resize(self, workers: int) -> None: ...
    def retry_set_aside(self) -> int: ...


class Doer(Protocol):
    """Whoever does what people ask for; see :meth:`Actions.do`."""

    def do(self, name: str, arguments: Mapping[str, Any]) -> str: ...


class Actions:
    """Does what is asked for, and waits for nothing.

    Args:
        emp: to whose job.
        resizable: its workers are processes, of which there may be more or fewer.
    """

    def __init__(self, emp: Steered, *, resizable: bool = True) -> None:
        self._emp = emp
        self._resizable = resizable
        self._known: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
            "stop": (self._stop, ()),
            "restart": (self._restart, ("slot",)),
            "resize": (self._resize, ("workers",)),
            "retry": (self._retry, ()),
        }

    def can(self, snapshot: Snapshot) -> list[str]:
        """Which of them the job can take now."""
        if snapshot.over or snapshot.stopping:
            return []
        up = any(worker.phase in ("waiting", "starting", "up") for worker in snapshot.workers)
        can = ["stop"]
        if up:
            can += ["restart", *(["resize"] if self._resizable else [])]
        return [*can, *(["retry"] if snapshot.retriable else [])]

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

    def _resize(self, workers: Any = None) -> str:
        self._emp.resize(workers)
        return f"{workers} worker{'s' * (workers != 1)} from now on"

    def _retry(self) -> str:
        count = self._emp.retry_set_aside()
        if not count:
            return "nothing is tried again: all failures were read by somebody"
        return f"{count} chunk{'s are' if count > 1 else ' is'} tried again"
