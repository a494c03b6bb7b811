"""What a process uses: seconds of CPU and bytes of memory. From ``/proc``; elsewhere by psutil, where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Used", "used_by", "used_here"]


class Used(NamedTuple):
    """So far, and now."""

    cpu_seconds: float
    resident: int  # bytes


_UTIME: Final = 11  # places in /proc/<pid>/stat behind the name, which may hold blanks
_RSS: Final = 21
_STAT: Final = 4096  # bytes; it has some hundred


def used_by(pids: Iterable[int]) -> dict[int, Used]:
    """Of these processes, those of which the system tells something. Not of this one: a worker in it has no share."""
    here = os.getpid()
    found: dict[int, Used] = {}
    for pid in pids:
        used = None if pid in (0, here) else _from_proc(pid) or _by_psutil(pid)
        if used is not None:
            found[pid] = used
    return found


def used_here() -> Used | None:
    """The same of this process."""
    pid = os.getpid()
    return _from_proc(pid) or _by_psutil(pid)


def _from_proc(pid: int) -> Used | None:
    try:
        # Each system call gives the interpreter away, to a feeder that keeps it for milliseconds: as few as can be.
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            parts = os.read(file, _STAT).rpartition(b")")[2].split()
        finally:
            os.close(file)
        ticks = int(parts[_UTIME]) + int(parts[_UTIME + 1])
        return Used(ticks / os.sysconf("SC_CLK_TCK"), int(parts[_RSS]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _by_psutil(pid: int) -> Used | None:
    if os.path.isdir("/proc/self"):
        return None  # the process has just gone
    try:
        import psutil

        process = psutil.Process(pid)
        times = process.cpu_times()
        return Used(times.user + times.system, int(process.memory_info().rss))
    except Exception:  # not installed, or the process has just gone
        return None
