"""The Ray engine: one actor a worker, placed, started and watched by a Ray cluster.

::

    dispatcher ─► send, flush ─► [ a thread that speaks to Ray ] ─► push ══► actor ─► worker's thread
        ▲                                                                               │
        └──── take ◄─ bell ◄─ [ Ray's threads: results of drain ] ◄════════ drain ◄─────┘

Calls of Ray may block (the object store is full, the cluster does not answer), so a thread of its own makes them. Its
restarts and repetitions are turned off: with them, the loop of a worker was run again silently and chunks were lost.
Who dies, for Ray or for us, is dead: it is killed once more, its exit is told, and the dispatcher does the rest.
"""

from __future__ import annotations

import pickle
import queue
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from eisenmp.engines.base import Event, Exit, ProcessHandle, Ready
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.engines.ray.bell import Bell
from eisenmp.engines.ray.cluster import Cluster, connect
from eisenmp.engines.ray.groups import own_version, without_socket
from eisenmp.engines.ray.handle import ActorHandle
from eisenmp.engines.ray.link import Link
from eisenmp.engines.ray.shipping import collect, loaded_names, project_folders
from eisenmp.engines.ray.store import Store
from eisenmp.engines.ray.wishes import Wishes, lack_text
from eisenmp.engines.waker import Waker, others
from eisenmp.errors import ClusterError, WorkerStartError
from eisenmp.parcel import Parcel, SharedFile
from eisenmp.wire import HEAD_BYTES, Buffer, Kind

__all__ = ["RayEngine"]

_LOOK: Final = 0.25  # seconds between two looks at the clock while something is due


class _Part:
    """A message for all workers, with what it speaks of by descriptor; that is laid into the object store once."""

    def __init__(self, kind: int, body: bytes, pieces: list[list[bytes] | list[memoryview]]) -> None:
        self.kind = kind
        self.body = body
        self._pieces = pieces
        self._refs: list[Any] | None = None

    def shipped(self) -> Any:
        import ray

        from eisenmp.engines.ray.actor import KitPart

        if self._refs is None:
            self._refs = [ray.put([pickle.PickleBuffer(piece) for piece in pieces]) for pieces in self._pieces]
            self._pieces = []
        return KitPart(self.kind, self.body, self._refs)


