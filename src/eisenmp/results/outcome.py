"""What became of one ticket, and what workers put under a closing header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eisenmp.payload import Payload

__all__ = ["Closing", "Outcome", "Record"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one ticket.

    Attributes:
        queue: name of the queue, as in ``q_name_id_lst``.
        ticket: serial number in that queue, from 0.
        value: the result; None where there is none.
        error: the exception of a failed ticket; ``CrashError`` of one set aside.
        attempts: how often a worker began it.
        slot: ``START_SEQUENCE_NUM`` of the worker that ended it, -1: no worker did.
        seconds: how long that worker took.
        state: ``'done'``, ``'failed'``, ``'set aside'``, ``'unread'``; before that ``'queued'``, ``'leased'``.
    """

    queue: str
    ticket: int
    value: Any = None
    error: BaseException | None = None
    attempts: int = 1
    slot: int = -1
    seconds: float = 0.0
    state: str = "done"


@dataclass(slots=True)
class Record:
    """The pickled part of an outcome: a value, or an error as bytes or as itself."""

    queue: int
    serial: int
    value: Payload | None = None
    error: Payload | BaseException | None = None
    size: int = 0  # bytes of the value, while a reader has not taken it


class Closing(dict[int, Any]):
    """What workers put under a closing header, by slot (the last one of each). ``all``: (queue, slot, value) each."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, int, Any]] = []
