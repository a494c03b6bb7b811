"""A worker module that watches its process: threads, memory and CPU, every ``sleep_time`` seconds.

Put it behind the worker proper, as the seed does::

    watchdog_module = {"WORKER_PATH": "eisenmp.watchdog", "WORKER_REF": "mp_start_show_threads"}
    …
    self.worker_modules = [self.template_module, self.watchdog_module]
    self.sleep_time = 20  # seconds between two lines; 20 without it
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

__all__ = ["mp_start_show_threads", "report"]


def mp_start_show_threads(toolbox: Any) -> None:
    """Start the thread that prints. The thread is a daemon: it keeps no worker alive."""
    seconds = float(getattr(toolbox, "sleep_time", 20))
    if seconds <= 0:
        raise ValueError(f"sleep_time={toolbox.sleep_time!r}; a number of seconds above 0 is needed")
    threading.Thread(target=_run, args=(toolbox.WORKER_NAME, seconds), name="watchdog", daemon=True).start()


def _run(name: str, seconds: float) -> None:
    before, at = time.process_time(), time.monotonic()
    while True:
        time.sleep(seconds)
        cpu, now = time.process_time(), time.monotonic()
        print(report(name, cpu_percent=100 * (cpu - before) / (now - at)))
        before, at = cpu, now


def report(name: str, *, cpu_percent: float) -> str:
    """One line about this process: its threads by name, resident memory, CPU time in all and of late."""
    threads = ", ".join(sorted(t.name for t in threading.enumerate() if not t.name.startswith("eisenmp-")))
    return (
        f"{name} (pid {os.getpid()}): memory {_resident_mib()}, cpu {time.process_time():.1f} s "
        f"({cpu_percent:.0f} % of a core now), threads: {threads}"
    )


def _resident_mib() -> str:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f} MiB"
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return "unknown"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"at most {peak / (2**20 if sys.platform == 'darwin' else 2**10):.0f} MiB"
