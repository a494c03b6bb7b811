"""Outcomes to rows of a job file and back. Pure.

Values stay as closed as they came: the pickles that a worker sent are written as they are. Only the stores for other
tools (forms.py) open them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eisenmp.errors import CrashError, JobFileError, JobFileUntrusted
from eisenmp.jobfile.forms import KINDS, LISTS, packed, unpacked, why_not
from eisenmp.ledger import State
from eisenmp.payload import Payload, dumps, dumps_error, opened, read_error
from eisenmp.results.outcome import Form, Record
from eisenmp.suspects import Suspect

__all__ = [
    "STORES",
    "Entry",
    "Stored",
    "disarmed",
    "emptied",
    "failure_row",
    "is_empty",
    "join",
    "noted_row",
    "outcome_row",
    "restored",
    "split",
    "value_row",
    "without",
]

STORES: Final = ("pickle", *KINDS, "none")
_FORMS: Final = {Form.ONE: "pickle", Form.LIST: "list", Form.PICKLES: "pickles"}
_NONE: Final = tuple(pickle.dumps(None, protocol) for protocol in (4, 5))
_SHORT: Final = 32  # bytes, beside the elements of a list
_BACK: Final = {name: form for form, name in _FORMS.items()}


@dataclass(slots=True)
class Entry:
    """An outcome on its way into the file, of tickets in a row.

    ``seconds``: of them all together. ``items``: likewise. The record may change after it was given, when a late result
    comes; what is written down is what it was.
    """

    record: Record
    state: int
    items: int
    seconds: float
    slot: int
    attempts: int
    value: Payload | None
    form: int

    @classmethod
    def of(cls, record: Record, state: int, items: int, seconds: float, slot: int, attempts: int) -> Entry:
        """Take the value as it is now."""
        return cls(record, state, items, seconds, slot, attempts, record.value, record.form)


@dataclass(slots=True)
class Stored:
    """Outcomes of tickets in a row as the file has them.

    ``seconds``: of each of them. ``others``: tickets among them with another state.
    """

    record: Record
    state: int
    seconds: float = 0.0
    slot: int = -1
    attempts: int = 1
    others: Mapping[int, int] = field(default_factory=dict)


def join(payload: Payload) -> tuple[bytes, str | None]:
    """A payload as one blob, and where to cut it: None, or its pieces' lengths as JSON."""
    if len(payload) == 1:
        return bytes(payload[0]), None
    pieces = [bytes(piece) for piece in payload]
    return b"".join(pieces), json.dumps([len(piece) for piece in pieces])


def split(blob: bytes, cuts: str | None) -> Payload:
    """The payload again. Its buffers may be written to, like those that come from a worker.

    Raises:
        JobFileError: the lengths do not fit.
    """
    if cuts is None:
        return (blob,)
    try:
        lengths = json.loads(cuts)
        whole = sum(lengths)
    except (ValueError, TypeError):
        lengths, whole = [], -1
    if whole != len(blob) or not lengths or min(lengths) < 0:
        raise JobFileError(f"a value of {len(blob)} bytes with the lengths {cuts!r}: the job file is damaged")
    pieces: list[Any] = []
    at = 0
    for length in lengths:
        pieces.append(blob[at : at + length] if not pieces else bytearray(blob[at : at + length]))
        at += length
    return tuple(pieces)


def value_row(entry: Entry, store: str) -> tuple[str, Any, str | None]:
    """(form, value, cuts) of an entry that has a value.

    Raises:
        JobFileError: with a store for other tools, it cannot be written that way.
    """
    assert entry.value is not None
    if store == "pickle":
        return (_FORMS[entry.form], *join(entry.value))
    record = entry.record
    closed = Record(record.queue, record.serial, entry.value, None, record.tickets, entry.form, record.rows)
    try:
        return (*packed(store, closed.values()), None)
    except Exception as error:
        raise JobFileError(f"the result of {_tickets(record)} cannot be written as {why_not(store, error)}") from error


def _tickets(record: Record) -> str:
    last = record.serial + record.tickets - 1
    return f"_TID_{record.serial}" if record.tickets == 1 else f"_TID_{record.serial} to _TID_{last}"


