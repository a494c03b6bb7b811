"""The ledger: what became of every ticket. Pure: a function of events, no clock, no I/O.

A chunk is queued, leased to a worker, and ends in exactly one outcome: done, failed or set aside. A worker that dies
or gives back what it did not get to puts its chunks ahead of the queue again. Execution is at least once, recording
exactly once: an answer from anybody but the present holder of the lease is not counted.

Ended tickets cost a byte of state, four of duration and two of slot each; attempts are kept only where they were not 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from eisenmp.payload import Payload

__all__ = ["Chunk", "Ledger", "State", "Track"]


class State:
    """What became of a ticket, as one byte."""

    QUEUED: Final = 0
    LEASED: Final = 1
    DONE: Final = 2
    FAILED: Final = 3  # an exception, or an object that could not be pickled
    SET_ASIDE: Final = 4  # its worker died each time
    UNREAD: Final = 5  # the job ended before anybody took it

    NAMES: Final = ("queued", "leased", "done", "failed", "set aside", "unread")


@dataclass(slots=True, eq=False)
class Chunk:
    """A chunk on its way: ticket (queue number, serial), its items as bytes, and its history so far."""

    queue: int
    serial: int
    items: int
    payload: Payload
    nbytes: int
    failures: int = 0  # tries that ended in an exception
    exits: list[str] = field(default_factory=list)  # how its workers died
    owner: int | None = None  # worker that holds the lease
    begun: bool = False  # asked for by its owner; False: handed out ahead
    attempts: int = 0  # how often it was begun
    since: float = 0.0  # when it was begun last

    def begin(self, now: float) -> None:
        """Its owner gets to it now."""
        self.begun = True
        self.attempts += 1
        self.since = now


class Track:
    """All tickets of one queue."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.states = bytearray()
        self.seconds = array("f")
        self.slots = array("h")
        self.attempts: dict[int, int] = {}
        self.live: dict[int, Chunk] = {}
        self.live_bytes = 0
        self.ahead = 0  # leased and not begun: as good as queued
        self.counts = [0] * len(State.NAMES)
        self.items_made = 0
        self.items_done = 0  # with an outcome, whatever it is

    def __len__(self) -> int:
        return len(self.states)

    def add(self, items: int, payload: Payload, size: int) -> Chunk:
        """A new ticket, queued."""
        chunk = Chunk(self.queue, len(self.states), items, payload, size)
        self.states.append(State.QUEUED)
        self.seconds.append(0.0)
        self.slots.append(-1)
        self.live[chunk.serial] = chunk
        self.live_bytes += size
        self.counts[State.QUEUED] += 1
        self.items_made += items
        return chunk

    def move(self, chunk: Chunk, state: int) -> None:
        """Change the state of a live ticket."""
        self.counts[self.states[chunk.serial]] -= 1
        self.states[chunk.serial] = state
        self.counts[state] += 1

    def end(self, chunk: Chunk, state: int, slot: int, seconds: float) -> None:
        """Record the one outcome of a ticket and forget its items."""
        serial = chunk.serial
        self.move(chunk, state)
        del self.live[serial]
        self.live_bytes -= chunk.nbytes
        self.seconds[serial] = seconds
        self.slots[serial] = slot
        if chunk.attempts != 1:
            self.attempts[serial] = chunk.attempts
        if state != State.UNREAD:
            self.items_done += chunk.items


