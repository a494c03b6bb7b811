"""One worker inside a Ray actor: the worker's loop on a thread of the actor, and the actor's two ends of the channel.

The manager pushes groups of messages (``push``) and has two calls of ``drain`` waiting here all the time, each of which
comes back with what the worker has said. Ray runs ``push``, ``drain`` and the rest in a thread each; what arrives in
another order than it was sent is put in order by number.

A group is a stream of messages as :mod:`eisenmp.wire` has them, cut anywhere, and the large pieces apart: Ray lays
these into the shared memory of the node and passes them by reference. In the stream, their place says which they are.
"""

from __future__ import annotations

import os
import pickle
import platform
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import ray

from eisenmp.engines.ray.groups import Drained, Hello, Unpacker, machine, own_version, pack
from eisenmp.wire import AGAIN, PART, Buffer, Frame, Kind
from eisenmp.worker.kit import Kit
from eisenmp.worker.main import run_beside

__all__ = ["Host", "KitPart", "WorkerEnd"]

_LOOK: Final = 0.5  # seconds between two looks whether the node is still there
_LAST_WORDS: Final = 2.0  # seconds that the last messages get to reach the manager
_CAREFUL: Final = 100  # messages after a chunk that is suspected of killing workers
_OUTBOX_BYTES: Final = 32 << 20  # what may wait for the manager before the worker has to wait for it

_leave: Final = os._exit


class KitPart(NamedTuple):
    """A message that all workers get, and what it speaks of by descriptor."""

    kind: int
    body: bytes
    files: list[Any]  # Ray references to lists of pieces


