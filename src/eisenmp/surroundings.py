"""What this machine has of the things that eisenmp makes use of, and what follows where one is missing.

Nothing here is needed for a job to run: each part tries what it wants and does without. The checks say beforehand what
a job would meet, and :func:`hint` says afterwards which limit it was.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Final, NamedTuple

__all__ = ["Check", "check_all", "file_limit", "hint", "process_handles", "workers_within"]

_OURS: Final = 50  # descriptors of the manager and of the program around it
_PER_WORKER: Final = 5  # channel, process handle, shared memory, with some to spare


class Check(NamedTuple):
    """One thing that may be missing. ``follows``: what it means here and now."""

    name: str
    ok: bool
    follows: str


def check_all() -> list[Check]:
    """All checks; no process is started, and nothing is left behind."""
    return [interpreter(), unnamed_memory(), descriptors_by_message(), process_handles(), open_files()]


def interpreter() -> Check:
    """Whether there is an interpreter to start."""
    ok = bool(sys.executable)
    return Check("interpreter", ok, "any start method" if ok else "workers are forked, whatever START_METHOD says")


def unnamed_memory() -> Check:
    """Whether a file can be had that several processes map."""
    from eisenmp.ring import Memory

    try:
        Memory.new(1 << 16).close()
    except (OSError, ValueError) as error:
        return Check("shared memory", False, f"large objects go through the socket, piece by piece ({error})")
    return Check("shared memory", True, "large objects are written once and read in place")


def descriptors_by_message() -> Check:
    """Whether a descriptor can be sent to another process."""
    ok = hasattr(socket, "send_fds")
    return Check("descriptors by message", ok, "all start methods" if ok else "no 'forkserver', no shared memory")


def process_handles() -> Check:
    """Whether the end of a process shows on a descriptor."""
    from eisenmp.engines.processes import close_pidfd, open_pidfd

    fd = open_pidfd(os.getpid())
    if fd is None:
        return Check("process handles", False, "a thread waits for each worker")
    close_pidfd(fd)
    return Check("process handles", True, "one wait for all workers")


def open_files() -> Check:
    """How many workers the limit of open files has room for."""
    limit = file_limit()
    if limit is None:
        return Check("open files", True, "no limit is known")
    most = workers_within(limit)
    return Check("open files", most >= 64, f"a limit of {limit}: up to about {most} workers")


def hint(error: OSError) -> str:
    """Which limit an error of the system speaks of, and what to do about it; nothing where we know nothing better."""
    if error.errno == errno.EMFILE:
        return f" (the limit is {file_limit()}, of which a worker takes two to four: ulimit -n, or lower NUM_PROCS)"
    if error.errno == errno.ENFILE:
        return " (a limit of the whole system, which other programs share)"
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return " (a limit of processes or of memory: ulimit -u, or lower NUM_PROCS)"
    return ""


def workers_within(limit: int) -> int:
    """About how many workers a limit of open files is enough for."""
    return max(0, (limit - _OURS) // _PER_WORKER)


def file_limit() -> int | None:
    """How many files this process may have open; None: no limit is known."""
    try:
        import resource
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
