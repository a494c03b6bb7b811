"""Outcomes as they come, for a reader that holds the feeders back when it is slow."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Protocol

from eisenmp.measure import Meter
from eisenmp.results.outcome import Form, Outcome, Record

__all__ = ["OutcomeReader", "Source", "Stream"]


class Source(Protocol):
    """Where a reader's outcomes come from: :class:`eisenmp.results.Results`."""

    cond: threading.Condition
    over: bool
    error: BaseException | None
    on_read: Callable[[int], None]
    on_interrupt: Callable[[BaseException], None]

    def outcomes_of(self, record: Record) -> list[Outcome]: ...
    def recall(self, queue: int, first: int, stop: int) -> list[Record]: ...
    def were_read(self, queue: int, first: int, stop: int) -> None: ...
    def detach(self, stream: Stream) -> None: ...


class Stream:
    """What the dispatcher keeps for one reader: records on their way to it, in the order it wants.

    The dispatcher writes under the job's lock; the reader takes from `ready` and counts in `taken` without it.
    """

    def __init__(self, *, ordered: bool | int) -> None:
        self.ordered = ordered is not False
        self.patience = None if ordered is True else int(ordered)  # tickets that an early one may see go by
        self.ready: deque[Record] = deque()
        self.attached = True
        self.holds_back = True
        self.waiting = False  # the reader sleeps
        self.bell: Callable[[], None] | None = None  # wakes a reader that no thread waits for
        self.owner = threading.get_ident()
        self.waits = Meter()  # of the reader, for the next outcome
        self.began = self.last = time.monotonic()  # when the reader came, and when it took something last
        self.given: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.given_bytes: dict[int, int] = {}
        self.taken_bytes: dict[int, int] = {}
        self._early: dict[int, dict[int, Record]] = {}
        self._next: dict[int, int] = {}
        self._stored: dict[int, deque[tuple[int, int]]] = {}  # not here but in the job file, and not due yet

    def restore(self, queue: int, tickets: Iterable[tuple[int, int]]) -> None:
        """Outcomes that are in the job file, as ranges ``[first, stop)``: the reader gets them there."""
        if not self.ordered:
            self.ready.extend([_elsewhere(queue, *both) for both in tickets])
            return
        self._stored[queue] = deque(tickets)
        self._advance(queue, self._early.setdefault(queue, {}))

    def give(self, record: Record) -> None:
        """One more outcome."""
        queue = record.queue
        self.given[queue] = self.given.get(queue, 0) + record.tickets
        self.given_bytes[queue] = self.given_bytes.get(queue, 0) + record.size
        if not self.ordered:
            self.ready.append(record)
            return
        early = self._early.setdefault(queue, {})
        early[record.serial] = record
        at = self._next.get(queue, 0)
        if record.serial < at:  # the others would not wait for it
            self.ready.append(early.pop(record.serial))
            return
        self._advance(queue, early)

    def _advance(self, queue: int, early: dict[int, Record]) -> None:
        """What is due now is ready. `early`: what has come of the queue and is not."""
        at = self._next.get(queue, 0)
        stored = self._stored.get(queue)
        while True:
            if stored and stored[0][0] <= at:
                first, stop = stored.popleft()
                self.ready.append(_elsewhere(queue, first, stop))
                at = max(at, stop)
                continue
            if not early:
                break
            if at not in early:
                if self.patience is None or max(early) - min(early) < self.patience:
                    break
                at = min(early)
                if stored and stored[0][0] <= at:
                    at = stored[0][0]
                    continue
            due = early.pop(at)
            self.ready.append(due)
            at += due.tickets
        self._next[queue] = at

    def ring(self) -> None:
        """There is something to read, or nothing will come: tell a reader that asked to be told."""
        bell, self.bell = self.bell, None
        if bell is not None:
            bell()

    def unread(self, queue: int) -> int:
        """Outcomes of a queue that the reader has not taken."""
        return self.given.get(queue, 0) - self.taken.get(queue, 0)

    def unread_bytes(self, queue: int) -> int:
        """The same in bytes of their values."""
        return self.given_bytes.get(queue, 0) - self.taken_bytes.get(queue, 0)

    def took(self, record: Record) -> None:
        """The reader is done with all of a record."""
        self.last = time.monotonic()
        if record.stored:
            return
        queue = record.queue
        self.taken[queue] = self.taken.get(queue, 0) + record.tickets
        self.taken_bytes[queue] = self.taken_bytes.get(queue, 0) + record.size

    def left(self) -> list[Record]:
        """What the reader has not taken, in the order in which it would get it."""
        return [*self.ready, *[early[serial] for early in self._early.values() for serial in sorted(early)]]

    def has(self, record: Record) -> bool:
        """Whether the reader has not taken that very record."""
        return self._early.get(record.queue, {}).get(record.serial) is record or record in self.ready

    def take_back(self, record: Record) -> bool:
        """The reader shall not get it. False: it was faster."""
        early = self._early.get(record.queue, {})
        if early.get(record.serial) is record:
            del early[record.serial]
        else:
            try:
                self.ready.remove(record)  # while the reader takes from the other end
            except (ValueError, IndexError):
                return False
        self.given[record.queue] -= record.tickets
        self.given_bytes[record.queue] -= record.size
        return True

    def skip_gaps(self) -> None:
        """The job is over: what waits for elders that will never come is due now."""
        for queue in self._early.keys() | self._stored.keys():
            early, stored = self._early.get(queue, {}), self._stored.pop(queue, ())
            late = [*early.values(), *[_elsewhere(queue, *both) for both in stored]]
            early.clear()
            self.ready.extend(sorted(late, key=attrgetter("serial")))

    def detach(self) -> None:
        """The reader has left."""
        self.attached = self.holds_back = False
        self.ready.clear()
        self._early.clear()
        self._stored.clear()
        self.taken = dict(self.given)
        self.taken_bytes = dict(self.given_bytes)


