"""The other side of a control socket: finds the jobs of this user, watches one of them, and asks it to do things."""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from eisenmp.control.places import forget_if_deaf, own_folder, sockets, supported
from eisenmp.control.protocol import TOLD, VERSION, Lines, encoded
from eisenmp.errors import ProtocolError

__all__ = ["Connection", "ConnectionEnded", "Found", "find_jobs"]

_PATIENCE: Final = 1.0  # seconds that a job may take to say hello
_PIECE: Final = 1 << 18  # bytes


class ConnectionEnded(Exception):  # noqa: N818 - it is no error when a job ends
    """Nothing more comes. ``args[0]``: whether the job has said so; else its process has gone without a word."""

    @property
    def in_order(self) -> bool:
        """The job has told of its end."""
        return bool(self.args[0])


@dataclass(frozen=True, slots=True)
class Found:
    """A job of this user. ``job``: what it says of itself (name, pid, started, …); None: it does not answer."""

    pid: int
    path: str
    job: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Of its program; empty: it does not answer."""
        return "" if self.job is None else str(self.job.get("name", ""))


def find_jobs() -> Iterator[Found]:
    """All jobs of this user that can be watched, oldest first.

    Raises:
        OSError: the folder is not this user's alone.
    """
    folder = own_folder(make=False) if supported() else None
    for pid, path in sockets(folder) if folder is not None else ():
        try:
            with closing(Connection(path)) as connection:
                yield Found(pid, path, connection.job)
        except (OSError, ProtocolError, ConnectionEnded):
            if not forget_if_deaf(path):
                yield Found(pid, path, None)


class Connection:
    """To one job.

    Attributes:
        job: what it says of itself.

    Raises:
        OSError: nobody listens there.
        ProtocolError: what it says is not understood, by this version at least.
        ConnectionEnded: it has just ended.
    """

    def __init__(self, path: str, patience: float = _PATIENCE) -> None:
        self._numbers = count(1)
        self._lines = Lines(TOLD)
        self._come: deque[bytes] = deque()
        self._over = False
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(patience)
            self._sock.connect(path)
            hello = self.next_message(patience)
            if hello is None:
                raise TimeoutError("the job does not answer")
            if hello.get("kind") != "hello" or hello.get("protocol") != VERSION:
                raise ProtocolError(f"a job of another version of eisenmp: it speaks {hello.get('protocol')!r}")
        except BaseException:
            self._sock.close()
            raise
        self.job: dict[str, Any] = hello.get("job", {})

    def fileno(self) -> int:
        """For a selector: there is something to read. What was read already, :meth:`next_message` gives without."""
        return self._sock.fileno()

    def watch(self) -> None:
        """Ask for the history and all states to come."""
        self._send({"do": "watch"})

    def ask(self, what: str, /, **arguments: Any) -> int:
        """Ask for an action; return the number that its answer bears."""
        number = next(self._numbers)
        self._send({"do": what, "id": number, "with": arguments})
        return number

    def next_line(self, timeout: float) -> bytes | None:
        """The next line as it came; None: none has come in so many seconds.

        Raises:
            ConnectionEnded: nothing more comes.
        """
        deadline = time.monotonic() + timeout
        while not self._come:
            self._sock.settimeout(max(1e-6, deadline - time.monotonic()))
            try:
                piece = self._sock.recv(_PIECE)
            except TimeoutError:
                return None
            except OSError:
                piece = b""
            if not piece:
                raise ConnectionEnded(self._over)
            self._come.extend(self._lines.add(piece))
        return self._come.popleft()

    def next_message(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None: none has come in so many seconds.

        Raises:
            ConnectionEnded: nothing more comes.
            ProtocolError: it is no JSON object.
        """
        line = self.next_line(timeout)
        if line is None:
            return None
        try:
            message = json.loads(line)
        except ValueError:
            raise ProtocolError("a line that is no JSON") from None
        if not isinstance(message, dict):
            raise ProtocolError("a line that is no JSON object")
        if message.get("kind") == "end" or (message.get("kind") == "state" and message.get("over")):
            self._over = True
        return message

    def close(self) -> None:
        """Leave."""
        self._sock.close()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._sock.settimeout(_PATIENCE)
            self._sock.sendall(encoded(message))
        except OSError as error:
            raise ConnectionEnded(self._over) from error
