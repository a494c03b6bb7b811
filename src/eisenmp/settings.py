"""The settings of a job: frozen, validated before any process starts.

:func:`split` takes everything the user handed to ``start`` and parts it into known settings, the worker modules and
the custom attributes that go to the toolbox. :func:`override` puts others in their place, for whoever runs a program
that he does not want to edit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from eisenmp import address, affinity
from eisenmp.cores import usable_cores
from eisenmp.errors import SettingsError, nearest

__all__ = ["ALIASES", "ModuleSpec", "Settings", "overridden", "override", "split"]

ALIASES: Final = {"PROCS_MAX": "NUM_PROCS", "ROWS_MAX": "NUM_ROWS"}  # names of eisenmp 1.0


class ModuleSpec(NamedTuple):
    """One entry of ``worker_modules``: where the module is and which function of it is the entry."""

    path: str
    ref: str


class Settings(NamedTuple):
    """SPEC's table of settings. ``None`` means the default that the comment names."""

    NUM_PROCS: int | None = None  # one per usable core
    NUM_ROWS: int | str | None = None  # 1000 items, fewer where items are large
    START_METHOD: str = "spawn"
    RESULTS_STORE: bool = False
    RESULTS_PRINT: bool = False
    RESULTS_DICT_PRINT: bool = False
    RESULT_LABEL: str = "eisenmp results"
    WORKER_CALL: str = "toolbox"
    ON_ERROR: str = "raise"
    RETRIES: int = 0
    CRASH_RETRIES: int = 2
    CHUNK_TIMEOUT: float | None = None  # none
    MAX_WORKER_MEMORY: int | None = None  # none
    MAX_CHUNKS_PER_WORKER: int | None = None  # none
    CPU_AFFINITY: Any = None  # wherever the system puts them; see affinity.py
    RESTARTS: int | None = None  # deaths count against tickets (CRASH_RETRIES)
    HEALTH_CHECK: str | Callable[[Any], object] | None = None  # none; see health.py
    HEALTH_TIMEOUT: float = 2.0
    HEALTH_EVERY: float = 5.0
    GRACE: float = 5.0  # seconds between SIGTERM and the kill
    BUFFER_CHUNKS: int | None = None  # 4 a worker
    BUFFER_BYTES: int | None = None  # 256 MiB
    JOB: str | os.PathLike[str] | None = None  # path of a job file; none
    JOB_STORE: str | None = None  # as the file has it; a new one: 'pickle'
    JOB_FORCE: bool = False
    JOB_TRUST: bool = False
    INFO_ENABLE: bool | str | Callable[[Any], object] = False
    INFO_THREAD_MAX: int | None = None  # unknown
    CONTROL_SOCKET: bool = True
    DASHBOARD: bool | int | str = False  # see address.py
    DASHBOARD_TOKEN: str | None = None  # a new one that nobody can guess
    OPENTELEMETRY: bool | None = None  # where the program has set a tracer provider
    ENGINE: str = "local"
    ENGINE_ADDRESS: str | None = None  # a private cluster of this machine
    ENGINE_CPUS: float = 1  # of each worker; so are the next three
    ENGINE_GPUS: float = 0
    ENGINE_MEMORY: int | None = None  # bytes; not reserved
    ENGINE_RESOURCES: Mapping[str, float] | None = None  # none of the cluster's own
    ENGINE_PLACEMENT: str = "spread"
    ENGINE_START_TIMEOUT: float = 60.0

    @property
    def procs(self) -> int:
        """Worker processes, resolved."""
        return self.NUM_PROCS or usable_cores()

    @property
    def rows(self) -> int:
        """Items in a chunk, resolved; of ``'auto'``, in the first one."""
        return 1 if isinstance(self.NUM_ROWS, str) else self.NUM_ROWS or 1000

    @property
    def wants_values(self) -> bool:
        """Whether anything is done with all values at the end."""
        return self.RESULTS_STORE or self.RESULTS_PRINT or self.RESULTS_DICT_PRINT

    @property
    def window_chunks(self) -> int:
        """Chunks of one queue that may be queued, running or finished but unread, resolved."""
        return self.window_for(self.procs)

    def window_for(self, workers: int) -> int:
        """The same, for another number of workers."""
        return self.BUFFER_CHUNKS or 4 * workers

    @property
    def window_bytes(self) -> int:
        """The same in bytes, resolved."""
        return self.BUFFER_BYTES or 256 << 20


def _whole(low: int, none: bool) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        if value is None:
            return none
        return isinstance(value, int) and not isinstance(value, bool) and value >= low

    return f"a whole number from {low} on" + (" or None" if none else ""), fits


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return "one of " + ", ".join(repr(n) for n in names), lambda value: value in names