class WorkerEnd:
    """The worker's channel; see :class:`eisenmp.worker.channel.Channel`."""

    def __init__(self) -> None:
        self._on_frame: Callable[[Frame], None] | None = None
        self._early: list[Frame] = []
        self.cond = threading.Condition()
        self.noted: Callable[[], list[list[Buffer]]] = list
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._outbox: deque[list[Buffer]] = deque()
        self._bytes = 0
        self._code: int | None = None
        self._careful = 0  # so many of the next messages are seen off
        self._taken_by = -1  # the call of drain that has taken what was said last
        self._drains = 0  # calls that have begun; when one begins, the manager has what the last but one has brought
        self._seeing_off = 0  # threads that wait for that

    # ---- the worker's side

    def connect(self, on_frame: Callable[[Frame], None]) -> WorkerEnd:
        """The worker is there. `on_frame`: called for each message that came, under `cond`."""
        with self.cond:
            self._on_frame = on_frame
            for frame in self._early:
                on_frame(frame)
            self._early.clear()
        return self

    def send(self, *messages: list[Buffer]) -> None:
        """Lay messages out for the manager. Waits while more lies there than memory should hold."""
        with self._sending:
            messages = (*self.noted(), *messages)
            if not messages:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._bytes < _OUTBOX_BYTES)
                self._outbox.extend(messages)
                self._bytes += sum(len(piece) for message in messages for piece in message)
                self._changed.notify_all()
                careful, self._careful = self._careful > 0, max(0, self._careful - 1)
        if careful:
            self._see_off()

    def _see_off(self) -> None:
        """Wait until the manager has all that was said so far.

        What lies here dies with the process. Then the chunk before the one that has killed it would seem to be
        unanswered, and be blamed. So, near a chunk that is suspected, nothing is begun before that has gone out.
        """
        with self._changed:
            self._seeing_off += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: not self._outbox)
                last = self._taken_by
                self._changed.wait_for(lambda: self._drains > last + 2)
            finally:
                self._seeing_off -= 1

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait, while messages come in, until ``ready()``."""
        with self.cond:
            self.cond.wait_for(ready)

    def watch_manager(self) -> None:
        """Ray ends the actors of a manager that is gone."""

    # ---- the actor's side

    def deliver(self, frames: Sequence[Frame]) -> None:
        """Messages from the manager."""
        if any(frame.kind == Kind.CHUNK and frame.flags & (AGAIN | PART) for frame in frames):
            self._careful = _CAREFUL
        with self.cond:
            if self._on_frame is None:
                self._early += frames
                return
            for frame in frames:
                self._on_frame(frame)
            self.cond.notify_all()

    def collect(self, drain: int) -> tuple[list[list[Buffer]], int | None]:
        """Wait for what the worker says: (messages, its exit code once it has ended and all is said).

        `drain`: the number of the call that takes them. It comes back with nothing when the next one is waited for.
        """
        with self._changed:
            self._drains = drain + 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._outbox or self._code is not None or self._seeing_off)
            messages = list(self._outbox)
            if messages:
                self._taken_by = drain
            self._outbox.clear()
            self._bytes = 0
            self._changed.notify_all()
            return messages, None if messages else self._code

    def end(self, code: int) -> None:
        """The worker has ended. The first one who says so counts."""
        with self._changed:
            self._code = code if self._code is None else self._code
            self._changed.notify_all()


class Host:
    """The actor class.

    Args:
        kit: what all workers get, in order.
        setup: the last part of SETUP, the worker's own.
    """

    def __init__(self, kit: list[KitPart], setup: bytes) -> None:
        self._unpacker = Unpacker(1, Kind.LAST_TO_WORKER)
        self._drained = 0
        self._shelf: dict[int, Buffer] = {}  # pieces that the manager has not asked for yet
        self._shelved = 0  # so far
        self._kit = _opened(kit)
        self._kit.add_setup(setup)
        self._end = WorkerEnd()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's own handler waits for calls, and drains never end
        threading.Thread(target=self._work, name=f"eisenmp-{self._kit.setup['name']}", daemon=True).start()
        threading.Thread(target=_die_with_the_node, name="eisenmp-watch-node", daemon=True).start()

    @ray.method(concurrency_group="push")  # type: ignore[untyped-decorator]
    def push(self, number: int, streams: int, *pieces: Any) -> None:
        """The `number`-th group from the manager: so many pieces of the stream, then the large pieces."""
        self._end.deliver(self._unpacker.add(number, pieces[:streams], pieces[streams:], own=True))

    @ray.method(concurrency_group="push")  # type: ignore[untyped-decorator]
    def push_far(self, number: int, streams: int, *pieces: Any) -> bool:
        """The same for one message with pieces that lie at another actor: these come as a reference in a list.

        False: they cannot be had any more, and the message is left out.
        """
        try:
            large = [ray.get(piece[0]) if isinstance(piece, list) else piece for piece in pieces[streams:]]
        except Exception:
            self._end.deliver(self._unpacker.add(number, (), (), own=True))
            return False
        self._end.deliver(self._unpacker.add(number, pieces[:streams], large, own=True))
        return True

    def unshelve(self, keys: list[int]) -> list[Any]:
        """A word that this has come to pass, and what was left here; both belong to the manager from now on.

        So they outlive this process, as long as the memory of its node does.
        """
        return [True, *[pickle.PickleBuffer(self._shelf.pop(key)) for key in keys]]

    @ray.method(concurrency_group="drain")  # type: ignore[untyped-decorator]
    def drain(self) -> Drained:
        """Wait for what the worker has to say. The first call tells who we are, at once."""
        number, self._drained = self._drained, self._drained + 1
        if not number:
            return Drained(number, hello=_hello())
        messages, code = self._end.collect(number)
        shelved: list[tuple[int, int, int]] = []

        def shelve(place: int, piece: Buffer) -> None:
            self._shelf[self._shelved] = piece
            shelved.append((place, self._shelved, memoryview(piece).nbytes))
            self._shelved += 1

        streams, large = pack(messages, shelve)
        own = [None if piece is None else pickle.PickleBuffer(piece) for piece in large]
        return Drained(number, streams, own, code, shelved=shelved)

    def signal(self, number: int) -> None:
        """Send this process a signal."""
        os.kill(os.getpid(), number)

    def _work(self) -> None:
        # Ray may end this process without waiting for the worker; the worker's own threads must not take after it.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
        os._exit = _last_words(self._end)  # type: ignore[assignment]
        self._end.end(run_beside(self._kit, self._end.connect))


def _last_words(end: WorkerEnd) -> Callable[[int], NoReturn]:
    """An ``os._exit`` that lets go out what was said before; of a socket, the kernel would see to that."""
    me = os.getpid()

    def exit_now(status: int) -> NoReturn:
        if os.getpid() == me:  # not in a process that the worker has forked
            end.end(status & 0xFF)
            time.sleep(_LAST_WORDS)  # the manager ends this process when it has heard that
        _leave(status)

    return exit_now


def _die_with_the_node() -> None:
    """Ray's node process is the parent of this one. When it dies, nobody else ends a process whose threads are busy."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_LOOK)
    _leave(1)


def _opened(parts: list[KitPart]) -> Kit:
    kit = Kit(own_files=False)
    for kind, body, refs in parts:
        files = [[memoryview(piece) for piece in pieces] for pieces in ray.get(refs)]
        if kind == Kind.SETUP:
            kit.add_setup(body, files)
        else:
            kit.add_share(body, files)
    if "shipment" in kit.setup:
        from eisenmp.worker.shipped import install

        install(kit.setup["shipment"])
    return kit


def _hello() -> Hello:
    node = ray.get_runtime_context().get_node_id()
    return Hello(os.getpid(), machine(), socket.gethostname(), node, platform.python_version(), own_version())
