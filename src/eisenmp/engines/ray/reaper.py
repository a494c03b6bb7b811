"""A program: sees to it that nothing is left of a private cluster when its manager is gone, in whatever way.

Its standard input is a pipe from the manager; the end of that is the end of the manager. Ray's main processes end with
it as well, but agents of theirs may stay for minutes when all die at once. What belongs to the cluster is told by its
open files: each of its processes has a log in the cluster's own folder.

It imports nothing of this package, and does not touch Ray: ``python reaper.py FOLDER``.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator

__all__ = ["main", "users_of"]

_PATIENCE = 20.0  # seconds in which processes that were killed have to be gone


def users_of(folder: str) -> Iterator[int]:
    """Processes that have a file open below the folder, also one that is removed; from ``/proc``."""
    inside = folder + os.sep
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            links = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
        except OSError:
            continue  # somebody else's, or gone
        if any(link.startswith(inside) for link in links):
            yield int(name)


def main(folder: str) -> None:
    """Wait for the end of the manager, then end what is left of its cluster and remove the folder."""
    sys.stdin.buffer.read()
    deadline = time.monotonic() + _PATIENCE
    while (left := list(users_of(folder))) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
