"""A feeder: one iterable, cut into chunks, pickled, put into one queue, held back by it. A thread each.

The iterable is read no further than the window allows: room for one more chunk is awaited before its items are taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Protocol

from eisenmp.errors import PayloadError
from eisenmp.payload import Payload, dumps, nbytes

__all__ = ["Feeder", "Sink"]

_CHUNK_BYTES: Final = 4 << 20  # a chunk of default size is cut short at about this; NUM_ROWS given is kept to


class Sink(Protocol):
    """Where a feeder puts its chunks; the dispatcher, in practice. All calls may come from any thread."""

    def wait_for_room(self, feeder: Feeder) -> bool:
        """Wait until the window has room for one more chunk. False: feed no more."""
        ...

    def add_chunk(self, feeder: Feeder, items: int, payload: Payload, size: int) -> bool:
        """One more chunk. False: feed no more."""
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
        source: any iterator.
        queue: number of the queue.
        total: how many items to expect, for the display.
    """

    def __init__(self, source: Iterator[Any], queue: int, total: int | None) -> None:
        self.queue = queue
        self.total = total
        self.made = 0
        self.done = False
        self._source = source
        self._rows = 0
        self._exact = True
        self._step = 1  # items taken at a time; grows to `rows` when they turn out small

    def start(self, sink: Sink, name: str, *, rows: int, exact: bool) -> None:
        """Begin to feed, in a thread of its own.

        Args:
            sink: where the chunks go.
            name: of the queue.
            rows: items in a chunk.
            exact: `rows` was asked for; else a chunk of large items may be shorter.
        """
        self._rows, self._exact = rows, exact
        threading.Thread(target=self._run, args=(sink,), name=f"eisenmp-feeder-{name}", daemon=True).start()

    def _run(self, sink: Sink) -> None:
        error: BaseException | None = None
        try:
            error = self._feed(sink)
        except BaseException as raised:  # pickling runs the items' own code, which may raise anything
            error = raised
        finally:
            self.done = True
            sink.feeder_done(self, error)

    def _feed(self, sink: Sink) -> BaseException | None:
        """Until the iterable ends, or raises: what it raised is returned, after what it made before was fed."""
        while sink.wait_for_room(self):
            rows: list[Any] = []
            error: BaseException | None = None
            try:
                self._cut(rows)
            except BaseException as raised:
                error = raised
            if rows:
                self.made += len(rows)
                if not self._send(sink, rows):
                    return error
            if error is not None or not rows:
                return error
        return None

    def _cut(self, rows: list[Any]) -> None:
        """Take the next items. ``extend`` keeps what came before an exception."""
        if self._exact:
            rows.extend(islice(self._source, self._rows))
            return
        size = 0
        while len(rows) < self._rows and size < _CHUNK_BYTES:
            before = len(rows)
            rows.extend(islice(self._source, min(self._step, self._rows - before)))
            if len(rows) == before:
                return
            largest = max(_size(rows[before]), _size(rows[-1]))
            size += largest * (len(rows) - before)
            self._step = max(1, min(self._rows, _CHUNK_BYTES // max(1, largest), 16 * self._step))

    def _send(self, sink: Sink, rows: list[Any]) -> bool:
        try:
            payload = dumps(rows)
        except PayloadError as error:
            return sink.add_spoiled(self, len(rows), _name_culprit(rows, error))
        return sink.add_chunk(self, len(rows), payload, nbytes(payload))


def _name_culprit(rows: list[Any], error: PayloadError) -> PayloadError:
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
