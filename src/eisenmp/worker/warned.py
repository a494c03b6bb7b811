"""Warnings of a worker, sent to the manager, whose filters and whose ``warnings.showwarning`` have the last word."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from eisenmp.wire import OF_WARNING, Kind, encode

if TYPE_CHECKING:
    from eisenmp.worker.streams import Way

__all__ = ["WarningsToManager"]


class WarningsToManager:
    """Takes the place of ``warnings.showwarning``. The filters of the worker have let pass what comes here."""

    def __init__(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        self.address(inbox, identity)

    def address(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        """From now on warnings come from this process."""
        self._inbox = inbox
        self._identity = {"worker": identity["name"], "slot": identity["slot"], "process": os.getpid()}

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """See ``warnings.showwarning``."""
        if file is not None:
            file.write(warnings.formatwarning(message, category, filename, lineno, line))
            return
        lease = self._inbox.newest()
        fields = {
            **self._identity,
            "ticket": None if lease is None else lease.serial,
            "text": str.__str__(str(message)),
            "categories": [f"{kind.__module__}:{kind.__qualname__}" for kind in category.__mro__],
            "filename": str(filename),
            "lineno": int(lineno),
            "module": _module_at(filename, lineno),
        }
        self._inbox.channel.send(encode(Kind.LOG, (pickle.dumps(fields),), flags=OF_WARNING))


def _module_at(filename: str, lineno: int) -> str | None:
    """The name of the module that warns, which filters ask for: it is at that line right now."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_lineno == lineno and frame.f_code.co_filename == filename:
            name = frame.f_globals.get("__name__")
            return name if type(name) is str else None
        frame = frame.f_back
    return None
