"""The manager's side of a control socket: one thread, which waits for clients and never lets them wait for each other.

What is to be told lies in a bounded box for each client. Whoever does not read loses what is in there, and gets the
whole history again when he reads on. So a slow client costs the job nothing, and a stopped one a few states.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final, Protocol

from eisenmp.control.places import is_own, listening_socket, own_folder, remove, tidy
from eisenmp.control.protocol import ASKED, VERSION, Lines, encoded, request_of
from eisenmp.engines.processes import manager_only
from eisenmp.engines.waker import Waker
from eisenmp.errors import EisenmpError, ProtocolError

__all__ = ["ControlServer", "Shown"]

_CLIENTS: Final = 16  # at a time
_WAITING: Final = 20  # messages in a box
_PIECE: Final = 1 << 16  # bytes
_LAST_WORDS: Final = 0.3  # seconds that clients get to hear the end
_NO_ROOM: Final = 0.1  # seconds between two tries to accept somebody, while there is no descriptor
_FAREWELL: Final = encoded({"kind": "end"})


class Actions(Protocol):
    """See :class:`eisenmp.live.Actions`."""

    def do(self, name: str, arguments: Mapping[str, Any]) -> str: ...


class Shown(Protocol):
    """What is shown, and what may be done: a live view; see :class:`eisenmp.live.Live`."""

    actions: Any

    def subscribe(self, send: Callable[[bytes], None]) -> Callable[[], None]: ...


class _Client:
    """A connection. The thread of the live view puts into its box, all else is the server's thread's."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lines = Lines(ASKED)
        self.leave: Callable[[], None] | None = None  # it watches
        self.behind = False  # so far that it must begin anew
        self.writing = False  # registered for that
        self._lock = threading.Lock()
        self._box: deque[bytes] = deque()
        self._rest = memoryview(b"")  # of the message that is being sent

    def put(self, line: bytes) -> None:
        """One more message for it; from any thread."""
        with self._lock:
            if len(self._box) >= _WAITING:
                self.behind = True
                self._box.clear()
            if not self.behind:
                self._box.append(line)

    def forgive(self) -> None:
        """It begins anew."""
        with self._lock:
            self.behind = False

    def flush(self) -> bool:
        """Send what goes without waiting. False: there is more. Raises OSError when the client has gone."""
        while True:
            if not self._rest:
                with self._lock:
                    if not self._box:
                        return True
                    self._rest = memoryview(self._box.popleft())
            try:
                self._rest = self._rest[self.sock.send(self._rest) :]
            except BlockingIOError:
                return False


class ControlServer:
    """One job's socket.

    Args:
        shown: gives what is shown; called when somebody wants to see it.
        facts: what the job is, in a few words; called when somebody comes.
    """

    def __init__(self, shown: Callable[[], Shown], facts: Callable[[], Mapping[str, Any]]) -> None:
        self._shown = shown
        self._facts = facts
        self._clients: set[_Client] = set()
        self._ends: float | None = None  # when the thread gives up its clients
        self._parting = False  # they have been told
        self.path = ""

    def open(self) -> None:
        """Listen, from now on until :meth:`close`.

        Raises:
            OSError: there is no place for a socket.
        """
        folder = own_folder(make=True)
        assert folder is not None
        tidy(folder)
        self._sock, self.path = listening_socket(folder)
        manager_only.add(self._sock)
        with ExitStack() as unless_done:
            unless_done.callback(self._sock.close)
            unless_done.callback(self._lose_name)
            self._selector = selectors.DefaultSelector()
            unless_done.callback(self._selector.close)
            self._waker = Waker(self._selector)
            unless_done.callback(self._waker.close)
            self._selector.register(self._sock, selectors.EVENT_READ, self._sock)
            self._thread = threading.Thread(target=self._run, name="eisenmp-control", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # there is none to be had
                raise OSError(str(error)) from error
            unless_done.pop_all()

    def _lose_name(self) -> None:
        remove(self.path)
        self.path = ""

    def close(self) -> None:
        """Nobody finds the job any more; those who are there are told of its end, if they listen."""
        if not self.path:
            return
        self._ends = time.monotonic() + _LAST_WORDS
        remove(self.path)
        self._waker.wake()
        self._thread.join(2 * _LAST_WORDS)

    # ---- the thread

    def _run(self) -> None:
        try:
            while self._ends is None:
                self._turn(None)
            self._parting = True
            for client in list(self._clients):
                client.put(_FAREWELL)
                self._tell(client)
            while self._clients and time.monotonic() < self._ends:
                self._turn(max(0.0, self._ends - time.monotonic()))
        except Exception as error:
            logging.getLogger("eisenmp").warning("the control socket is closed: %s: %s", type(error).__name__, error)
        finally:
            self._give_up()

    def _turn(self, timeout: float | None) -> None:
        for key, mask in self._waker.heard(self._selector.select(timeout)):
            if isinstance(key.data, _Client):
                self._serve(key.data, mask)
            elif self._ends is None:
                self._accept()
        for client in list(self._clients):
            if client.behind or not client.writing:
                self._tell(client)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_NO_ROOM)  # whoever asks still waits there, and would be found again at once
            return  # or it has gone again
        if len(self._clients) >= _CLIENTS or not is_own(sock):
            sock.close()
            return
        sock.setblocking(False)
        manager_only.add(sock)
        client = _Client(sock)
        self._clients.add(client)
        self._selector.register(sock, selectors.EVENT_READ, client)
        client.put(encoded({"kind": "hello", "protocol": VERSION, "job": self._facts()}))

    def _serve(self, client: _Client, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ:
                self._hear(client)
        except (OSError, ProtocolError):
            self._drop(client)
            return
        if mask & selectors.EVENT_WRITE:
            self._tell(client)

    def _hear(self, client: _Client) -> None:
        piece = client.sock.recv(_PIECE)
        if not piece:
            raise ConnectionResetError
        for line in client.lines.add(piece):
            what, number, arguments = request_of(line)
            if what == "watch":
                self._watch(client)
            else:
                client.put(encoded({"id": number, **self._do(what, arguments)}))

    def _do(self, what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"kind": "said", "text": self._shown().actions.do(what, arguments)}
        except (EisenmpError, LookupError) as error:
            return {"kind": "error", "text": str(error)}
        except Exception as error:
            return {"kind": "error", "text": f"{type(error).__name__}: {error}"}

    def _watch(self, client: _Client) -> None:
        """Tell it the history, and then each state."""
        if client.leave is not None:
            client.leave()
        client.forgive()

        def send(line: bytes) -> None:
            client.put(line + b"\n" if line else _FAREWELL)
            self._waker.wake()

        client.leave = self._shown().subscribe(send)

    def _tell(self, client: _Client) -> None:
        """Send what waits for it, and look at it again when it can take more."""
        try:
            done = client.flush()
            if done and client.behind:
                self._watch(client)
                done = client.flush()
        except OSError:
            self._drop(client)
            return
        if client.writing is done:
            client.writing = not done
            events = selectors.EVENT_READ | (0 if done else selectors.EVENT_WRITE)
            self._selector.modify(client.sock, events, client)
        if done and self._parting:
            self._drop(client)  # it has heard all

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        if client.leave is not None:
            client.leave()
        self._selector.unregister(client.sock)
        client.sock.close()

    def _give_up(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        remove(self.path)
        self._sock.close()
        self._selector.close()
        self._waker.close()
