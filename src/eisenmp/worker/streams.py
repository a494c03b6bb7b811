"""``print`` and ``logging`` of a worker, sent to the manager: whole lines, whole records."""

from __future__ import annotations

import io
import logging
import os
import pickle
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from eisenmp.wire import Buffer, Kind, encode

if TYPE_CHECKING:
    from eisenmp.worker.inbox import Lease

__all__ = ["LineStream", "Outlets", "Way", "redirect", "redirect_logging"]


class Way(Protocol):
    """To the manager: an inbox, or what the template has in its place."""

    @property
    def channel(self) -> Sender: ...
    def newest(self) -> Lease | None: ...


class Sender(Protocol):
    """Sends messages."""

    def send(self, *messages: list[Buffer]) -> None: ...


class LineStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``: a line goes to the manager when it is complete.

    Each thread has a line of its own in the making, so that lines of several threads do not mix.
    """

    def __init__(self, inbox: Way, fd: int) -> None:
        self.inbox = inbox  # a fork of the template puts its own here
        self._fd = fd
        self._parts: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        """Keep what is no whole line yet, send the rest."""
        me = threading.get_ident()
        whole, newline, rest = (self._parts.pop(me, "") + text).rpartition("\n")
        if rest:
            self._parts[me] = rest
        if newline:
            self._send(whole)
        return len(text)

    def finish(self) -> None:
        """Send what never got its line end."""
        for me in list(self._parts):
            self._send(self._parts.pop(me))

    def _send(self, lines: str) -> None:
        body = lines.encode("utf-8", "backslashreplace")
        self.inbox.channel.send(encode(Kind.PRINT, (body,), flags=int(self._fd == 2)))


def redirect(inbox: Way) -> tuple[LineStream, LineStream]:
    """Send what this process prints to the manager."""
    out, err = LineStream(inbox, 1), LineStream(inbox, 2)
    sys.stdout, sys.stderr = out, err
    return out, err


class _ToManager(logging.Handler):
    def __init__(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        super().__init__()
        self.address(inbox, identity)

    def address(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        """From now on records come from this process."""
        self._inbox = inbox
        self._identity = {"worker": identity["name"], "slot": identity["slot"], "pid": os.getpid()}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lease = self._inbox.newest()
            fields = {k: v for k, v in record.__dict__.items() if k not in ("args", "exc_info", "msg", "exc_text")}
            fields.update(self._identity, msg=record.getMessage(), args=None, exc_info=None)
            fields["exc_text"] = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
            fields["ticket"] = None if lease is None else lease.serial
            # an `extra` may be anything, of classes that the manager does not have: what is no plain value goes as text
            plain = {k: v if isinstance(v, str | int | float | None) else str(v) for k, v in fields.items()}
            self._inbox.channel.send(encode(Kind.LOG, (pickle.dumps(plain),)))
        except Exception:
            self.handleError(record)


def redirect_logging(inbox: Way, levels: Mapping[str, int], identity: Mapping[str, Any]) -> _ToManager:
    """Send log records to the manager's loggers, at the levels that are set there."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)  # by fork the manager's own handlers came along
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
    handler = _ToManager(inbox, identity)
    root.addHandler(handler)
    logging.captureWarnings(False)
    return handler


class Outlets:
    """All ways on which a process speaks to its user: the two streams and the log handler.

    Modules that the template has imported may hold on to them, so a fork does not make its own but turns them.
    """

    def __init__(self, inbox: Way, levels: Mapping[str, int], identity: Mapping[str, Any]) -> None:
        self._streams = redirect(inbox)
        self._handler = redirect_logging(inbox, levels, identity)

    def turn(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        """From now on everything goes through that inbox."""
        for stream in self._streams:
            stream.inbox = inbox
        self._handler.address(inbox, identity)

    def finish(self) -> None:
        """Send what never got its line end."""
        for stream in self._streams:
            stream.finish()
