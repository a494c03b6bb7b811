"""eisenmp: spread a generator's items, or a set of servers, over every CPU core.

A map of this folder, along the way of the data::

    manager.py      Mp, the seed's API: wires the parts (equipment.py, intake.py, handles.py, leave.py help it)
    settings.py     settings, validated; everything unknown goes to the toolbox
    feeder.py     1 an iterable -> chunks -> a queue, held back by it
    queues.py     2 named bounded queues; exchange.py brings their entries and readers together
    dispatcher.py 3 the one event loop; tickets.py: leases out, answers in; messages.py: everything without a ticket
    ledger.py       pure: tickets;  supervisor.py  pure: worker slots;  credit.py  pure: how much to hand out ahead
    crew.py         the processes in the slots;  job.py  the state that all of these share
    wire.py       4 messages and their bytes;  payload.py  objects and their bytes;  parcel.py  those for many processes
    engines/        what starts workers and carries bytes: local, inline
    worker/       5 inside a worker process: loop, loader, toolbox, queue proxies; the template that forks them
    results/      6 what became of every ticket
    display/      7 what is shown meanwhile; listen.py and snapshot.py are what it hears and sees
    errors.py       the tree of exceptions
    utils/          the import names of eisenmp 1.0

Importing this package starts no process and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eisenmp.errors import (
        CrashError,
        EisenmpError,
        JobKilled,
        JobOver,
        PayloadError,
        ProtocolError,
        RemoteError,
        RemoteTraceback,
        ResultsError,
        SettingsError,
        StopJob,
        WorkerCallError,
        WorkerStartError,
    )
    from eisenmp.manager import Mp
    from eisenmp.results import Outcome, Results
    from eisenmp.settings import usable_cores

__version__ = "2.0.0.dev0"

__all__ = [
    "CrashError",
    "EisenmpError",
    "JobKilled",
    "JobOver",
    "Mp",
    "Outcome",
    "PayloadError",
    "ProtocolError",
    "RemoteError",
    "RemoteTraceback",
    "Results",
    "ResultsError",
    "SettingsError",
    "StopJob",
    "WorkerCallError",
    "WorkerStartError",
    "usable_cores",
]

_HOMES = {"Mp": "manager", "Outcome": "results", "Results": "results", "usable_cores": "settings"}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for: a worker needs none of the manager's parts, only this package."""
    if name not in __all__:
        raise AttributeError(f"module 'eisenmp' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"eisenmp.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
