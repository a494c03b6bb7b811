"""Records to outcomes: where values are unpickled, in the thread of whoever reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Any, Protocol

from eisenmp.errors import CrashError, ResultsError
from eisenmp.ledger import State
from eisenmp.payload import loads_error
from eisenmp.results.outcome import Form, Outcome, Part, Record, item_failures, opened_parts
from eisenmp.traces import came_by_signal

__all__ = ["Facts", "outcome_of", "outcomes_of"]


class _Numbers(Protocol):
    """Something by ticket."""

    def __getitem__(self, at: Any, /) -> Any: ...


class Facts(Protocol):
    """What is known of a queue's tickets beside their values: :class:`eisenmp.ledger.Track`, or a job file's rows.

    ``attempts`` has only those that are not 1.
    """

    @property
    def states(self) -> _Numbers: ...
    @property
    def seconds(self) -> _Numbers: ...
    @property
    def slots(self) -> _Numbers: ...
    @property
    def items(self) -> _Numbers: ...
    @property
    def attempts(self) -> Any: ...


def outcomes_of(record: Record, name: str, facts: Facts) -> list[Outcome]:
    """Open a record: the outcome of each of its tickets. `name`: of the queue."""
    if record.form == Form.LIST:
        try:
            values = record.values()
        except (Exception, SystemExit, GeneratorExit) as reason:  # as below
            if came_by_signal(reason):
                raise
            values = []  # what is wrong is told for each ticket
        if len(values) == record.tickets:
            return _done_together(record, values, name, facts)
    return [outcome_of(record, at, name, facts) for at in range(record.serial, record.serial + record.tickets)]


def _done_together(record: Record, values: Sequence[Any], name: str, facts: Facts) -> list[Outcome]:
    """Outcomes of tickets that were answered together and are done."""
    start, stop = record.serial, record.serial + record.tickets
    attempts = facts.attempts
    columns = zip(  # in the order of the fields
        repeat(name),
        range(start, stop),
        values,
        repeat(None),
        [attempts.get(at, 1) for at in range(start, stop)] if attempts else repeat(1),
        facts.slots[start:stop],
        facts.seconds[start:stop],
        map(State.NAMES.__getitem__, facts.states[start:stop]),
        facts.items[start:stop],
        repeat(()),
        repeat(()),
        strict=False,
    )
    return list(map(partial(tuple.__new__, Outcome), columns))


def outcome_of(record: Record, at: int, name: str, facts: Facts) -> Outcome:
    """Open a record for one of its tickets."""
    made = partial(_outcome, name, at, facts)
    if isinstance(record.error, tuple):
        return made(None, loads_error(record.error))
    if record.error is not None:
        return made(None, record.error)
    try:
        if record.parts:
            return _outcome_of_parts(record, name, facts)
        value, failures = record.value_at(at), item_failures(record.item_errors)
        for place, error in failures if value is not None else ():
            value[place] = error
        return made(value, failures[0][1] if failures else None, tuple(failures))
    except (Exception, SystemExit, GeneratorExit) as reason:  # a Ctrl-C is the user's
        if came_by_signal(reason):
            raise
        error = ResultsError(f"the result of _TID_{at} of {name!r} cannot be unpickled here: {reason!r}")
        error.__cause__ = reason
        return made(None, error)


def _outcome_of_parts(record: Record, name: str, facts: Facts) -> Outcome:
    """Of a ticket that was handed out in parts. Raises whatever unpickling a result raises."""
    opened = opened_parts(record)
    failures = [failure for _, failed in opened for failure in failed]
    # a crash comes first: it is what set the ticket aside
    errors = sorted([error for _, error in failures], key=lambda error: not isinstance(error, CrashError))
    first = errors[0] if errors else None
    at = record.serial
    if not record.per_item:
        return _outcome(name, at, facts, None, first, (), tuple([part for part, _ in opened]))
    whole = all(part.value is not None or part.error is not None for part, _ in opened)
    values: list[Any] | None = None
    if whole and sum([part.items for part, _ in opened]) == facts.items[at]:
        values = [value for part, _ in opened for value in (part.value or [None] * part.items)]
        for place, error in failures:
            values[place] = error
    return _outcome(name, at, facts, values, first, tuple(failures))


def _outcome(
    name: str,
    at: int,
    facts: Facts,
    value: Any,
    error: BaseException | None,
    failures: tuple[tuple[int, BaseException], ...] = (),
    parts: tuple[Part, ...] = (),
) -> Outcome:
    return Outcome(
        queue=name,
        ticket=at,
        value=value,
        error=error,
        attempts=facts.attempts.get(at, 1),
        slot=facts.slots[at],
        seconds=facts.seconds[at],
        state=State.NAMES[facts.states[at]],
        items=facts.items[at],
        failures=failures,
        parts=parts,
    )
