"""Failures in words, with their tracebacks. Nothing of the user's is unpickled: errors carry both as plain text."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from typing import Any, Final

from eisenmp.errors import ProtocolError
from eisenmp.live.ears import cut
from eisenmp.payload import opened, read_error
from eisenmp.results import Record
from eisenmp.tap import Death, Failed
from eisenmp.traces import with_sources

__all__ = ["Failures"]

_MOST: Final = 20  # of one look; of more, the newest are told
_TEXT: Final = 2000  # letters
_TRACEBACK: Final = 20_000


class Failures:
    """Numbers them and finds the words."""

    def __init__(self) -> None:
        self._number = 0

    def tell(
        self, failed: Sequence[Failed], deaths: Sequence[Death], names: Sequence[str], began: float
    ) -> list[dict[str, Any]]:
        """What is sent of these, in the order in which they came.

        Args:
            failed: tickets.
            deaths: of workers.
            names: of queues, by number.
            began: when the job began.
        """
        both: list[Failed | Death] = [*failed, *deaths]
        both.sort(key=lambda one: one.at)
        first, self._number = self._number, self._number + len(both)
        skipped = max(0, len(both) - _MOST)
        told = []
        for number, one in enumerate(both[skipped:], first + skipped):
            row = _of_ticket(one, names) if isinstance(one, Failed) else _of_death(one, names)
            told.append({"id": number, "seconds": round(one.at - began, 3), **row})
        return told


def _of_death(death: Death, names: Sequence[str]) -> dict[str, Any]:
    queue = None if death.queue is None else names[death.queue]
    return {
        "queue": queue,
        "ticket": None if death.queue is None else death.serial,
        "slot": death.slot,
        "kind": "timed out" if death.timed_out else "died",
        "text": cut(f"the process ended with {death.text}", _TEXT),
        "traceback": "",
    }


def _of_ticket(failed: Failed, names: Sequence[str]) -> dict[str, Any]:
    record = failed.record
    try:
        text, trace = _words(record)
    except ProtocolError:
        text, trace = "what was raised cannot be shown", ""
    return {
        "queue": names[record.queue],
        "ticket": record.serial,
        "slot": failed.slot if failed.slot >= 0 else None,
        "kind": "set aside" if failed.aside else "failed",
        "text": cut(text, _TEXT),
        "traceback": cut(trace, _TRACEBACK),
    }


def _words(record: Record) -> tuple[str, str]:
    """(what was raised, its traceback): by the ticket, or by the first of its items that failed."""
    error = record.error
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {error}", ""
    if error is not None:
        return _read(error)
    if record.item_errors:
        return _of_items(record.item_errors)
    for part, crash in record.parts:
        if crash is not None:
            return f"{type(crash).__name__}: {crash}", ""
        if part.error is not None:
            return _read(part.error)
        if part.item_errors:
            return _of_items(part.item_errors)
    return "", ""


def _of_items(pickled: Sequence[Any]) -> tuple[str, str]:
    rows = opened(pickled[0])
    if not (isinstance(rows, list) and rows and isinstance(rows[0], tuple) and len(rows[0]) == 2):
        raise ProtocolError("errors of items that are no list of them")
    text, trace = _read(rows[0][1])
    more = f" (and {len(rows) - 1} more items of the chunk)" if len(rows) > 1 else ""
    return f"item {rows[0][0]}: {text}{more}", trace


def _read(payload: Sequence[Any]) -> tuple[str, str]:
    name, message, trace, _ = read_error(payload)
    return f"{name}: {message}", with_sources(trace, linecache.cache, linecache.getline)
