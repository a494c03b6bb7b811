"""The queues of a manager as its user has them: made, named, found again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.equipment import Equipment
from eisenmp.errors import SettingsError, nearest
from eisenmp.exchange import Exchange
from eisenmp.handles import ManagerQueue
from eisenmp.ledger import Ledger
from eisenmp.queues import NamedQueue, QueueTable

__all__ = ["Queues", "Shelf"]

Wanted = tuple[str | None, str, int]  # category, name, maxsize


class Queues(Mapping[Any, ManagerQueue]):
    """``emp.queues[name]`` and ``emp.queues[category, name]``."""

    def __init__(self) -> None:
        self.handles: list[ManagerQueue] = []  # by number
        self._by_key: dict[Any, ManagerQueue] = {}

    def add(self, handle: ManagerQueue, category: str | None, short: str) -> None:
        """One more queue."""
        self.handles.append(handle)
        self._by_key[short if category is None else (category, short)] = handle

    def __getitem__(self, key: Any) -> ManagerQueue:
        try:
            return self._by_key[key]
        except KeyError:
            names = ["|".join(k) if isinstance(k, tuple) else k for k in self._by_key]
            hint = nearest("|".join(map(str, key)) if isinstance(key, tuple) else str(key), names)
            raise KeyError(f"no queue {key!r}{hint}; there are: {', '.join(names)}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


class Shelf:
    """Holds queues, the five that are always there first, and what workers get beside them."""

    def __init__(self) -> None:
        self._exchange = Exchange(QueueTable(), Ledger())
        self._lock = self._exchange.lock
        self._equipment = Equipment()
        self.queues = Queues()
        self.q_name_id_lst: list[tuple[str, int, ManagerQueue]] = []  # the default input queue first
        self.queue_cust_dict_std: dict[str, ManagerQueue] = {}
        self.queue_cust_dict_cat: dict[str, dict[str, ManagerQueue]] = {}
        self.queue_std_dict: dict[str, ManagerQueue] = {}  # 1.0's name for the default queues
        for queue in self._exchange.table:
            handle = ManagerQueue(self._exchange, queue)
            self.queues.add(handle, None, queue.short)
            self.queue_std_dict[queue.short] = handle
            self.q_name_id_lst.append((handle.name, id(handle), handle))
        self.mp_input_q, self.mp_output_q, self.mp_print_q, self.mp_info_q, self.mp_tools_q = self.queues.handles

    def queue_cust_dict_std_create(self, *wanted: Any) -> None:
        """Create named queues: ``('blue_q_7', 3)`` flat, or any number of ``(name, maxsize)`` tuples.

        Raises:
            SettingsError (a ValueError): a name exists already; none of this call's queues is created.
        """
        self._create([(None, *row) for row in _rows(wanted, 2, "(name, maxsize)")])

    def queue_cust_dict_category_create(self, *wanted: Any) -> None:
        """Create queues in categories: flat, or any number of ``(category, name, maxsize)`` tuples. See above."""
        self._create([(row[0], row[1], row[2]) for row in _rows(wanted, 3, "(category, name, maxsize)")])

    def add_queue(self, name: str, maxsize: int = 0, category: str | None = None) -> ManagerQueue:
        """Create one queue and return it. ``maxsize`` 0: no bound."""
        return self._create([(category, name, maxsize)])[0]

    def _create(self, wanted: list[Wanted]) -> list[ManagerQueue]:
        with self._lock:
            for category, name, _ in wanted:
                self._equipment.refuse_taken(category or name, "queue")
            made = self._exchange.table.create(wanted)
            handles = []
            for queue in made:
                handle = ManagerQueue(self._exchange, queue)
                self.queues.add(handle, queue.category, queue.short)
                if queue.category is None:
                    self.queue_cust_dict_std[queue.short] = handle
                else:
                    self.queue_cust_dict_cat.setdefault(queue.category, {})[queue.short] = handle
                self.q_name_id_lst.append((handle.name, id(handle), handle))
                handles.append(handle)
                self._queue_made(queue)
            return handles

    def find_queue(self, what: Any) -> tuple[str, int, ManagerQueue]:
        """The tuple of ``q_name_id_lst`` for a name, an ``id()`` or a queue.

        Raises:
            KeyError: there is none; the nearest name is given.
        """
        for handle in self.queues.handles:
            if what is handle or (isinstance(what, int) and what == id(handle)):
                return handle.name, id(handle), handle
        if isinstance(what, str):
            handle = self.queues.handles[self._exchange.table.find(what).number]
            return handle.name, id(handle), handle
        raise KeyError(f"no queue with the id or reference {what!r}; there are: {', '.join(map(str, self.queues))}")

    def _queue_made(self, queue: NamedQueue) -> None:
        """There is one more; called under the lock."""

    def _target(self, queue: Any) -> ManagerQueue:
        if queue is None:
            return self.mp_input_q
        handle = queue
        if isinstance(queue, str | tuple):
            handle = self.queues[queue]
        if not any(handle is known for known in self.queues.handles):
            raise SettingsError(f"input_q={queue!r} is no queue of this manager; use emp.queues[name]")
        if handle.number and handle.number < len(DEFAULT_QUEUES):
            raise SettingsError(f"queue {handle.name!r} has a task of its own and cannot be fed; use mp_input_q")
        return handle  # type: ignore[no-any-return]


def _rows(wanted: tuple[Any, ...], size: int, shape: str) -> list[tuple[Any, ...]]:
    """The rows of a create call, given flat or as tuples."""
    if len(wanted) == size and not isinstance(wanted[0], tuple | list):
        return [wanted]
    for row in wanted:
        if not isinstance(row, tuple | list) or len(row) != size:
            raise SettingsError(f"queue {row!r} does not fit; allowed: {shape}, flat or any number of such tuples")
    return [tuple(row) for row in wanted]
