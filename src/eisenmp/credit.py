"""How much is cut, queued and handed out ahead of need. Pure.

Bounded by time, not by count: one chunk on request, and more only when the histories say that all in a worker's hands
is some milliseconds of work. A worker that takes a port number and serves for ever has no such history.

Chunks that take microseconds travel many in a message, about a millisecond of work in each (a batch): one message for
each of them costs more than the work. So that there are enough to fill the messages, the default window widens too,
as long as whoever reads the results keeps up.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AutoRows", "History", "Window"]

_AIM: Final = 0.010  # seconds of work that may lie in a worker's hands
_BATCH: Final = 0.001  # seconds of work in a message
_BATCH_BYTES: Final = 128 << 10
_SHORTEST: Final = 1e-7  # seconds: no chunk takes less
_MOST: Final = 4096  # chunks in a message: a millisecond of the shortest that there are in practice
_IN_HAND: Final = 4 * _MOST  # chunks in a worker's hands: while it works on a message, the next ones wait there
_TRUST: Final = 2  # answers before the history counts
_BATCHES: Final = 4  # a worker: one at work, one ahead, one queued, one being cut
_CHUNK: Final = 0.005  # seconds that a chunk of automatic size takes at first
_CHUNK_MOST: Final = 0.025  # and in a job that has run for long
_CHUNK_PART: Final = 40  # between both, a chunk is this part of the work done so far
_CHUNK_BYTES: Final = 1 << 20
_ROWS: Final = 1 << 20
_WIDE_BYTES: Final = 16 << 20  # a window that widens stops here


class History:
    """Durations of one worker's chunks of one queue, or of all workers'."""

    def __init__(self, answers: int = 0, mean: float = 0.0) -> None:
        self.answers = answers
        self.mean = mean  # exponential, the last few chunks dominate

    def add(self, seconds: float, tickets: int = 1) -> None:
        """Some more chunks took that long together.

        What a message costs by itself, or a moment in which the worker had no processor, makes the chunks of a small
        one look slow. That is no reason to send smaller ones yet, unless it lasted.
        """
        self.answers += tickets
        mean = seconds / tickets
        weight = 0.5 if self.answers <= 2 or tickets > 1 else 0.25
        if mean > self.mean and tickets > 1:
            weight *= min(1.0, max(seconds / _AIM, tickets / self.batch(0)))
        self.mean = mean if self.answers == tickets else (1 - weight) * self.mean + weight * mean

    def allowance(self, queued: int, workers: int, size: int = 0, ahead: int = 0) -> int:
        """Chunks the worker may have in hand in all, those it works on included.

        One lies ahead as long as it does not wait there for longer than those of a worker may in all: a worker that has
        none waits for the manager after each chunk. What is queued is shared out evenly, so that the last chunks of a
        job do not end up with one worker, unless they are so short that it does not matter. `size`: bytes of the next
        one; of large ones, few keep a worker busy, and the memory that they lie in stays warm: `ahead` bytes, but two
        chunks.
        """
        if self.answers < _TRUST:
            return 1
        in_time = max(int(_AIM / max(self.mean, _SHORTEST)), 2 if self.mean <= _AIM else 1)
        in_room = max(2, ahead // size) if size else _IN_HAND
        return max(1, min(_IN_HAND, in_time, in_room, max(1 + queued // workers, self.batch(0))))

    def batch(self, size: int) -> int:
        """Chunks that are worth one message, when each has `size` bytes."""
        if self.answers < _TRUST:
            return 1
        return max(1, min(_MOST, int(_BATCH / max(self.mean, _SHORTEST)), _BATCH_BYTES // max(1, size)))


class AutoRows:
    """``NUM_ROWS = 'auto'``: chunks of steady duration, from what items have taken lately.

    The manager spends about 0.3 ms of a core on a chunk that travels alone. That is a twentieth of a short chunk, so in
    a long job, where the last chunks weigh little against the whole, they last longer.

    ``steady``: small changes are not worth one. A job file keeps chunks of one size as one row.
    """

    def __init__(self, rows: int = 1, steady: bool = False) -> None:
        self.rows = rows
        self.steady = steady

    def next(self, pace: History | None, size: int) -> int:
        """Items of the next chunk. `size`: bytes of an item."""
        if pace is None or pace.answers < _TRUST:
            return self.rows
        done = pace.answers * pace.mean
        aim = min(_CHUNK_MOST, max(_CHUNK, done / _CHUNK_PART))
        wanted = int(aim / max(pace.mean, 1e-8))
        rows = max(1, min(wanted, 8 * self.rows, _CHUNK_BYTES // max(1, size), _ROWS))
        if not self.steady or not 3 * self.rows <= 4 * rows <= 6 * self.rows:
            self.rows = rows
        return self.rows


class Window:
    """How many chunks of a queue may be queued, running, or finished and not read.

    Args:
        size: ``BUFFER_CHUNKS``, or its default.
        workers: who shares it.
        fixed: it was asked for: it does not widen.
    """

    def __init__(self, size: int, workers: int, *, fixed: bool) -> None:
        self.size = self.base = size
        self.workers = workers
        self.fixed = fixed

    def share(self, size: int, workers: int) -> None:
        """There are more workers now, or fewer. `size`: the default for so many."""
        self.workers = workers
        if not self.fixed:
            wide = self.size > self.base
            self.base = size
            self.size = max(self.size, size) if wide else size

    def batch(self, wanted: int, unread: int, size: int) -> int:
        """Chunks to cut at once, when `wanted` are worth a message of `size` bytes each. Widens or narrows the window.

        Args:
            wanted: see :meth:`History.batch`.
            unread: outcomes that the slowest reader has not taken.
            size: bytes of one chunk.
        """
        if not self.fixed:
            if unread > self.size // 2:
                self.size = self.base
            elif not unread and wanted * _BATCHES * self.workers > self.size:
                widest = max(self.base, _WIDE_BYTES // max(1, size))
                self.size = min(2 * self.size, wanted * _BATCHES * self.workers, widest)
        return max(1, min(wanted, self.size // (_BATCHES * self.workers)))
