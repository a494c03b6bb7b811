"""The template process of ``forkserver``: made ready once, it forks a clean worker for every channel it is handed.

1. take in what all workers get alike: SETUP's common parts and the shared objects, large ones as descriptors
2. at the first FORK: open the objects, import the worker modules, the last one first, calling none of them; freeze all
   that for the garbage collector, which would write to every page of it
3. fork; the worker reads its own part of SETUP from its own channel. Tell its pid, and later how it ended
4. leave when the manager closes the control socket

Not everything can be had once for all. A module that raises, leaves or has started threads is UNFIT: the manager starts
another template, which imports nothing, and each worker does as a spawned one does, to the same end.

What is shared after the first fork lies here unopened: opening it would keep the next worker waiting.
"""

from __future__ import annotations

import array
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from typing import Any, Final, NoReturn

from eisenmp.wire import Buffer, Decoder, Frame, Kind, encode
from eisenmp.worker.kit import Kit, StartError
from eisenmp.worker.loader import load_module
from eisenmp.worker.main import die_with, quiet_signals, run_fork
from eisenmp.worker.streams import Outlets

__all__ = ["MOST_FILES", "Note", "from_command_line"]

MOST_FILES: Final = 250  # that one message may have along; the kernel takes 253
_ROOM: Final = socket.CMSG_SPACE(MOST_FILES * array.array("i").itemsize) if hasattr(socket, "CMSG_SPACE") else 0
_CLOSED_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_PATIENCE: Final = 0.1  # seconds that threads which were told to end may take to be gone


class Note:
    """Kinds of messages on the control socket, beside SETUP and SHARE on the way in, PRINT and LOG on the way out."""

    FORK: Final = 60  # to the template: serial = the worker's number; its end of the channel comes along
    READY: Final = 120  # what follows may be forks
    FORKED: Final = 121  # serial = the worker's number, number = its pid
    NOT_FORKED: Final = 122  # serial; body: utf-8 text, why not
    ENDED: Final = 123  # serial, number = exit code
    LAST: Final = 123


def from_command_line() -> None:
    """Entry of the process: ``… package_home descriptor``."""
    control = _Control(socket.socket(fileno=int(sys.argv[2])))
    quiet_signals()
    die_with(os.getppid())
    _Template(control).serve()


class _Control:
    """The template's end of the control socket. Stands in for an inbox while the modules' prints go here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.set_inheritable(False)
        self.sock = sock
        self.channel = self
        self.files: list[int] = []  # descriptors that have come, in order
        self._decoder = Decoder(1, Note.FORK)

    def receive(self) -> list[Frame] | None:
        """Messages that have come; None: the manager has closed."""
        try:
            count, beside, _, _ = self.sock.recvmsg_into([self._decoder.room()], _ROOM, _CLOSED_ON_EXEC)
        except ConnectionError:
            return None
        for _, _, data in beside:
            self.files += array.array("i", data[: len(data) - len(data) % array.array("i").itemsize])
        return self._decoder.advance(count) if count else None

    def send(self, *messages: list[Buffer]) -> None:
        """Tell the manager. When it is gone, so are we."""
        try:
            self.sock.sendall(b"".join([piece for message in messages for piece in message]))
        except OSError:
            os._exit(1)

    def newest(self) -> None:
        """No ticket is held here."""

    def close(self) -> None:
        """A fork has no part in it, nor in the channels of its siblings to come."""
        self.sock.close()
        for fd in self.files:
            os.close(fd)


class _Children:
    """The workers that were forked here: who they are and how they end."""

    def __init__(self) -> None:
        self.by_pid: dict[int, int] = {}  # pid -> worker number
        self.wake, self._rouse = socket.socketpair()
        for sock in (self.wake, self._rouse):
            sock.setblocking(False)
        self._handler: Any = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._rouse.fileno(), warn_on_full_buffer=False)

    def reap(self) -> list[tuple[int, int]]:
        """(worker number, exit code) of those that have ended. Asks for ours alone: modules may have children, too."""
        try:
            while self.wake.recv(4096):
                pass
        except BlockingIOError:
            pass
        ended = []
        for pid in list(self.by_pid):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                ended.append((self.by_pid.pop(pid), os.waitstatus_to_exitcode(status)))
        return ended

    def forget(self) -> None:
        """In a fork: what the modules had made of the signal holds again."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._handler if self._handler is not None else signal.SIG_DFL)
        self.wake.close()
        self._rouse.close()


