"""The ledger: what became of every ticket. Pure: a function of events, no clock, no I/O.

A chunk is queued, leased to a worker, and ends in exactly one outcome: done, failed or set aside. A worker that dies
or gives back what it did not get to puts its chunks ahead of the queue again. Execution is at least once, recording
exactly once: an answer from anybody but the present holder of the lease is not counted.

Short chunks of one queue travel several at a time: a batch has tickets in a row and one payload. It is cut where
somebody speaks of a part of it; the parts share the payload.

Ended tickets cost eleven bytes each (state, duration, slot, number of items); attempts are kept only where they are
not 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from copy import copy
from typing import Final

from eisenmp.payload import Payload
from eisenmp.suspects import Search

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


class Chunk:
    """A chunk on its way, or a batch of them: tickets in a row, their items as bytes, and their history so far."""

    nested: bool = False  # the items of each ticket are a pickle in the payload's list
    skip: int = 0  # tickets at the front of the payload that are no longer meant
    failures: int = 0  # tries that ended in an exception
    owner: int | None = None  # worker that holds the lease
    begun: bool = False  # the owner is at it; False: handed out ahead
    sure: bool = False  # it is known to be at this very ticket, not at some ticket of a batch
    attempts: int = 0  # how often it was begun
    since: float = 0.0  # when it was begun last
    sent: float = 0.0  # when it was handed to its owner
    home: int = -1  # slot whose worker died, or left, with it: its replacement gets it, if it asks in time
    owed: frozenset[int] = frozenset()  # places of lost messages among those it forwards: it runs again for these
    search: Search | None = None  # for the items that end its workers; it is handed out in parts then

    def __init__(
        self, queue: int, serial: int, items: int, payload: Payload, nbytes: int, tickets: int = 1, rows: int = 0
    ) -> None:
        self.queue = queue
        self.serial = serial  # of the first ticket
        self.items = items
        self.payload = payload
        self.nbytes = nbytes
        self.tickets = tickets
        self.rows = rows  # items of each ticket in a batch; the last may have fewer
        self.exits: list[str] = []  # how its workers died

    @property
    def end(self) -> int:
        """The first ticket after it."""
        return self.serial + self.tickets

    @property
    def waiting(self) -> int:
        """Tickets that a worker holds and is not at: of a batch that it has begun, all but one."""
        return self.tickets - 1 if self.begun else self.tickets

    def part(self, serial: int, tickets: int, items: int, nbytes: int) -> Chunk:
        """Some of its tickets, from `serial` on, with the same history."""
        one = copy(self)
        one.skip += serial - self.serial
        one.serial, one.tickets, one.items, one.nbytes = serial, tickets, items, nbytes
        one.exits = list(self.exits)
        return one

    def begin(self, now: float) -> None:
        """Its owner gets to it now."""
        self.begun = True
        self.sure = self.tickets == 1
        self.attempts += 1
        self.since = now


class Track:
    """All tickets of one queue."""

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.states = bytearray()
        self.seconds = array("f")
        self.slots = array("h")
        self.items = array("I")
        self.attempts: dict[int, int] = {}
        self.live: dict[int, Chunk] = {}  # by first ticket
        self.live_tickets = 0
        self.live_bytes = 0
        self.ahead = 0  # leased and not begun: as good as queued
        self.counts = [0] * len(State.NAMES)
        self.items_made = 0
        self.items_done = 0  # with an outcome, whatever it is

    def __len__(self) -> int:
        return len(self.states)

    def add(self, items: int, payload: Payload, size: int, tickets: int, rows: int) -> Chunk:
        """New tickets, queued."""
        chunk = Chunk(self.queue, len(self.states), items, payload, size, tickets, rows)
        self.states += bytes(tickets)  # State.QUEUED is 0
        self.seconds.frombytes(bytes(4 * tickets))
        self.slots.extend(array("h", (-1,)) * tickets)  # an array takes an array at once, and a list one by one
        self.items.extend(array("I", (rows,)) * (tickets - 1))
        self.items.append(items - rows * (tickets - 1))
        self.live[chunk.serial] = chunk
        self.live_tickets += tickets
        self.live_bytes += size
        self.counts[State.QUEUED] += tickets
        self.items_made += items
        return chunk

    def restore(self, states: bytes, items: array[int]) -> None:
        """Tickets of an earlier run, before there is any other: those that are not finished are unread."""
        count = len(states)
        self.states += states
        self.seconds.frombytes(bytes(4 * count))
        self.slots.extend(array("h", (-1,)) * count)
        self.items.extend(items)
        for state in (State.DONE, State.FAILED, State.SET_ASIDE, State.UNREAD):
            self.counts[state] += states.count(state)
        unread = sum([items[at] for at in _places(states, State.UNREAD)])
        self.items_made += sum(items) - unread
        self.items_done += sum(items) - unread

    def again(self, serial: int, items: int, payload: Payload, size: int) -> Chunk:
        """A restored ticket that is unread has been cut again: it is queued."""
        self.items[serial] = items
        chunk = Chunk(self.queue, serial, items, payload, size)
        self.live[serial] = chunk
        self.live_tickets += 1
        self.live_bytes += size
        self.items_made += items
        self.move(chunk, State.QUEUED)
        return chunk

    def recall(self, first: int, tickets: int, seconds: float, slot: int, attempts: int) -> None:
        """What a restored ticket's outcome was, now that it is known."""
        stop = first + tickets
        self.seconds[first:stop] = array("f", (seconds,)) * tickets
        self.slots[first:stop] = array("h", (slot,)) * tickets
        if attempts != 1:
            self.attempts.update(dict.fromkeys(range(first, stop), attempts))

    def move(self, chunk: Chunk, state: int) -> None:
        """Change the state of live tickets."""
        serial, tickets = chunk.serial, chunk.tickets
        self.counts[self.states[serial]] -= tickets
        self.counts[state] += tickets
        if tickets == 1:
            self.states[serial] = state
        else:
            self.states[serial : serial + tickets] = bytes((state,)) * tickets

    def end(self, chunk: Chunk, state: int, slot: int, seconds: float) -> None:
        """Record the one outcome of each ticket and forget their items. `seconds`: of them all together."""
        serial, tickets = chunk.serial, chunk.tickets
        self.move(chunk, state)
        del self.live[serial]
        self.live_tickets -= tickets
        self.live_bytes -= chunk.nbytes
        if tickets == 1:
            self.seconds[serial] = seconds
            self.slots[serial] = slot
        else:
            self.seconds[serial : serial + tickets] = array("f", (seconds / tickets,)) * tickets
            self.slots[serial : serial + tickets] = array("h", (slot,)) * tickets
        if chunk.attempts != 1:
            self.attempts.update(dict.fromkeys(range(serial, serial + tickets), chunk.attempts))
        if state != State.UNREAD:
            self.items_done += chunk.items

    def revive(self, chunk: Chunk) -> None:
        """A ticket that had its outcome has none any more: it is queued."""
        serial = chunk.serial
        self.move(chunk, State.QUEUED)
        self.live[serial] = chunk
        self.live_tickets += 1
        self.live_bytes += chunk.nbytes
        self.items_done -= chunk.items
        self.seconds[serial], self.slots[serial] = 0.0, -1
        self.attempts.pop(serial, None)

    def cut(self, chunk: Chunk, tickets: int) -> Chunk:
        """Take that many tickets off the front of a live batch; return them as a chunk of their own."""
        items = min(tickets * chunk.rows, chunk.items)
        size = chunk.nbytes * tickets // chunk.tickets
        front = chunk.part(chunk.serial, tickets, items, size)
        self.live[front.serial] = front
        chunk.serial += tickets
        chunk.skip += tickets
        chunk.tickets -= tickets
        chunk.items -= items
        chunk.nbytes -= size
        self.live[chunk.serial] = chunk
        return front


