"""What became of one ticket, and what workers put under a closing header."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from eisenmp.errors import ProtocolError
from eisenmp.payload import Payload, dumps, loads, nbytes, opened

__all__ = ["Closing", "Form", "Outcome", "Record"]


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
        items: how many items its chunk had.
        seconds: how long that worker took; of tickets that travelled together, their mean.
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
    items: int = 0


class Form:
    """How the values of a record's tickets lie in its payload."""

    ONE: Final = 0  # the value of the one ticket
    LIST: Final = 1  # a list: one entry a ticket, or `rows` entries a ticket
    PICKLES: Final = 2  # a list: the pickled value of each ticket, None where there is none


@dataclass(slots=True, eq=False)
class Record:
    """The pickled part of an outcome, or of those of tickets in a row: values, or an error as bytes or as itself."""

    queue: int
    serial: int
    value: Payload | None = None
    error: Payload | BaseException | None = None
    tickets: int = 1
    form: int = Form.ONE
    rows: int = 0
    with_errors: bool = False  # ItemErrors stand for the results of some items
    size: int = field(init=False)  # bytes of the value

    def __post_init__(self) -> None:
        self.size = nbytes(self.value) if self.value is not None else 0

    def values(self) -> list[Any]:
        """The value of each ticket. Raises whatever unpickling one of them raises; ``Form.LIST`` holds nothing such."""
        if self.value is None:
            return [None] * self.tickets
        whole = loads(self.value)
        if self.form == Form.ONE:
            return [whole]
        if self.form == Form.PICKLES:
            return [None if piece is None else loads((piece,)) for piece in whole]
        rows = self.rows
        return [whole[at : at + rows] for at in range(0, len(whole), rows)] if rows else list(whole)

    def entries(self) -> list[Any]:
        """Of Form.LIST, the list itself: values of tickets, or of the items of all tickets."""
        assert self.value is not None
        entries: list[Any] = loads(self.value)
        return entries

    def value_at(self, serial: int) -> Any:
        """The value of one ticket. Raises whatever unpickling it raises."""
        if self.form != Form.PICKLES or self.value is None:
            return self.values()[serial - self.serial]
        piece = loads(self.value)[serial - self.serial]
        return None if piece is None else loads((piece,))

    def rest(self, tickets: int) -> Record:
        """The last so many of its tickets, as a record of their own."""
        at = (self.tickets - tickets) * (self.rows or 1)
        value = None if self.value is None else dumps(loads(self.value)[at:])
        serial = self.serial + self.tickets - tickets
        return Record(self.queue, serial, value, None, tickets, self.form, self.rows)

    def check(self) -> None:
        """See whether the value can be taken apart.

        Raises:
            ProtocolError: it is no list, or not one of so many tickets.
        """
        if self.value is None or self.form == Form.ONE:
            if self.tickets > 1 and self.value is not None:
                raise ProtocolError(f"one result for {self.tickets} tickets")
            return
        whole = opened(self.value[0]) if len(self.value) == 1 else None
        count = -(-len(whole) // (self.rows or 1)) if isinstance(whole, list) else -1
        if count != self.tickets:
            raise ProtocolError(f"a list of results of {count} tickets, not {self.tickets}")

    def apart(self, serials: Iterable[int] | None = None) -> list[Record]:
        """Each of its tickets, or each of these, as a record of its own."""
        row = range(self.serial, self.serial + self.tickets) if serials is None else serials
        return [self.rest(self.serial + self.tickets - at).front() for at in row]

    def front(self) -> Record:
        """Its first ticket."""
        if self.value is None or self.form == Form.ONE:
            return Record(self.queue, self.serial, self.value)
        whole = loads(self.value)[: self.rows or 1]
        if self.form == Form.PICKLES:
            return Record(self.queue, self.serial, None if whole[0] is None else (whole[0],))
        return Record(self.queue, self.serial, dumps(whole if self.rows else whole[0]))

    def put(self, serial: int, payload: Payload, *, late: bool = False) -> None:
        """A value has come by itself: before the answer, or `late`, and then it counts where there is none yet."""
        if self.form == Form.ONE and self.tickets == 1:
            self.value = payload if self.value is None or not late else self.value
            return
        if self.form == Form.LIST:
            self.value, self.form = dumps([bytes(dumps(value)[0]) for value in self.values()]), Form.PICKLES
        pieces = [None] * self.tickets if self.value is None else loads(self.value)
        if pieces[serial - self.serial] is None or not late:
            piece = bytes(payload[0]) if len(payload) == 1 else pickle.dumps(_Closed(payload), 5)
            pieces[serial - self.serial] = piece
            self.value, self.form = dumps(pieces), Form.PICKLES


class _Closed:
    """A value of several pieces, pickled as one without being opened: that is for whoever reads it."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[Any, tuple[list[bytearray]]]:
        return loads, ([bytearray(bytes(piece)) for piece in self.payload],)


class Closing(dict[int, Any]):
    """What workers put under a closing header, by slot (the last one of each). ``all``: (queue, slot, value) each."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, int, Any]] = []