class _Template:
    """See the module's text."""

    def __init__(self, control: _Control) -> None:
        self._control = control
        self._kit = Kit(own_files=True)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control.sock, selectors.EVENT_READ)
        self._outlets: Outlets
        self._children: _Children | None = None  # there is one when all is ready

    def serve(self) -> None:
        """Until the manager closes the control socket."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control.sock:
                    self._tell_ends()
                    continue
                frames = self._control.receive()
                if frames is None:
                    os._exit(0)
                for frame in frames:
                    self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.kind == Kind.SETUP:
            self._kit.add_setup(frame.body, self._control.files)
        elif frame.kind == Kind.SHARE:
            self._kit.add_share(frame.body, self._control.files)
        else:
            if self._children is None:
                self._make_ready()
                self._children = _Children()
                self._selector.register(self._children.wake, selectors.EVENT_READ)
                self._control.send(encode(Note.READY))
            self._fork(frame.serial, self._children)

    def _make_ready(self) -> None:
        setup = self._kit.setup
        sys.path[:] = setup["sys_path"]
        sys.argv[:] = setup["argv"]
        self._outlets = Outlets(self._control, setup["log_levels"], {"name": "template", "slot": -1})
        if not setup["preload"]:
            return
        try:
            why_not = _preload(self._kit)
        except BaseException as error:
            why_not = f"{type(error).__name__}: {error}"
        if why_not:
            import logging  # only now: forks need not have it

            logging.getLogger(__name__).info("the worker modules are loaded by each worker, not once: %s", why_not)
            os._exit(0)  # before it was ready: so the manager knows

    def _fork(self, number: int, children: _Children) -> None:
        end, me = self._control.files.pop(0), os.getpid()
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:
            self._control.send(encode(Note.NOT_FORKED, (str(error).encode(),), serial=number))
        else:
            if not pid:
                self._become_worker(end, me, children)
            children.by_pid[pid] = number
            self._control.send(encode(Note.FORKED, serial=number, number=pid))
        os.close(end)

    def _become_worker(self, end: int, parent: int, children: _Children) -> NoReturn:
        code = 255
        try:
            die_with(parent)
            children.forget()
            self._selector.close()
            self._control.close()
            code = run_fork(socket.socket(fileno=end), self._kit, self._outlets)
        finally:
            os._exit(code)

    def _tell_ends(self) -> None:
        if self._children is not None:
            for number, code in self._children.reap():
                self._control.send(encode(Note.ENDED, serial=number, number=code))


def _preload(kit: Kit) -> str:
    """Open the objects and import the modules; return why forks of that would not be clean, or nothing.

    Whatever goes wrong is found again by a worker that does it all by itself, and told by that one.
    """
    collecting = gc.isenabled()
    gc.disable()  # while large objects are made there is nothing to find
    try:
        kit.open()
    except StartError as error:
        return str(error.args[0])
    finally:
        if collecting:
            gc.enable()
    for path, _ in reversed(kit.setup["modules"]):
        load_module(path)
    return "" if _alone() else "importing them or opening shared objects has started threads"


def _alone() -> bool:
    """Whether this thread is the only one, or will be after a fork's preparations.

    A fork has none of the other threads, but the locks that they hold. OpenBLAS, say, ends its threads before a fork
    and starts them again when they are needed: so what counts is what a fork that is made for a trial leaves of them.
    """
    if threading.active_count() > 1:
        return False
    if _native_threads() == 1:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of the very thing that is tried here
        pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    end = time.monotonic() + _PATIENCE
    while _native_threads() > 1:
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _native_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1  # the system does not tell
