"""What a new worker gets: its setup, shared objects, tools. Made once, for all processes to come."""

from __future__ import annotations

import keyword
import logging
import os
import pickle
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from eisenmp import affinity
from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.errors import PayloadError, SettingsError, WorkerStartError, nearest
from eisenmp.functions import FUNCTION, Function
from eisenmp.parcel import Parcel, Place, SharedFile, pack
from eisenmp.queues import QueueTable
from eisenmp.settings import ModuleSpec, Settings
from eisenmp.wire import Buffer, Kind, encode

__all__ = ["Common", "Equipment", "share_message"]

_TOOLBOX_NAMES: Final = frozenset(
    (
        *DEFAULT_QUEUES,
        *("kwargs", "furnish", "update", "set_shared", "add_queue", "queue_name", "forward", "stop_job"),
        *("leaving", "listen"),
        *("NEXT_LIST", "MULTI_TOOL", "STOP_MSG", "OUTPUT_HEADER", "INPUT_HEADER", "PERF_HEADER_ETA"),
        *("_inbox", "_numbers", "_by_number", "_watches_leaving"),
        *("PERF_CURRENT_ETA", "START_SEQUENCE_NUM", "WORKER_ID", "WORKER_NAME", "WORKER_PID", "Q_NAME_ID_LST"),
    )
)
_MOST_FILES: Final = 64  # large objects with a file of their own; a process may not have any number of files open
_FILE_ENDINGS: Final = (".py", ".pyc", ".so", ".pyd")


class Common(NamedTuple):
    """Something that all workers get alike; see :meth:`eisenmp.engines.base.Engine.equip`."""

    name: str
    message: list[Buffer]
    files: tuple[SharedFile, ...]


class Equipment:
    """Settings, attributes, modules, shared objects and tools of the workers to come."""

    def __init__(self) -> None:
        self.cores: list[affinity.Cores | None] = []  # by slot
        self._slots = 0  # for how many they are known
        self.tools: list[list[Buffer]] = []
        self._shares: dict[str, Common] = {}
        self._attributes: set[str] = set()
        self._base: Common | None = None

    def refuse_taken(self, name: str, what: str) -> None:
        """Raise SettingsError when `name` is an attribute of the toolbox already."""
        if name in _TOOLBOX_NAMES or name in self._shares or name in self._attributes:
            raise SettingsError(f"{what} {name!r}: the toolbox has an attribute of that name already")

    def prepare(
        self,
        settings: Settings,
        modules: list[ModuleSpec],
        custom: Mapping[str, Any],
        table: QueueTable,
        function: Function | None = None,
    ) -> None:
        """Pickle what all workers get alike. `function`: of a short form, see functions.py.

        Raises:
            SettingsError: an attribute's name is taken, or its value cannot be pickled.
            PayloadError: the function, or what goes with it, cannot be pickled.
            WorkerStartError: a worker module's file is not there.
        """
        self._place(settings, settings.procs)
        attributes: dict[str, Parcel] = {}
        for name, value in custom.items():
            self._refuse(name, "the attribute", table)
            try:
                attributes[name] = self.pack(value, sum(len(parcel.files) for parcel in attributes.values()))
            except PayloadError as error:
                raise SettingsError(f"the attribute {name!r} cannot go to the workers: {error}") from error
        if function is not None:
            try:
                attributes[FUNCTION] = self.pack(tuple(function), sum(len(p.files) for p in attributes.values()))
            except PayloadError as error:
                raise PayloadError(f"func, initializer or initargs: {error}") from error
        common = {
            "manager": os.getpid(),
            "sys_path": list(sys.path),
            "argv": list(sys.argv),
            "modules": [(_located(m.path, elsewhere=settings.ENGINE == "ray"), m.ref) for m in modules],
            "call": settings.WORKER_CALL,
            "settings": _resolved(settings),
            "attributes": [(name, parcel.place) for name, parcel in attributes.items()],
            "log_levels": _log_levels(),
        }
        files = tuple(file for parcel in attributes.values() for file in parcel.files)
        self._base = Common("", encode(Kind.SETUP, (pickle.dumps(common),)), files)
        self._attributes = set(attributes)

    def _place(self, settings: Settings, slots: int) -> None:
        there_are = affinity.usable()
        self.cores = affinity.cores_by_slot(settings.CPU_AFFINITY, slots, there_are) if there_are else []
        self._slots = slots

    def resize(self, settings: Settings, workers: int) -> Common:
        """There will be so many workers: what tells them.

        Raises:
            SettingsError: a core that was there has been taken from this process (``CPU_AFFINITY``).
        """
        if workers > self._slots:
            self._place(settings, workers)
        place = self.pack(workers).place
        return Common("NUM_PROCS", share_message("NUM_PROCS", place), ())

    def refuse_share(self, name: Any, table: QueueTable) -> None:
        """Raise SettingsError when no object can be shared under that name."""
        if not (isinstance(name, str) and name.isidentifier()) or keyword.iskeyword(name):
            raise SettingsError(f"share: {name!r} cannot be an attribute of the toolbox; allowed: a Python name")
        if name not in self._shares:
            self._refuse(name, "the shared object", table)

    def share(self, name: str, parcel: Parcel, table: QueueTable) -> Common:
        """Keep an object for the workers to come."""
        self.refuse_share(name, table)
        self._shares[name] = Common(name, share_message(name, parcel.place), parcel.files)
        return self._shares[name]

    def pack(self, obj: Any, files: int = 0) -> Parcel:
        """Pickle an object for all workers. `files`: how many are in use that are not known here yet."""
        files += sum(len(item.files) for item in self.common())
        return pack(obj, in_file=files < _MOST_FILES)

    def common(self) -> list[Common]:
        """What all workers get alike, in order."""
        return [*([self._base] if self._base is not None else []), *self._shares.values()]

    def messages(self, slot: int, name: str, table: QueueTable) -> list[list[Buffer]]:
        """The first messages for one new process in a slot: the last part of SETUP, the tools."""
        setup = {
            "slot": slot,
            "name": name,
            "cores": self.cores[slot] if slot < len(self.cores) else None,
            "queues": [queue.row for queue in table],
            "tools": len(self.tools),
        }
        return [encode(Kind.SETUP, (pickle.dumps(setup),)), *self.tools]

    def _refuse(self, name: str, what: str, table: QueueTable) -> None:
        self.refuse_taken(name, what)
        if any(name == (queue.category or queue.short) for queue in table):
            raise SettingsError(f"{what} {name!r}: a queue or a category has that name already")