class Ledger:
    """Tickets of all queues and who holds them.

    Args:
        retries: tries that a ticket gets after an exception (``RETRIES``).
        crash_retries: how often a ticket whose worker died is handed out again (``CRASH_RETRIES``).
    """

    def __init__(self, retries: int = 0, crash_retries: int = 2) -> None:
        self.retries = retries
        self.crash_retries = crash_retries
        self.tracks: dict[int, Track] = {}
        self.held: dict[int, dict[tuple[int, int], Chunk]] = {}  # worker -> (queue, serial) -> chunk, oldest first

    def track(self, queue: int) -> Track:
        """The tickets of a queue, none at first."""
        if queue not in self.tracks:
            self.tracks[queue] = Track(queue)
        return self.tracks[queue]

    def add(self, queue: int, items: int, payload: Payload, size: int) -> Chunk:
        """A new ticket for `items` items; serial numbers of a queue run from 0 without gaps."""
        return self.track(queue).add(items, payload, size)

    def lease(self, chunk: Chunk, worker: int, now: float, *, begun: bool) -> None:
        """Hand a queued chunk to a worker. `begun`: the worker asked for it; else it is handed out ahead."""
        self.tracks[chunk.queue].move(chunk, State.LEASED)
        chunk.owner = worker
        if begun:
            chunk.begin(now)
        else:
            self.tracks[chunk.queue].ahead += 1
        self.held.setdefault(worker, {})[chunk.queue, chunk.serial] = chunk

    def holding(self, worker: int, queue: int, serial: int) -> Chunk | None:
        """The chunk, if this worker holds its lease now."""
        held = self.held.get(worker)
        return held.get((queue, serial)) if held else None

    def begin(self, worker: int, queue: int, serial: int, now: float) -> None:
        """The worker gets to a chunk that was handed out ahead to it."""
        chunk = self.holding(worker, queue, serial)
        if chunk is not None and not chunk.begun:
            chunk.begin(now)
            self.tracks[queue].ahead -= 1

    def has_ahead(self, worker: int, queue: int | None) -> bool:
        """Whether the worker holds a chunk (of that queue, or of any) that it has not begun."""
        return any(not chunk.begun and queue in (None, chunk.queue) for chunk in self.held.get(worker, {}).values())

    def in_hand(self, worker: int, queue: int) -> tuple[int, bool]:
        """Leases of that queue that the worker holds: (how many, whether it is at work on one)."""
        held = [chunk.begun for (number, _), chunk in self.held.get(worker, {}).items() if number == queue]
        return len(held), any(held)

    def done(self, worker: int, queue: int, serial: int, slot: int, seconds: float) -> Chunk | None:
        """The worker's answer to a ticket; None when it does not hold the lease (any more)."""
        chunk = self._release(worker, queue, serial)
        if chunk is not None:
            self.tracks[queue].end(chunk, State.DONE, slot, seconds)
        return chunk

    def failed(
        self, worker: int, queue: int, serial: int, slot: int, seconds: float, *, last: bool = False
    ) -> tuple[Chunk, bool] | None:
        """A try ended in an exception: (chunk, whether it goes back to the queue); None when not held.

        `last`: there will be no further try, whatever ``RETRIES`` says.
        """
        chunk = self._release(worker, queue, serial)
        if chunk is None:
            return None
        if chunk.failures < self.retries and not last:
            chunk.failures += 1
            self.tracks[queue].move(chunk, State.QUEUED)
            return chunk, True
        self.tracks[queue].end(chunk, State.FAILED, slot, seconds)
        return chunk, False

    def spoiled(self, chunk: Chunk) -> None:
        """A queued chunk cannot be sent (its items do not pickle): it has failed without a worker."""
        self.tracks[chunk.queue].end(chunk, State.FAILED, -1, 0.0)

    def given_back(self, worker: int, queue: int, serial: int) -> Chunk | None:
        """The worker returns a chunk that it has not begun; nothing is counted against the chunk."""
        chunk = self.holding(worker, queue, serial)
        if chunk is None:
            return None
        self._let_go(chunk)
        self.tracks[queue].move(chunk, State.QUEUED)
        return chunk

    def returned(self, worker: int) -> list[Chunk]:
        """The worker has finished for good: chunks that it never began go back, oldest first."""
        return [
            chunk
            for (queue, serial), held in list(self.held.get(worker, {}).items())
            if not held.begun and (chunk := self.given_back(worker, queue, serial)) is not None
        ]

    def died(self, worker: int, slot: int, reason: str) -> tuple[list[Chunk], list[Chunk]]:
        """The worker is gone: (chunks to hand out again, chunks set aside), oldest first.

        Only what the worker had begun can have killed it. Its neighbours, handed out ahead, are not blamed.
        """
        again: list[Chunk] = []
        aside: list[Chunk] = []
        for chunk in list(self.held.get(worker, {}).values()):
            track = self.tracks[chunk.queue]
            if chunk.begun:
                chunk.exits.append(reason)
            begun = chunk.begun
            self._let_go(chunk)
            if begun and len(chunk.exits) > self.crash_retries:
                track.end(chunk, State.SET_ASIDE, slot, 0.0)
                aside.append(chunk)
            else:
                track.move(chunk, State.QUEUED)
                again.append(chunk)
        self.held.pop(worker, None)
        return again, aside

    def unread(self, chunk: Chunk) -> None:
        """The job is over and nobody took this queued chunk."""
        self.tracks[chunk.queue].end(chunk, State.UNREAD, -1, 0.0)

    def leased(self) -> Iterator[Chunk]:
        """All chunks that some worker holds."""
        for held in self.held.values():
            yield from held.values()

    def _release(self, worker: int, queue: int, serial: int) -> Chunk | None:
        chunk = self.holding(worker, queue, serial)
        if chunk is None:
            return None
        self._let_go(chunk)
        return chunk

    def _let_go(self, chunk: Chunk) -> None:
        if chunk.owner is not None:
            held = self.held[chunk.owner]
            del held[chunk.queue, chunk.serial]
            if not held:
                del self.held[chunk.owner]
            if not chunk.begun:
                self.tracks[chunk.queue].ahead -= 1
        chunk.owner = None
        chunk.begun = False
