"""Small jobs, one for each way to run one. Each has a deadline, so that what hangs is told and not waited for."""

from __future__ import annotations

import multiprocessing
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Final

from eisenmp.cli.machine import BROKEN, FINE, Finding
from eisenmp.functions import Function
from eisenmp.manager import Mp
from eisenmp.settings import Settings

__all__ = ["check_ways"]

_PATIENCE: Final = 2.4  # seconds for each of at most four ways
_ITEMS: Final = 200_000
_METHODS: Final = ("spawn", "forkserver", "fork")


def check_ways() -> Iterator[Finding]:
    """A job by each start method that there is, and one without processes."""
    there = multiprocessing.get_all_start_methods()
    for method in _METHODS:
        if method in there:
            yield _check(f"job by {method}", Settings(START_METHOD=method, WORKER_CALL="chunk"))
    yield _check("job inline", Settings(ENGINE="inline", WORKER_CALL="chunk"))


def _check(name: str, settings: Settings) -> Finding:
    began = time.perf_counter()
    first = 0.0
    emp = Mp()
    emp.disown()
    alarm = threading.Timer(_PATIENCE, emp.kill)
    alarm.daemon = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, which is asked for
            reader = emp.results.outcomes()
            emp.feed(number for number in range(_ITEMS))  # a range would not travel item by item
            emp.launch(settings, [], {}, Function(sum, None, (), None))
            alarm.start()
            total = 0
            for outcome in reader:
                first = first or time.perf_counter() - began
                if outcome.error is not None:
                    raise outcome.error
                total += outcome.value or 0
            took = time.perf_counter() - began
        if total != sum(range(_ITEMS)):
            late = took >= _PATIENCE
            raise RuntimeError(f"not done within {_PATIENCE:g} s" if late else "the result is wrong")
    except Exception as error:
        return Finding(name, {"error": str(error)}, f"fails: {type(error).__name__}: {error}", BROKEN)
    finally:
        alarm.cancel()
        if emp.results.over or emp.proc_list:
            emp.kill()
            emp.join(2.0)
    rate = _ITEMS / max(took - first, 1e-6)
    value = {"first_result_seconds": round(first, 4), "seconds": round(took, 4), "items_per_second": round(rate)}
    shown = f"first result after {1000 * first:.0f} ms, then {rate / 1e6:.1f} million items/s"
    return Finding(name, value, shown, FINE)
