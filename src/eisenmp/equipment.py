"""What a new worker gets: its setup, shared objects, tools. Made once, sent to each process that starts."""

from __future__ import annotations

import keyword
import logging
import os
import pickle
import sys
from collections.abc import Mapping
from typing import Any, Final

from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.errors import PayloadError, SettingsError, WorkerStartError, nearest
from eisenmp.payload import dumps
from eisenmp.queues import QueueTable
from eisenmp.settings import ModuleSpec, Settings
from eisenmp.wire import Buffer, Kind, encode

__all__ = ["Equipment"]

_TOOLBOX_NAMES: Final = frozenset(
    (
        *DEFAULT_QUEUES,
        *("kwargs", "furnish", "update", "set_shared", "add_queue", "queue_name", "forward", "stop_job"),
        *("NEXT_LIST", "MULTI_TOOL", "STOP_MSG", "OUTPUT_HEADER", "INPUT_HEADER", "PERF_HEADER_ETA"),
        *("_inbox", "_numbers", "_by_number"),
        *("PERF_CURRENT_ETA", "START_SEQUENCE_NUM", "WORKER_ID", "WORKER_NAME", "WORKER_PID", "Q_NAME_ID_LST"),
    )
)
_FILE_ENDINGS: Final = (".py", ".pyc", ".so", ".pyd")


class Equipment:
    """Settings, attributes, modules, shared objects and tools of the workers to come."""

    def __init__(self) -> None:
        self.tools: list[list[Buffer]] = []
        self.function: dict[str, Any] | None = None  # of a short form, see functions.py
        self._shares: dict[str, list[Buffer]] = {}
        self._attributes: dict[str, list[Buffer]] = {}
        self._plain: dict[str, Any] = {}

    def refuse_taken(self, name: str, what: str) -> None:
        """Raise SettingsError when `name` is an attribute of the toolbox already."""
        if name in _TOOLBOX_NAMES or name in self._shares or name in self._attributes:
            raise SettingsError(f"{what} {name!r}: the toolbox has an attribute of that name already")

    def prepare(
        self, settings: Settings, modules: list[ModuleSpec], custom: Mapping[str, Any], table: QueueTable
    ) -> None:
        """Pickle what all workers get alike.

        Raises:
            SettingsError: an attribute's name is taken, or its value cannot be pickled.
            WorkerStartError: a worker module's file is not there.
        """
        attributes: dict[str, list[Buffer]] = {}
        for name, value in custom.items():
            self._refuse(name, "the attribute", table)
            try:
                attributes[name] = [bytes(piece) for piece in dumps(value)]
            except PayloadError as error:
                raise SettingsError(f"the attribute {name!r} cannot go to the workers: {error}") from error
        self._plain = {
            "sys_path": list(sys.path),
            "argv": list(sys.argv),
            "modules": [(_located(module.path), module.ref) for module in modules],
            "call": settings.WORKER_CALL,
            "settings": _resolved(settings),
            "attributes": list(attributes.items()),
            "log_levels": _log_levels(),
        }
        self._attributes = attributes

    def share(self, name: Any, obj: Any, table: QueueTable) -> list[Buffer]:
        """Keep an object for the workers to come; return its message for those that are there."""
        if not (isinstance(name, str) and name.isidentifier()) or keyword.iskeyword(name):
            raise SettingsError(f"share: {name!r} cannot be an attribute of the toolbox; allowed: a Python name")
        if name not in self._shares:
            self._refuse(name, "the shared object", table)
        message = encode(Kind.SHARE, dumps((name, [bytes(piece) for piece in dumps(obj)])))
        self._shares[name] = message
        return message

    def messages(self, slot: int, name: str, table: QueueTable) -> list[list[Buffer]]:
        """The first messages for a new process in a slot: SETUP, the shared objects, the tools."""
        shares = list(self._shares.values())
        setup = {
            **self._plain,
            "function": self.function,
            "slot": slot,
            "name": name,
            "queues": [queue.row for queue in table],
            "shares": len(shares),
            "tools": len(self.tools),
        }
        return [encode(Kind.SETUP, (pickle.dumps(setup),)), *shares, *self.tools]

    def _refuse(self, name: str, what: str, table: QueueTable) -> None:
        self.refuse_taken(name, what)
        if any(name == (queue.category or queue.short) for queue in table):
            raise SettingsError(f"{what} {name!r}: a queue or a category has that name already")


def _resolved(settings: Settings) -> dict[str, Any]:
    """Settings as the toolbox shows them: what None stands for is filled in where it is a number."""
    values = {name: getattr(settings, name) for name in settings.__slots__}
    values.update(NUM_PROCS=settings.procs, NUM_ROWS=settings.rows)
    return values


def _located(path: str) -> str:
    """The absolute path of a worker file, which must be there; a dotted module name as it is."""
    if not (path.endswith(_FILE_ENDINGS) or os.sep in path or "/" in path):
        return path
    whole = os.path.abspath(path)
    if os.path.isfile(whole):
        return whole
    folder, base = os.path.split(whole)
    if not os.path.isdir(folder):
        raise WorkerStartError(f"no worker module {path!r}: there is no folder {folder}")
    if os.path.isdir(whole):
        raise WorkerStartError(f"worker module {path!r} is a folder; a file is needed")
    raise WorkerStartError(f"no worker module {path!r}{nearest(base, os.listdir(folder))} in {folder}")


def _log_levels() -> dict[str, int]:
    """Levels of all loggers that have one of their own; '' is the root."""
    levels = {"": logging.getLogger().level}
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and logger.level:
            levels[name] = logger.level
    return levels
