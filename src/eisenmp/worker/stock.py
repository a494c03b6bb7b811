"""Chunks that lie in a worker and are not done: handed out ahead, opened, at work.

What is not begun within some milliseconds is given back: a worker that settles into one long call must not sit on work
that others could do. All of it changes under the channel's condition.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from eisenmp.wire import ANY_QUEUE, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import Batch
from eisenmp.worker.channel import Channel, Disconnected

__all__ = ["Stock"]

_PATIENCE: Final = 0.02  # seconds that a chunk may wait here for its turn
_PARK_AFTER: Final = 50  # idle rounds after which the giving-back thread goes to sleep for good


class Hurried(Protocol):
    """What is at work and can be asked to part with what it has: :class:`eisenmp.worker.batch.Run`."""

    def hurry(self) -> list[list[Buffer]]: ...


class Stock:
    """See the module's text. `plain` workers take chunks of any queue, so that theirs lie in one heap."""

    def __init__(self, *, plain: bool, noted: Callable[[], object]) -> None:
        self._noted = noted  # what waits to go with the next message: the first of it
        self.channel: Channel  # set right after it is made: each needs the other
        self.at_work: Hurried | None = None
        self._plain = plain
        self._ahead: dict[int, deque[Frame]] = {}
        self._opened: dict[int, deque[tuple[Batch, int]]] = {}  # tickets of batches, for one-by-one readers
        self._refusing: set[int] = set()  # queues whose chunks were given back: until the next request, no more ahead
        self._helping = False
        self._closed = False
        self._parked = threading.Event()

    def keep(self, frame: Frame) -> None:
        """Something was handed out ahead; runs under the channel's condition."""
        queue = ANY_QUEUE if self._plain else frame.queue
        if queue in self._refusing:  # it has crossed what was given back, which comes before it
            self.channel.send(_give_back(frame))
            return
        self._ahead.setdefault(queue, deque()).append(frame)
        self._watch()

    def take(self, queue: int) -> Frame | None:
        """The oldest of what was handed out ahead."""
        with self.channel.cond:
            waiting = self._ahead.get(queue)
            return waiting.popleft() if waiting else None

    def asked(self, queue: int) -> None:
        """A request was answered: more may be handed out ahead again."""
        self._refusing.discard(queue)

    def open(self, batch: Batch) -> None:
        """Tickets of a batch, to be taken one by one."""
        with self.channel.cond:
            self._opened.setdefault(batch.queue, deque()).extend([(batch, at) for at in range(batch.tickets)])
            if batch.tickets > 1:
                self._watch()

    def next_opened(self, queue: int) -> tuple[Batch, int] | None:
        """The next of those: (batch, which of its tickets)."""
        opened = self._opened.get(queue)
        if not opened:
            return None
        with self.channel.cond:
            return opened.popleft() if opened else None

    def begin(self, run: Hurried, tickets: int) -> None:
        """This is at work from now on."""
        self.at_work = run
        if tickets > 1:
            with self.channel.cond:
                self._watch()

    def noted(self) -> None:
        """An answer waits for company, and its thread goes on with something else: it must not wait for long."""
        with self.channel.cond:
            self._watch()

    def give_all_back(self) -> None:
        """The worker's function has returned for good: what it has not begun is for others."""
        with self.channel.cond:
            self._give_back_if(lambda _: True)

    def count(self, queue: int) -> int:
        """How many chunks of the queue lie here and are not begun."""
        ahead = sum([frame.tickets or 1 for frame in list(self._ahead.get(queue, ()))])
        return ahead + len(self._opened.get(queue, ()))

    def close(self) -> None:
        """The worker is done: the helping thread ends."""
        with self.channel.cond:
            self._closed = True
            self._parked.set()

    # ---- giving back

    def _watch(self) -> None:
        if not self._helping:
            self._helping = True
            threading.Thread(target=self._help, name="eisenmp-give-back", daemon=True).start()
        elif not self._parked.is_set():
            self._parked.set()

    def _help(self) -> None:
        try:
            self._help_until_closed()
        except Disconnected:
            pass  # the manager is gone, or has ended this worker, which is a thread of its own (engine inline)

    def _help_until_closed(self) -> None:
        """Return what has lain here for too long; sleeps for good while there is nothing."""
        seen: set[Any] = set()
        idle = 0
        self._parked.set()
        while True:
            time.sleep(_PATIENCE)
            run = self.at_work
            if run is not None and run in seen:
                self.at_work = None  # once is enough: what it is at now, it answers when it is done
                self.channel.send(*run.hurry())
            with self.channel.cond:
                now = self._heads()
                idle = 0 if now or seen else idle + 1
                self._return_stale(seen & now)
                seen = self._heads()
                if idle > _PARK_AFTER:
                    self._parked.clear()
            if idle > _PARK_AFTER:
                self._parked.wait()
                idle = 0
            if self._closed:
                return

    def _heads(self) -> set[Any]:
        """What comes next of each heap, what is at work, and the first answer that waits for company."""
        heads: set[Any] = {id(frames[0]) for frames in self._ahead.values() if frames}
        heads |= {opened[0] for opened in self._opened.values() if opened}
        return (heads | {self.at_work, self._noted()}) - {None}

    def _return_stale(self, stale: set[Any]) -> None:
        if self._noted() in stale:
            self.channel.send()
        self._give_back_if(stale.__contains__)

    def _give_back_if(self, meant: Callable[[Any], bool]) -> None:
        """Give back the heaps whose first entry is meant."""
        # sent before anybody here can ask again: the request must not overtake it
        for queue, opened in self._opened.items():
            if opened and meant(opened[0]):
                self.channel.send(*[_give_back_ticket(batch, at) for batch, at in opened])
                opened.clear()
                self._refusing.add(queue)
        for queue, frames in self._ahead.items():
            if frames and meant(id(frames[0])):
                self.channel.send(*[_give_back(frame) for frame in frames])
                frames.clear()
                self._refusing.add(queue)


def _give_back(frame: Frame) -> list[Buffer]:
    return encode(Kind.GIVE_BACK, queue=frame.queue, serial=frame.serial, tickets=frame.tickets)


def _give_back_ticket(batch: Batch, at: int) -> list[Buffer]:
    return encode(Kind.GIVE_BACK, queue=batch.queue, serial=batch.serial + at)
