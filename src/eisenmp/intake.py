"""Where feeders put their chunks: the window that holds them back, and the tickets. See ``feeder.Sink``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eisenmp.credit import AutoRows
from eisenmp.errors import JobFileError, PayloadError
from eisenmp.feeder import Cut, Feeder
from eisenmp.job import Job
from eisenmp.ledger import Chunk
from eisenmp.payload import Payload, nbytes
from eisenmp.queues import NamedQueue
from eisenmp.results import Record
from eisenmp.wire import Buffer

__all__ = ["Intake"]


class Intake:
    """The feeders' side of a job. Every call takes the job's lock."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._rows: dict[int, AutoRows] = {}

    def wait_for_room(self, feeder: Feeder) -> int:
        job = self._job
        job.assist()
        with job.lock:
            queue = job.table[feeder.queue]
            if not self._await(feeder, queue, lambda: self._has_room(queue) or self._is_eldest(feeder)):
                return 0
            return self._size_up(feeder, queue)

    def _size_up(self, feeder: Feeder, queue: NamedQueue) -> int:
        """How many chunks the feeder may cut at once; of automatic size, how large the next one is."""
        job = self._job
        if feeder.auto:
            rows = self._rows.setdefault(queue.number, AutoRows(steady=job.archive is not None))
            feeder.rows = rows.next(job.item_paces.get(queue.number), feeder.item_bytes)
            return 1
        if queue.maxsize:  # its bound counts chunks, and what somebody puts there comes between them
            return 1
        pace = job.paces.get(queue.number)
        wanted = pace.batch(feeder.chunk_bytes) if pace is not None else 1
        window = job.window(queue)
        most = window.batch(wanted, job.results.neglected_by(queue.number), feeder.chunk_bytes)
        return max(1, min(most, window.size - job.fill(queue)))

    def begins_batch(self, feeder: Feeder) -> None:
        with self._job.lock:
            feeder.cutting = True
            self._job.on_batch()

    def add_chunk(self, feeder: Feeder, items: int, payload: Payload, cut: Cut) -> bool:
        job = self._job
        size = nbytes(payload)
        with job.lock:
            queue = job.table[feeder.queue]
            # several feeders of one queue may have seen the same room; its bytes are known only now
            self._await(feeder, queue, lambda: self._has_room(queue) and self._has_bytes(queue, size))
            chunk = job.ledger.add(queue.number, items, payload, size, cut.tickets, cut.rows)
            chunk.nested = cut.nested
            if job.archive is not None:
                job.archive.cut(feeder, cut.tickets, items, cut.rows)
            return self._queued(queue, chunk)

    def add_again(self, feeder: Feeder, serial: int, items: int, payload: Payload) -> bool:
        job = self._job
        size = nbytes(payload)
        with job.lock:
            queue = job.table[feeder.queue]
            room = partial(self._has_bytes, queue, size)
            self._await(feeder, queue, lambda: (self._has_room(queue) and room()) or self._is_eldest(feeder))
            chunk = job.ledger.again(queue.number, serial, items, payload, size)
            assert job.archive is not None
            job.archive.cut_again(queue.number, serial)
            return self._queued(queue, chunk)

    def _queued(self, queue: NamedQueue, chunk: Chunk) -> bool:
        """Its readers get it; False: nobody reads any more."""
        job = self._job
        if job.exchange.feeding_over:
            job.ledger.unread(chunk)
            return False
        job.exchange.add_chunk(queue, chunk)
        if job.feeders_waiting:  # one may wait for its turn to cut what is the eldest now
            job.room(queue).notify_all()
        return True

    def add_spoiled(self, feeder: Feeder, items: int, error: PayloadError, serial: int | None = None) -> bool:
        job = self._job
        with job.lock:
            if serial is None:
                chunk = job.ledger.add(feeder.queue, items, (), 0)
                if job.archive is not None:
                    job.archive.cut(feeder, 1, items, 0)
            else:
                chunk = job.ledger.again(feeder.queue, serial, items, (), 0)
                assert job.archive is not None
                job.archive.cut_again(feeder.queue, serial)
            job.ledger.spoiled(chunk)
            job.results.record(Record(feeder.queue, chunk.serial, error=error))
            if job.settings.ON_ERROR == "raise":
                error.add_note(f"eisenmp: ticket _TID_{chunk.serial} of queue {job.table[feeder.queue].name!r}")
                job.fail(error)
            return not job.exchange.feeding_over

    def store(self, piece: memoryview) -> Buffer | None:
        return self._job.engine.store(piece)

    def feeder_done(self, feeder: Feeder, error: BaseException | None) -> None:
        job = self._job
        job.rests()
        with job.lock:
            if isinstance(error, JobFileError):
                job.fail(error)  # the source is another one: nothing more may come of it
            elif error is not None:
                job.spoil(error)
            if feeder.exhausted and job.archive is not None:
                job.archive.journal.source_ended(feeder.number)
            job.exchange.feeder_ends(job.table[feeder.queue])
            job.look_if_settled()

    def _await(self, feeder: Feeder, queue: NamedQueue, ready: Callable[[], bool]) -> bool:
        """Wait until `ready`; False: the feeding is over."""
        job = self._job
        job.feeders_waiting += 1
        try:
            while not job.exchange.feeding_over:
                if ready():
                    return True
                job.rests()
                feeder.producing.end()
                job.room(queue).wait()
                feeder.producing.begin()
            return False
        finally:
            job.feeders_waiting -= 1

    def _is_eldest(self, feeder: Feeder) -> bool:
        archive = self._job.archive
        return archive is not None and archive.is_eldest(feeder.queue, feeder.serial)

    def _has_room(self, queue: NamedQueue) -> bool:
        ahead = self._job.ledger.track(queue.number).ahead
        if queue.maxsize and len(queue.entries) + ahead >= queue.maxsize:
            return False
        return self._job.fill(queue) < self._job.window(queue).size

    def _has_bytes(self, queue: NamedQueue, size: int) -> bool:
        """What is under way and what waits to be read, together. One chunk may always go, however large."""
        track = self._job.ledger.track(queue.number)
        used = track.live_bytes + self._job.results.unread_bytes_by(queue.number)
        return not used or used + size <= self._job.settings.window_bytes
