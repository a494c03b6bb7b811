"""The desk for tickets that kill their workers: they are handed out in parts, until the items to blame are known.

What is to be run next, and who stands accused, is decided in suspects.py. Runs under the job's lock.
"""

from __future__ import annotations

from eisenmp.crew import Worker
from eisenmp.errors import CrashError
from eisenmp.job import Job
from eisenmp.ledger import Chunk
from eisenmp.payload import Payload
from eisenmp.results import Record
from eisenmp.suspects import Search, Suspect
from eisenmp.wire import PART_ITEMS, Frame

__all__ = ["PartDesk", "part_payload"]


class PartDesk:
    """Books what becomes of the parts of a ticket."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def opened(self, worker: Worker, frame: Frame) -> None:
        """A worker has made the items of a part, and calls the function next."""
        search = self._job.ledger.searching(worker.number, frame.queue, frame.serial)
        if search is not None:
            search.opened(str(bytes(frame.body), "utf-8", "replace"))

    def answered(self, worker: Worker, record: Record, seconds: float, error: Payload | None = None) -> int:
        """A part has come through, or has ended in an exception: how many items it had. 0: it is no part."""
        job = self._job
        search = job.ledger.searching(worker.number, record.queue, record.serial)
        if search is None:
            return 0
        items = search.part[1]
        search.answered(seconds, record.value, record.item_errors, error)
        chunk = job.ledger.part_done(worker.number, record.queue, record.serial, worker.slot)
        assert chunk is not None  # it was held a moment ago
        job.note_answer(worker.slot, chunk, seconds, "done" if search.over else "retried")
        if search.over:
            self.record(chunk, search)
        else:
            job.exchange.put_back([chunk])
        return items

    def record(self, chunk: Chunk, search: Search) -> None:
        """The ticket is through: the results of its parts, and the items that stand accused."""
        job = self._job
        name = job.table[chunk.queue].name
        errors = {id(part): _crash(name, chunk, part) for part in search.accused}
        parts = [(part, errors.get(id(part))) for part in sorted(search.outcomes, key=lambda part: part.first)]
        per_item = job.settings.WORKER_CALL == "item"
        job.record(chunk, Record(chunk.queue, chunk.serial, parts=parts, per_item=per_item))
        for error in dict.fromkeys(errors.values()):
            job.news(str(error))


def part_payload(payload: Payload, search: Search) -> Payload:
    """What a worker gets for the next part: all of the ticket, and which of its items are meant."""
    return (*payload, PART_ITEMS.pack(*search.part))


def _crash(name: str, chunk: Chunk, part: Suspect) -> CrashError:
    if part.items == 1:
        return CrashError(name, chunk.serial, part.exits, part.first, part.text)
    return CrashError(name, chunk.serial, part.exits)  # they could not be opened, so nobody knows which it is
