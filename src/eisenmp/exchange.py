"""The exchange: brings entries of queues and those who wait for them together. Pure but for its clock.

Everything here runs under the job's lock. What is to be done with an entry is the getter's own affair
(``Getter.deliver``); the exchange only decides who gets which entry, who has waited too long, and when a stream ends.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from eisenmp.guard import Guard
from eisenmp.ledger import Chunk, Ledger
from eisenmp.queues import Getter, Message, NamedQueue, Putter, QueueTable

__all__ = ["Exchange"]

_FEW: Final = 16  # queues that are looked at for each answer


class Exchange:
    """Traffic of all queues of a job.

    Args:
        table: the queues.
        ledger: told about chunks that nobody will read.

    ``on_room`` is called with a queue when one of its entries has left, ``on_manager_read`` with queue and serial of a
    chunk that the manager itself took, ``on_lost`` with a message that is nowhere any more (it returns whether it will
    come again); others set them. ``lock`` guards the exchange and all that it works on.
    """

    def __init__(self, table: QueueTable, ledger: Ledger) -> None:
        self.table = table
        self.ledger = ledger
        self.lock = Guard()
        self.on_room: Callable[[NamedQueue], None] = lambda _: None
        self.on_manager_read: Callable[[int, int], None] = lambda *_: None
        self.on_lost: Callable[[NamedQueue, Message], bool] = lambda *_: False
        self.any_getters: deque[Getter] = deque()
        self.feeding_over = False
        self.stopping = False
        self.closed = False
        self.drive: Callable[[Getter, Sequence[object], float | None], None] | None = None  # see Shortcut.drive
        self._order = count()
        self._timers: list[tuple[float, int, Getter | Putter | None, Callable[[], None]]] = []

    # ---- getting

    def get(self, queue: NamedQueue | None, getter: Getter) -> None:
        """Serve the getter now, or let it wait in line.

        `queue` None: a chunk of any queue that has a feeder, as plain workers want it; messages are not for them.
        """
        getter.order = next(self._order)
        if queue is None:
            for candidate in self.table:
                if candidate.feeders_seen and (at := candidate.first_chunk()) is not None:
                    self._hand(candidate, getter, at)
                    return
            if self.all_drained():
                getter.live = False
                getter.deliver(self.table[0], None)
            else:
                self.any_getters.append(getter)
        elif queue.entries:
            self._hand(queue, getter, queue.own_chunk(getter.slot))
        elif self.ended(queue, getter):
            getter.live = False
            getter.deliver(queue, None)
        else:
            queue.getters.append(getter)

    def is_quiet(self, most: int, workers: int, but: Getter | None = None) -> bool:
        """Whether `most` things at most are queued, or at work in one of so many workers; nothing will be fed, and of
        the manager's threads none waits, but that one.
        """
        if len(self.table.rows) > _FEW:
            return False
        waiting = {getter.worker for getter in self.any_getters if getter.live}
        queued = 0
        for queue in self.table.rows:
            queued += len(queue.entries)
            if queue.feeders_open or queue.putters:
                return False
            for getter in queue.getters:
                if getter.live and getter is not but:
                    waiting.add(getter.worker)
        return None not in waiting and queued + workers - len(waiting) <= most

    def awaited(self, queue: NamedQueue) -> bool:
        """Whether somebody waits for a chunk of the queue."""
        return queue.next_getter() is not None or any(getter.live for getter in self.any_getters)

    def withdraw(self, queue: NamedQueue | None, waiting: Getter | Putter) -> None:
        """Whoever waits there has waited long enough: nothing of it is kept."""
        waiting.live = False
        if isinstance(waiting, Putter):
            if queue is not None and waiting in queue.putters:
                queue.putters.remove(waiting)
            return
        line = self.any_getters if queue is None else queue.getters
        if waiting in line:
            line.remove(waiting)

    def give_again(self, queue: NamedQueue, entries: Sequence[Message | Chunk | None]) -> None:
        """Whoever got these does not take them: they are the next ones again."""
        queue.entries.extendleft(reversed([entry for entry in entries if isinstance(entry, Message)]))
        self.put_back([entry for entry in entries if isinstance(entry, Chunk)])
        self.serve(queue)

    def next_chunk(self, queue: NamedQueue, most: int) -> Chunk | None:
        """Take the next entry, if it is a chunk, to hand it out ahead of a request; of a batch, `most` tickets."""
        if not queue.entries or not isinstance(queue.entries[0], Chunk):
            return None
        chunk = self._take(queue, 0, most)
        assert isinstance(chunk, Chunk)
        self._left(queue)
        return chunk

    # ---- putting

    def put(self, queue: NamedQueue, putter: Putter) -> None:
        """Take the message in, or let its putter wait for room."""
        queue.putters.append(putter)
        queue.refill(self.stopping)
        self.serve(queue)

    def add_message(self, queue: NamedQueue, message: Message) -> None:
        """Take a message in whatever the bound says: queues without one, and what is forwarded."""
        queue.touched = True
        queue.entries.append(message)
        self.serve(queue)

    def add_chunk(self, queue: NamedQueue, chunk: Chunk) -> None:
        """A feeder has cut a chunk; it has waited for room before."""
        queue.entries.append(chunk)
        self.serve(queue)

    def put_back(self, chunks: list[Chunk]) -> None:
        """Chunks of dead workers and such: ahead of the queue, and among themselves in ticket order."""
        for chunk in chunks:
            if self.feeding_over:  # no further chunk starts
                self.ledger.unread(chunk)
                continue
            entries = self.table[chunk.queue].entries
            at = 0
            while at < len(entries) and isinstance(other := entries[at], Chunk) and other.serial < chunk.serial:
                at += 1
            entries.insert(at, chunk)
        for number in {chunk.queue for chunk in chunks}:
            self.serve(self.table[number])

    # ---- streams

    def feeder_begins(self, queue: NamedQueue) -> None:
        """One more feeder feeds the queue."""
        queue.feeders_open += 1
        queue.feeders_seen += 1

    def feeder_ends(self, queue: NamedQueue) -> None:
        """One of its feeders is done."""
        queue.feeders_open -= 1
        self.serve(queue)

    def end_feeding(self) -> list[Chunk]:
        """No feeder is heard any more and no chunk handed out; return the queued chunks, which nobody will read."""
        self.feeding_over = True
        dropped: list[Chunk] = []
        for queue in self.table:
            chunks = [entry for entry in queue.entries if isinstance(entry, Chunk)]
            if chunks:
                queue.entries = deque(entry for entry in queue.entries if not isinstance(entry, Chunk))
                self._left(queue)
                dropped += chunks
        for chunk in dropped:
            self.ledger.unread(chunk)
        return dropped

    def stop(self) -> None:
        """End the feeding, and every stream: whoever asks an empty queue from now on has reached its end."""
        self.end_feeding()
        self.stopping = True
        for queue in self.table:
            queue.refill(True)  # who waits for room is let in, and hears of the end at the next get
            self.serve(queue)

    def close(self) -> None:
        """No worker is left: the streams have ended for the manager's own readers too."""
        self.closed = True
        self.stop()

    def serve(self, queue: NamedQueue) -> None:
        """Bring entries and waiting getters of a queue together; tell the getters when the stream has ended."""
        while queue.entries:
            getter, at = self._first(queue)
            if getter is None:
                break
            self._hand(queue, getter, at)
        for getter in [getter for getter in queue.getters if self.ended(queue, getter)]:
            queue.getters.remove(getter)
            if getter.live:
                getter.live = False
                getter.deliver(queue, None)
        if self.any_getters and self.all_drained():
            waiting, self.any_getters = self.any_getters, deque()
            for getter in waiting:
                if getter.live:
                    getter.live = False
                    getter.deliver(queue, None)

    def ended(self, queue: NamedQueue, getter: Getter | None = None) -> bool:
        """The end, 1: whether a reader that asks now has reached the end of the stream.

        A chunk that was handed out ahead and not begun is as good as queued: it may come back. A reader in the manager
        may still get what running workers put into a queue that has no feeder.
        """
        if queue.entries or self.ledger.track(queue.number).ahead:
            return False
        if queue.drained or self.closed:
            return True
        in_manager = getter is not None and getter.worker is None
        return self.stopping and (not in_manager or queue.feeders_seen > 0)

    # ---- time

    def at(self, when: float, about: Getter | Putter | None, call: Callable[[], None]) -> None:
        """Call `call` at the time `when`, unless `about` is settled by then."""
        heapq.heappush(self._timers, (when, next(self._order), about, call))

    def next_deadline(self) -> float | None:
        """The time of the next call that is still wanted."""
        while self._timers and self._timers[0][2] is not None and not self._timers[0][2].live:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> None:
        """Make the calls whose time has come."""
        while self._timers and self._timers[0][0] <= now:
            _, _, about, call = heapq.heappop(self._timers)
            if about is None or about.live:
                call()

    # ---- inside

    def _hand(self, queue: NamedQueue, getter: Getter, at: int = 0) -> None:
        entry = self._take(queue, at, getter.most(queue) if getter.most is not None else 1)
        getter.live = False
        self._left(queue)
        getter.deliver(queue, entry)

    def _take(self, queue: NamedQueue, at: int, most: int) -> Message | Chunk:
        """Take an entry out; of a batch no more than `most` tickets, the rest stays where it is."""
        entry = queue.entries[at]
        if isinstance(entry, Chunk) and entry.tickets > most:
            return self.ledger.cut(entry, most)
        del queue.entries[at]
        return entry

    def _left(self, queue: NamedQueue) -> None:
        if queue.putters:
            queue.refill(self.stopping)
        self.on_room(queue)

    def _first(self, queue: NamedQueue) -> tuple[Getter | None, int]:
        """Whoever has waited longest, of those who ask this queue and those who take chunks of any; and which entry."""
        own = queue.next_getter()
        while self.any_getters and not self.any_getters[0].live:
            self.any_getters.popleft()
        anyone = self.any_getters[0] if self.any_getters and queue.feeders_seen else None
        at = queue.first_chunk() if anyone is not None else None
        if anyone is not None and at is not None and (own is None or anyone.order < own.order):
            self.any_getters.popleft()
            return anyone, at
        if own is not None:
            queue.getters.popleft()
        return own, 0

    def all_drained(self) -> bool:
        """The end, 1: whether plain workers have reached it: no chunk is left anywhere, and none will come."""
        fed = [queue for queue in self.table if queue.feeders_seen]
        return all(self._no_more_chunks(queue) for queue in fed) and (bool(fed) or self.stopping)

    def _no_more_chunks(self, queue: NamedQueue) -> bool:
        if queue.first_chunk() is not None or self.ledger.track(queue.number).ahead:
            return False
        return self.stopping or not queue.feeders_open
