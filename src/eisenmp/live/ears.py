"""Keeps what workers print and log, and the news of a job, for whoever watches; see events.Listener."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from eisenmp.events import Listener

__all__ = ["Ears"]

_KEPT: Final = 500  # entries between two looks
_LONGEST: Final = 4000  # letters of one entry


class Ears:
    """Passes everything on to another listener first.

    Args:
        other: the one before.
        clock: seconds of the job.
    """

    def __init__(self, other: Listener, clock: Callable[[], float]) -> None:
        self._other = other
        self._clock = clock
        self._heard: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def lines(self, text: str, *, stderr: bool, worker: str = "") -> None:
        self._note("print", worker, text)
        self._other.lines(text, stderr=stderr, worker=worker)

    def log(self, fields: dict[str, Any]) -> None:
        text = str(fields.get("msg", ""))
        if fields.get("exc_text"):
            text += f"\n{fields['exc_text']}"
        self._note(str(fields.get("levelname", "INFO")), str(fields.get("worker", "")), text)
        self._other.log(fields)

    def warned(self, fields: dict[str, Any]) -> None:
        self._note("warning", str(fields.get("worker", "")), str(fields.get("text", "")))
        self._other.warned(fields)

    def news(self, text: str) -> None:
        self._note("news", "", text)
        self._other.news(text)

    def _note(self, level: str, worker: str, text: str) -> None:
        seconds = round(self._clock(), 3)
        self._heard.append({"seconds": seconds, "level": level, "worker": worker, "text": cut(text, _LONGEST)})

    def take(self) -> list[dict[str, Any]]:
        """What was heard since the last call: the newest of it."""
        taken = []
        while self._heard:  # the dispatcher goes on to add
            taken.append(self._heard.popleft())
            if len(taken) >= _KEPT:
                break
        return taken


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest} more letters)"
