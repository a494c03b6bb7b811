"""The template process of ``forkserver``: forks a clean worker for every channel that the manager hands it."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
from collections.abc import Callable
from typing import Final

__all__ = ["serve"]

_NOTE: Final = struct.Struct("<qq")  # see engines/template.py: pid, 0 when forked, exit code + 1000 when ended
_CODE_OFFSET: Final = 1000


def serve(control: socket.socket, run_worker: Callable[[socket.socket], int]) -> None:
    """Fork on request, report every child's end; leave when the manager closes the control socket.

    Args:
        control: carries requests and the channels of the workers to be.
        run_worker: runs a worker in a forked child and gives its exit code.
    """
    wake_read, wake_write = socket.socketpair()
    wake_read.setblocking(False)
    wake_write.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is wake_read:
                _reap(wake_read, control)
                continue
            _, fds, _, _ = socket.recv_fds(control, 1, 1)
            if not fds:
                os._exit(0)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                for sock in (control, wake_read, wake_write):
                    sock.close()
                _child(fds[0], run_worker)
            os.close(fds[0])
            control.sendall(_NOTE.pack(pid, 0))


def _child(fd: int, run_worker: Callable[[socket.socket], int]) -> None:
    code = 255
    try:
        code = run_worker(socket.socket(fileno=fd))
    finally:
        os._exit(code)


def _reap(wake: socket.socket, control: socket.socket) -> None:
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        pass
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        control.sendall(_NOTE.pack(pid, os.waitstatus_to_exitcode(status) + _CODE_OFFSET))
