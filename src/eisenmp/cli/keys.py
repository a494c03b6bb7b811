"""Keys of a terminal, as they are pressed; and what the keys of ``eisenmp top`` mean."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Final

__all__ = ["Keyboard", "Request", "Talk"]

_SHOWN: Final = 6.0  # seconds that an answer is shown


class Keyboard:
    """Gives keys without waiting for Enter, and does not show them, within a ``with`` block.

    Args:
        descriptor: of the terminal.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._before: list[Any] = []
        self._handler: Any = None

    def __enter__(self) -> Keyboard:
        import termios

        self._before = termios.tcgetattr(self.descriptor)
        self._begin()
        self._handler = signal.signal(signal.SIGCONT, self._again)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios

        signal.signal(signal.SIGCONT, self._handler)
        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._before)

    def read(self) -> str:
        """The keys that were pressed; call it when there are some."""
        return os.read(self.descriptor, 64).decode("utf-8", "ignore")

    def _begin(self) -> None:
        import tty

        tty.setcbreak(self.descriptor)

    def _again(self, number: int, frame: FrameType | None) -> None:
        """After a stop (Ctrl-Z): the shell has set the terminal as it likes it."""
        self._begin()


@dataclass(frozen=True, slots=True)
class Request:
    """What the job is to be asked."""

    what: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Talk:
    """What keys mean, one after the other. Pure.

    Attributes:
        left: the user wants to leave.
    """

    def __init__(self) -> None:
        self.left = False
        self._question = ""  # 'stop', 'restart', or none
        self._typed = ""
        self._said = ""
        self._until = 0.0
        self._workers: tuple[int, int] | None = None  # asked for, when the job said that there are so many

    def press(self, key: str, state: Mapping[str, Any]) -> Request | None:
        """One key.

        Args:
            key: what it writes.
            state: of the job.
        """
        self._said = ""
        if self._question == "stop":
            self._question = ""
            return Request("stop") if key in ("y", "Y") else None
        if self._question == "restart":
            return self._type_slot(key)
        if key in ("q", "Q"):
            self.left = True
        can = state.get("can", ())
        if key == "s" and "stop" in can:
            self._question = "stop"
        elif key == "r" and "restart" in can:
            self._question, self._typed = "restart", ""
        elif key == "t" and "retry" in can:
            return Request("retry")
        elif key in ("+", "=", "-") and "resize" in can:
            return self._resize(-1 if key == "-" else 1, state)
        return None

    def _type_slot(self, key: str) -> Request | None:
        if key.isdecimal() and len(self._typed) < 6:
            self._typed += key
            return None
        if key in ("\x7f", "\b"):
            self._typed = self._typed[:-1]
            return None
        self._question = ""
        if key == "a":
            return Request("restart")
        if key in ("\r", "\n") and self._typed:
            return Request("restart", {"slot": int(self._typed)})
        return None

    def _resize(self, by: int, state: Mapping[str, Any]) -> Request:
        """One more or one less than there are to be, or were asked for before the job has heard it."""
        wanted = state["wanted"]
        if self._workers is not None and self._workers[1] == wanted:
            wanted = self._workers[0]
        self._workers = (max(1, wanted + by), state["wanted"])
        return Request("resize", {"workers": self._workers[0]})

    def hear(self, text: str, now: float) -> None:
        """The job has answered."""
        self._said, self._until = text, now + _SHOWN

    def words(self, state: Mapping[str, Any], now: float) -> str:
        """The line below the job."""
        if self._question == "stop":
            return "stop the job?  y yes   any other key no"
        if self._question == "restart":
            return f"restart which slot? {self._typed}_   Enter this one   a all   any other key none"
        if self._said and now < self._until:
            return self._said
        keys = {"stop": "s stop", "restart": "r restart", "resize": "+ - workers", "retry": "t try failures again"}
        return "   ".join(["q leave", *[words for what, words in keys.items() if what in state.get("can", ())]])
