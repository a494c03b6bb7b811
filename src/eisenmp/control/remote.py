"""A job of another process in the form in which a page's server wants it (web.Shown).

Each browser has a connection of its own to the job, read by a thread of its own; so none waits for another, and each
gets the past and then every state.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from eisenmp.control.client import Connection, ConnectionEnded
from eisenmp.errors import JobOver, ProtocolError, SettingsError

__all__ = ["RemoteActions", "RemoteView"]

_LOOK: Final = 0.5  # seconds between two looks whether somebody still listens
_PATIENCE: Final = 2.0  # seconds that the job may take to answer

Send = Callable[[bytes], None]


class RemoteActions:
    """What may be done to the job: see :class:`eisenmp.live.Actions`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def do(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Have it done; return what was done, in words.

        Raises:
            SettingsError: the job has refused.
            JobOver: it does not answer.
        """
        try:
            with closing(Connection(self._path, _PATIENCE)) as connection:
                number = connection.ask(name, **arguments)
                while (answer := connection.next_message(_PATIENCE)) is not None:
                    if answer.get("id") == number:
                        break
        except (OSError, ProtocolError, ConnectionEnded) as error:
            raise JobOver("the job is over, or does not answer") from error
        if answer is None:
            raise JobOver("the job does not answer")
        if answer["kind"] == "error":
            raise SettingsError(answer["text"])
        return str(answer["text"])


class RemoteView:
    """What is shown.

    Args:
        path: of the job's socket.

    Attributes:
        actions: what may be done.
        state: the newest one; None: none has come.
    """

    def __init__(self, path: str) -> None:
        self.actions = RemoteActions(path)
        self.state: Mapping[str, Any] | None = None
        self._path = path
        self._leave = self.subscribe(lambda line: None)  # for whoever asks for the state without watching

    def close(self) -> None:
        """Nobody asks any more."""
        self._leave()

    def subscribe(self, send: Send) -> Callable[[], None]:
        """Tell `send` the history, and then each state, until the returned is called; empty: no more will come."""
        left = threading.Event()
        thread = threading.Thread(target=self._read, args=(send, left), name="eisenmp-watch", daemon=True)
        thread.start()
        return left.set

    def _read(self, send: Send, left: threading.Event) -> None:
        try:
            with closing(Connection(self._path, _PATIENCE)) as connection:
                connection.watch()
                while not left.is_set():
                    line = connection.next_line(_LOOK)
                    if line is not None and self._is_news(line):
                        send(line)
        except (OSError, ProtocolError, ConnectionEnded):
            pass
        except RuntimeError:
            return  # the loop of whoever listened is closed
        if not left.is_set():
            try:
                send(b"")
            except RuntimeError:
                pass

    def _is_news(self, line: bytes) -> bool:
        """Whether it is a history or a state, and no answer; the newest state is kept."""
        try:
            message = json.loads(line)
            kind = message["kind"]
        except (ValueError, TypeError, KeyError):
            raise ProtocolError("a line that is no message") from None
        if kind == "state" or (kind == "history" and message["state"] is not None):
            self.state = message["state"] if kind == "history" else message
        return kind in ("history", "state")
