"""The inline engine: workers as threads of this process, over the same socket pairs and the same worker code.

For debugging (a breakpoint in a worker function works) and for tests. A thread cannot be killed: ``kill`` cuts its
channel, and it ends at its next queue call.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Sequence

from eisenmp.engines.base import NEAR_BYTES, Event, Exit, ProcessHandle, Ready
from eisenmp.engines.channel import ManagerChannel
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.engines.waker import Waker, others
from eisenmp.guard import Latch
from eisenmp.parcel import SharedFile
from eisenmp.wire import Buffer

__all__ = ["InlineEngine"]


class _ThreadHandle:
    """Looks like a process to the user."""

    awaits = ""

    def __init__(self, name: str, cut: socket.socket) -> None:
        self.name = name
        self._cut = cut
        self._killed = False
        self.thread: threading.Thread
        self.done = Latch()

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def known_pid(self) -> int:
        return os.getpid()

    @property
    def exitcode(self) -> int | None:
        if not self.done.is_set():
            return None
        return -9 if self._killed else 0

    def is_alive(self) -> bool:
        return not self.done.is_set()

    def join(self, timeout: float | None = None) -> None:
        self.done.wait(timeout)

    def terminate(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._killed = not self.done.is_set()
        try:
            self._cut.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself


class InlineEngine:
    """See :class:`eisenmp.engines.base.Engine`."""

    ahead_bytes = NEAR_BYTES

    def __init__(self) -> None:
        self._channels: dict[int, ManagerChannel] = {}
        self._handles: dict[int, _ThreadHandle] = {}
        self._selector = selectors.DefaultSelector()
        self._waker = Waker(self._selector)
        self._noted: deque[int] = deque()  # workers with messages that were not sent yet
        self._to_write: deque[int] = deque()
        self._kit: dict[str, tuple[list[Buffer], Sequence[SharedFile]]] = {}

    def store(self, piece: memoryview) -> Buffer | None:
        return None

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None:
        self._kit[name] = message, files

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        from eisenmp.worker.main import run_in_thread

        ours, theirs = socket.socketpair()
        handle = _ThreadHandle(name, ours)

        def run() -> None:
            try:
                run_in_thread(theirs)
            finally:
                try:
                    theirs.shutdown(socket.SHUT_RDWR)  # a thread of the worker's that still waits there lets go of it
                except OSError:
                    pass  # the manager was first
                theirs.close()

        # a daemon, as a process is to its manager: the manager's own end decides what becomes of it
        handle.thread = threading.Thread(target=run, name=name, daemon=True)
        self._handles[worker] = handle
        self._channels[worker] = ManagerChannel(ours)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        handle.thread.start()
        for message, _ in self._kit.values():
            self.send(worker, message)
        self.send(worker, setup)
        self.flush()
        return handle

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        channel = self._channels.get(worker)
        if channel is not None:
            channel.keep(pieces, file)
            self._noted.append(worker)

    def flush(self) -> None:
        while self._noted:
            try:
                worker = self._noted.popleft()
            except IndexError:
                return  # another thread was faster
            channel = self._channels.get(worker)
            if channel is not None and not channel.flush():
                self._to_write.append(worker)
                self.wake()

    def wait(self, timeout: float | None) -> Ready:
        return self._waker.heard(self._selector.select(timeout))

    def poll(self, timeout: float = 0.0) -> Ready:
        return others(self._selector.select(timeout))

    def take(self, ready: Ready) -> list[Event]:
        events: list[Event] = []
        for key, mask in ready:
            worker = key.data
            channel = self._channels.get(worker)
            if channel is None:  # another thread has taken its end
                continue
            if mask & selectors.EVENT_WRITE and channel.flush():
                self._selector.modify(channel.sock, selectors.EVENT_READ, worker)
            if mask & selectors.EVENT_READ:
                frames, closed = channel.receive()
                events.extend([Event(worker, frame) for frame in frames])
                if closed:
                    self._gone(worker, events)
        while self._to_write:
            worker = self._to_write.popleft()
            if worker in self._channels:
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(self._channels[worker].sock, both, worker)
        return events

    def wake(self) -> None:
        self._waker.wake()

    def kill(self, worker: int) -> None:
        handle = self._handles.get(worker)
        if handle is not None:
            handle.kill()

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        for _, files in self._kit.values():
            for file in files:
                file.close()
        self._selector.close()
        self._waker.close()

    def _gone(self, worker: int, events: list[Event]) -> None:
        channel = self._channels.pop(worker)
        handle = self._handles.pop(worker)
        self._selector.unregister(channel.sock)
        channel.close()
        handle.done.set()
        killed = handle.exitcode != 0
        events.append(Event(worker, Exit(handle.exitcode, "a kill" if killed else "exit code 0")))
