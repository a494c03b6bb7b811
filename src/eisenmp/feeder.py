"""A feeder: one iterable, cut into chunks, pickled, put into one queue, held back by it. A thread each.

The iterable is read no further than the window allows: room is awaited before its items are taken. Chunks that take a
worker microseconds are cut many at a time; they travel in one message as a batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from eisenmp.errors import PayloadError
from eisenmp.payload import Payload, dumps, dumps_plain, nbytes
from eisenmp.sources import Source

__all__ = ["Cut", "Feeder", "Sink"]

_CHUNK_BYTES: Final = 4 << 20  # a chunk of default size is cut short at about this; NUM_ROWS given is kept to
_CUT_SECONDS: Final = 0.001  # reading and pickling one batch may take about this long
_AUTO_SECONDS: Final = 0.005  # reading a chunk of automatic size may take this long; then it is what there is


@dataclass(frozen=True, slots=True)
class Cut:
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

    def add_spoiled(self, feeder: Feeder, items: int, error: PayloadError) -> bool:
        """A chunk that cannot be sent: its ticket fails. False: feed no more."""
        ...

    def feeder_done(self, feeder: Feeder, error: BaseException | None) -> None:
        """The iterable is at its end, or has raised."""
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
        self._source = source
        self._clock = clock
        self._exact = True
        self._step = 1  # items taken at a time; grows to `rows` when they turn out small
        self._batch = 1  # chunks that can be cut within _CUT_SECONDS
        self._foreign = False  # its items do not share a pickle
        self._trouble: BaseException | None = None
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
        threading.Thread(target=self._run, args=(sink,), name=f"eisenmp-feeder-{name}", daemon=True).start()

    @property
    def ripe(self) -> bool:
        """Chunks that are complete wait for the rest of their batch, and nobody ships them yet."""
        return self.cutting and self._source.count() >= self._least() and not self._shipping.locked()

    def _least(self) -> int:
        return 1 if self.auto else self.rows

    def hurry(self) -> None:
        """Ship the chunks that are complete, while the rest of the batch is waited for. From any thread."""
        if not self._shipping.acquire(blocking=False):
            return  # somebody is at it
        try:
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
        try:
            error = self._feed()
        except BaseException as raised:  # pickling runs the items' own code, which may raise anything
            error = raised
        finally:
            self.done = True
            sink.feeder_done(self, error)

    def _feed(self) -> BaseException | None:
        """Until the iterable ends, or raises: what it raised is returned, after what it made before was fed."""
        while most := self._sink.wait_for_room(self):
            made = self.made
            begun = self._clock()
            chunks = min(most, self._batch)
            error = self._cut(chunks)
            with self._shipping:
                rows = self._source.rest()
                wanted = not len(rows) or self._ship(rows)
            error = error or self._trouble
            if not wanted or error is not None or self.made == made:
                return error
            self._adapt(chunks, self._clock() - begun)
        return None

    def _adapt(self, chunks: int, seconds: float) -> None:
        """A batch must not hold its first chunk back for long while the others are still made."""
        if seconds > _CUT_SECONDS:
            self._batch = max(1, chunks // 2)
        elif chunks == self._batch and seconds < _CUT_SECONDS / 3:
            self._batch = 2 * chunks

    def _cut(self, chunks: int) -> BaseException | None:
        """Take the items of so many chunks; return what the iterable raised meanwhile."""
        if chunks > 1:
            self._sink.begins_batch(self)
        try:
            if self.auto:
                self._read_quickly(self.rows)
            elif self._exact:
                self._source.read(chunks * self.rows)
            else:
                while chunks and self._read_chunk():
                    chunks -= 1
        except BaseException as raised:
            return raised
        finally:
            self.cutting = False
        return None

    def _read_quickly(self, most: int) -> None:
        """Take that many items, or as many as are to be had at once: none waits for long for those after it."""
        end = self._clock() + _AUTO_SECONDS
        taken, step = 0, 1
        while taken < most:
            before = self._gone + self._source.count()
            self._source.read(min(step, most - taken))
            count = self._gone + self._source.count() - before
            if count < step or self._clock() >= end:
                return
            if not taken:
                self._sink.begins_batch(self)
            taken += count
            step *= 2

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
                largest = max(_size(self._source.item(at + taken)), _size(self._source.item(at + count - 1)))
            size += largest * (count - taken)
            self._step = max(1, min(self.rows, _CHUNK_BYTES // max(1, largest), 16 * self._step))
            taken = count
        return taken == self.rows

    # ---- pickling

    def _ship(self, rows: Any) -> bool:
        """Pickle what was read and put it. False: feed no more."""
        count = len(rows)
        self.made += count
        if count <= self.rows:
            return self._ship_one(rows)
        payload = self._pickle_together(rows)
        if payload is not None:
            return self._add(count, payload, Cut(-(-count // self.rows), self.rows))
        self._foreign = True
        return self._ship_apart([rows[at : at + self.rows] for at in range(0, count, self.rows)])

    def _pickle_together(self, rows: Any) -> Payload | None:
        """The items of several chunks in one pickle, where none of them can spoil it for the others."""
        if self._foreign:
            return None
        if self._source.own_pickle:
            body = dumps_plain(rows)
            return None if body is None else (body,)
        try:
            return dumps(rows)
        except PayloadError:
            return None

    def _ship_apart(self, chunks: list[Any]) -> bool:
        """A pickle each. What cannot be pickled, or has buffers of its own, goes alone."""
        pieces: list[bytes] = []
        items = 0
        for rows in chunks:
            try:
                payload = dumps(rows)
            except PayloadError:
                payload = ()
            if len(payload) == 1:
                pieces.append(bytes(payload[0]))
                items += len(rows)
                continue
            if not (self._ship_pieces(items, pieces) and self._ship_one(rows)):
                return False
            pieces, items = [], 0
        return self._ship_pieces(items, pieces)

    def _ship_pieces(self, items: int, pieces: list[bytes]) -> bool:
        return not pieces or self._add(items, dumps(pieces), Cut(len(pieces), self.rows, nested=True))

    def _ship_one(self, rows: Any) -> bool:
        try:
            payload = dumps(rows)
        except PayloadError as error:
            return self._sink.add_spoiled(self, len(rows), _name_culprit(rows, error))
        return self._add(len(rows), payload, Cut())

    def _add(self, items: int, payload: Payload, cut: Cut) -> bool:
        size = nbytes(payload)
        self.chunk_bytes, self.item_bytes = size // cut.tickets, size // max(1, items)
        return self._sink.add_chunk(self, items, payload, cut)


def _name_culprit(rows: Any, error: PayloadError) -> PayloadError:
    """Say which item it is."""
    for at, item in enumerate(rows):
        try:
            dumps(item)
        except PayloadError as reason:
            return PayloadError(f"item {at} of the chunk, a {type(item).__qualname__}: {reason}")
    return error


def _size(item: Any) -> int:
    """Bytes of an item, roughly; of a row of fields, what its first fields come to."""
    if isinstance(item, tuple | list):
        return sum([_flat_size(part) for part in islice(item, 100)])
    if isinstance(item, dict):
        return sum([_flat_size(part) for part in islice(item.values(), 100)])
    return _flat_size(item)


def _flat_size(item: Any) -> int:
    if isinstance(item, bytes | bytearray | str):
        return len(item)
    try:
        size = item.nbytes
    except Exception:  # it has none, or its own code fails
        return 64
    return size if isinstance(size, int) else 64
