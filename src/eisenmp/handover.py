"""The desk for messages that lie elsewhere (remote.py), and may get lost there. Runs under the job's lock.

A message is delivered once and not leased. But who forwards one may rely on it once the ticket is answered; so the
ticket's items stay at hand until the message is where it was to go. When it is lost before, with the machine where it
lay, the ticket runs again for it: its outcome is on record already and stays, and of what it forwards only that goes on
which was lost.
"""

from __future__ import annotations

from collections.abc import Callable

from eisenmp.crew import Worker
from eisenmp.engines.base import Handed
from eisenmp.errors import ClusterError
from eisenmp.job import Job
from eisenmp.ledger import Chunk
from eisenmp.payload import nbytes
from eisenmp.queues import Message, NamedQueue, Origin
from eisenmp.remote import is_remote
from eisenmp.results import Record
from eisenmp.wire import Frame

__all__ = ["HandoverDesk", "deliver_forwards"]


class HandoverDesk:
    """Sees to it that they arrive.

    Args:
        job: the job.
        ask: takes a worker's request in once more.
    """

    def __init__(self, job: Job, ask: Callable[[Worker, Frame], None]) -> None:
        self._job = job
        self._ask = ask
        job.exchange.on_lost = self.lost

    def sent(self, worker: Worker, request: Frame, message: Message) -> None:
        """The message is the answer to that request."""
        if is_remote(message.payload):
            worker.far[request.serial] = request, message

    def handed(self, worker: Worker, handed: Handed) -> None:
        """It has arrived, or is lost: then the request is still open."""
        request, message = worker.far.pop(handed.request, (None, None))
        if handed.lost and request is not None and message is not None:
            self.lost(self._job.table[request.queue], message)
            self._ask(worker, request)

    def lost(self, queue: NamedQueue, message: Message) -> bool:
        """A message is nowhere any more. True: it will be made again."""
        job = self._job
        what = (
            f"a message of {nbytes(message.payload)} bytes for queue {queue.name!r} is lost with the machine it lay on"
        )
        if message.origin is None:
            job.news(f"{what}; what is put by hand is not made again (toolbox.forward is)")
            return False
        chunk, serial, place = message.origin
        ticket = f"ticket _TID_{serial} of queue {job.table[chunk.queue].name!r}"
        if not self._is_read(chunk.queue):
            job.fail(ClusterError(f"{what}, and no worker is left to run {ticket} again, which makes it"))
            return False
        job.news(f"{what}; {ticket} runs again to make it")
        self._again(chunk, serial, place)
        return True

    def _is_read(self, number: int) -> bool:
        """Whether somebody still takes chunks of that queue: one of the slots that did is not at its end."""
        job = self._job
        if job.exchange.feeding_over or job.crew.supervisor.stopping:
            return False
        return any(job.crew.supervisor.still_asks(slot) for slot in set(job.ledger.track(number).slots) if slot >= 0)

    def _again(self, chunk: Chunk, serial: int, place: int) -> None:
        job = self._job
        track = job.ledger.track(chunk.queue)
        running = track.live.get(serial)
        if running is not None:  # for another one of its messages
            running.owed |= {place}
            return
        one = chunk.part(serial, 1, track.items[serial], chunk.nbytes // chunk.tickets)
        one.owed = frozenset((place,))
        job.ledger.revive(one)
        job.exchange.put_back([one])
        job.engine.wake()


def deliver_forwards(job: Job, worker: Worker, chunk: Chunk | None, record: Record) -> None:
    """What was held for these tickets of a chunk goes where it belongs; when it runs again, only what is owed.

    `chunk` None: they run in parts, and nobody could tell which part would have to run again.
    """
    if worker.forwards:
        for serial in range(record.serial, record.serial + record.tickets):
            for place, (target, payload) in enumerate(worker.forwards.pop((record.queue, serial), ())):
                if chunk is None or not chunk.owed or place in chunk.owed:
                    origin = Origin(chunk, serial, place) if chunk is not None and is_remote(payload) else None
                    job.exchange.add_message(job.table[target], Message(payload, origin))
    if chunk is not None:
        chunk.owed = frozenset()
