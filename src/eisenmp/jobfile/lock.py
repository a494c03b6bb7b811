"""Who works on a job file: one manager at a time. A lock whose holder is gone counts for nothing."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import time
from dataclasses import dataclass

from eisenmp.errors import JobFileBusy

__all__ = ["Owner", "boot_id", "held", "is_alive", "myself", "read_owner", "release", "start_time", "take"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A manager process.

    Attributes:
        pid: its number, on its `host`.
        boot: tells one start of that machine from another; None where that cannot be told.
        started: the same of the process, for numbers are given again.
        since: when it took the file, seconds since 1970.
    """

    pid: int
    host: str
    boot: str | None
    started: str | None
    since: float

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {when}"


held: dict[str, Owner] = {}  # files that this process works on


def myself() -> Owner:
    """This process."""
    return Owner(os.getpid(), socket.gethostname(), boot_id(), start_time(os.getpid()), time.time())


def boot_id() -> str | None:
    """Of this machine's start, on Linux."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def start_time(pid: int) -> str | None:
    """When a process of this machine began, on Linux in ticks since the machine did; None where it cannot be told."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()  # its name, before, may hold anything
    except (OSError, IndexError):
        return None


def is_alive(owner: Owner, me: Owner) -> bool:
    """Whether the owner may still be at work. Of another machine nobody can tell: then yes."""
    if owner.host != me.host:
        return True
    if owner.boot and me.boot and owner.boot != me.boot:
        return False
    if not _exists(owner.pid):
        return False
    began = start_time(owner.pid)
    return not (owner.started and began and owner.started != began)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # limited information
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True


def read_owner(db: sqlite3.Connection) -> Owner | None:
    """Who has the file, as it says itself; whether they still live is another question."""
    row = db.execute("SELECT pid, host, boot, started, since FROM owner").fetchone()
    return Owner(*row) if row else None


def take(db: sqlite3.Connection, path: str, me: Owner, *, force: bool = False) -> Owner | None:
    """Write ourselves down as the owner, within the present transaction; return whose stale lock was in the way.

    Args:
        force: take it from an owner on another machine too, of whom nobody can tell whether they live.

    Raises:
        JobFileBusy: somebody is at work on it.
    """
    owner = read_owner(db)
    if owner is not None and is_alive(owner, me):
        far = owner.host != me.host
        if not (far and force):
            hint = "; if it is gone, start with JOB_FORCE (--force)" if far else ": wait for it, or end it"
            raise JobFileBusy(f"the job file {path} is in use by {owner}{hint}")
    db.execute(
        "INSERT OR REPLACE INTO owner VALUES (1, ?, ?, ?, ?, ?)", (me.pid, me.host, me.boot, me.started, me.since)
    )
    return owner


def release(db: sqlite3.Connection, me: Owner) -> None:
    """Give the file back, unless it has been taken from us."""
    db.execute("DELETE FROM owner WHERE pid = ? AND host = ? AND since = ?", (me.pid, me.host, me.since))
