"""Starting worker processes: ``spawn`` and ``fork``. (``forkserver``: see template.py.)

Each way gives a :class:`WorkerProcess`. ``sentinel`` is a file descriptor that becomes readable when the process ends
(a pidfd, on Linux); where there is none, a thread of its own waits for the process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from eisenmp.guard import Latch
from eisenmp.parcel import SharedFile
from eisenmp.unnamed import clear_of_streams

if TYPE_CHECKING:
    import subprocess

__all__ = [
    "ForkedProcess",
    "SpawnedProcess",
    "WorkerProcess",
    "channel_pair",
    "close_pidfd",
    "fork",
    "manager_only",
    "open_pidfd",
    "socket_pair",
    "spawn",
]


class _Closes(Protocol):
    def close(self) -> None: ...


_BUFFER: Final = 1 << 20  # wish for the kernel's socket buffers; the system may give less

# What a forked child must close: with a sibling's socket, its end-of-file would never show; a selector is one and the
# same in both processes; and nobody has a part in his siblings' channels and handles.
manager_only: weakref.WeakSet[_Closes] = weakref.WeakSet()
_pidfds: set[int] = set()

# `-c` with the folder of the package rather than `-m`: it works from a source tree, a zip and a changed sys.path
# alike, and nothing has to be put into the environment, which the worker's own children would inherit.
_BOOTSTRAP: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from eisenmp.worker.{} import from_command_line; from_command_line()"
)


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where the system has such a thing."""
    if hasattr(sys, "getandroidapilevel") or not hasattr(os, "pidfd_open"):
        return None  # Android kills a process for a system call that is not on its list
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    _pidfds.add(fd)
    return fd


def close_pidfd(fd: int) -> None:
    """Done with it."""
    _pidfds.discard(fd)  # first: from here on the number may be somebody else's
    os.close(fd)


class WorkerProcess:
    """A started process. Subclasses say how it is reaped."""

    awaits = ""
    told = False  # somebody else says when it has ended: neither a sentinel nor a thread has to look

    def __init__(self, name: str, pid: int | None) -> None:
        self.name = name
        self._pid = pid
        self._code: int | None = None
        self._over = Latch()
        self._lock = threading.Lock()
        self.sentinel = None if pid is None else open_pidfd(pid)

    def __repr__(self) -> str:
        state = "running" if self._code is None else f"exitcode={self._code}"
        return f"<worker {self.name} pid={self._pid} {state}>"

    @property
    def pid(self) -> int:
        assert self._pid is not None
        return self._pid

    @property
    def known_pid(self) -> int | None:
        """Its pid, or None while there is no process yet; does not wait for one."""
        return self._pid

    @property
    def exitcode(self) -> int | None:
        """As ``subprocess`` has it: None while it runs, negative for a signal."""
        self.poll()
        return self._code

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """Wait for the process to end, `timeout` seconds at most."""
        self._over.wait(timeout)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now (SIGKILL)."""
        self._signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def poll(self) -> int | None:
        """Its exit code once it has ended, else None. Reaps it."""
        with self._lock:
            if self._code is None:
                self._code = self._reap()
            return self._code

    def ended(self) -> None:
        """All of it is dealt with: let those who joined go on."""
        if self.sentinel is not None:
            close_pidfd(self.sentinel)
            self.sentinel = None
        self._over.set()

    def unseen_end(self) -> bool:
        """Whether it has ended, and who should say so does not."""
        return False

    def lost(self) -> None:
        """Nobody will tell how it ends."""

    def block(self) -> None:
        """Wait in the system until it ends; only for the thread that stands in for a sentinel."""
        raise NotImplementedError

    def _reap(self) -> int | None:
        raise NotImplementedError

    def _signal(self, number: int) -> None:
        with self._lock:  # nobody reaps meanwhile, so the pid is still its own
            if self._code is None:
                self._code = self._reap()
            if self._code is None:
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    pass


class SpawnedProcess(WorkerProcess):
    """A fresh interpreter."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        super().__init__(name, popen.pid)

    def block(self) -> None:
        self._popen.wait()

    def _reap(self) -> int | None:
        return self._popen.poll()


class ForkedProcess(WorkerProcess):
    """A copy of the manager."""

    def block(self) -> None:
        if hasattr(os, "waitid"):  # waits without reaping, so that poll() still gets the code
            with suppress(ChildProcessError):  # it is reaped already
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def _reap(self) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return 255  # somebody else has reaped it: gone, code lost
        return os.waitstatus_to_exitcode(status) if pid else None


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, neither of which stands in the place of a standard stream."""
    one, other = socket.socketpair()
    try:
        one = _clear(one)
        return one, _clear(other)
    except BaseException:
        one.close()
        other.close()
        raise


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a worker's channel: the manager's, which no fork keeps, and the worker's."""
    ours, theirs = socket_pair()
    manager_only.add(ours)
    for sock in (ours, theirs):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        except OSError:
            pass  # smaller buffers are slower, not wrong
    return ours, theirs


def _clear(sock: socket.socket) -> socket.socket:
    return sock if sock.fileno() > 2 else socket.socket(fileno=clear_of_streams(sock.detach()))


def _stream(fd: int) -> int | None:
    """What a worker gets for a standard stream: the manager's, or nothing where that was closed.

    Then something else may have its number by now, which was not meant for others.
    """
    from subprocess import DEVNULL

    try:
        return None if os.get_inheritable(fd) else DEVNULL
    except OSError:
        return DEVNULL


def spawn(name: str, child: socket.socket, *, role: str = "main", files: Sequence[SharedFile] = ()) -> WorkerProcess:
    """Start a fresh interpreter on its end of the channel. ``__main__`` is not imported.

    Args:
        name: of the worker.
        child: its end of the channel.
        role: which module of ``eisenmp.worker`` it runs.
        files: what it inherits, under the same descriptors.
    """
    import subprocess  # a fork needs nothing of it

    package_home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # -W, -X, -O … as multiprocessing
    command = [sys.executable, *flags, "-P", "-c", _BOOTSTRAP.format(role), package_home]
    if sys.platform == "win32":
        popen = subprocess.Popen([*command, "stdin"], stdin=subprocess.PIPE, close_fds=True)
        assert popen.stdin is not None
        popen.stdin.write(child.share(popen.pid))
        popen.stdin.close()
    else:
        # The manager's standard input is the user's; a script that came in there must not be read by a worker.
        inherited = (child.fileno(), *[file.fileno() for file in files])
        popen = subprocess.Popen(
            [*command, str(child.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=_stream(1),
            stderr=_stream(2),
            pass_fds=inherited,
        )
    return SpawnedProcess(name, popen)


def fork(name: str, child: socket.socket, run: Callable[[socket.socket], int]) -> WorkerProcess:
    """Start a copy of this process that does nothing but `run` on its end of the channel.

    Raises:
        RuntimeError: Python 3.12.0 to 3.12.2, and the main thread has ended (python/cpython#113964).
    """
    try:
        pid = os.fork()
    except RuntimeError as error:
        raise RuntimeError(
            f"{error}: this Python forks no more when the main thread has ended; end the program with wait(),"
            " or use START_METHOD='spawn' or 'forkserver'"
        ) from error
    if pid:
        return ForkedProcess(name, pid)
    code = 255
    try:
        for thing in list(manager_only):
            thing.close()
        for fd in _pidfds:
            os.close(fd)
        _pidfds.clear()
        if "eisenmp.ring" in sys.modules:
            sys.modules["eisenmp.ring"].close_all()
        code = run(child)
    finally:
        os._exit(code)  # never back into the manager's stack: its atexit and finally belong to the manager