def is_empty(entry: Entry) -> bool:
    """Whether the value of each of its tickets is None."""
    value, record = entry.value, entry.record
    if value is None or len(value) != 1 or entry.form == Form.PICKLES or record.rows:
        return False
    if entry.form == Form.ONE:
        return len(value[0]) < _SHORT and bytes(value[0]) in _NONE
    if len(value[0]) > record.tickets + _SHORT:
        return False
    return bytes(value[0]) == pickle.dumps([None] * record.tickets, 5)


def emptied(queue: int, first: int, tickets: int) -> Record:
    """The record of tickets in a row whose value is None."""
    return Record(queue, first, dumps([None] * tickets), None, tickets, Form.LIST)


def outcome_row(entry: Entry, queue: int, store: str) -> tuple[Any, ...] | None:
    """A row of ``outcome``; None when there is no value to be kept."""
    if entry.value is None or store == "none":
        return None
    record = entry.record
    form, value, cuts = value_row(entry, store)
    rows = record.rows if entry.form == Form.LIST and store == "pickle" else 0
    return (
        queue, record.serial, record.tickets, form, rows, value, cuts, entry.seconds, entry.slot, entry.attempts
    )  # fmt: skip


def failure_row(entry: Entry, queue: int, at: float) -> tuple[Any, ...] | None:
    """A row of ``failure``; None when nothing of the ticket has failed."""
    record = entry.record
    if not record.has_failures:
        return None
    kind, message, trace = _words(record)
    return (
        queue,
        record.serial,
        State.NAMES[entry.state],
        kind,
        message,
        trace,
        json.dumps(_failed_items(record), ensure_ascii=False),
        entry.seconds,
        entry.slot,
        entry.attempts,
        at,
        pickle.dumps(_detail(record), 5),
    )


def noted_row(queue: int, ticket: int, items: list[tuple[int, str]], at: float) -> tuple[Any, ...]:
    """A row of ``failure`` for a ticket whose result says that items (place, text) have failed."""
    told = json.dumps([[place, 1, None, text] for place, text in items], ensure_ascii=False)
    nothing = pickle.dumps(_detail(Record(0, ticket)), 5)
    return (queue, ticket, State.NAMES[State.FAILED], None, items[0][1], None, told, 0.0, -1, 1, at, nothing)


def _words(record: Record) -> tuple[str, str, str | None]:
    """(type, message, traceback) of what stands for the ticket's failure."""
    error = record.error
    if isinstance(error, tuple):
        return read_error(error)[:3]
    if error is None:
        crashes = [crash for _, crash in record.parts if crash is not None]
        if crashes:
            error = crashes[0]
        else:
            errors = [suspect.error for suspect, _ in record.parts if suspect.error is not None]
            errors += [tuple(why) for _, why in _item_errors(record)]
            return read_error(errors[0])[:3]
    return type(error).__qualname__, str(error), None


