"""The end of the program: jobs that still run are waited for, as threads are, and a Ctrl-C ends them.

1. An uncaught Ctrl-C comes to :func:`_hook` first: it ends all jobs and makes few words of it.
2. The interpreter waits for the program's own threads, and then comes to :func:`_at_exit`.
3. There every job that still runs is waited for. A Ctrl-C while it waits ends it.
"""

from __future__ import annotations

import atexit
import os
import sys
import types
import weakref
from typing import Final, Protocol

__all__ = ["Leaver", "forget", "shorten_traceback", "watch_exit"]

_MOST_NOTES: Final = 3


class Leaver(Protocol):
    """A manager whose job may still run."""

    def cut_off(self, error: BaseException) -> None: ...
    def _leave(self, *, interrupted: bool) -> None: ...


_managers: weakref.WeakSet[Leaver] = weakref.WeakSet()
_running: set[Leaver] = set()  # those of them whose processes are not gone
_owner = 0


def watch_exit(manager: Leaver) -> None:
    """See to `manager` when the interpreter ends, and when a Ctrl-C is about to end it."""
    global _owner
    if _owner != os.getpid():  # the first job, or the first one in a forked copy of this program
        _owner = os.getpid()
        _managers.clear()
        _running.clear()
        atexit.register(_at_exit, _owner)
    _managers.add(manager)
    _running.add(manager)
    if not (hasattr(sys, "ps1") or sys.flags.interactive):  # at a prompt, Ctrl-C ends a command and not the program
        _install()


def forget(manager: Leaver) -> None:
    """Its processes are gone: a Ctrl-C is not our affair any more."""
    _running.discard(manager)
    if not _running:
        _uninstall()


def shorten_traceback(error: BaseException, text: str) -> None:
    """Have the interpreter say `text` instead of a traceback, if nobody catches `error`, a Ctrl-C.

    Frames of ours and of ``threading`` help nobody. Who has set a hook of their own keeps it, and finds a note.
    """
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)
    _install()


def _install() -> None:
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _hook


def _uninstall() -> None:
    if sys.excepthook is _hook:
        sys.excepthook = sys.__excepthook__


def _hook(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """An exception ends the program: a Ctrl-C ends the jobs too, here and now, before anybody waits for threads."""
    _uninstall()
    if not issubclass(kind, KeyboardInterrupt) or _owner != os.getpid():  # a forked copy has no jobs to end
        sys.__excepthook__(kind, error, trace)
        return
    for manager in _running.copy():
        manager.cut_off(error)
    _uninstall()
    notes = getattr(error, "__notes__", ())
    if not notes:
        sys.__excepthook__(kind, error, trace)
        return
    where = f" at {trace.tb_frame.f_code.co_filename}, line {_line(trace)}" if trace is not None else ""
    print(f"KeyboardInterrupt{where}", *notes[:_MOST_NOTES], sep="\n", file=sys.stderr)


def _line(trace: types.TracebackType) -> int:
    """Where it is; of an instruction without a line, as a loop may have one, the line of the last one before it."""
    code = trace.tb_frame.f_code
    lines = [line for start, _, line in code.co_lines() if line is not None and start <= trace.tb_lasti]
    return lines[-1] if lines else code.co_firstlineno


def _at_exit(owner: int) -> None:
    if owner != os.getpid():
        return
    # The main thread has ended, perhaps by a Ctrl-C that nobody caught; the interpreter keeps that here.
    last = getattr(sys, "last_type", None)
    interrupted = isinstance(last, type) and issubclass(last, KeyboardInterrupt)
    for manager in list(_managers):
        manager._leave(interrupted=interrupted)
