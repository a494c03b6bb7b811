"""eisenmp: spread a generator's items, or a set of servers, over every CPU core.

A map of this folder, along the way of the data::

    manager.py      Mp, the seed's API: wires the parts (shelf.py: queues; equipment.py, intake.py, leave.py help it)
    short.py        imap and imap_chunks over the same parts;  aio.py  the same for asyncio
    settings.py     settings, validated; everything unknown goes to the toolbox
    feeder.py     1 an iterable (sources.py) -> chunks -> a queue, held back by it
    queues.py     2 named bounded queues; exchange.py brings their entries and readers together
    dispatcher.py 3 the one event loop (turns.py: who drives it); tickets.py: leases, answers; messages.py: the rest
    ledger.py       pure: tickets;  supervisor.py  pure: worker slots;  credit.py  pure: how much to hand out ahead
    suspects.py     pure: which items kill workers;  parts.py  chunks that are handed out in parts
    remote.py       bytes that lie on another machine;  handover.py  messages made of them, and when they are lost
    measure.py      running totals of time;  account.py, report.py  what a job has done with it, and what holds it up
    traces.py       tracebacks for people;  byvalue.py  what travels by value
    listeners.py    workers' listening sockets;  steering.py  who gets which connection;  traffic.py  who has which
    leaving.py      workers that are to end;  restarts.py  one after the other;  health.py  who hangs
    affinity.py     pure: who runs on which cores;  cores.py  how many there are
    limits.py       when a worker has done enough;  functions.py  a function on its way to the workers
    crew.py         the processes in the slots;  job.py  the state that all of these share
    wire.py       4 messages and their bytes;  payload.py  objects and their bytes;  ring.py  where large ones lie
                  parcel.py  objects for many processes;  unnamed.py  files without a name
    surroundings.py what this machine has of all that, and which limit an error speaks of
    engines/        what starts workers and carries bytes: local, inline, ray
    worker/       5 inside a worker process: loop, loader, toolbox, queue proxies; the template that forks them
    results/      6 what became of every ticket;  jobfile/  the same in a file, for jobs that go on where they were
    export/         that file for other programs: JSON lines, CSV, Parquet, SQLite
    display/      7 what is shown meanwhile; events.py and snapshot.py are what it hears and sees
    tap.py          what is noted for who watches (watching.py);  live/  makes states of it;  web/  serves them
    cli/            the command eisenmp;  wholefile.py  what it writes is there whole or not at all
    spaces/         search spaces that are cut by slices, for manager and workers alike
    errors.py       the tree of exceptions
    utils/          the import names of eisenmp 1.0

Importing this package starts no process and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eisenmp import spaces
    from eisenmp.aio import aimap, aimap_chunks
    from eisenmp.cores import usable_cores
    from eisenmp.errors import (
        ClusterError,
        CrashError,
        EisenmpError,
        JobFileBusy,
        JobFileError,
        JobFileMismatch,
        JobFileUntrusted,
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
    from eisenmp.export import Exported, export_results
    from eisenmp.failure import Failure
    from eisenmp.jobfile.retry import retry_job
    from eisenmp.jobfile.status import JobStatus, job_status
    from eisenmp.manager import Mp
    from eisenmp.report import Report
    from eisenmp.results import Outcome, Part, Results
    from eisenmp.settings import override
    from eisenmp.short import imap, imap_chunks
    from eisenmp.worker.ports import listen

__version__ = "2.0.0.dev0"

__all__ = [
    "ClusterError",
    "CrashError",
    "EisenmpError",
    "Exported",
    "Failure",
    "JobFileBusy",
    "JobFileError",
    "JobFileMismatch",
    "JobFileUntrusted",
    "JobKilled",
    "JobOver",
    "JobStatus",
    "Mp",
    "Outcome",
    "Part",
    "PayloadError",
    "ProtocolError",
    "RemoteError",
    "RemoteTraceback",
    "Report",
    "Results",
    "ResultsError",
    "SettingsError",
    "StopJob",
    "WorkerCallError",
    "WorkerStartError",
    "aimap",
    "aimap_chunks",
    "export_results",
    "imap",
    "imap_chunks",
    "job_status",
    "listen",
    "override",
    "retry_job",
    "spaces",
    "usable_cores",
]

_HOMES = {
    "Failure": "failure",
    **dict.fromkeys(("imap", "imap_chunks"), "short"),
    **dict.fromkeys(("aimap", "aimap_chunks"), "aio"),
    "Mp": "manager",
    "listen": "worker.ports",
    "Outcome": "results",
    "Part": "results",
    "Report": "report",
    "Results": "results",
    "override": "settings",
    **dict.fromkeys(("JobStatus", "job_status"), "jobfile.status"),
    **dict.fromkeys(("Exported", "export_results"), "export"),
    "retry_job": "jobfile.retry",
    "usable_cores": "cores",
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for: a worker needs none of the manager's parts, only this package."""
    if name not in __all__:
        raise AttributeError(f"module 'eisenmp' has no attribute {name!r}")
    from importlib import import_module

    if name == "spaces":
        return import_module("eisenmp.spaces")
    value = getattr(import_module(f"eisenmp.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
