"""The seam between the dispatcher and whatever runs workers: a handful of methods and one kind of handle.

An engine promises: messages to a worker arrive in order; ``send``, ``flush`` and ``kill`` never block and may be called
from any thread; everything a worker managed to send is reported before its exit; its exit is reported exactly once.
Pieces of PUT and FORWARD may lie elsewhere when they are reported (remote.py); sent on as they are, they arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from selectors import SelectorKey
from typing import Final, NamedTuple, Protocol

from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.parcel import SharedFile
from eisenmp.wire import Buffer, Frame

__all__ = ["NEAR_BYTES", "Engine", "Event", "Exit", "Handed", "ProcessHandle", "Ready", "exit_text"]

Ready = Sequence[tuple[SelectorKey, int]]  # what a selector has told; of interest to the engine alone

NEAR_BYTES: Final = 8 << 20  # of chunks, ahead in a worker of this machine


class Exit(NamedTuple):
    """A worker is gone. ``code`` as ``subprocess`` has it (negative: the signal), None when nobody can tell."""

    code: int | None
    text: str


class Handed(NamedTuple):
    """The answer to that request, whose bytes lay elsewhere (remote.py), has reached its worker, or is lost."""

    request: int
    lost: bool


class Event(NamedTuple):
    """Something came from a worker: a message or its exit; or what was on its way there has arrived."""

    worker: int
    what: Frame | Exit | Handed


class ProcessHandle(Protocol):
    """A worker process as users see it in ``emp.proc_list``, after ``multiprocessing.Process``."""

    name: str

    @property
    def pid(self) -> int: ...  # waits where the process is still to come
    @property
    def known_pid(self) -> int | None: ...  # never waits; None too where it is the pid of another machine
    @property
    def awaits(self) -> str: ...  # what has to be found for it before it can begin at all, in words; empty: nothing
    @property
    def exitcode(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Engine(Protocol):
    """Starts workers, carries bytes.

    Attributes:
        ahead_bytes: of chunks that may lie in a worker's hands before it needs them; the farther away it is, the more.
    """

    @property
    def ahead_bytes(self) -> int: ...

    def store(self, piece: memoryview) -> Buffer | None:
        """Keep a copy of a large piece of a chunk where workers get at it, as long as what is returned is there.

        None: there is no such place, or it is full. From any thread that may be kept waiting.
        """
        ...

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None:
        """Have every worker that is started from now on get `message` before anything else, in the order of the calls.

        One thread at a time, as with :meth:`send`.

        Args:
            name: what is equipped under one name a second time takes the first one's place.
            message: of kind SETUP or SHARE; it need not be sent to each worker, if it only arrives in each.
            files: what the message speaks of by descriptor; the engine closes them with itself.
        """
        ...

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        """Start a process for a new worker and send it `setup`, the last part of what makes it one.

        The handle may be there before the process is. Call it from a thread that lives as long as the workers do.

        Raises:
            OSError: the system refuses (no memory, too many processes or files).
        """
        ...

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        """Note one message for a worker; :meth:`flush` sends it. A worker that is gone swallows it.

        `file`: its descriptor goes along; where it cannot, the message arrives with the flag ALONE.

        One thread at a time; the order is kept.
        """
        ...

    def flush(self) -> None:
        """Send what was noted, as far as it goes without blocking; ``wait`` sends the rest."""
        ...

    def wait(self, timeout: float | None) -> Ready:
        """Wait until something happens, `timeout` seconds at most (None: for ever), and return what to :meth:`take`.

        Returns early, perhaps with nothing, after :meth:`wake`. Called by one thread.
        """
        ...

    def poll(self, timeout: float = 0.0) -> Ready:
        """What there is to :meth:`take`, now or within `timeout` seconds. From any thread.

        A :meth:`wake` ends it, and stays there for whoever waits.
        """
        ...

    def take(self, ready: Ready) -> list[Event]:
        """Take in what has happened, without waiting. One thread at a time; nothing happened is fine."""
        ...

    def wake(self) -> None:
        """Make a ``wait`` that is under way return."""
        ...

    def kill(self, worker: int) -> None:
        """End a worker now; its exit is reported as an event."""
        ...

    def close(self) -> None:
        """Free what the engine holds. All workers are gone."""
        ...


def exit_text(code: int | None) -> str:
    """How a process ended, in words: ``exit code 3``, ``signal SIGKILL``."""
    if code is None:
        return "an unknown exit code"
    if code >= 0:
        return f"exit code {code}"
    import signal

    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
