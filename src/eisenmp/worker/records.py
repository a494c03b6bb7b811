"""Log records of a worker, sent to the manager's loggers. Loaded when the worker loads ``logging``, if it ever does."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping
from typing import Any

from eisenmp.wire import Kind, encode
from eisenmp.worker.streams import Way

__all__ = ["ToManager", "redirect_logging"]


class ToManager(logging.Handler):
    """Sends each record."""

    def __init__(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        super().__init__()
        self.address(inbox, identity)

    def address(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        """From now on records come from this process."""
        self._inbox = inbox
        self._identity = {
            "worker": identity["name"],
            "slot": identity["slot"],
            "processName": identity["name"],
            "pid": os.getpid(),
        }

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lease = self._inbox.newest()
            fields = {k: v for k, v in record.__dict__.items() if k not in ("args", "exc_info", "msg", "exc_text")}
            fields.update(self._identity, msg=record.getMessage(), args=None, exc_info=None)
            fields["exc_text"] = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
            fields["ticket"] = None if lease is None else lease.serial
            # an `extra` may be anything, of classes that the manager does not have: what is no plain value goes as text
            plain = {k: _plain(v) for k, v in fields.items()}
            self._inbox.channel.send(encode(Kind.LOG, (pickle.dumps(plain),)))
        except Exception:
            self.handleError(record)


def _plain(value: Any) -> str | int | float | None:
    """The value as the manager takes it: it opens nothing but plain numbers and texts."""
    if value is None or type(value) in (bool, int, float, str):
        return value  # type: ignore[no-any-return]
    if isinstance(value, int):  # a level that is an enumeration, say
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return str.__str__(str(value))


def redirect_logging(inbox: Way, levels: Mapping[str, int], identity: Mapping[str, Any]) -> ToManager:
    """Send log records to the manager's loggers, at the levels that are set there."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)  # by fork the manager's own handlers came along
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
    handler = ToManager(inbox, identity)
    root.addHandler(handler)
    logging.captureWarnings(False)
    return handler