def _elsewhere(queue: int, first: int, stop: int) -> Record:
    """Stands for outcomes that are in the job file."""
    return Record(queue, first, tickets=stop - first, form=Form.STORED, stored=True)


class OutcomeReader(Iterator[Outcome]):
    """Iterates over outcomes as they come. ``close`` it, or drop it, to let the job go on without a reader."""

    def __init__(self, results: Source, stream: Stream) -> None:
        self._results = results
        self._stream = stream
        self._opened: deque[Outcome] = deque()  # of the record that was taken last
        self._record: Record

    def __iter__(self) -> OutcomeReader:
        return self

    def __next__(self) -> Outcome:
        if not self._opened:
            self._record = self.next_record()
            self._opened.extend(self._results.outcomes_of(self._record))
        outcome = self._opened.popleft()
        if not self._opened:
            self.took(self._record)
        return outcome

    def next_record(self) -> Record:
        """The next outcomes as they came; say :meth:`took` when they are read. For readers that open them themselves.

        Raises:
            StopIteration: no more will come.
        """
        while True:
            try:
                record = self._stream.ready.popleft()
                if record.form != Form.STORED:
                    record.read = True
                    return record
                self._recall(record)
                continue
            except IndexError:
                pass  # an exception while it waits (Ctrl-C, say) has nothing to do with this one
            try:
                self._wait()
            except (KeyboardInterrupt, SystemExit) as stop:
                if stop is not self._results.error:  # but hit this thread while it waited: the job ends
                    self._results.on_interrupt(stop)
                raise

    def _recall(self, stored: Record) -> None:
        """Get a window of what is in the job file; what follows it stays there."""
        stop = stored.serial + stored.tickets
        records = self._results.recall(stored.queue, stored.serial, stop)
        ready = self._stream.ready
        at = records[-1].serial + records[-1].tickets if records else stop
        self._results.were_read(stored.queue, stored.serial, at)
        if at < stop:
            ready.appendleft(_elsewhere(stored.queue, at, stop))
        ready.extendleft(reversed(records))

    def took(self, record: Record) -> None:
        """All of a record is read: the feeders may go on."""
        self._stream.took(record)
        self._results.on_read(record.queue)

    def _wait(self) -> None:
        """Sleep until an outcome is there.

        Raises:
            StopIteration: no more will come.
        """
        results, stream = self._results, self._stream
        with results.cond:
            stream.owner = threading.get_ident()
            stream.holds_back = stream.attached
            while not self._has_come():
                stream.waiting = True
                stream.waits.begin()
                try:
                    results.cond.wait()
                finally:
                    stream.waits.end()
                stream.waiting = False

    def _has_come(self) -> bool:
        """Whether there is something to read now. Raises StopIteration or what ended the job: no more will come."""
        results, stream = self._results, self._stream
        if stream.ready:
            return True
        if not stream.attached:
            raise StopIteration
        if not results.over:
            return False
        stream.skip_gaps()
        if stream.ready:
            return True
        results.detach(stream)
        raise StopIteration if results.error is None else results.error

    def poll(self, bell: Callable[[], None] | None = None) -> Record | None:
        """The next outcomes as they came, or None; nothing is waited for.

        Args:
            bell: called once, on any thread and under the job's lock, when it is worth asking again after None.

        Raises:
            StopIteration: no more will come.
        """
        while True:
            record = self._poll(bell)
            if record is None:
                return None
            if record.form != Form.STORED:
                record.read = True
                return record
            self._recall(record)

    def _poll(self, bell: Callable[[], None] | None) -> Record | None:
        stream = self._stream
        with self._results.cond:
            stream.waits.end()
            stream.waiting = False
            if self._has_come():
                return stream.ready.popleft()
            if bell is not None:
                stream.bell, stream.waiting = bell, True
                stream.waits.begin()
            return None

    def close(self) -> None:
        """Read no further. What was not read is kept for the next reader, as far as the window goes."""
        with self._results.cond:
            if self._opened and self._stream.attached:
                self._stream.ready.appendleft(self._record.rest(len(self._opened)))
                self._opened.clear()
            self._results.detach(self._stream)

    def __enter__(self) -> OutcomeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._stream.attached:
            self.close()
