"""Chunks as they arrive in a worker: one ticket, or a batch of tickets in a row."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import RLock
from typing import Any, Final

from eisenmp.errors import PayloadError, StopJob
from eisenmp.payload import CONSTANT, ItemError, Payload, are_constant, dumps, dumps_error, dumps_plain, loads
from eisenmp.wire import (
    ANY_QUEUE,
    HAS_VALUE,
    LISTED,
    PART,
    PART_ITEMS,
    PICKLED,
    WITH_ERRORS,
    Buffer,
    Frame,
    Kind,
    encode,
)
from eisenmp.worker.channel import Disconnected

__all__ = ["Batch", "Run", "Work", "answer_message", "failed_message", "items_error", "opened_message"]


_TRUST: Final = 64  # tickets whose results could not change, before many are run without a look at each
_KEPT: Final = CONSTANT | {ItemError}
_LOOKS: Final = 200  # characters of an item under suspicion


class Batch:
    """The items of the tickets of one CHUNK message.

    Raises:
        Exception: whatever unpickling raises.
    """

    def __init__(self, frame: Frame) -> None:
        self.queue = frame.queue
        self.serial = frame.serial
        self.tickets = frame.tickets or 1
        self.rows = frame.rows  # items a ticket, where all lie in one sequence; else 0
        self.nested = bool(frame.flags & PICKLED)
        self._skip = frame.skip
        payload = frame.payload
        self._part: slice | None = None  # of the ticket's items, only these are meant
        if frame.flags & PART:
            first, items = PART_ITEMS.unpack(payload[-1])
            payload, self._part = payload[:-1], slice(first, first + items)
        self._whole = loads(payload)

    @property
    def flat(self) -> bool:
        """All items lie in one sequence."""
        return self.rows > 0 and not self.nested

    def items(self, at: int, tickets: int = 1) -> Any:
        """The items of one ticket, or of several of a flat batch, counted from the first."""
        whole = self._items(at, tickets)
        return whole if self._part is None else whole[self._part]

    def _items(self, at: int, tickets: int) -> Any:
        if self.nested:
            return loads((self._whole[self._skip + at],))
        if not self.rows:
            return self._whole
        return self._whole[(self._skip + at) * self.rows : (self._skip + at + tickets) * self.rows]


class Work:
    """What a plain worker does with its chunks.

    Args:
        call: the user's function of a chunk, or of an item.
        per_item: which of both.
        retries: of an item that raised, which then fails alone; None: its chunk fails.

    Attributes:
        constant: tickets so far whose results cannot change (numbers, texts and the like).
        foreign: there was another result once.
    """

    def __init__(self, call: Callable[[Any], Any], per_item: bool, retries: int | None = None) -> None:
        self.call = call
        self.per_item = per_item
        self.retries = retries
        self.constant = 0
        self.foreign = False


class Run:
    """A chunk or a batch that a plain worker is at.

    A function may return the same list or array each time, filled anew. So each result is pickled before the next
    ticket is begun, unless it cannot change.

    Args:
        frame: what came.
        work: what to do with it.
        begins: called with the items of each chunk that is begun.
        stop_job: called with the value of a StopJob that the function raises.
    """

    def __init__(
        self, frame: Frame, work: Work, *, begins: Callable[[Any], None], stop_job: Callable[[Any], None]
    ) -> None:
        self._frame = frame
        self._work = work
        self._call, self._per_item, self._retries = work.call, work.per_item, work.retries
        self._begins = begins
        self._stop_job = stop_job
        tickets = frame.tickets or 1
        flat = frame.rows > 0 and not frame.flags & PICKLED
        self._unit = frame.rows if self._per_item and flat else 1  # results a ticket
        self._lists = self._per_item and flat  # the result of a ticket is the list of them
        # what is not begun: tickets, or items where each is a ticket; taken from the left, given back from the right
        self._rest: deque[Any] = deque(range(tickets))
        self._end = tickets  # what lies beyond was given back
        self._results: list[Any] = []  # values; or pickles, when `_apart`
        self._apart = tickets > 1 and work.foreign
        if self._apart:
            self._unit, self._lists = 1, False
        self._errors = False  # some of them may be ItemErrors
        self._first = 0  # ticket of the first of the results, counted within the batch
        self._out: list[list[Buffer]] = []
        self._lock = RLock()  # between the thread that works and the one that calls hurry()
        self._since = time.perf_counter()

    def work(self) -> list[list[Buffer]]:
        """Work through it; return the messages that answer its tickets."""
        try:
            batch = Batch(self._frame)
        except Disconnected:
            raise
        except BaseException as error:
            wrong = items_error(error)
            with self._lock:
                self._rest.clear()
                self._first = self._end
                return [self._failed(at, wrong) for at in range(self._end)]
        while self._rest:
            try:
                if self._is_fast():
                    self._work_singles(batch)
                else:
                    self._work_one(batch)
            except Disconnected:
                raise
            except BaseException as error:
                self._ticket_failed(error)
        with self._lock:
            self._flush(-(-len(self._results) // self._unit))
            out, self._out = self._out, []  # hurry() may come a moment late
            return out

    def _work_one(self, batch: Batch) -> None:
        """The next ticket."""
        try:
            at = self._rest.popleft()
        except IndexError:  # given back just now
            return
        try:
            rows = _as_rows(batch.items(at))
        except BaseException as error:  # unpickling runs code of theirs
            raise items_error(error) from error
        self._begins(rows)
        if not self._per_item:
            self._keep(self._call(rows))
            return
        results: list[Any] = []
        self._call_each(rows, results)
        self._keep(results)

    def _keep(self, result: Any) -> None:
        """Keep a ticket's result as it is now."""
        work = self._work
        if not self._apart and self._frame.tickets > 1:
            if are_constant(result if self._per_item else (result,)):
                work.constant += 1
            else:
                self._go_apart()
        if not self._apart:
            with self._lock:
                self._results += result if self._lists else [result]
            return
        payload, errors = self._pickle(result)
        with self._lock:
            if len(payload) == 1 and isinstance(payload[0], bytes) and not errors:
                self._results.append(payload[0])
                return
            self._flush(len(self._results))  # it has buffers of its own, or errors, and goes alone
            at, self._first = self._first, self._first + 1
            self._out.append(self._answer(at, payload, errors))

    def _go_apart(self) -> None:
        """From here on each result is pickled by itself."""
        with self._lock:
            self._flush(len(self._results) // self._unit)
            self._apart = self._work.foreign = True
            self._unit, self._lists = 1, False

    # ---- many tickets of one item each, when all results so far could not change

    def _is_fast(self) -> bool:
        return self._lists and self._unit == 1 and self._work.constant >= _TRUST

    def _work_singles(self, batch: Batch) -> None:
        """All that is left, at the speed of C. From a result that can change on, it is done again, one by one."""
        with self._lock:
            start = self._first + len(self._results)
            rows = batch.items(start, self._end - start)
            self._rest = deque(rows)
        self._begins(rows)
        error: BaseException | None = None
        try:
            self._call_each(_emptying(self._rest), self._results)
        except Disconnected:
            raise
        except BaseException as raised:
            error = raised
        with self._lock:
            good = _constant_ones(self._results)
            again = good < len(self._results)
            if again:
                del self._results[good:]
                self._go_apart()
            done = self._first + len(self._results) + (error is not None and not again)
            self._rest = deque(range(done, self._end))
        if error is not None and not again:
            raise error

    def _call_each(self, rows: Iterable[Any], results: list[Any]) -> None:
        """Call the function with each item. ``extend`` keeps what was done before an exception."""
        if self._retries is None:
            results.extend(map(self._call, rows))
            return
        seen: deque[Any] = deque(maxlen=1)  # the item that is at work
        items = _noting(rows, seen) if self._retries else iter(rows)
        while True:
            try:
                results.extend(map(self._call, items))
                return
            except (StopJob, Disconnected):
                raise
            except Exception as error:
                self._errors = True
                results.append(self._try_again(error, seen))

    def _try_again(self, error: Exception, seen: deque[Any]) -> Any:
        """The result of an item that has raised, or its error."""
        for _ in range(self._retries or 0):
            try:
                return self._call(seen[0])
            except (StopJob, Disconnected):
                raise
            except Exception as again:
                error = again
        return ItemError(dumps_error(error))

    def _ticket_failed(self, error: BaseException) -> None:
        """The ticket that follows the complete ones has failed; its neighbours have not."""
        with self._lock:
            self._flush(len(self._results) // self._unit)
            self._results.clear()
            at, self._first = self._first, self._first + 1
            if isinstance(error, StopJob):
                self._stop(error, at)
            else:
                self._out.append(self._failed(at, error))

    def _stop(self, stop: StopJob, at: int) -> None:
        """First hit: the ticket is done, no other one is begun."""
        try:
            self._stop_job(stop.value)
        except Disconnected:
            raise
        except BaseException as error:  # an answer that cannot be pickled
            self._out.append(self._failed(at, error))
        else:
            serial = self._frame.serial + at
            self._out.append(answer_message(self._frame.queue, serial, self._seconds()))
        self._give_back()

    # ---- while it is at work

    def current(self) -> int:
        """The ticket that is at work."""
        with self._lock:
            return self._frame.serial + self._first + len(self._results) // self._unit

    @property
    def worked_until(self) -> float:
        """Up to when the durations in its answers reach; what follows is packing and sending."""
        return self._since

    def hurry(self) -> list[list[Buffer]]:
        """It takes long: what answers the tickets that are done, gives back those not begun, names the one at work.

        From any thread.
        """
        with self._lock:
            done = _constant_ones(self._results) if self._is_fast() else len(self._results) // self._unit
            self._flush(done)
            self._give_back()  # last: what is short in its history is forgotten then, and nothing more comes ahead
            if self._frame.tickets > 1 and self._first < self._end:
                self._out.append(self._about(Kind.TAKEN, self._first, self._end))
            out, self._out = self._out, []
            return out

    def _give_back(self) -> None:
        start = self._end
        while True:
            try:
                self._rest.pop()
            except IndexError:
                break
            start -= 1
        if start < self._end:
            self._out.append(self._about(Kind.GIVE_BACK, start, self._end))
            self._end = start

    def _about(self, kind: int, start: int, end: int) -> list[Buffer]:
        frame = self._frame
        return encode(kind, queue=frame.queue, serial=frame.serial + start, tickets=end - start)

    # ---- answers

    def _flush(self, tickets: int) -> None:
        """Answer the first so many tickets whose results lie here."""
        if not tickets:
            return
        results = self._results[: tickets * self._unit]
        del self._results[: tickets * self._unit]
        first, self._first = self._first, self._first + tickets
        seconds = self._seconds()
        if tickets == 1:
            self._out.append(self._answer_one(first, seconds, results if self._lists else results[0]))
        elif self._apart:
            self._out.append(self._answer_all(first, tickets, seconds, dumps(results), PICKLED))
        elif (body := dumps_plain(results)) is not None:  # there are no errors among them: those are not plain data
            self._out.append(self._answer_all(first, tickets, seconds, (body,), LISTED))
        else:
            for at in range(tickets):
                own = results[at * self._unit : (at + 1) * self._unit]
                self._out.append(self._answer_one(first + at, seconds / tickets, own if self._lists else own[0]))

    def _answer_all(self, first: int, tickets: int, seconds: float, value: Payload, form: int) -> list[Buffer]:
        serial, rows = self._frame.serial + first, self._unit if self._lists else 0
        return answer_message(self._frame.queue, serial, seconds, value, form, tickets=tickets, rows=rows)

    def _answer_one(self, at: int, seconds: float, result: Any) -> list[Buffer]:
        try:
            payload, errors = ((result,), []) if self._apart else self._pickle(result)
        except Disconnected:
            raise
        except BaseException as error:  # pickling runs code of the user's, which may leave like his function
            return self._failed(at, error)
        return self._answer(at, payload, errors, seconds)

    def _answer(
        self, at: int, payload: Payload, errors: list[tuple[int, ItemError]], seconds: float | None = None
    ) -> list[Buffer]:
        serial = self._frame.serial + at
        seconds = self._seconds() if seconds is None else seconds
        if not errors:
            return answer_message(self._frame.queue, serial, seconds, payload)
        told = pickle.dumps([(at, error.pieces()) for at, error in errors], 5)
        return answer_message(self._frame.queue, serial, seconds, (*payload, told), WITH_ERRORS, rows=len(errors))

    def _pickle(self, result: Any) -> tuple[Payload, list[tuple[int, ItemError]]]:
        """The result of a ticket, and which of its items have failed.

        Where items fail alone, so do those whose result cannot be pickled.
        """
        if self._retries is None:
            return dumps(result), []
        try:
            if not self._errors:
                return dumps(result), []
            return dumps(_without_errors(result)), _errors_in(result)
        except Disconnected:
            raise
        except BaseException:
            sure = [_sure(item) for item in result]
            return dumps(_without_errors(sure)), _errors_in(sure)

    def _failed(self, at: int, error: BaseException) -> list[Buffer]:
        return failed_message(error, self._frame.queue, self._frame.serial + at, self._seconds())

    def _seconds(self) -> float:
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds


def answer_message(
    queue: int, serial: int, seconds: float, value: Payload = (), flags: int = 0, *, tickets: int = 0, rows: int = 0
) -> list[Buffer]:
    """The answer to a ticket, or to several in a row, with their results where there are any. See ``wire``."""
    flags |= HAS_VALUE if value else 0
    fields = {"queue": queue, "serial": serial, "flags": flags, "tickets": tickets, "rows": rows}
    return encode(Kind.ANSWER, value, number=seconds, **fields)


def failed_message(error: BaseException, queue: int = ANY_QUEUE, serial: int = 0, seconds: float = 0.0) -> list[Buffer]:
    """A ticket has failed; without one, the call."""
    return encode(Kind.FAILED, dumps_error(error), queue=queue, serial=serial, number=seconds)


def items_error(error: BaseException) -> PayloadError:
    """What is told of a chunk that cannot be opened."""
    wrong = PayloadError(f"the items cannot be unpickled in the worker: {type(error).__name__}: {error}")
    wrong.__cause__ = error
    return wrong


def _constant_ones(results: list[Any]) -> int:
    """How many at the front cannot change."""
    if set(map(type, results)) <= _KEPT:
        return len(results)
    return next(at for at, result in enumerate(results) if type(result) not in _KEPT)


def _errors_in(results: list[Any]) -> list[tuple[int, ItemError]]:
    return [(at, result) for at, result in enumerate(results) if type(result) is ItemError]


def _without_errors(results: list[Any]) -> list[Any]:
    return [None if type(result) is ItemError else result for result in results]


def opened_message(frame: Frame, rows: Any) -> list[Buffer]:
    """Of a part, which is under suspicion: its items are there. Of a lone one, how it looks."""
    looks = ""
    if len(rows) == 1:
        try:
            looks = repr(rows[0])
        except Exception as error:
            looks = f"its repr raises {type(error).__name__}"
    if len(looks) > _LOOKS:
        looks = f"{looks[:_LOOKS]}…"
    body = looks.encode("utf-8", "replace")
    return encode(Kind.OPENED, (body,), queue=frame.queue, serial=frame.serial)


def _sure(result: Any) -> Any:
    """The result of an item, or the error that it cannot be pickled."""
    if type(result) is ItemError:
        return result
    try:
        dumps(result)
    except BaseException as error:
        return ItemError(dumps_error(error))
    return result


def _emptying(items: deque[Any]) -> Iterator[Any]:
    while True:
        try:
            item = items.popleft()
        except IndexError:
            return
        yield item


def _noting(items: Iterable[Any], seen: deque[Any]) -> Iterator[Any]:
    for item in items:
        seen.append(item)
        yield item


def _as_rows(items: Any) -> Any:
    """A list, where the items came out of a range or a tuple; other sequences stay what they are."""
    return list(items) if isinstance(items, range | tuple | str) else items
