"""While something is drawn on a terminal, what others write there goes above it.

``sys.stdout`` and ``sys.stderr`` are replaced where they are terminals, and so are the streams of logging handlers that
hold one of them. A file or a pipe stays untouched. What a program writes past Python (a child process, ``os.write``)
is beyond our reach: it may tear a drawing until the next one.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

__all__ = ["Above", "Redirection", "is_terminal"]

Write = Callable[[TextIO, str], None]


class Above:
    """Stands for a stream: text goes through `write_above`, everything else to the stream itself.

    In a forked copy of this process, and after the end, it is the stream and nothing more.
    """

    def __init__(self, stream: TextIO, write_above: Write) -> None:
        self._stream = stream
        self._write_above: Write | None = write_above
        self._pid = os.getpid()

    def write(self, text: str) -> int:
        """As of a stream."""
        write_above = self._write_above
        if write_above is None or os.getpid() != self._pid:
            return self._stream.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        write_above(self._stream, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As of a stream."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Be the stream from now on: somebody may hold this object for ever."""
        self._write_above = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


class Redirection:
    """Puts `write_above` before the terminals of this process, until `end`.

    Args:
        write_above: writes a text to a stream, above what is drawn.
    """

    def __init__(self, write_above: Write) -> None:
        self._replaced: dict[str, Above] = {}
        self._handlers: list[tuple[logging.StreamHandler[TextIO], Above]] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if is_terminal(stream):
                above = Above(stream, write_above)
                self._replaced[name] = above
                setattr(sys, name, above)
        for handler in _handlers():
            for above in self._replaced.values():
                if handler.__dict__.get("stream") is above._stream:
                    handler.setStream(cast("TextIO", above))
                    self._handlers.append((handler, above))

    def end(self) -> None:
        """Everything as it was, but for what somebody else has replaced meanwhile."""
        for name, above in self._replaced.items():
            if getattr(sys, name) is above:  # else somebody has put a stream of their own there
                setattr(sys, name, above._stream)
            above.end()
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