def _item_errors(record: Record) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(place in the chunk, error as bytes) of single items that raised."""
    if record.item_errors:
        yield from opened(record.item_errors[0])
    for suspect, _ in record.parts:
        for at, why in opened(suspect.item_errors[0]) if suspect.item_errors else ():
            yield suspect.first + at, why


def _failed_items(record: Record) -> list[list[Any]]:
    """``[first place, how many, type, message]`` of items that have failed by themselves."""
    failed: list[list[Any]] = [[at, 1, *read_error(why)[:2]] for at, why in _item_errors(record)]
    for suspect, crash in record.parts:
        if crash is not None:
            failed.append([suspect.first, suspect.items, "CrashError", str(crash)])
        elif suspect.error is not None:
            failed.append([suspect.first, suspect.items, *read_error(suspect.error)[:2]])
    return sorted(failed)


def _detail(record: Record) -> tuple[Any, ...]:
    """All of what has failed, as plain values: opening it runs nobody's code. What users' objects are stays closed."""
    error = record.error
    crash = error if isinstance(error, CrashError) else None
    if isinstance(error, BaseException):
        error = None if crash is not None else dumps_error(error)
    parts = [
        (
            suspect.first,
            suspect.items,
            _pieces(suspect.value),
            _pieces(suspect.item_errors or None),
            _pieces(suspect.error),
            suspect.exits,
            suspect.text,
            _crash_fields(why),
        )
        for suspect, why in record.parts
    ]
    return (_pieces(error), _crash_fields(crash), _pieces(record.item_errors or None), parts, record.per_item)


def _pieces(payload: Payload | None) -> list[bytes] | None:
    return None if payload is None else [bytes(piece) for piece in payload]


def _crash_fields(crash: CrashError | None) -> tuple[Any, ...] | None:
    return None if crash is None else (crash.queue, crash.ticket, crash.exits, crash.item, crash.text)


def restored(queue: int, row: Sequence[Any] | None, detail: bytes | None, at: int) -> Record:
    """The record of a row of ``outcome`` (first, tickets, form, rows, value, cuts), of a failure's detail, or of both,
    which are of the ticket `at` then.

    Raises:
        JobFileError: what is there makes no sense.
    """
    record = Record(queue, at)
    if row is not None:
        record = _valued(queue, row)
    if detail is not None:
        try:
            error, crash, item_errors, parts, record.per_item = opened(detail)
            record.error = CrashError(*crash) if crash is not None else _payload(error)
            record.item_errors = _payload(item_errors) or ()
            record.parts = [_part(*part) for part in parts]
        except Exception as wrong:
            raise JobFileError(f"the failure of _TID_{at} cannot be read: {wrong}; the job file is damaged") from wrong
    record.weigh()
    return record


def disarmed(record: Record, form: str | None) -> Record:
    """The same record where opening it runs nobody's code: exceptions are told by name and message.

    Args:
        record: as it was restored.
        form: of its value; None: it has none.

    Raises:
        JobFileUntrusted: its value is a pickle.
    """
    if form not in (None, *KINDS, *LISTS) or any(suspect.value is not None for suspect, _ in record.parts):
        raise JobFileUntrusted(f"the result of {_tickets(record)} is a pickle, in a file whose others are not")
    if isinstance(record.error, tuple):
        record.error = _told(record.error)
    record.item_errors = _all_told(record.item_errors)
    for suspect, _ in record.parts:
        suspect.item_errors = _all_told(suspect.item_errors)
        suspect.error = None if suspect.error is None else _told(suspect.error)
    return record


def _told(error: Payload) -> Payload:
    return dumps((*read_error(error)[:3], None))


def _all_told(item_errors: Payload) -> Payload:
    if not item_errors:
        return ()
    return dumps([(at, [bytes(piece) for piece in _told(tuple(why))]) for at, why in opened(item_errors[0])])


def without(row: Sequence[Any], ticket: int) -> list[tuple[Any, ...]]:
    """A row of ``outcome`` (from `first` on) as rows of the tickets before and behind one of them.

    Raises:
        JobFileError: the values cannot be told apart.
    """
    first, tickets, form, rows, value, cuts, seconds, slot, attempts = row
    parts = [(first, ticket - first), (ticket + 1, first + tickets - ticket - 1)]
    made = []
    for begin, count in parts:
        if not count:
            continue
        if form not in ("list", "pickles", *LISTS):
            raise JobFileError(f"the values of {tickets} tickets from _TID_{first} on in the form {form!r}: damaged")
        whole = unpacked(form, value) if form in LISTS else opened(split(value, cuts)[0])
        each = rows or 1
        some = whole[(begin - first) * each : (begin - first + count) * each]
        kept, part = packed(form.split()[0], some) if form in LISTS else (form, pickle.dumps(some, 5))
        made.append((begin, count, kept, rows, part, None, seconds * count / tickets, slot, attempts))
    return made


def _payload(pieces: list[bytes] | None) -> Payload | None:
    return None if pieces is None else tuple(pieces)


def _part(  # noqa: PLR0913  # as they lie in the file
    first: int,
    items: int,
    value: list[bytes] | None,
    item_errors: list[bytes] | None,
    error: list[bytes] | None,
    exits: list[str],
    text: str,
    crash: tuple[Any, ...] | None,
) -> tuple[Suspect, CrashError | None]:
    suspect = Suspect(first, items, _payload(value), _payload(item_errors) or (), _payload(error), exits, text)
    return suspect, None if crash is None else CrashError(*crash)


def _valued(queue: int, row: Sequence[Any]) -> Record:
    first, tickets, form, rows, value, cuts = row
    if form in KINDS:
        return Record(queue, first, dumps(unpacked(form, value)[0]))
    if form in LISTS:
        pieces = [pickle.dumps(each, 5) for each in unpacked(form, value)]
        return Record(queue, first, dumps(pieces), None, tickets, Form.PICKLES)
    if form not in _BACK:
        raise JobFileError(f"the value of _TID_{first} is in a form {form!r} that this eisenmp does not know")
    return Record(queue, first, split(value, cuts), None, tickets, _BACK[form], rows)