class RayEngine:
    """See :class:`eisenmp.engines.base.Engine`.

    Args:
        wishes: where the cluster is, and what each worker takes of it.

    Raises:
        ClusterError: there is no cluster to be had.
    """

    # 4 MiB take milliseconds until they are at an actor: two of them there left it without work for a seventh of the
    # time, so that Ray's own tasks were faster; eight do not
    ahead_bytes = 32 << 20

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._cluster: Cluster = connect(wishes.address)
        self._store = Store(self._cluster.store_bytes)
        self._selector = selectors.DefaultSelector()
        self._waker = Waker(self._selector)
        self._bell = Bell(self._selector)
        self._parts: dict[str, _Part] = {}
        self._files: list[SharedFile] = []
        self._links: dict[int, Link] = {}
        self._noted: set[Link] = set()
        self._heard: deque[Link] = deque()  # something has come of them
        self._doomed: set[Link] = set()  # they are to end; looked at until it is told
        self._unplaced: set[Link] = set()
        self._came_up = False  # one worker at least has been placed
        self._trouble: Exception | None = None  # to be raised by `take`
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._host_class: Any = None
        self._speaker = threading.Thread(target=self._speak, name="eisenmp-ray-speaker", daemon=True)
        self._speaker.start()
        self._cluster.use(self, self._lost)

    # ---- any thread

    def store(self, piece: memoryview) -> Buffer | None:
        return self._store.put(piece)

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None:
        whole = b"".join(message)
        kind, body = whole[0], whole[HEAD_BYTES:]
        content = pickle.loads(body)  # of our own making
        pieces: list[list[bytes] | list[memoryview]] = []
        for place in _places(content):
            if isinstance(place, tuple):
                pieces.append(Parcel(place).pieces())
        if kind == Kind.SETUP:
            _complete(content)
            body = pickle.dumps(content)
        self._parts[name] = _Part(kind, body, pieces)
        self._files += files

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        handle = ActorHandle(name, lambda number: link.signal(number) if number != 9 else link.kill())
        link = Link(worker, handle, self._calls.put, self._heard_of)
        self._links[worker] = link
        self._unplaced.add(link)
        parts = list(self._parts.values())
        body = b"".join(setup)[HEAD_BYTES:]
        self._calls.put(lambda: link.begin(lambda: self._make(parts, body, name)))
        return handle

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        link = self._links.get(worker)
        if link is None:
            return
        if file is not None:
            pieces = without_socket(pieces)
        link.note(pieces)
        self._noted.add(link)

    def flush(self) -> None:
        while self._noted:
            try:
                self._noted.pop().flush()
            except KeyError:
                return  # another thread was faster

    def wake(self) -> None:
        self._waker.wake()

    def kill(self, worker: int) -> None:
        link = self._links.get(worker)
        if link is not None:
            link.kill()
            self._doomed.add(link)

    def close(self) -> None:
        self._cluster.done(self)
        self._calls.put(None)
        self._selector.close()
        self._waker.close()
        self._bell.close()
        for file in self._files:
            file.close()

    # ---- the loop

    def wait(self, timeout: float | None) -> Ready:
        if self._unplaced or self._doomed:
            timeout = _LOOK if timeout is None else min(timeout, _LOOK)
        return self._waker.heard(self._selector.select(timeout))

    def poll(self, timeout: float = 0.0) -> Ready:
        return others(self._selector.select(timeout))

    def take(self, ready: Ready) -> list[Event]:
        if ready:
            self._bell.hush()
        events: list[Event] = []
        for link in self._due():
            self._take_from(link, events)
        self._look_at_the_clock()
        if self._trouble is not None and not events:
            error, self._trouble = self._trouble, None
            raise error
        if self._trouble is not None:
            self.wake()  # what came is taken first
            self._bell.ring()
        return events

    def _due(self) -> dict[Link, None]:
        """Of whom something has come, in the order of its coming, and who is to end."""
        due: dict[Link, None] = {}
        while self._heard:
            due[self._heard.popleft()] = None
        due.update(dict.fromkeys(self._doomed))
        return due

    def _heard_of(self, link: Link) -> None:
        self._heard.append(link)
        self._bell.ring()

    def _take_from(self, link: Link, events: list[Event]) -> None:
        if self._links.get(link.number) is not link:
            return  # its exit has been told
        came = link.take()
        events += came
        if link.doomed_at is not None:
            self._doomed.add(link)
        if link.handle.hello is not None and link in self._unplaced:
            self._unplaced.discard(link)
            self._came_up = True
            self._compare_versions(link)
        if came and isinstance(came[-1].what, Exit):
            self._unplaced.discard(link)
            self._doomed.discard(link)
            del self._links[link.number]
            link.finish()
            if link.failure:
                self._fail(WorkerStartError(f"{link.handle.name} cannot be made on the cluster: {link.failure}"))

    def _compare_versions(self, link: Link) -> None:
        hello = link.handle.hello
        assert hello is not None
        if hello.version != own_version():
            self._fail(
                ClusterError(
                    f"eisenmp {hello.version or '(of unknown version)'} is installed on {hello.host}, and "
                    f"{own_version() or 'an unknown version'} here; the manager and all nodes need the same one"
                )
            )

    def _look_at_the_clock(self) -> None:
        """Nobody is placed in time: then the job ends. While others work, a worker may wait for a node to come."""
        if self._came_up or not self._unplaced:
            return
        now = time.monotonic()
        if all(now - link.begun > self._wishes.patience for link in self._unplaced) and self._trouble is None:
            self._came_up = True  # it is said once
            self._calls.put(self._explain_lack)

    def _fail(self, error: Exception) -> None:
        self._trouble = self._trouble or error
        self._bell.ring()

    def _lost(self, error: ClusterError) -> None:
        """Told by the keeper of the connection: the cluster is gone, and with it all workers."""
        for link in list(self._links.values()):
            link.lose("the cluster is gone")
            self._doomed.add(link)
        self._fail(error)

    # ---- the thread that speaks to Ray

    def _speak(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                self._fail(ClusterError(f"Ray: {type(error).__name__}: {error}"))

    def _make(self, parts: list[_Part], setup: bytes, name: str) -> Any:
        import ray

        if self._host_class is None:
            from eisenmp.engines.ray.actor import Host

            self._host_class = ray.remote(concurrency_groups={"push": 1, "drain": 1})(Host)
        options = self._wishes.options(name)
        return self._host_class.options(**options).remote([part.shipped() for part in parts], setup)

    def _explain_lack(self) -> None:
        cluster = self._cluster
        words = lack_text(self._wishes.asked(), cluster.free(), cluster.total(), self._wishes.patience)
        self._fail(WorkerStartError(words))


def _places(content: Any) -> list[Any]:
    """Where the objects lie that a message brings, in its order."""
    if isinstance(content, dict):
        return [place for _, place in content.get("attributes", ())]
    return [content[1]]


def _complete(common: dict[str, Any]) -> None:
    """What workers on other machines need beside the setup: sources, and where to look for the user's modules."""
    import sys

    folders = project_folders(common["sys_path"])
    modules = [path for path, _ in common["modules"]]
    common["sys_path"] = folders
    common["shipment"] = collect(modules, loaded_names(sys.modules, folders), folders)
    common["settings"]["CPU_AFFINITY"] = None
