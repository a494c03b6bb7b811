"""The end of the interpreter: jobs that still run are waited for, as threads are."""

from __future__ import annotations

import atexit
import os
import sys
import types
import weakref
from typing import Protocol

__all__ = ["Leaver", "shorten_traceback", "watch_exit"]


class Leaver(Protocol):
    """A manager whose job may still run."""

    def _leave(self, *, interrupted: bool) -> None: ...


_running: weakref.WeakSet[Leaver] = weakref.WeakSet()
_owner = 0


def watch_exit(manager: Leaver) -> None:
    """See to `manager` when the interpreter ends."""
    global _owner
    if _owner != os.getpid():  # the first job, or the first one in a forked copy of this program
        _owner = os.getpid()
        _running.clear()
        atexit.register(_at_exit, _owner)
    _running.add(manager)


def shorten_traceback(error: KeyboardInterrupt, text: str) -> None:
    """Have the interpreter say `text` instead of a traceback, if nobody catches `error`.

    A Ctrl-C is no bug: frames of ours and of ``threading`` help nobody. Who has set a hook of their own keeps it.
    """
    if sys.excepthook is not sys.__excepthook__:
        return

    def hook(kind: type[BaseException], value: BaseException, trace: types.TracebackType | None) -> None:
        sys.excepthook = sys.__excepthook__
        if value is not error:
            sys.__excepthook__(kind, value, trace)
            return
        where = f" at {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}" if trace is not None else ""
        print(f"KeyboardInterrupt{where}\n{text}", file=sys.stderr)

    sys.excepthook = hook


def _at_exit(owner: int) -> None:
    if owner != os.getpid():
        return
    # The main thread has ended, perhaps by a Ctrl-C that nobody caught; the interpreter keeps that here.
    last = getattr(sys, "last_type", None)
    interrupted = isinstance(last, type) and issubclass(last, KeyboardInterrupt)
    for manager in list(_running):
        manager._leave(interrupted=interrupted)
