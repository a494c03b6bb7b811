"""``forkserver``: a template process, started by spawn, that forks clean workers in milliseconds.

The manager hands the template one end of each new channel over a control socket; the template forks, answers with the
pid, and later with how the child ended (only a parent can know that). A template that died is started again.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
import sys
import threading
from typing import Final

from eisenmp.engines.processes import WorkerProcess, manager_sockets, spawn
from eisenmp.wire import Kind, encode

__all__ = ["Template", "TemplateProcess"]

_NOTE: Final = struct.Struct("<qq")  # pid, exit code + 1000; a code of 0 there means 'forked'
FORKED: Final = 0
CODE_OFFSET: Final = 1000


class Template:
    """The manager's side of the template process."""

    def __init__(self) -> None:
        if not hasattr(socket, "send_fds"):
            raise OSError("START_METHOD='forkserver' needs Unix sockets; use 'spawn' on this system")
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self.life = 0  # counts the template processes
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        manager_sockets.add(ours)
        ours.settimeout(10.0)
        self._sock = ours
        self._process = spawn("eisenmp-template", theirs)
        theirs.close()
        self.life += 1
        setup = pickle.dumps({"template": True, "sys_path": sys.path})
        self._sock.sendall(b"".join(encode(Kind.SETUP, (setup,))))

    def fork(self, name: str, child: socket.socket) -> WorkerProcess:
        """Fork a worker that owns the `child` end of a channel.

        Raises:
            OSError: the template cannot be reached, not even after it was started anew.
        """
        try:
            return TemplateProcess(name, self._fork(child), self)
        except OSError:
            self.close()
            self._start()
            return TemplateProcess(name, self._fork(child), self)

    def _fork(self, child: socket.socket) -> int:
        with self._lock:
            socket.send_fds(self._sock, [b"f"], [child.fileno()])
            while True:
                note = self._sock.recv(_NOTE.size, socket.MSG_WAITALL)
                if len(note) < _NOTE.size:
                    raise OSError("the template process of forkserver is gone")
                pid, code = _NOTE.unpack(note)
                if code == FORKED:
                    return int(pid)
                self._codes[pid] = code - CODE_OFFSET

    def code(self, pid: int, timeout: float) -> int | None:
        """How a child of the template ended; None when the template does not say so in time."""
        with self._lock:
            if pid in self._codes:
                return self._codes.pop(pid)
            try:
                self._sock.settimeout(timeout)
                while True:
                    note = self._sock.recv(_NOTE.size, socket.MSG_WAITALL)
                    if len(note) < _NOTE.size:
                        return None
                    ended, code = _NOTE.unpack(note)
                    if ended == pid:
                        return int(code) - CODE_OFFSET
                    self._codes[ended] = code - CODE_OFFSET
            except OSError:
                return None
            finally:
                try:
                    self._sock.settimeout(10.0)
                except OSError:
                    pass

    def close(self) -> None:
        """End the template. Its children, if any are left, end with it."""
        self._sock.close()
        self._process.kill()
        self._process.block()
        self._process.poll()
        self._process.ended()


class TemplateProcess(WorkerProcess):
    """A child of the template: visible to us by its process handle, reaped by the template."""

    def __init__(self, name: str, pid: int, template: Template) -> None:
        self._template = template
        self._life = template.life
        super().__init__(name, pid)

    def block(self) -> None:
        while self.poll() is None:  # only where there is no pidfd: the template's note is the only news
            self._over.wait(0.05)

    def _reap(self) -> int | None:
        if self.sentinel is not None and not _readable(self.sentinel):
            return None
        if self._life == self._template.life:  # else its parent is gone, and with it the knowledge
            code = self._template.code(self._pid, 1.0 if self.sentinel is not None else 0.01)
            if code is not None:
                return code
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return 255  # gone, and the template did not live to tell how
        return None if self.sentinel is None else 255


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
