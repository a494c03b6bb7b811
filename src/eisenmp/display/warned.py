"""Warnings of workers, given once more in the manager: by its filters, its ``showwarning``, its ``pytest.warns``.

What all workers warn of at the same place is one warning, as it would be in a program without workers.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["WorkerWarnings"]


class WorkerWarnings:
    """Those of one job."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[Any, Any]] = {}  # by file: what ``warnings`` remembers of it

    def show(self, fields: dict[str, Any]) -> None:
        """Give a warning of a worker here. `fields`: as worker/warned.py makes them.

        A filter that makes errors of warnings comes too late for the worker: the warning is shown then.
        """
        made = _made(fields["categories"], fields["text"])
        where = fields["filename"], fields["lineno"]
        registry = self._seen.setdefault(fields["filename"], {})
        with _named_in_records(fields):
            try:
                warnings.warn_explicit(made, type(made), *where, fields["module"], registry)
            except Warning:
                warnings.showwarning(made, type(made), *where)


def _made(categories: list[str], text: str) -> Warning:
    """A warning of the first class that is known here. The worker's own modules are not; their bases are."""
    for name in categories:
        module, _, qualname = name.partition(":")
        kind = vars(sys.modules.get(module, object)).get(qualname)
        if isinstance(kind, type) and issubclass(kind, Warning):
            try:
                made = kind(text)
                if str(made) == text:
                    return made
            except Exception:
                pass  # its ``__init__`` wants other arguments
    return Warning(text)


@contextmanager
def _named_in_records(fields: dict[str, Any]) -> Iterator[None]:
    """With ``logging.captureWarnings(True)`` warnings become log records: those made here tell of the worker."""
    here = threading.get_ident()
    origin = {name: fields[name] for name in ("worker", "slot", "ticket", "process", "lineno")}
    place = fields["filename"]
    origin |= {"processName": origin["worker"], "pathname": place, "filename": os.path.basename(place)}

    def name(record: logging.LogRecord) -> bool:
        if threading.get_ident() == here:
            record.__dict__.update(origin)
        return True

    logger = logging.getLogger("py.warnings")
    logger.addFilter(name)
    try:
        yield
    finally:
        logger.removeFilter(name)