def _places(states: bytes, state: int) -> Iterator[int]:
    """Where one state is, among many others."""
    at = states.find(state)
    while at >= 0:
        yield at
        at = states.find(state, at + 1)


class Ledger:
    """Tickets of all queues and who holds them.

    Args:
        retries: tries that a ticket gets after an exception (``RETRIES``).
        crash_retries: how often a ticket whose worker died is handed out again (``CRASH_RETRIES``).
        forgives: deaths are no fault of the tickets: they are always handed out again (``RESTARTS``).
        halves: after that, look for the item that does it (suspects.py); else the ticket is set aside whole.
    """

    def __init__(self, retries: int = 0, crash_retries: int = 2, *, halves: bool = False) -> None:
        self.retries = retries
        self.crash_retries = crash_retries
        self.halves = halves
        self.forgives = False
        self.tracks: dict[int, Track] = {}
        self.held: dict[int, dict[tuple[int, int], Chunk]] = {}  # worker -> (queue, first serial) -> chunk

    def track(self, queue: int) -> Track:
        """The tickets of a queue, none at first."""
        if queue not in self.tracks:
            self.tracks[queue] = Track(queue)
        return self.tracks[queue]

    def add(self, queue: int, items: int, payload: Payload, size: int, tickets: int = 1, rows: int = 0) -> Chunk:
        """New tickets for `items` items, `rows` of them each; serial numbers of a queue run from 0 without gaps."""
        return self.track(queue).add(items, payload, size, tickets, rows)

    def again(self, queue: int, serial: int, items: int, payload: Payload, size: int) -> Chunk:
        """A ticket of an earlier run that is not finished has been cut again."""
        return self.tracks[queue].again(serial, items, payload, size)

    def cut(self, chunk: Chunk, tickets: int) -> Chunk:
        """Take that many tickets off the front of a queued batch; all of it when it has no more."""
        return chunk if tickets >= chunk.tickets else self.tracks[chunk.queue].cut(chunk, tickets)

    def lease(self, chunk: Chunk, worker: int, now: float, *, begun: bool) -> None:
        """Hand a queued chunk to a worker. `begun`: the worker asked for it; else it is handed out ahead."""
        track = self.tracks[chunk.queue]
        track.move(chunk, State.LEASED)
        chunk.owner, chunk.sent = worker, now
        if chunk.search is not None:
            chunk.search.begins()
        if begun:
            chunk.begin(now)
        track.ahead += chunk.waiting
        self.held.setdefault(worker, {})[chunk.queue, chunk.serial] = chunk

    def holding(self, worker: int, queue: int, serial: int) -> Chunk | None:
        """The chunk, if this worker holds its lease now; of a batch, any ticket will do."""
        held = self.held.get(worker)
        if not held:
            return None
        exact = held.get((queue, serial))
        if exact is not None:
            return exact
        for chunk in held.values():
            if chunk.queue == queue and chunk.serial <= serial < chunk.end:
                return chunk
        return None

    def begin(self, worker: int, queue: int, serial: int, now: float, tickets: int = 1) -> None:
        """The worker gets to what was handed out ahead to it, or tells which ticket of a batch it is at."""
        chunk = self._part(worker, queue, serial, tickets)
        if chunk is not None and chunk.begun:
            if not chunk.sure:
                chunk.sure, chunk.since = tickets == 1, now
        elif chunk is not None:
            self.tracks[queue].ahead -= chunk.waiting
            chunk.begin(now)
            self.tracks[queue].ahead += chunk.waiting

    def has_ahead(self, worker: int, queue: int | None) -> bool:
        """Whether the worker holds a chunk (of that queue, or of any) that it has not begun."""
        return any(not chunk.begun and queue in (None, chunk.queue) for chunk in self.held.get(worker, {}).values())

    def in_hand(self, worker: int, queue: int) -> tuple[int, bool]:
        """Tickets of that queue that the worker holds: (how many, whether it is at work on one)."""
        held = [chunk for (number, _), chunk in self.held.get(worker, {}).items() if number == queue]
        return sum([chunk.tickets for chunk in held]), any(chunk.begun for chunk in held)

    def busy_since(self, worker: int) -> float | None:
        """When the worker began the oldest of what it is at; None: it is at nothing."""
        return min([chunk.since for chunk in self.held.get(worker, {}).values() if chunk.begun], default=None)

    def begun(self, worker: int) -> list[Chunk]:
        """What the worker is at."""
        return [chunk for chunk in self.held.get(worker, {}).values() if chunk.begun]

    def done(
        self,
        worker: int,
        queue: int,
        serial: int,
        slot: int,
        seconds: float,
        tickets: int = 1,
        *,
        failed: bool = False,
    ) -> Chunk | None:
        """The worker's answer to tickets in a row; None when it does not hold their lease (any more).

        `failed`: some items of the ticket have raised.
        """
        chunk = self._release(worker, queue, serial, tickets)
        if chunk is not None:
            self.tracks[queue].end(chunk, State.FAILED if failed else State.DONE, slot, seconds)
        return chunk

    def searching(self, worker: int, queue: int, serial: int) -> Search | None:
        """The search for what is wrong with a ticket, of which the worker holds a part."""
        chunk = self.holding(worker, queue, serial)
        return None if chunk is None else chunk.search

    def part_done(self, worker: int, queue: int, serial: int, slot: int) -> Chunk | None:
        """The search has heard of a part: the ticket has ended with it, or goes on with the next part."""
        chunk = self._release(worker, queue, serial, 1)
        if chunk is None or chunk.search is None:
            return chunk
        if chunk.search.over:
            self._end_search(chunk, chunk.search, slot)
        else:
            self.tracks[queue].move(chunk, State.QUEUED)
        return chunk

    def _end_search(self, chunk: Chunk, search: Search, slot: int) -> None:
        failed = any(part.error is not None or part.item_errors for part in search.outcomes)
        state = State.SET_ASIDE if search.accused else State.FAILED if failed else State.DONE
        self.tracks[chunk.queue].end(chunk, state, slot, search.seconds)

    def failed(
        self, worker: int, queue: int, serial: int, slot: int, seconds: float, *, last: bool = False
    ) -> tuple[Chunk, bool] | None:
        """A try ended in an exception: (chunk, whether it goes back to the queue); None when not held.

        `last`: there will be no further try, whatever ``RETRIES`` says.
        """
        chunk = self._release(worker, queue, serial, 1)
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

    def given_back(self, worker: int, queue: int, serial: int, tickets: int = 1) -> Chunk | None:
        """The worker returns tickets that it has not begun; nothing is counted against them."""
        chunk = self._part(worker, queue, serial, tickets)
        if chunk is None:
            return None
        if chunk.begun and chunk.attempts:
            chunk.attempts -= 1  # it had begun the batch, not these
        self._let_go(chunk)
        self.tracks[queue].move(chunk, State.QUEUED)
        return chunk

    def returned(self, worker: int) -> list[Chunk]:
        """The worker has finished for good: chunks that it never began go back, oldest first."""
        return [
            chunk
            for (queue, serial), held in list(self.held.get(worker, {}).items())
            if not held.begun and (chunk := self.given_back(worker, queue, serial, held.tickets)) is not None
        ]

    def died(self, worker: int, slot: int, reason: str, *, blame: bool = True) -> tuple[list[Chunk], list[Chunk]]:
        """The worker is gone: (chunks to hand out again, chunks set aside), oldest first.

        Only what the worker had begun can have killed it. Its neighbours, handed out ahead, are not blamed. Of a batch
        that it had begun nobody knows which ticket it was: they go on one by one, and none is blamed yet. What is set
        aside may have a search, which tells of its items. `blame` False: the process was to end, and nothing in its
        hands can be the reason.
        """
        blame = blame and not self.forgives
        again: list[Chunk] = []
        aside: list[Chunk] = []
        for chunk in list(self.held.get(worker, {}).values()):
            track = self.tracks[chunk.queue]
            begun, sure = chunk.begun, chunk.sure
            self._let_go(chunk)
            track.move(chunk, State.QUEUED)
            if begun and chunk.tickets > 1:
                again += [track.cut(chunk, 1) for _ in range(chunk.tickets - 1)]
            if begun:
                chunk.home = slot
            if not (begun and sure and blame):
                again.append(chunk)
                continue
            chunk.exits.append(reason)
            if self._goes_on(chunk, reason):
                again.append(chunk)
            elif chunk.search is not None:
                self._end_search(chunk, chunk.search, slot)
                aside.append(chunk)
            else:
                track.end(chunk, State.SET_ASIDE, slot, 0.0)
                aside.append(chunk)
        self.held.pop(worker, None)
        return again, aside

    def _goes_on(self, chunk: Chunk, reason: str) -> bool:
        """Whether a ticket over which its worker died is handed out again, whole or in parts."""
        if chunk.search is not None:
            chunk.search.died(reason)
            return not chunk.search.over
        left = self.crash_retries - len(chunk.exits)
        if self.halves and chunk.items and (left < 0 if chunk.items > 1 else left == 0):
            chunk.search = Search(chunk.items, chunk.exits, self.crash_retries)
            return True
        return left >= 0

    def revive(self, chunk: Chunk) -> None:
        """A chunk that has its outcome is queued again, as if it had never been tried."""
        self.tracks[chunk.queue].revive(chunk)
        chunk.failures = chunk.attempts = 0
        chunk.exits = []
        chunk.search = None
        chunk.home = -1

    def unread(self, chunk: Chunk) -> None:
        """The job is over and nobody took this queued chunk."""
        self.tracks[chunk.queue].end(chunk, State.UNREAD, -1, 0.0)

    def leased(self) -> Iterator[Chunk]:
        """All chunks that some worker holds."""
        for held in self.held.values():
            yield from held.values()

    def _release(self, worker: int, queue: int, serial: int, tickets: int) -> Chunk | None:
        chunk = self._part(worker, queue, serial, tickets)
        if chunk is not None:
            self._let_go(chunk)
        return chunk

    def _part(self, worker: int, queue: int, serial: int, tickets: int) -> Chunk | None:
        """Exactly these tickets, cut out of what the worker holds; None when it does not hold them all."""
        chunk = self.holding(worker, queue, serial)
        if chunk is None or serial + tickets > chunk.end:
            return None
        if chunk.serial < serial:
            self._cut_held(chunk, serial - chunk.serial)
        return self._cut_held(chunk, tickets) if tickets < chunk.tickets else chunk

    def _cut_held(self, chunk: Chunk, tickets: int) -> Chunk:
        """Cut a leased batch in two; both stay leased. Returns the front."""
        track = self.tracks[chunk.queue]
        assert chunk.owner is not None
        held = self.held[chunk.owner]
        track.ahead -= chunk.waiting
        del held[chunk.queue, chunk.serial]
        front = track.cut(chunk, tickets)
        for part in (front, chunk):
            held[part.queue, part.serial] = part
            track.ahead += part.waiting
        return front

    def _let_go(self, chunk: Chunk) -> None:
        if chunk.owner is not None:
            held = self.held[chunk.owner]
            del held[chunk.queue, chunk.serial]
            if not held:
                del self.held[chunk.owner]
            self.tracks[chunk.queue].ahead -= chunk.waiting
        chunk.owner = None
        chunk.begun = chunk.sure = False