_FLAG: Final = ("True or False", lambda value: isinstance(value, bool) or value in (0, 1))
_TEXT: Final = ("a text", lambda value: isinstance(value, str))
_SECONDS: Final = (
    "a number of seconds above 0 or None",
    lambda value: value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0),
)

_SOME_SECONDS: Final = (
    "a number of seconds above 0",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9,
)


def _is_amount(value: Any) -> bool:
    """Of a resource; Ray gives out fractions of one only below 1."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value < 1 or (1 <= value < 1e9 and value == int(value))


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None
    host, _, port = value.rpartition(":")
    return value == "auto" or (bool(host) and "/" not in host and port.isdecimal() and 0 < int(port) < 65536)


def _are_resources(value: Any) -> bool:
    if value is None:
        return True
    named = isinstance(value, Mapping) and all(isinstance(name, str) and name for name in value)
    return named and all(_is_amount(amount) for amount in value.values()) and not {"CPU", "GPU", "memory"} & set(value)


_AMOUNT: Final = ("a whole number from 0 on, or a part of 1", _is_amount)


def _is_health_check(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None or callable(value)
    return value.startswith("/") or (value.startswith("http://") and len(value.format(slot=0)) > len("http://"))


_ALLOWED: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "NUM_PROCS": _whole(1, True),
    "NUM_ROWS": (
        "a whole number from 1 on, 'auto' or None",
        lambda value: value == "auto" or _whole(1, True)[1](value),
    ),
    "START_METHOD": _one_of("spawn", "forkserver", "fork"),
    "RESULTS_STORE": _FLAG,
    "RESULTS_PRINT": _FLAG,
    "RESULTS_DICT_PRINT": _FLAG,
    "RESULT_LABEL": _TEXT,
    "WORKER_CALL": _one_of("toolbox", "chunk", "item"),
    "ON_ERROR": _one_of("raise", "skip"),
    "RETRIES": _whole(0, False),
    "CRASH_RETRIES": _whole(0, False),
    "CHUNK_TIMEOUT": _SECONDS,
    "MAX_WORKER_MEMORY": _whole(1, True),
    "MAX_CHUNKS_PER_WORKER": _whole(1, True),
    "CPU_AFFINITY": (affinity.ALLOWED, affinity.fits),
    "RESTARTS": _whole(0, True),
    "HEALTH_CHECK": (
        "None, a path such as '/health', a URL such as 'http://127.0.0.1:800{slot}/', or a function of the worker",
        _is_health_check,
    ),
    "HEALTH_TIMEOUT": _SOME_SECONDS,
    "HEALTH_EVERY": _SOME_SECONDS,
    "GRACE": (
        "a number of seconds from 0 on",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9,
    ),
    "BUFFER_CHUNKS": _whole(1, True),
    "BUFFER_BYTES": _whole(1, True),
    "JOB": (
        "the path of a file, or None",
        lambda value: value is None or (isinstance(value, str | os.PathLike) and bool(os.fspath(value))),
    ),
    "JOB_STORE": (
        "one of 'pickle', 'json', 'arrow', 'none', or None",
        lambda value: value is None or value in ("pickle", "json", "arrow", "none"),
    ),
    "JOB_FORCE": _FLAG,
    "JOB_TRUST": _FLAG,
    "INFO_ENABLE": (
        "True or False, 'line', 'tqdm', or a function that takes a snapshot",
        lambda value: callable(value) or value in ("line", "tqdm") or _FLAG[1](value),
    ),
    "INFO_THREAD_MAX": _whole(1, True),
    "CONTROL_SOCKET": _FLAG,
    "DASHBOARD": (address.ALLOWED, address.fits),
    "DASHBOARD_TOKEN": (address.TOKEN_ALLOWED, address.is_token),
    "OPENTELEMETRY": ("True, False or None", lambda value: value is None or isinstance(value, bool)),
    "ENGINE": _one_of("local", "inline", "ray"),
    "ENGINE_ADDRESS": ("None, 'auto' or 'host:port'", _is_address),
    "ENGINE_CPUS": _AMOUNT,
    "ENGINE_GPUS": _AMOUNT,
    "ENGINE_MEMORY": _whole(1, True),
    "ENGINE_RESOURCES": (
        "a dict from the name of one of the cluster's own resources to an amount, or None (CPU, GPU and memory have "
        "settings: ENGINE_CPUS, ENGINE_GPUS, ENGINE_MEMORY)",
        _are_resources,
    ),
    "ENGINE_PLACEMENT": _one_of("spread", "pack"),
    "ENGINE_START_TIMEOUT": _SOME_SECONDS,
}


def split(given: Mapping[str, Any]) -> tuple[Settings, list[ModuleSpec], dict[str, Any]]:
    """Part what ``start`` was given: (settings, worker modules in the user's order, attributes for the toolbox).

    Raises:
        SettingsError: a known setting with a bad value, a name in capitals that is nearly one, no worker module.
    """
    settings, custom = _part({key: value for key, value in given.items() if key != "worker_modules"})
    check_address(settings.get("ENGINE", "local"), settings.get("ENGINE_ADDRESS"))
    return Settings(**settings), _modules(given.get("worker_modules")), custom


def _part(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings by their present names, attributes for the toolbox)"""
    known = set(Settings._fields)
    settings: dict[str, Any] = {}
    keys: dict[str, str] = {}  # under which name each was given
    custom: dict[str, Any] = {}
    for key, value in given.items():
        name = ALIASES.get(key, key)
        if name in known:
            if name in keys:
                raise SettingsError(f"{keys[name]} and {key} are the same setting, given twice")
            keys[name] = key
            check(name, value)
            settings[name] = value
        else:
            _refuse_near_miss(name, known)
            custom[name] = value
    return settings, custom


_overrides: list[tuple[dict[str, Any], dict[str, Any]]] = []  # settings and attributes; the newest last


@contextmanager
def override(**given: Any) -> Iterator[None]:
    """Within this block, jobs that start in this process have these settings, whatever their programs say.

    So a program can be run with other settings than it was written with; ``eisenmp run --set`` does it. Settings hold
    for :class:`eisenmp.Mp` and the short forms alike; other names are attributes of the toolbox, of an ``Mp`` only. The
    inner one of two such blocks wins.

    Raises:
        SettingsError: as :meth:`eisenmp.Mp.start` does, at once.
    """
    if "worker_modules" in given:
        raise SettingsError("worker_modules is what the program is made of: it cannot be overridden")
    entry = _part(given)
    _overrides.append(entry)
    try:
        yield
    finally:
        _overrides[:] = [other for other in _overrides if other is not entry]


def overridden(settings: Settings, custom: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """What a job starts with: what its program says, but for what :func:`override` says."""
    attributes = dict(custom)
    for others, more in tuple(_overrides):
        settings = settings._replace(**others)
        attributes |= more
    return settings, attributes


def check(name: str, value: Any, shown: str | None = None) -> None:
    """Raise SettingsError unless `value` fits the setting `name`, which the user knows as `shown`."""
    allowed, fits = _ALLOWED[name]
    try:
        good = fits(value)
    except Exception:  # an array, say, whose comparison has no truth value
        good = False
    if not good:
        raise SettingsError(f"{shown or name}={value!r} does not fit; allowed: {allowed}")


def check_address(engine: str, address: str | None) -> None:
    """Raise SettingsError where an engine of this machine is given the address of a cluster."""
    if address is not None and engine != "ray":
        raise SettingsError(f"ENGINE_ADDRESS={address!r} goes with ENGINE='ray', not with ENGINE={engine!r}")


def _refuse_near_miss(name: str, known: set[str]) -> None:
    from difflib import get_close_matches

    if not name.isupper():
        return
    close = get_close_matches(name, [*sorted(known), *ALIASES], n=1, cutoff=0.81)
    if close:
        raise SettingsError(
            f"unknown setting {name}: did you mean {close[0]!r}? (a custom toolbox attribute needs another name)"
        )


def _modules(given: Any) -> list[ModuleSpec]:
    example = "[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'worker_entrance'}]"
    if not given:
        raise SettingsError(f"worker_modules={given!r}: at least one worker module is needed, such as {example}")
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        raise SettingsError(f"worker_modules={given!r} does not fit; allowed: a list such as {example}")
    return [_module(entry, at) for at, entry in enumerate(given)]


def _module(entry: Any, at: int) -> ModuleSpec:
    if not isinstance(entry, Mapping):
        raise SettingsError(f"worker_modules[{at}]={entry!r}: a dict with WORKER_PATH and WORKER_REF is needed")
    lower = {str(key).lower(): value for key, value in entry.items()}
    for key in ("worker_path", "worker_ref"):
        if key not in lower:
            hint = nearest(key, lower)
            raise SettingsError(f"worker_modules[{at}] has no {key.upper()}{hint}; given: {', '.join(map(str, entry))}")
    path, ref = lower["worker_path"], lower["worker_ref"]
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str) or not path:
        raise SettingsError(f"worker_modules[{at}]: WORKER_PATH={path!r}; a path or a dotted module name is needed")
    if not isinstance(ref, str) or not ref:
        raise SettingsError(f"worker_modules[{at}]: WORKER_REF={ref!r}; the name of a function is needed")
    return ModuleSpec(path, ref)
