"""Everything eisenmp raises of its own.

::

    EisenmpError
    ├── SettingsError (ValueError)       a setting or a call that cannot work, found before any process starts
    ├── WorkerStartError                 a worker module that cannot be loaded, or workers that die while starting
    ├── ClusterError                     no cluster to run workers on, or it has gone away
    ├── RemoteError                      an exception of a worker that could not travel itself: its type and text
    ├── WorkerCallError                  a worker function that raised while it held no ticket
    ├── CrashError                       a ticket set aside: its worker died each time it ran
    ├── PayloadError (TypeError)         an object that cannot be pickled, or cannot be unpickled on the other side
    ├── ResultsError (LookupError)       a value that was not kept, or a ticket that has none
    ├── JobOver (RuntimeError)           work handed to a job that has ended
    ├── JobKilled                        what `wait` raises after `kill`
    ├── JobFileError                     a job file that cannot be used; the text says what to do
    │   ├── JobFileBusy                  another manager works on it
    │   ├── JobFileMismatch              the program is another one than the file was made with
    │   └── JobFileUntrusted             it was made elsewhere, and nobody has said that it may be opened
    └── ProtocolError                    bytes on a channel that are no message of ours
    StopJob                              raised *by* a worker function: the search is over, here is the answer

The exception of a user's function reaches the manager as itself whenever it survives pickling both ways; the
remote traceback hangs on it as its ``__cause__`` (a :class:`RemoteTraceback`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "ClusterError",
    "CrashError",
    "EisenmpError",
    "JobFileBusy",
    "JobFileError",
    "JobFileMismatch",
    "JobFileUntrusted",
    "JobKilled",
    "JobOver",
    "PayloadError",
    "ProtocolError",
    "RemoteError",
    "RemoteTraceback",
    "ResultsError",
    "SettingsError",
    "StopJob",
    "WorkerCallError",
    "WorkerStartError",
    "annotate",
    "nearest",
]


class EisenmpError(Exception):
    """Base of all errors of this package."""


class SettingsError(EisenmpError, ValueError):
    """A setting or an argument that cannot work; the text says what was given and what is allowed."""


class WorkerStartError(EisenmpError):
    """No worker can start: the module is not there, does not compile, lacks the function, or dies in start-up."""


class ClusterError(EisenmpError):
    """The cluster of ``ENGINE='ray'`` cannot be entered or started, does not fit, or has gone away in mid-job."""


class RemoteError(EisenmpError):
    """Stands in for an exception that could not travel. ``type_name`` is the original's qualified class name."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


class RemoteTraceback(Exception):  # noqa: N818 - it is shown as a cause, it is not an error of its own
    """The text of a traceback from a worker, hung on the exception as its cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text.rstrip()


class WorkerCallError(EisenmpError):
    """A worker function raised while it held no ticket, so there is no ticket that could fail in its place."""


class CrashError(EisenmpError):
    """A ticket was set aside, or of a plain worker's chunk one item.

    Attributes:
        queue: its name.
        ticket: number within the queue.
        exits: how each of its workers ended, oldest first.
        item: place of the item within its chunk, from 0; None: the ticket as a whole.
        text: how the item looks, cut short; empty when nobody could tell.
    """

    def __init__(self, queue: str, ticket: int, exits: Iterable[str], item: int | None = None, text: str = "") -> None:
        self.queue = queue
        self.ticket = ticket
        self.exits = list(exits)
        self.item = item
        self.text = text
        super().__init__(queue, ticket, self.exits, item, text)

    def __str__(self) -> str:
        what = f"ticket _TID_{self.ticket} of queue {self.queue!r} was set aside"
        if self.item is not None:
            looks = f" ({self.text})" if self.text else ""
            what = f"item {self.item}{looks} of ticket _TID_{self.ticket} of queue {self.queue!r} was set aside"
        return f"{what}: its worker died {len(self.exits)} times ({', '.join(self.exits)})"


class PayloadError(EisenmpError, TypeError):
    """An object that cannot be pickled, or that the other side could not unpickle."""


class ResultsError(EisenmpError, LookupError):
    """A value was asked for that was not kept (``RESULTS_STORE = False``) or never came to be."""


class JobOver(EisenmpError, RuntimeError):  # noqa: N818 - a state, named as users see it
    """Work was handed to a job that has ended already."""


class JobKilled(EisenmpError):  # noqa: N818 - a state, named as users see it
    """The job was ended by ``kill()`` before its work was done."""


class JobFileError(EisenmpError):
    """A job file that cannot be read or written, or is none; the text says what was found and what to do."""


class JobFileBusy(JobFileError):  # noqa: N818 - a state, named as users see it
    """Another manager works on the job file; the text names it."""


class JobFileMismatch(JobFileError):  # noqa: N818 - what was found, named as users see it
    """Settings, worker or items are not those with which the job file was made; the text names the first difference."""


class JobFileUntrusted(JobFileError):  # noqa: N818 - what was found, named as users see it
    """The job file was made elsewhere: pickles in it would run code, so they are opened only when told to."""


class ProtocolError(EisenmpError):
    """Bytes on a channel that do not make a message."""


class StopJob(Exception):  # noqa: N818 - control flow, like StopIteration
    """Raise it in a worker function to end the whole job with an answer (the same as ``toolbox.stop_job``)."""

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


def annotate(error: BaseException, text: str) -> None:
    """Add a note, if the exception lets us: a class of the user's may refuse attributes."""
    try:
        error.add_note(text)
    except Exception:
        pass  # the note is a help, the error is what counts


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``' (did you mean X?)'`` for the known name closest to `name`, or nothing when none is close."""
    from difflib import get_close_matches  # only on the way to an error: keeps start-up short

    close = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
