"""The local engine: one process a worker on this machine, one private socket pair each, nothing shared.

One selector waits on all channels and all process handles at once. A death shows twice, as an end-of-file and on the
process handle; either may come first, and a grandchild that inherited the channel can hide the end-of-file for ever.
"""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from eisenmp.engines import early
from eisenmp.engines.base import NEAR_BYTES, Event, Exit, ProcessHandle, Ready, exit_text
from eisenmp.engines.channel import ManagerChannel
from eisenmp.engines.enclosures import HasDescriptor
from eisenmp.engines.processes import WorkerProcess, channel_pair, fork, spawn
from eisenmp.engines.waker import Waker, others
from eisenmp.errors import ProtocolError
from eisenmp.parcel import SharedFile
from eisenmp.wire import Buffer

if TYPE_CHECKING:
    from eisenmp.engines.forkserver import ForkServer
    from eisenmp.engines.template import Message, Template

__all__ = ["LocalEngine"]

_LINGER: Final = 1.0  # seconds that a process may outlive its closed channel before it is killed


class _Worker:
    writing: bool = False  # registered for writing
    closed_at: float | None = None  # when its end-of-file came
    trouble: str = ""  # why we killed it

    def __init__(self, number: int, process: WorkerProcess, channel: ManagerChannel) -> None:
        self.number = number
        self.process = process
        self.channel = channel


