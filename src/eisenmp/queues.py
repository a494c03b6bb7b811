"""Named bounded queues, manager side: who holds what, who waits for what. Pure state, no I/O, no lock of its own.

The dispatcher calls these under its lock. Users see a queue through :class:`eisenmp.handles.ManagerQueue` in the
manager and :class:`eisenmp.worker.proxies.QueueProxy` in a worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from eisenmp.constants import DEFAULT_QUEUES, DEFAULT_SUFFIX
from eisenmp.errors import SettingsError, nearest
from eisenmp.ledger import Chunk
from eisenmp.payload import Payload

__all__ = ["Getter", "Message", "NamedQueue", "Origin", "Putter", "QueueTable", "Row"]

Row = tuple[int, str, str, str | None, int]  # number, full name, short name, category, maxsize


class Message:
    """An object put by hand: no ticket, delivered once, never sent again."""

    def __init__(self, payload: Payload, origin: Origin | None = None) -> None:
        self.payload = payload
        self.origin = origin


class Origin(NamedTuple):
    """Of a message that lies elsewhere and may get lost there: the ticket that makes it, and at which place of many."""

    chunk: Chunk
    serial: int
    place: int


class Getter:
    """Somebody who waits for an entry. ``deliver`` gets the entry, or None for the end of the stream."""

    order: int = 0
    live: bool = True

    def __init__(
        self,
        worker: int | None,
        deliver: Callable[[NamedQueue, Message | Chunk | None], None],
        most: Callable[[NamedQueue], int] | None = None,
        slot: int = -1,
    ) -> None:
        self.worker = worker  # None: a thread of the manager
        self.deliver = deliver
        self.most = most  # tickets of a batch that it takes at a time; None: one
        self.slot = slot  # of the worker


class Putter:
    """Somebody who waits for room with a message in hand."""

    live: bool = True

    def __init__(self, worker: int | None, message: Message, accepted: Callable[[], None]) -> None:
        self.worker = worker
        self.message = message
        self.accepted = accepted


class NamedQueue:
    """One queue. ``maxsize`` 0 means no bound, as with ``queue.Queue``."""

    feeders_open: int = 0
    feeders_seen: int = 0
    touched: bool = False  # something was put by hand, once

    def __init__(self, number: int, name: str, short: str, category: str | None, maxsize: int) -> None:
        self.number = number
        self.name = name  # as in q_name_id_lst: 'blue_q_7', 'category|name', 'mp_input_q (default)'
        self.short = short
        self.category = category
        self.maxsize = maxsize
        self.entries: deque[Message | Chunk] = deque()
        self.getters: deque[Getter] = deque()
        self.putters: deque[Putter] = deque()

    @property
    def row(self) -> Row:
        """What a worker needs to know of the queue."""
        return (self.number, self.name, self.short, self.category, self.maxsize)

    @property
    def full(self) -> bool:
        return 0 < self.maxsize <= len(self.entries)

    @property
    def fill(self) -> int:
        """How many objects and chunks are queued."""
        return sum([entry.tickets if isinstance(entry, Chunk) else 1 for entry in self.entries])

    @property
    def drained(self) -> bool:
        """All its feeders are done and nothing is queued: a reader that asks now has reached the end."""
        return self.feeders_seen > 0 and not self.feeders_open and not self.entries and not self.putters

    def refill(self, anyway: bool = False) -> None:
        """Let waiting putters in as far as there is room, or all of them."""
        while self.putters and (anyway or not self.full):
            putter = self.putters.popleft()
            if putter.live:
                self.touched = True
                self.entries.append(putter.message)
                putter.accepted()

    def waiting(self) -> list[Getter | Putter]:
        """Everybody who waits here."""
        return [*self.getters, *self.putters]

    def first_chunk(self) -> int | None:
        """Where the first chunk stands among what is queued; None when there is none."""
        for at, entry in enumerate(self.entries):
            if isinstance(entry, Chunk):
                return at
        return None

    def own_chunk(self, slot: int) -> int:
        """Where the chunk stands that the slot's last process had; without one, the front."""
        for at, entry in enumerate(self.entries):
            if not isinstance(entry, Chunk) or entry.home < 0:
                return 0  # those that came back stand ahead of all others
            if entry.home == slot:
                return at
        return 0

    def next_getter(self) -> Getter | None:
        """The reader that has waited longest here, still waiting."""
        while self.getters and not self.getters[0].live:
            self.getters.popleft()
        return self.getters[0] if self.getters else None


class QueueTable:
    """All queues of a job, by number, by name and by category."""

    def __init__(self) -> None:
        self.rows: list[NamedQueue] = []
        self.by_name: dict[str, NamedQueue] = {}
        for name in DEFAULT_QUEUES:
            self._append(name + DEFAULT_SUFFIX, name, None, 0)

    def __iter__(self) -> Iterator[NamedQueue]:
        return iter(self.rows)

    def __getitem__(self, number: int) -> NamedQueue:
        return self.rows[number]

    def find(self, name: str) -> NamedQueue:
        """The queue of that name, default queues also by their bare name."""
        found = self.by_name.get(name) or self.by_name.get(name + DEFAULT_SUFFIX)
        if found is None:
            raise KeyError(f"no queue {name!r}{nearest(name, self.by_name)}; there are: {', '.join(self.by_name)}")
        return found

    def create(self, wanted: list[tuple[str | None, str, int]]) -> list[NamedQueue]:
        """Create all queues of one call, (category, name, maxsize) each, or none of them.

        Raises:
            SettingsError (a ValueError): a name exists already or is given twice; a maxsize is no whole number.
        """
        seen = set(self.by_name)
        singles = {q.short for q in self.rows if q.category is None}
        categories = {q.category for q in self.rows if q.category is not None}
        for category, name, maxsize in wanted:
            self._check(category, name, maxsize, seen)
            (singles if category is None else categories).add(name if category is None else category)
            if both := singles & categories:
                raise SettingsError(
                    f"{both.pop()!r} cannot be both a queue and a category: each is one attribute of the toolbox"
                )
        return [
            self._append(f"{category}|{name}" if category is not None else name, name, category, max(0, maxsize))
            for category, name, maxsize in wanted
        ]

    def _check(self, category: Any, name: Any, maxsize: Any, seen: set[str]) -> None:
        for what, text in (("name", name), ("category", category)):
            if not (isinstance(text, str) and text) and not (what == "category" and text is None):
                raise SettingsError(f"queue {what} {text!r} does not fit; allowed: a text that is not empty")
        if not isinstance(maxsize, int) or isinstance(maxsize, bool):
            raise SettingsError(f"queue {name!r}: maxsize={maxsize!r}; allowed: a whole number, 0 means no bound")
        full = f"{category}|{name}" if category is not None else name
        if full in seen or (category is None and name in DEFAULT_QUEUES):
            raise SettingsError(f"a queue {full!r} exists already; none of this call's queues was created")
        seen.add(full)

    def _append(self, full: str, short: str, category: str | None, maxsize: int) -> NamedQueue:
        queue = NamedQueue(len(self.rows), full, short, category, maxsize)
        self.rows.append(queue)
        self.by_name[full] = queue
        return queue
