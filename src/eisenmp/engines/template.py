"""``forkserver``: a template process, started by spawn, that forks clean workers in milliseconds.

The manager hands the template one end of each new channel over a control socket and does not wait: a worker's handle is
there at once, its pid comes when the template has forked, which may have modules to import first. Only a parent learns
how a process ended, so the template tells that as well. Workers die with their template.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from eisenmp.engines.base import exit_text
from eisenmp.engines.processes import WorkerProcess, close_pidfd, manager_only, open_pidfd, socket_pair, spawn
from eisenmp.errors import ProtocolError
from eisenmp.guard import Latch
from eisenmp.parcel import SharedFile
from eisenmp.wire import Buffer, Decoder, Frame, Kind, encode
from eisenmp.worker.template import Note

__all__ = ["ControlChannel", "Message", "Template", "TemplateProcess"]

Message = tuple[list[Buffer], Sequence[SharedFile]]  # and what has to go along

_LOST: Final = 255  # the exit code of a worker whose end nobody could see
_MOST_UNDER_WAY: Final = 64  # requests at a time; the system limits descriptors that are sent and not received yet


class ControlChannel:
    """The manager's end of the control socket: like a worker's channel, but descriptors may go along with a message."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.open = True
        self._decoder = Decoder(Kind.FIRST_TO_MANAGER, Note.LAST)
        self._out: deque[tuple[Buffer, Sequence[SharedFile | socket.socket]]] = deque()
        self._lock = threading.Lock()

    def keep(self, pieces: list[Buffer], files: Sequence[SharedFile | socket.socket] = ()) -> None:
        """Note a message; :meth:`flush` sends it."""
        with self._lock:
            self._out.append((b"".join(pieces), files))

    def flush(self) -> bool:
        """Send as much of what was noted as goes now. True when nothing is left."""
        with self._lock:
            if not self.open:
                self._out.clear()
            while self._out:
                data, files = self._out[0]
                try:
                    sent = self._send(data, files)
                except (BlockingIOError, InterruptedError):
                    return False
                except OSError:  # the template is gone; the end-of-file tells the rest
                    self._out.clear()
                    return True
                if sent < len(data):
                    self._out[0] = memoryview(data)[sent:], ()
                else:
                    self._out.popleft()
        return True

    def _send(self, data: Buffer, files: Sequence[SharedFile | socket.socket]) -> int:
        if files:
            return socket.send_fds(self.sock, [data], [file.fileno() for file in files])
        return self.sock.send(data)

    def receive(self) -> tuple[list[Frame], bool]:
        """Read what is there: (frames, whether the template is gone).

        Raises:
            ProtocolError: what came is no message.
        """
        frames: list[Frame] = []
        while True:
            try:
                count = self.sock.recv_into(self._decoder.room())
            except (BlockingIOError, InterruptedError):
                return frames, False
            except OSError:
                return frames, True
            if not count:
                return frames, True
            frames += self._decoder.advance(count)

    def close(self) -> None:
        """Give it up; what was not sent is forgotten."""
        with self._lock:
            self.open = False
            self._out.clear()
            self.sock.close()


