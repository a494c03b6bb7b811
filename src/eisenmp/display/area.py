"""The area at the bottom of a terminal that is drawn again and again, while text scrolls above it.

Between two drawings the cursor stays at the end of the area. It is never hidden and no mode of the terminal is changed,
so a program that is killed leaves nothing behind that would have to be mended. A drawing overwrites line by line, in
one write, so that nothing flickers.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TextIO

from eisenmp.display.stream import write
from eisenmp.display.words import cells, one_line

__all__ = ["Area", "Line", "terminal_size"]

_AGAIN: Final = 0.05  # seconds: a print sooner after the last one does not bring the area back at once
_END_OF_LINE: Final = "\x1b[K"
_BELOW: Final = "\x1b[J"


class Line(NamedTuple):
    """What is written, and how many columns it takes."""

    text: str
    columns: int


class Area:
    """Some lines at the bottom of a terminal.

    Args:
        stream: the terminal.
        clock: seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.lock = threading.RLock()  # one writer at a time
        self.broken = False  # the terminal has gone
        self.stale = False  # text was written above, and the area is not back yet
        self._clock = clock
        self._again = 0.0  # when it was brought back last
        self._lines: Sequence[Line] = ()
        self._widths: list[int] = []  # of the lines that stand there; none: nothing stands there
        self._begun: dict[int, tuple[TextIO, str]] = {}  # lines without an end, by the stream they came from

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines instead of those that stand there."""
        with self.lock:
            self._lines = lines
            self.redraw()

    def redraw(self) -> None:
        """The same lines again, where they were wiped."""
        with self.lock:
            columns = terminal_size(self.stream)[0]
            lines = [*self._unfinished(columns), *self._lines]
            text = (_END_OF_LINE + "\r\n").join(line.text for line in lines)
            self._write(self._to_top(columns) + text + _END_OF_LINE + _BELOW)
            self._widths = [line.columns for line in lines]
            self.stale = False
            self._again = self._clock()

    def above(self, stream: TextIO, text: str) -> None:
        """Write text to a stream of this terminal, above the area. A line without its end waits for that in the area.

        Raises:
            OSError, ValueError: the stream takes nothing.
        """
        with self.lock:
            whole, newline, begun = (self._begun.get(id(stream), (stream, ""))[1] + text).rpartition("\n")
            self._begun[id(stream)] = (stream, begun)
            if not newline:
                self.stale = True
                return
            self._wipe()
            write(stream, whole + newline)
            if self._lines and self._clock() - self._again >= _AGAIN:
                self.redraw()
            else:
                self.stale = bool(self._lines)

    def close(self, last: Sequence[str] = ()) -> None:
        """Take the area away; leave these lines in its place."""
        with self.lock:
            self._wipe()
            self._lines = ()
            self.stale = False
            begun, self._begun = self._begun, {}
            for stream, text in begun.values():
                if text:
                    try:
                        write(stream, text + ("\n" if last else ""))
                    except (OSError, ValueError):
                        pass  # who wrote it has been told that it was taken; there is nobody left to tell
            if last:
                self._write("".join(line + "\n" for line in last))

    def _unfinished(self, columns: int) -> list[Line]:
        lines = []
        for _, text in self._begun.values():
            shown = one_line(text.rpartition("\r")[2][-columns:])
            while cells(shown) >= columns:
                shown = shown[1:]
            if shown:
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
            told = shutil.get_terminal_size()
        columns, lines = columns or told.columns or 80, lines or told.lines or 24
    return columns, lines


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
