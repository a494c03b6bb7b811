"""A feeder: one iterable, cut into chunks, pickled, put into one queue, held back by it. A thread each.

The iterable is read no further than the window allows: room is awaited before its items are taken. Chunks that take a
worker microseconds are cut many at a time; they travel in one message as a batch.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from eisenmp.errors import PayloadError
from eisenmp.measure import Meter
from eisenmp.payload import (
    Payload,
    Store,
    are_constant,
    dumps,
    dumps_plain,
    has_large,
    name_culprit,
    nbytes,
    rough_size,
)
from eisenmp.sources import Slices, Source
from eisenmp.wire import Buffer

__all__ = ["Cut", "Feeder", "Sink"]

_CHUNK_BYTES: Final = 4 << 20  # a chunk of default size is cut short at about this; NUM_ROWS given is kept to
_CUT_SECONDS: Final = 0.001  # reading and pickling one batch may take about this long
_SHORT: Final = 32  # items: in shorter chunks, all of them are looked at
_TRUST: Final = 8  # chunks of constant items, before several are read together
_FOREVER: Final = 1 << 60
_AUTO_SECONDS: Final = 0.005  # reading a chunk of automatic size may take this long; then it is what there is


class Cut(NamedTuple):
    """How a payload is divided: so many tickets of so many rows, the last one perhaps fewer.

    ``nested``: the payload is a list of pickles, one for the items of each ticket.
    """

    tickets: int = 1
    rows: int = 0
    nested: bool = False


class Sink(Protocol):
    """Where a feeder puts its chunks; the dispatcher, in practice. All calls may come from any thread."""

    def wait_for_room(self, feeder: Feeder) -> int:
        """Wait until the window has room; return how many chunks may be cut at once. 0: feed no more.

        May change the feeder's `rows`.
        """
        ...

    def begins_batch(self, feeder: Feeder) -> None:
        """From here on chunks that are complete may wait for others to be read; sets `cutting`. See `Feeder.hurry`."""
        ...

    def add_chunk(self, feeder: Feeder, items: int, payload: Payload, cut: Cut) -> bool:
        """One more chunk, or a batch. False: feed no more."""
        ...

    def add_again(self, feeder: Feeder, serial: int, items: int, payload: Payload) -> bool:
        """A chunk of an earlier run, which is to be run again under its own number. False: feed no more."""
        ...

    def add_spoiled(self, feeder: Feeder, items: int, error: PayloadError, serial: int | None = None) -> bool:
        """A chunk that cannot be sent: its ticket fails. False: feed no more. `serial`: of one of an earlier run."""
        ...

    def store(self, piece: memoryview) -> Buffer | None:
        """Keep a copy of something large for a chunk. None: it is not kept there. Only for the feeder's own thread."""
        ...

    def feeder_done(self, feeder: Feeder, error: BaseException | None) -> None:
        """The iterable is at its end, or has raised."""
        ...


class Past(Protocol):
    """What earlier runs have done of a source; a job file, in practice."""

    def replay(self, feeder: Feeder, source: Source, sink: Sink) -> bool:
        """Go past what is finished, put what is not. False: feed no more. Raises what the iterable raises."""
        ...

    def saw(self, rows: Any, position: int, size: int) -> None:
        """New chunks of `size` items each are cut, from item number `position` on."""
        ...


