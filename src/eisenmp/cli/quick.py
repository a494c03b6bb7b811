"""``eisenmp map`` with the options that are given most often, read without the command line library.

To load that takes as long as to load half of the manager, and the workers would wait for it. Whatever is not plain
here, or looks wrong, is the library's to read; what it would make of the rest is the same.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from eisenmp.cli.exits import leave
from eisenmp.cli.reference import split_reference
from eisenmp.engines import early

__all__ = ["Call", "read", "run"]

_DEFAULTS: Final[dict[str, Any]] = {
    "workers": None,
    "chunksize": "auto",
    "unordered": False,
    "as_json": False,
    "as_csv": False,
    "range_": None,
    "space": None,
    "total": None,
    "timeout": None,
    "retries": 0,
    "on_error": "raise",
    "start_method": "spawn",
    "out": None,
    "progress": None,
    "job": None,
    "force": False,
    "trust": False,
}
_FLAGS: Final = {
    "-u": ("unordered", True),
    "--unordered": ("unordered", True),
    "--json": ("as_json", True),
    "--csv": ("as_csv", True),
    "--progress": ("progress", True),
    "-q": ("progress", False),
    "--quiet": ("progress", False),
}
_TAKERS: Final = {"-j": "workers", "--workers": "workers", "-o": "out", "--out": "out"}


class Call(NamedTuple):
    """What ``eisenmp map`` was given: the worker as it was written, the files, and all options by name."""

    worker: str
    files: tuple[str, ...]
    options: dict[str, Any]


def read(arguments: Sequence[str]) -> Call | None:
    """The call that these arguments of ``eisenmp`` are; None: the command line library has to read them."""
    if arguments[:1] != ["map"] or "_EISENMP_COMPLETE" in os.environ:  # a shell asks what could come next
        return None
    options = dict(_DEFAULTS)
    places: list[str] = []
    rest = iter(arguments[1:])
    for text in rest:
        name, equals, value = text.partition("=")
        if text in _FLAGS:
            key, options[key] = _FLAGS[text]
        elif text in _TAKERS or (equals and name in _TAKERS and name.startswith("--")):
            key = _TAKERS[name]
            taken = _value(key, value if equals else next(rest, ""))
            if taken is None:
                return None
            options[key] = taken
        elif not text or (text.startswith("-") and text != "-"):
            return None
        else:
            places.append(text)
    return Call(places[0], tuple(places[1:]), options) if places else None


def _value(key: str, text: str) -> str | int | None:
    """Of an option; None: it is not plain."""
    if key == "out":
        return text if text and not text.startswith("-") else None
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None


def run(call: Call) -> None:
    """Load what runs a job, while the workers load theirs; run it, and end this process.

    Raises:
        BadCall: it cannot work.
    """
    path, ref = split_reference(call.worker)
    gc.disable()  # what is loaded stays: there is nothing to collect
    try:
        from eisenmp.cli.mapping import run as run_job
    finally:
        gc.freeze()
        gc.enable()
    code = run_job(path, ref, call.files, call.options)
    early.end()
    leave(code)
