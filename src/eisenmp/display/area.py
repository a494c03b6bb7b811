"""The area at the bottom of a terminal that is drawn again and again, while text scrolls above it.

Between two drawings the cursor stays at the end of the area. It is never hidden and no mode of the terminal is changed,
so a program that is killed leaves nothing behind that would have to be mended. A drawing overwrites line by line, in
one write, so that nothing flickers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, TextIO

from eisenmp.display.stream import write
from eisenmp.display.words import cells, one_line

__all__ = ["Area", "Line", "terminal_size"]

_LATER: Final = 0.05  # seconds
_END_OF_LINE: Final = "\x1b[K"
_BELOW: Final = "\x1b[J"


class Line(NamedTuple):
    """What is written, and how many columns it takes."""

    text: str
    columns: int


class Area:
    """Some lines at the bottom of a terminal.

    Text that comes sooner after the last drawing than `_LATER` waits that long, with all that follows it: when a lot is
    printed, the area would else be away more often than there.

    Args:
        stream: the terminal.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.lock = threading.RLock()  # one writer at a time
        self.broken = False  # the terminal has gone
        self.stirred = threading.Event()  # somebody has written: `tidy` has something to do
        self.unfinished: Callable[[], list[str]] = list  # lines that others have begun, shown until they are whole
        self._clock = clock
        self._drawn = float("-inf")  # when
        self._size = (0, 0)  # of the terminal, for which the lines were made
        self._lines: Sequence[Line] = ()
        self._widths: list[int] = []  # of the lines that stand there; none: nothing stands there
        self._waiting: list[tuple[TextIO, str]] = []  # text to be written above

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines instead of those that stand there."""
        with self.lock:
            self._lines = lines
            self._size = terminal_size(self.stream)
            self._redraw()

    def above(self, stream: TextIO, text: str) -> None:
        """Write whole lines to a stream of this terminal, above the area: soon."""
        with self.lock:
            self._waiting.append((stream, text))
            self.stirred.set()
            if self._clock() - self._drawn >= _LATER:
                self.flush()

    def begun(self) -> None:
        """A line that is not whole has changed; it is shown soon."""
        self.stirred.set()

    def flush(self) -> None:
        """Write what waits, now."""
        with self.lock:
            if self._waiting:
                self._wipe()
                self._write_waiting()
                if self._lines and not self.resized:
                    self._redraw()

    def tidy(self) -> None:
        """To be called when somebody has written: write what waits, bring back what is away, show what was begun."""
        with self.lock:
            self.flush()
            if self._lines and not self.resized and (not self._widths or self.unfinished()):
                self._redraw()

    @property
    def resized(self) -> bool:
        """Whether the terminal is no longer the one that the lines were made for: new ones are needed."""
        return self._size != terminal_size(self.stream)

    def close(self, last: Sequence[str] = ()) -> None:
        """Take the area away; leave these lines in its place. What comes later is written at once."""
        with self.lock:
            self._wipe()
            self._write_waiting()
            self._lines = ()
            self._drawn = float("-inf")
            self._write("".join(line + "\n" for line in last))

    def _redraw(self) -> None:
        columns = terminal_size(self.stream)[0]
        lines = [*self._begun(columns), *self._lines]
        text = (_END_OF_LINE + "\r\n").join(line.text for line in lines)
        self._write(self._to_top(columns) + text + _END_OF_LINE + _BELOW)
        self._widths = [line.columns for line in lines]
        self._drawn = self._clock()

    def _begun(self, columns: int) -> list[Line]:
        lines = []
        for text in self.unfinished():
            shown = one_line(text.rpartition("\r")[2])
            while cells(shown) >= columns:
                shown = shown[1:]
            lines.append(Line(shown, cells(shown)))
        return lines

    def _wipe(self) -> None:
        if self._widths:
            self._write(self._to_top(terminal_size(self.stream)[0]) + _BELOW)
            self._widths = []

    def _to_top(self, columns: int) -> str:
        """To the first column of the area. A line that no longer fits takes several of a terminal made narrower."""
        rows = sum(max(1, -(-width // max(1, columns))) for width in self._widths)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stream, texts in groupby(waiting, key=itemgetter(0)):
            try:
                write(stream, "".join(text for _, text in texts))
            except (OSError, ValueError):
                pass  # a terminal that has gone; whoever wrote this was not told at once, and now nobody is left

    def _write(self, text: str) -> None:
        if self.broken:
            return
        try:
            write(self.stream, text)
        except (OSError, ValueError):  # the connection is lost, or somebody has closed the stream
            self.broken = True


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Columns and lines of this very terminal: standard output may be something else."""
    columns, lines = (_number(os.environ.get(name)) for name in ("COLUMNS", "LINES"))
    if not (columns and lines):
        try:
            told = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError, AttributeError):
            told = os.terminal_size((80, 24))  # nobody tells
        columns, lines = columns or told.columns or 80, lines or told.lines or 24
    return columns, lines


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
