"""What became of one ticket, and what workers put under a closing header."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from eisenmp.errors import CrashError, ProtocolError
from eisenmp.payload import Payload, dumps, loads, loads_error, nbytes, opened
from eisenmp.suspects import Suspect

__all__ = ["Closing", "Form", "Outcome", "Part", "Record", "item_failures", "opened_parts"]


class Part(NamedTuple):
    """Some items of a chunk that was handed out in parts, since workers died over the whole.

    Attributes:
        first: place of its first item within the chunk, from 0.
        items: how many.
        value: what the function returned for them.
        error: what it raised, or the ``CrashError`` of the item over which workers died.
    """

    first: int
    items: int
    value: Any = None
    error: BaseException | None = None


class Outcome(NamedTuple):
    """What became of one ticket.

    A named tuple and no dataclass, since a million of them are made in a job of a million short tickets.

    Attributes:
        queue: name of the queue, as in ``q_name_id_lst``.
        ticket: serial number in that queue, from 0.
        value: the result; None where there is none. With ``WORKER_CALL='item'``, the list of the items' results; the
            exception of an item that has failed stands in its place.
        error: the exception of a failed ticket, or of the first of its items that has failed; ``CrashError`` of a
            ticket set aside, or of an item.
        failures: with ``WORKER_CALL='item'``: (place within the chunk, exception) of each item that has failed.
        parts: with ``WORKER_CALL='chunk'``, of a chunk over which workers died: the results of its parts, and the
            items that are to blame. It has no `value` then.
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
    failures: tuple[tuple[int, BaseException], ...] = ()
    parts: tuple[Part, ...] = ()


class Form:
    """How the values of a record's tickets lie in its payload."""

    ONE: Final = 0  # the value of the one ticket
    LIST: Final = 1  # a list: one entry a ticket, or `rows` entries a ticket
    PICKLES: Final = 2  # a list: the pickled value of each ticket, None where there is none
    STORED: Final = 3  # not here: whoever comes to it asks the job file


class Record:
    """The pickled part of an outcome, or of those of tickets in a row: values, or an error as bytes or as itself.

    ``item_errors``: one pickled list of (place, error as bytes): those items of the one ticket have no result.
    ``parts``: what became of the parts of the one ticket; ``per_item``: whether their values are lists of results.
    ``stored``: it comes from the job file, so that nobody waits for it to be read. ``read``: a reader was given it;
    ``taken_back``: its ticket is tried again.
    """

    read: bool = False
    taken_back: bool = False

    def __init__(  # noqa: PLR0913 - the fields of a row
        self,
        queue: int,
        serial: int,
        value: Payload | None = None,
        error: Payload | BaseException | None = None,
        tickets: int = 1,
        form: int = Form.ONE,
        rows: int = 0,
        item_errors: Payload = (),
        parts: Sequence[tuple[Suspect, CrashError | None]] = (),
        per_item: bool = False,
        stored: bool = False,
    ) -> None:
        self.queue = queue
        self.serial = serial
        self.value = value
        self.error = error
        self.tickets = tickets
        self.form = form
        self.rows = rows
        self.item_errors = item_errors
        self.parts = parts
        self.per_item = per_item
        self.stored = stored
        self.weigh()

    def weigh(self) -> None:
        """Reckon ``size``, the bytes of its values, of what it holds now."""
        self.size = nbytes(self.value) if self.value is not None else 0
        for suspect, _ in self.parts:
            self.size += nbytes(suspect.value) if suspect.value is not None else 0

    @property
    def has_failures(self) -> bool:
        """Whether anything of it has failed."""
        return self.error is not None or bool(self.item_errors or self.parts)

    def without_values(self) -> Record:
        """What is kept of it when results are not: what has failed."""
        parts = [(suspect.without_value(), crash) for suspect, crash in self.parts]
        parts = [(part, crash) for part, crash in parts if crash is not None or part.error or part.item_errors]
        return Record(
            self.queue,
            self.serial,
            error=self.error,
            tickets=self.tickets,
            item_errors=self.item_errors,
            parts=parts,
            per_item=self.per_item,
        )

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
        if tickets == self.tickets:
            return self
        at = (self.tickets - tickets) * (self.rows or 1)
        value = None if self.value is None else dumps(loads(self.value)[at:])
        serial = self.serial + self.tickets - tickets
        return Record(self.queue, serial, value, None, tickets, self.form, self.rows, stored=self.stored)

    def check(self) -> None:
        """See whether the value can be taken apart.

        Raises:
            ProtocolError: it is no list, or not one of so many tickets, or not of pickles where those are meant.
        """
        if self.value is None or self.form == Form.ONE:
            if self.tickets > 1 and self.value is not None:
                raise ProtocolError(f"one result for {self.tickets} tickets")
            return
        whole: Any = opened(self.value[0]) if len(self.value) == 1 else None
        count = -(-len(whole) // (self.rows or 1)) if isinstance(whole, list) else -1
        if count != self.tickets:
            raise ProtocolError(f"a list of results of {count} tickets, not {self.tickets}")
        if self.form == Form.PICKLES and not all(isinstance(piece, bytes | None) for piece in whole):
            raise ProtocolError("a list of pickled results in which something is no pickle")

    def apart(self) -> list[Record]:
        """Each of its tickets as a record of its own."""
        return [self.rest(self.tickets - at).front() for at in range(self.tickets)]

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


def item_failures(pickled: Payload) -> list[tuple[int, BaseException]]:
    """Which items have failed, and why."""
    return [(at, loads_error(error)) for at, error in loads(pickled)] if pickled else []


def opened_parts(record: Record) -> list[tuple[Part, list[tuple[int, BaseException]]]]:
    """The parts of a ticket, and which of their items have failed (places within the chunk).

    Raises whatever unpickling a result raises.
    """
    found: list[tuple[Part, list[tuple[int, BaseException]]]] = []
    for suspect, crash in record.parts:
        first, items = suspect.first, suspect.items
        error: BaseException | None = crash
        if suspect.error is not None:
            error = loads_error(suspect.error)
        value = loads(suspect.value) if suspect.value is not None else None
        failures = [(first + at, why) for at, why in item_failures(suspect.item_errors)]
        if error is not None:
            failures = [(at, error) for at in range(first, first + items)]
        found.append((Part(first, items, value, error), failures))
    return found


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