def share_message(name: str, place: Place) -> list[Buffer]:
    """The message that brings a shared object to a worker."""
    return encode(Kind.SHARE, (pickle.dumps((name, place)),))


def _resolved(settings: Settings) -> dict[str, Any]:
    """Settings as the toolbox shows them: what None stands for is filled in where it is a number."""
    values = settings._asdict()
    del values["DASHBOARD_TOKEN"]  # workers have no use for it, and toolboxes get printed
    values.update(NUM_PROCS=settings.procs, NUM_ROWS=settings.rows, INFO_ENABLE=bool(settings.INFO_ENABLE))
    if callable(settings.HEALTH_CHECK):  # which is the manager's own, and need not be picklable
        values.update(HEALTH_CHECK=True)
    return values


def _located(path: str, *, elsewhere: bool) -> str:
    """The absolute path of a worker file, which must be there; a dotted module name as it is.

    `elsewhere`: workers run on other machines, which may have a folder that this one does not.
    """
    if not (path.endswith(_FILE_ENDINGS) or os.sep in path or "/" in path):
        return path
    whole = os.path.abspath(path)
    folder, base = os.path.split(whole)
    if os.path.isfile(whole) or (elsewhere and not os.path.isdir(folder)):
        return whole
    if not os.path.isdir(folder):
        raise WorkerStartError(f"no worker module {path!r}: there is no folder {folder}")
    if os.path.isdir(whole):
        raise WorkerStartError(f"worker module {path!r} is a folder; a file is needed")
    raise WorkerStartError(f"no worker module {path!r}{nearest(base, os.listdir(folder))} in {folder}")


def _log_levels() -> dict[str, int]:
    """Levels of all loggers that have one of their own; '' is the root.

    A name or a level may be of a class of the user's, a member of an enumeration say. Here they are plain: a worker
    reads this before it can find the user's modules.
    """
    levels = {"": int(logging.getLogger().level)}
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and logger.level:
            levels[str.__str__(name)] = int(logger.level)
    return levels