class LocalEngine:
    """Workers as processes of this machine.

    Args:
        start_method: ``'spawn'``, ``'forkserver'`` or ``'fork'``; without ``sys.executable`` always ``'fork'``.
    """

    ahead_bytes = NEAR_BYTES

    def __init__(self, start_method: str = "spawn") -> None:
        self._method = start_method if sys.executable else "fork"
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._waker = Waker(self._selector)
        self._noted: deque[_Worker | Template] = deque()  # have messages that were not sent yet
        self._to_write: deque[_Worker | Template] = deque()  # to be registered for writing, told by senders
        self._closing: set[_Worker] = set()  # end-of-file seen, exit not yet
        self._ended: deque[_Worker] = deque()  # exits, also told by the threads that stand in for sentinels
        self._kit: dict[str, Message] = {}
        self._forkserver: ForkServer | None = None

    def store(self, piece: memoryview) -> Buffer | None:
        return None

    def equip(self, name: str, message: list[Buffer], files: Sequence[SharedFile] = ()) -> None:
        self._kit[name] = message, files
        if self._forkserver is not None:
            self._forkserver.equip(message, files)

    def start(self, worker: int, name: str, setup: list[Buffer]) -> ProcessHandle:
        ours, process = self._begin(worker, name)
        entry = _Worker(worker, process, ManagerChannel(ours, shares=True))
        self._workers[worker] = entry
        self._selector.register(ours, selectors.EVENT_READ, entry)
        if process.sentinel is not None:
            self._selector.register(process.sentinel, selectors.EVENT_READ, (entry,))
        elif not process.told:
            threading.Thread(target=self._stand_in, args=(entry,), name=f"eisenmp-wait-{name}", daemon=True).start()
        if self._method != "forkserver":  # its template has it, and the forks from there
            for message, _ in self._kit.values():
                self.send(worker, message)
        self.send(worker, setup)
        self.flush()
        return process

    def _begin(self, worker: int, name: str) -> tuple[socket.socket, WorkerProcess]:
        """Our end of a worker's channel, and its process."""
        if self._method == "spawn" and not self._files() and (begun := early.take(name)) is not None:
            return begun
        ours, theirs = channel_pair()
        try:
            return ours, self._launch(worker, name, theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise

    def _launch(self, worker: int, name: str, child: socket.socket) -> WorkerProcess:
        """Start the process; `child` is its own from now on."""
        if self._method == "forkserver":
            return self._fork_server().start(worker, name, child)
        with child:
            if self._method == "spawn":
                return spawn(name, child, files=self._files())
            from eisenmp.worker.main import run_forked

            return fork(name, child, run_forked)

    def _files(self) -> list[SharedFile]:
        """What a fresh interpreter inherits."""
        return [file for _, files in self._kit.values() for file in files]

    def _fork_server(self) -> ForkServer:
        if self._forkserver is None:
            from eisenmp.engines.forkserver import ForkServer  # it brings the worker's modules along

            self._forkserver = ForkServer(self._selector, self._noted, self._kit)
        return self._forkserver

    def send(self, worker: int, pieces: list[Buffer], file: HasDescriptor | None = None) -> None:
        entry = self._workers.get(worker)
        if entry is not None:
            entry.channel.keep(pieces, file)
            self._noted.append(entry)

    def flush(self) -> None:
        turns: deque[_Worker | Template] = deque()
        while self._noted:
            try:
                entry = self._noted.popleft()
            except IndexError:
                break  # another thread was faster
            if entry not in turns:
                turns.append(entry)
        while turns:
            entry = turns.popleft()
            channel = entry.channel
            if not (channel.step() if isinstance(channel, ManagerChannel) else channel.flush()):
                if not entry.writing:
                    entry.writing = True
                    self._to_write.append(entry)
                    self.wake()
            elif isinstance(channel, ManagerChannel) and channel.more:
                turns.append(entry)

    def wait(self, timeout: float | None) -> Ready:
        return self._waker.heard(self._selector.select(self._bounded(timeout)))

    def poll(self, timeout: float = 0.0) -> Ready:
        return others(self._selector.select(timeout))

    def take(self, ready: Ready) -> list[Event]:
        events: list[Event] = []
        for key, mask in ready:
            if isinstance(key.data, tuple):
                self._ended.append(key.data[0])
            elif self._is_registered(key.data):
                if mask & selectors.EVENT_WRITE:
                    self._write(key.data)
                if mask & selectors.EVENT_READ:
                    self._read(key.data, events) if isinstance(key.data, _Worker) else self._hear(key.data, events)
        while self._to_write:
            self._watch_writing(self._to_write.popleft())
        self._kill_lingering()
        while self._ended:
            self._bury(self._ended.popleft(), events)
        return events

    def wake(self) -> None:
        self._waker.wake()

    def kill(self, worker: int) -> None:
        entry = self._workers.get(worker)
        if entry is not None:
            entry.process.kill()
            if entry.process.told and entry.process.poll() is not None:  # it was not there yet, and will not be
                self._ended.append(entry)
                self.wake()

    def close(self) -> None:
        for entry in list(self._workers.values()):
            entry.channel.close()
        if self._forkserver is not None:
            self._forkserver.close()
        for _, files in self._kit.values():
            for file in files:
                file.close()
        self._selector.close()
        self._waker.close()

    def _write(self, entry: _Worker | Template) -> None:
        entry.writing = False  # first: what another thread fails to send from here on registers the channel again
        if entry.channel.flush():
            self._selector.modify(entry.channel.sock, selectors.EVENT_READ, entry)
        else:
            entry.writing = True

    def _read(self, entry: _Worker, events: list[Event]) -> None:
        try:
            frames, closed = entry.channel.receive()
        except ProtocolError as error:
            entry.trouble = f"a broken message ({error})"
            frames, closed = [], True
            entry.process.kill()
        events.extend([Event(entry.number, frame) for frame in frames])
        if closed and entry.closed_at is None:
            entry.closed_at = time.monotonic()
            self._closing.add(entry)
            self._selector.unregister(entry.channel.sock)

    def _hear(self, template: Template, events: list[Event]) -> None:
        said, ended = self._fork_server().hear(template)
        self.flush()
        events += said
        for number, trouble in ended:
            entry = self._workers.get(number)
            if entry is not None:
                entry.trouble = entry.trouble or trouble
                self._ended.append(entry)

    def _bury(self, entry: _Worker, events: list[Event]) -> None:
        """The process has ended: report what it still managed to send, then its exit."""
        if self._workers.get(entry.number) is not entry:
            return
        code = entry.process.poll()
        if code is None and entry.process.sentinel is not None:
            return  # a spurious wake-up; the descriptor stays readable once it has ended
        if entry.closed_at is None:
            try:
                events.extend([Event(entry.number, frame) for frame in entry.channel.drain()])
            except ProtocolError as error:
                entry.trouble = f"a broken message ({error})"
            self._selector.unregister(entry.channel.sock)
        if entry.process.sentinel is not None:
            self._selector.unregister(entry.process.sentinel)
        del self._workers[entry.number]
        self._closing.discard(entry)
        entry.channel.close()
        entry.process.ended()
        events.append(Event(entry.number, Exit(code, entry.trouble or exit_text(code))))

    def _is_registered(self, entry: _Worker | Template) -> bool:
        if isinstance(entry, _Worker):
            return entry.closed_at is None and self._workers.get(entry.number) is entry
        return self._fork_server().is_open(entry)

    def _watch_writing(self, entry: _Worker | Template) -> None:
        if self._is_registered(entry):
            self._selector.modify(entry.channel.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, entry)

    def _kill_lingering(self) -> None:
        for entry in self._closing:
            if entry.closed_at is not None and time.monotonic() - entry.closed_at > _LINGER:
                entry.process.kill()
                if entry.process.unseen_end():
                    entry.process.lost()
                    self._ended.append(entry)

    def _bounded(self, timeout: float | None) -> float | None:
        """The time-out, shortened where a process has closed its channel and not gone yet."""
        if self._closing:
            return _LINGER / 4 if timeout is None else min(timeout, _LINGER / 4)
        return timeout

    def _stand_in(self, entry: _Worker) -> None:
        entry.process.block()
        self._ended.append(entry)
        self.wake()