class Feeder:
    """Feeds one iterable to one queue.

    Args:
        source: what it reads from.
        queue: number of the queue.
        total: how many items to expect, for the display.
        clock: seconds.

    Attributes:
        rows: items in a chunk.
        auto: `rows` may change from chunk to chunk.
        chunk_bytes: size of a pickled chunk, lately.
        item_bytes: the same of an item.
        cutting: it reads a batch just now; chunks of it may wait for their neighbours (see :meth:`hurry`).
        producing: all its time but that in which it waits for room.
        past: what was done before; None: nothing is known.
        number, placed: of a job file: the source's number, and how many of its items lie in tickets.
        serial: of the ticket that it cuts again next; None: it cuts new ones.
        exhausted: it has read its iterable to the end.
    """

    def __init__(
        self, source: Source, queue: int, total: int | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.queue = queue
        self.total = total
        self.made = 0
        self.done = False
        self.rows = 0
        self.auto = False
        self.chunk_bytes = 0
        self.item_bytes = 0
        self.cutting = False
        self.producing = Meter()
        self.past: Past | None = None
        self.number = 0
        self.placed = 0
        self.serial: int | None = None
        self.exhausted = False
        self._source = source
        self._clock = clock
        self._exact = True
        self._step = 1  # items taken at a time; grows to `rows` when they turn out small
        self._stride = 1  # how much of what may be cut at once is taken first
        self._constant = 0  # chunks so far of nothing but items that cannot change
        self._apart = False  # each chunk is pickled before the next one is read
        self._plain = True  # so far
        self._pieces: list[bytes] = []  # chunks of a batch, pickled one by one
        self._piece_items = 0
        self._trouble: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._sink: Sink
        self._gone = 0  # items that hurry() has shipped
        self._shipping = threading.Lock()  # what was read first is shipped first

    def start(self, sink: Sink, name: str, *, rows: int, exact: bool, auto: bool = False) -> None:
        """Begin to feed, in a thread of its own.

        Args:
            sink: where the chunks go.
            name: of the queue.
            rows: items in a chunk.
            exact: `rows` was asked for; else a chunk of large items may be shorter.
            auto: `rows` is only the beginning.
        """
        self.rows, self._exact, self.auto = rows, exact, auto
        self._thread = threading.Thread(target=self._run, args=(sink,), name=f"eisenmp-feeder-{name}", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for its thread to end, `timeout` seconds at most."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def ripe(self) -> bool:
        """Chunks that are complete wait for the rest of their batch, and nobody ships them yet."""
        has_some = bool(self._pieces) or (not self._apart and self._source.count() >= self._least())
        return self.cutting and has_some and not self._shipping.locked()

    def _least(self) -> int:
        """Items that can go as a chunk."""
        return 1 if self.auto else self.rows

    def hurry(self) -> None:
        """Ship the chunks that are complete, while the rest of the batch is waited for. From any thread."""
        if not self._shipping.acquire(blocking=False):
            return  # somebody is at it
        try:
            self._ship_pieces()
            if not self._apart:
                part = self._source.part(self._least())
                self._gone += len(part)
                if len(part):
                    self._ship(part)
        except BaseException as raised:  # the feeder's own thread tells of it
            self._trouble = self._trouble or raised
        finally:
            self._shipping.release()

    def _run(self, sink: Sink) -> None:
        self._sink = sink
        error: BaseException | None = None
        self.producing.begin()
        try:
            error = self._feed()
        except BaseException as raised:  # pickling runs the items' own code, which may raise anything
            error = raised
        finally:
            self.producing.end()
            self.done = True
            sink.feeder_done(self, error)
            # Let go of the iterable, as a loop that is left does: where nobody else holds a generator, its `finally`
            # clauses run here and now.
            self._source = Slices(())

    def _feed(self) -> BaseException | None:
        """Until the iterable ends, or raises: what it raised is returned, after what it made before was fed."""
        if self.past is not None and not self.past.replay(self, self._source, self._sink):
            return None
        while chunks := self._sink.wait_for_room(self):
            made = self.made
            self._apart = self._is_apart(chunks)
            wanted, error = self._cut_apart(chunks) if self._apart else self._cut_together(chunks)
            error = error or self._trouble
            if not wanted or error is not None or self.made == made:
                self.exhausted = wanted and error is None
                return error
        return None

    def _is_apart(self, chunks: int) -> bool:
        """Whether each chunk is pickled before the next one is read.

        An iterator may fill the same list or array anew for each item, so a chunk is what it was when it was read. Only
        numbers, texts and the like cannot change; to see that all items are such costs as much as pickling a chunk, but
        for short ones.
        """
        together = not self._source.own_pickle or (self.rows < _SHORT and self._constant >= _TRUST)
        return chunks > 1 and not self.auto and not together

    def _cut_together(self, chunks: int) -> tuple[bool, BaseException | None]:
        """Read so many chunks, then pickle them: (whether more is wanted, what the iterable raised)."""
        if chunks > 1:
            self._sink.begins_batch(self)
        error = self._read(chunks)
        self.cutting = False
        with self._shipping:
            rows = self._source.rest()
            return not len(rows) or self._ship(rows, self._sink.store), error

    def _cut_apart(self, chunks: int) -> tuple[bool, BaseException | None]:
        """Read and pickle so many chunks, one after the other."""
        end = self._clock() + _CUT_SECONDS
        error: BaseException | None = None
        while chunks and error is None:
            error = self._read(1)
            with self._shipping:  # somebody who hurried while batches were cut together may be at it still
                rows = self._source.rest()
                if not len(rows):
                    break
                self._tell(rows)
                if not self._add_apart(rows):
                    return False, error
            chunks -= 1
            if self._clock() >= end:
                break
            if not self.cutting:
                self._sink.begins_batch(self)
        self.cutting = False
        with self._shipping:
            return self._ship_pieces(), error

    # ---- reading

    def _read(self, chunks: int) -> BaseException | None:
        """Take the items of so many chunks; return what the iterable raised meanwhile."""
        try:
            if self.auto:
                self._read_quickly(1, self.rows, _AUTO_SECONDS)
            elif self._exact:
                if chunks == 1:
                    self._source.read(self.rows)
                else:
                    self._read_quickly(self.rows, chunks, _CUT_SECONDS)
            else:
                end = self._clock() + _CUT_SECONDS
                while chunks and self._read_chunk() and self._clock() < end:
                    chunks -= 1
        except BaseException as raised:
            return raised
        return None

    def _read_quickly(self, rows: int, times: int, seconds: float) -> None:
        """Take so many times `rows` items, or what is to be had at once: none waits for long for those after it."""
        end = self._clock() + seconds
        step, self._stride = self._stride, 1
        if step > 1 and not self.cutting:
            self._sink.begins_batch(self)
        while times > 0:
            step = min(step, times)
            before = self._gone + self._source.count()
            self._source.read(step * rows)
            times -= step
            if self._gone + self._source.count() - before < step * rows or self._clock() >= end:
                return
            if times and not self.cutting:
                self._sink.begins_batch(self)
            step *= 2
        self._stride = max(1, step // 8)  # it came at once: the next time may begin with more

    def _read_chunk(self) -> bool:
        """Take the items of one chunk, in steps that fit their size. False: it came out short."""
        taken = size = 0
        with self._shipping:
            first = self._gone + self._source.count()  # of all items that were read
        while taken < self.rows and size < _CHUNK_BYTES:
            self._source.read(min(self._step, self.rows - taken))
            with self._shipping:
                at = first - self._gone  # where the chunk begins, among those that were not shipped
                if at < 0:
                    return True  # it is complete, and shipped already
                count = self._source.count() - at
                if count <= taken:
                    return False
                largest = max(rough_size(self._source.item(at + taken)), rough_size(self._source.item(at + count - 1)))
            size += largest * (count - taken)
            self._step = max(1, min(self.rows, _CHUNK_BYTES // max(1, largest), 16 * self._step))
            taken = count
        return taken == self.rows

    # ---- pickling

    def _ship(self, rows: Any, store: Store | None = None) -> bool:
        """Pickle what was read together, and put it. False: feed no more. `store` may take its time."""
        count = len(rows)
        self._tell(rows)
        self._note_kind(rows)
        if count <= self.rows:
            self.made += count
            return self._ship_one(rows, store)
        payload = self._pickle_together(rows)
        if payload is not None:
            self.made += count
            return self._add(count, payload, Cut(-(-count // self.rows), self.rows))
        chunks = [rows[at : at + self.rows] for at in range(0, count, self.rows)]
        added = [self._add_apart(chunk) for chunk in chunks]
        return self._ship_pieces() and all(added)

    def _tell(self, rows: Any) -> None:
        """What comes next is cut into new chunks: a sample of them may be kept."""
        if self.past is not None:
            self.past.saw(rows, self.made, self.rows)

    def _pickle_together(self, rows: Any) -> Payload | None:
        """The items of several chunks in one pickle, where none of them can spoil it for the others."""
        if self._source.own_pickle:
            body = dumps_plain(rows)
            return None if body is None else (body,)
        try:
            return dumps(rows)
        except PayloadError:
            return None

    def _note_kind(self, rows: Any) -> None:
        """Whether what is read can change afterwards."""
        if self.rows < _SHORT and self._source.own_pickle:
            self._constant = self._constant + 1 if are_constant(rows) else -_FOREVER

    def _add_apart(self, rows: Any) -> bool:
        """One more chunk of a batch in which each has its own pickle. False: feed no more.

        What cannot be pickled, or has buffers of its own, goes alone.
        """
        self._note_kind(rows)
        self.made += len(rows)
        try:
            payload = self._pickle(rows)
        except PayloadError:
            payload = ()
        if len(payload) == 1 and type(payload[0]) is bytes:
            self._pieces.append(payload[0])
            self._piece_items += len(rows)
            return True
        return self._ship_pieces() and self._ship_one(rows)

    def _pickle(self, rows: Any) -> Payload:
        """One chunk's items. Plain data, as long as it has been nothing else, is spared the search for what is not."""
        if self._plain and not has_large(rows):
            body = dumps_plain(rows)
            if body is not None:
                return (body,)
            self._plain = False
        return dumps(rows)

    def _ship_pieces(self) -> bool:
        """Put the chunks that were pickled one by one."""
        pieces, self._pieces = self._pieces, []
        items, self._piece_items = self._piece_items, 0
        return not pieces or self._add(items, (pickle.dumps(pieces, 5),), Cut(len(pieces), self.rows, nested=True))

    def _ship_one(self, rows: Any, store: Store | None = None) -> bool:
        try:
            payload = dumps(rows, store)
        except PayloadError as error:
            return self._sink.add_spoiled(self, len(rows), name_culprit(rows, error))
        return self._add(len(rows), payload, Cut())

    def _add(self, items: int, payload: Payload, cut: Cut) -> bool:
        size = nbytes(payload)
        self.chunk_bytes, self.item_bytes = size // cut.tickets, size // max(1, items)
        return self._sink.add_chunk(self, items, payload, cut)
