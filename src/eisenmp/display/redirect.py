"""While something is drawn on a terminal, what others write there goes above it.

``sys.stdout`` and ``sys.stderr`` are replaced where they are terminals, and so are the streams of logging handlers that
hold one of them. A file or a pipe stays untouched. What a program writes past Python (a child process, ``os.write``)
is beyond our reach: it may tear a drawing until the next one.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, TextIO, cast

from eisenmp.display.stream import write

__all__ = ["Above", "Place", "Redirection", "is_terminal"]

_PATIENCE: Final = 0.5  # seconds


class Place(Protocol):
    """Where something is drawn."""

    lock: Any  # re-entrant: one writer at a time

    def above(self, stream: TextIO, text: str) -> None:
        """Write whole lines to a stream of this terminal, above what is drawn."""
        ...

    def begun(self) -> None:
        """A line was begun, or went on."""
        ...

    def flush(self) -> None:
        """Write what `above` has put off, now."""
        ...


class Above:
    """Stands for a stream: whole lines go above what is drawn, everything else to the stream itself.

    In a forked copy of this process, and after the end, it is the stream and nothing more.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._place: Place | None = None
        self._pid = 0
        self._begun = ""

    def begin(self, place: Place) -> None:
        """From now on, until `end`."""
        self._pid = os.getpid()
        self._place = place

    def write(self, text: str) -> int:
        """As of a stream. A line is written when it is whole."""
        place = self._place
        if place is None or os.getpid() != self._pid:
            return self._stream.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with place.lock:
            if self._place is None:  # it has ended while this thread waited
                return self._stream.write(text)
            whole, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                place.above(self._stream, whole + newline)
            if self._begun:
                place.begun()
        return len(text)

    def write_whole(self, text: str) -> None:
        """Write whole lines soon; a line that somebody else has begun stays begun."""
        place = self._place
        if place is None or os.getpid() != self._pid:
            write(self._stream, text)
        else:
            place.above(self._stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As of a stream."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As of a stream."""
        if self._place is not None and os.getpid() == self._pid:
            self._place.flush()
        self._stream.flush()

    def end(self) -> None:
        """Be the stream from now on: somebody may hold this object for ever."""
        place = self._place
        if place is None:
            return
        # Who is writing finishes that first; but a terminal that takes nothing is not waited for.
        locked = place.lock.acquire(timeout=_PATIENCE)
        self._place = None
        begun, self._begun = self._begun, ""
        try:
            if begun:
                write(self._stream, begun)
        except (OSError, ValueError):
            pass  # the terminal has gone
        finally:
            if locked:
                place.lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


_kept: dict[int, Above] = {}


def _stand_in(stream: TextIO) -> Above:
    """The one of that stream, which lives for ever.

    Older Pythons (to 3.13.2) do not keep the stream alive that a ``print`` under way in another thread writes to: they
    crash when ``sys.stdout`` is replaced meanwhile and what was there is freed.
    """
    if id(stream) not in _kept:
        _kept[id(stream)] = Above(stream)
    return _kept[id(stream)]


class Redirection:
    """Puts `place` before the terminals of this process, until `end`."""

    def __init__(self, place: Place) -> None:
        self._replaced: dict[str, Above] = {}
        self._handlers: list[tuple[logging.StreamHandler[TextIO], Above]] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if is_terminal(stream):
                above = _stand_in(stream)
                above.begin(place)
                self._replaced[name] = above
                setattr(sys, name, above)
        for handler in _handlers():
            for above in self._replaced.values():
                if handler.__dict__.get("stream") is above._stream:
                    handler.setStream(cast("TextIO", above))
                    self._handlers.append((handler, above))

    def unfinished(self) -> list[str]:
        """Lines that were begun and wait for their end."""
        return [above._begun for above in self._replaced.values() if above._begun]

    def end(self) -> None:
        """Everything as it was, but for what somebody else has replaced meanwhile. Waits half a second at most."""
        for name, above in self._replaced.items():
            above.end()  # first: what somebody has begun comes before what goes straight to the stream
            if getattr(sys, name) is above:  # else somebody has put a stream of their own there
                setattr(sys, name, above._stream)
        for handler, above in self._handlers:
            if handler.__dict__.get("stream") is above:
                handler.setStream(above._stream)
        self._replaced, self._handlers = {}, []


def _handlers() -> list[logging.StreamHandler[TextIO]]:
    loggers = [logging.getLogger(), *list(logging.root.manager.loggerDict.values())]
    return [
        handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler)
    ]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether it is one; a stream that is closed or not there is none."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False