class TemplateProcess(WorkerProcess):
    """A worker forked by the template, from the request on."""

    told = True

    def __init__(self, name: str) -> None:
        super().__init__(name, None)
        self._loop = threading.get_ident()  # the thread that learns of the pid, and so must not wait for it
        self._known = Latch()  # has a pid, or never gets one
        self._pidfd: int | None = None

    @property
    def pid(self) -> int:
        """Its process id; waits for the template to fork it.

        Raises:
            ProcessLookupError: it was killed before that.
        """
        if threading.get_ident() != self._loop:
            self._known.wait()
        pid = self.known_pid
        if pid is None:
            raise ProcessLookupError(f"{self.name} has not been forked")
        return pid

    def forked(self, pid: int) -> bool:
        """The template has forked it. False: it had been killed before that, and now really is."""
        with self._lock:
            if self._code is not None:
                os.kill(pid, signal.SIGKILL)
                return False
            self._pid = pid
            self._pidfd = open_pidfd(pid)
        self._known.set()
        return True

    def end(self, code: int) -> None:
        """It has ended."""
        with self._lock:
            if self._code is None:
                self._code = code
        self._known.set()

    def lost(self) -> None:
        """Nobody will tell how it ends."""
        self.kill()
        self.end(_LOST)

    def unseen_end(self) -> bool:
        """Whether it is dead, and the template, stopped perhaps, does not say so."""
        with self._lock:
            return self._pidfd is not None and _readable(self._pidfd)

    def ended(self) -> None:
        with self._lock:
            fd, self._pidfd = self._pidfd, None
        if fd is not None:
            close_pidfd(fd)
        super().ended()

    def block(self) -> None:
        self._over.wait()

    def _reap(self) -> int | None:
        return None

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._code is not None:
                return
            if self._pid is not None:
                self._send(self._pid, number)
                return
            self._code = -number
        self._known.set()

    def _send(self, pid: int, number: int) -> None:
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            pass


class Template:
    """One template process and what was asked of it.

    Args:
        preload: let it open the shared objects and import the modules.
        kit: what all workers get alike.
    """

    def __init__(self, *, preload: bool, kit: Iterable[Message]) -> None:
        if not hasattr(socket, "send_fds"):
            raise OSError("START_METHOD='forkserver' needs Unix sockets; use 'spawn' on this system")
        self.preload = preload
        self.ready = False  # before that it has not forked
        self.proved = False  # it has forked: what it has imported lets it
        self.writing = False  # registered for writing
        self.forked: dict[int, TemplateProcess] = {}  # by worker number
        self.waiting: dict[int, tuple[TemplateProcess, socket.socket]] = {}  # with its end of the channel
        self._unasked: deque[int] = deque()
        self._under_way = 0
        ours, theirs = socket_pair()
        manager_only.add(ours)
        try:
            self._process = spawn("eisenmp-template", theirs, role="template")
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = ControlChannel(ours)
        self.channel.keep(encode(Kind.SETUP, (pickle.dumps({"preload": preload}),)))
        for message, files in kit:
            self.channel.keep(message, files)

    def fork(self, number: int, process: TemplateProcess, child: socket.socket) -> None:
        """Ask for a worker that owns `child`; a flush of the channel sends it."""
        self.waiting[number] = process, child
        self._unasked.append(number)
        self._ask()

    def take(self, frame: Frame) -> tuple[int, str] | None:
        """What the template says: (worker, trouble) for one that has ended.

        Raises:
            ProtocolError: it says something else.
        """
        number = frame.serial
        if frame.kind == Note.READY:
            self.ready = True
            return None
        if frame.kind == Note.ENDED:
            if number in self.forked:
                self.forked.pop(number).end(int(frame.number))
            return number, ""
        if frame.kind not in (Note.FORKED, Note.NOT_FORKED) or number not in self.waiting:
            raise ProtocolError(f"a note of kind {frame.kind} about worker {number}")
        process, child = self.waiting.pop(number)
        child.close()
        self._under_way -= 1
        self._ask()
        if frame.kind == Note.NOT_FORKED:
            process.end(_LOST)
            return number, f"no process: {bytes(frame.body).decode()}"
        self.proved = True
        if not process.forked(int(frame.number)):
            return number, ""
        self.forked[number] = process
        return None

    def speaker(self) -> int:
        """The worker in whose name the template prints: every one of them would have said the same."""
        return next(iter(self.waiting or self.forked), -1)

    def close(self) -> str:
        """End it, and with it its workers; return how it ended. Who waits is left to the caller."""
        self.channel.close()
        self._process.kill()
        self._process.block()
        text = exit_text(self._process.poll())
        self._process.ended()
        return text

    def _ask(self) -> None:
        while self._unasked and self._under_way < _MOST_UNDER_WAY:
            number = self._unasked.popleft()
            self._under_way += 1
            self.channel.keep(encode(Note.FORK, serial=number), (self.waiting[number][1],))


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
