"""The manager's end of one actor: what goes to it, what comes from it, and how it ended.

Calls of Ray are made by the engine's own thread, ``post`` says where; results come in on Ray's threads and wait in
`arrived` until the dispatcher takes them.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from eisenmp.engines.base import Event, Exit, Handed, exit_text
from eisenmp.engines.ray.fate import constructor_error, death_text
from eisenmp.engines.ray.groups import Drained, Hello, Unpacker, pack, split
from eisenmp.engines.ray.handle import ActorHandle
from eisenmp.engines.ray.store import fetch
from eisenmp.errors import ProtocolError
from eisenmp.remote import Remote, Stored, is_remote
from eisenmp.wire import Buffer, Kind, read_serial

__all__ = ["Link"]

_DRAINS: Final = 2  # calls that wait at the actor: one comes back, and the next one is there already
_FENCE: Final = 5.0  # seconds that Ray gets to confirm an end that we are sure of
_KILLED: Final = Exit(-9, exit_text(-9))


class Link:
    """One worker.

    Args:
        number: of the worker.
        handle: shows it to the user.
        post: has a call made by the thread that speaks to Ray.
        on_arrived: called, on a thread of Ray's, when something has come.
    """

    def __init__(
        self,
        number: int,
        handle: ActorHandle,
        post: Callable[[Callable[[], object]], None],
        on_arrived: Callable[[Link], None],
    ) -> None:
        self.number = number
        self.handle = handle
        self.begun = time.monotonic()
        self.arrived: deque[Any] = deque()
        self.doomed_at: float | None = None  # since then it is known that it ends
        self._post = post
        self._on_arrived = on_arrived
        self._actor: Any = None
        self._lock = threading.Lock()
        self._noted: deque[list[Buffer]] = deque()
        self._posted = False
        self._pushed = 0
        self._waiting = _DRAINS  # drains under way, or about to be
        self._drained: dict[int, Drained] = {}
        self._next = 0
        self._unpacker = Unpacker(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
        self._end: Exit | None = None
        self._over = False
        self.failure = ""  # the actor could not be made: why

    # ---- any thread

    def note(self, message: list[Buffer]) -> None:
        """A message for the worker; :meth:`flush` sends it."""
        self._noted.append(message)

    def flush(self) -> None:
        """Send what was noted."""
        with self._lock:
            if self._posted or not self._noted:
                return
            self._posted = True
        self._post(self._push)

    def kill(self) -> None:
        """End the actor."""
        if self._end is None:
            self._doom(_KILLED)
        self._post(self._kill)

    def lose(self, words: str) -> None:
        """Nothing will be heard of it any more."""
        if self._end is None:
            self._doom(Exit(None, words))
        self._over = True
        self._on_arrived(self)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._post(lambda: self._actor is not None and self._actor.signal.remote(number))

    # ---- the thread that speaks to Ray

    def begin(self, make: Callable[[], Any]) -> None:
        """Make the actor, and wait at its outbox."""
        if self._end is not None:  # killed before it was there
            self._over = True
            self._on_arrived(self)
            return
        try:
            self._actor = make()
        except Exception as error:
            self._doom(Exit(None, f"no actor: {type(error).__name__}: {error}"))
            self._over = True
            self._on_arrived(self)
            return
        for _ in range(_DRAINS):
            self._drain()
        self._push()

    def _push(self) -> None:
        with self._lock:
            self._posted = False
            if self._actor is None:
                return  # `begin` will do it
            messages = [self._noted.popleft() for _ in range(len(self._noted))]
        if self._end is not None:
            return
        for group in split(messages):
            streams, large = pack(group)
            if is_remote(large):
                self._push_far(read_serial(group[0][0]), streams, large)
                continue
            self._actor.push.remote(self._pushed, len(streams), *streams, *map(_argument, large))
            self._pushed += 1

    def _push_far(self, request: int, streams: list[bytes], large: list[Any]) -> None:
        """The answer to a request, with pieces that lie at another actor; the two see to them between themselves."""
        ref = self._actor.push_far.remote(self._pushed, len(streams), *streams, *map(_argument, large))
        self._pushed += 1

        def over(result: Any, _: Any = (ref, large)) -> None:
            if not isinstance(result, BaseException):  # else the actor is gone, and that is told elsewhere
                self._arrive(Handed(request, lost=not result))

        ref._on_completed(over)

    def _unshelve(self, came: Drained) -> None:
        """Have what was left at the actor laid into the memory of its node; only then is taken in what speaks of it."""
        keys = [key for _, key, _ in came.shelved]
        try:
            done, *refs = self._actor.unshelve.options(num_returns=1 + len(keys)).remote(keys)
        except Exception as error:  # the cluster is gone
            self._arrive(error)
            return
        large = list(came.large)
        for (place, _, size), ref in zip(came.shelved, refs, strict=True):
            large[place] = Remote(size, ref, fetch)
        whole = came._replace(large=large, shelved=())
        done._on_completed(lambda result, _=done: self._arrive(result if isinstance(result, BaseException) else whole))

    def _drain(self) -> None:
        try:
            ref = self._actor.drain.remote()
            ref._on_completed(lambda result, _=ref: self._arrive(result))  # a result without a reference is dropped
        except Exception as error:  # the cluster is gone
            self._arrive(error)

    def _kill(self) -> None:
        if self._actor is not None:
            import ray

            try:
                ray.kill(self._actor)
            except Exception:
                pass  # it is gone, or the whole cluster is

    def _arrive(self, result: Any) -> None:
        """On a thread of Ray's."""
        if isinstance(result, Drained) and result.shelved:
            self._post(lambda: self._unshelve(result))
            return
        self.arrived.append(result)
        self._on_arrived(self)

    # ---- the thread that takes

    def take(self) -> list[Event]:
        """What has come. The last event is the worker's exit."""
        events: list[Event] = []
        while self.arrived:
            result = self.arrived.popleft()
            if isinstance(result, Handed):
                events.append(Event(self.number, result))
                continue
            self._waiting -= 1
            if isinstance(result, BaseException):
                self._failed(result)
            else:
                self._drained[result.number] = result
                self._in_order(events)
        if self._ready_to_go():
            assert self._end is not None
            events.append(Event(self.number, self._end))
        return events

    def finish(self) -> None:
        """Its exit has been told."""
        assert self._end is not None
        self.handle.ended(self._end)

    def _ready_to_go(self) -> bool:
        if self._end is None:
            return False
        overdue = self.doomed_at is not None and time.monotonic() - self.doomed_at > _FENCE
        return self._over or overdue or (self._actor is not None and not self._waiting)

    def _in_order(self, events: list[Event]) -> None:
        while self._next in self._drained:
            came = self._drained.pop(self._next)
            self._next += 1
            if came.hello is not None:
                self._welcome(came.hello)
            self._unpack(came, events)
            if came.code is not None:
                self._doom(self._end or Exit(came.code, exit_text(came.code)))
                self._post(self._kill)
            elif self._end is None:
                self._waiting += 1
                self._post(self._drain)

    def _welcome(self, hello: Hello) -> None:
        self.handle.came(Hello(*hello))

    def _unpack(self, came: Drained, events: list[Event]) -> None:
        try:
            frames = self._unpacker.add(self._next - 1, came.streams, came.large, own=True)
        except ProtocolError as error:
            self._doom(Exit(None, f"a broken message ({error})"))
            self._post(self._kill)
            return
        events += [Event(self.number, frame) for frame in frames]

    def _failed(self, error: BaseException) -> None:
        said = str(error)
        if self._end is None:
            self.failure = constructor_error(said) if self.handle.hello is None else ""
            self._doom(Exit(None, death_text(said)))
            self._post(self._kill)  # who only cannot be reached must not go on either

    def _doom(self, end: Exit) -> None:
        self._end = end
        self.doomed_at = self.doomed_at or time.monotonic()


def _argument(piece: Any) -> Any:
    """A large piece as an argument of a call; Ray puts what a reference stands for in its place, but not in a list."""
    if isinstance(piece, Remote):
        return [piece.ref]
    return piece.ref if isinstance(piece, Stored) else pickle.PickleBuffer(piece)
