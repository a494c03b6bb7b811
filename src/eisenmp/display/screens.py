"""Where progress is shown: the ways to show it, and which one it is to be."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, TextIO

from eisenmp.display.area import Area, Line, terminal_size
from eisenmp.display.progress import Progress
from eisenmp.display.redirect import Redirection, is_terminal
from eisenmp.display.stream import write
from eisenmp.display.words import cells
from eisenmp.events import Snapshot

__all__ = ["CallbackScreen", "LinePainter", "Painter", "PlainScreen", "Screen", "TerminalScreen", "choose", "installed"]

_REDRAW: Final = 0.25  # seconds between two drawings on a terminal
_EVERY: Final = 5.0  # seconds between two lines elsewhere

_owner = threading.Lock()  # one job at a time has the bottom of the terminal


class Screen(Protocol):
    """Somewhere to show a job. All calls but `release` come from the display's thread."""

    every: float  # seconds between two updates
    stirred: threading.Event  # set when others have written; then `tidy` is called soon

    def update(self, snapshot: Snapshot) -> None:
        """Show how the job stands."""
        ...

    def tidy(self) -> None:
        """Some milliseconds after text was written by others: show the same again, if it is gone."""
        ...

    def end(self, snapshot: Snapshot) -> None:
        """Show the last state, which stays, and leave everything as it was."""
        ...

    def release(self) -> None:
        """Let go of the streams of this process, and wait for nothing long: the display is stuck, or has failed."""
        ...


class Painter(Protocol):
    """Makes the lines that show a job."""

    def paint(self, snapshot: Snapshot, columns: int, lines: int) -> list[Line]:
        """Not wider and not more than that."""
        ...


class LinePainter:
    """One line, without any library."""

    def __init__(self) -> None:
        self._progress = Progress()

    def paint(self, snapshot: Snapshot, columns: int, lines: int) -> list[Line]:
        """The line, cut off at the edge."""
        text = self._progress.line(snapshot)[: max(10, columns)]
        return [Line(text, cells(text))]


class PlainScreen:
    """No terminal: a line now and then, as for the log of a nightly run."""

    every = _EVERY

    def __init__(self, stream: TextIO | None) -> None:
        self.stirred = threading.Event()
        self._stream = stream
        self._progress = Progress()

    def update(self, snapshot: Snapshot) -> None:
        """One more line."""
        self._write([self._progress.line(snapshot)])

    def tidy(self) -> None:
        """What others write is no hindrance."""

    def end(self, snapshot: Snapshot) -> None:
        """The last lines."""
        self._write(self._progress.last_lines(snapshot))

    def release(self) -> None:
        """It holds nothing."""

    def _write(self, lines: list[str]) -> None:
        try:
            write(self._stream, "".join(line + "\n" for line in lines))
        except (OSError, ValueError):
            pass  # nobody is left to tell


class TerminalScreen:
    """Lines at the bottom of a terminal, drawn again and again.

    Args:
        stream: the terminal.
        make_painter: called when there is something to draw: a job that is over at once loads no library for it.
    """

    every = _REDRAW

    def __init__(self, stream: TextIO, make_painter: Callable[[TextIO], Painter]) -> None:
        self._area = Area(stream)
        self.stirred = self._area.stirred
        self._stream = stream
        self._make_painter = make_painter
        self._painter: Painter | None = None
        self._redirection: Redirection | None = None
        self._owns = False
        self._last: Snapshot | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Draw, unless another job does."""
        if not self._owns:
            self._owns = _owner.acquire(blocking=False)
            if not self._owns:
                return
            self._painter = self._make_painter(self._stream)
            self._redirection = Redirection(self._area)
            self._area.unfinished = self._redirection.unfinished
        self._last = snapshot
        self._paint(snapshot)

    def _paint(self, snapshot: Snapshot) -> None:
        assert self._painter is not None
        columns, lines = terminal_size(self._stream)
        try:
            self._area.draw(self._painter.paint(snapshot, max(1, columns - 1), max(1, lines - 1)))
        except BaseException:
            self._area.close()
            raise

    def tidy(self) -> None:
        """Bring the lines back that others have scrolled away; make them anew for a terminal of another size."""
        if self._last is not None and self._area.resized:
            self._paint(self._last)
        else:
            self._area.tidy()

    def end(self, snapshot: Snapshot) -> None:
        """The last lines in the place of the others."""
        if self._owns:
            self._area.close(Progress().last_lines(snapshot))
            self.release()  # after that: a line that somebody has begun goes on below
        else:
            PlainScreen(sys.stderr).end(snapshot)  # there another job may be drawing; this then comes above

    def release(self) -> None:
        """The streams are what they were; another job may draw."""
        if self._redirection is not None:
            self._redirection.end()
            self._redirection = None
        if self._owns:
            self._owns = False
            _owner.release()


class CallbackScreen:
    """The user's own function, called with each snapshot; the last one is ``over``."""

    every = _REDRAW

    def __init__(self, function: Callable[[Snapshot], object]) -> None:
        self.stirred = threading.Event()
        self._function = function

    def update(self, snapshot: Snapshot) -> None:
        """Tell it."""
        self._function(snapshot)

    def tidy(self) -> None:
        """Nothing is drawn."""

    def end(self, snapshot: Snapshot) -> None:
        """Tell it, for the last time."""
        self._function(snapshot)

    def release(self) -> None:
        """It holds nothing."""


def choose(progress: Any, stream: TextIO | None) -> Screen:
    """Which screen it is to be.

    Args:
        progress: ``INFO_ENABLE``: True: the best there is; ``'line'``, ``'tqdm'``; or the user's function.
        stream: standard error.
    """
    if callable(progress):
        return CallbackScreen(progress)
    if progress == "tqdm":
        from eisenmp.display.bar import TqdmScreen

        return TqdmScreen(stream)
    if in_notebook():
        from eisenmp.display.notebook import NotebookScreen

        return NotebookScreen()
    if stream is None or not is_terminal(stream) or os.environ.get("TERM") == "dumb":
        return PlainScreen(stream)
    if progress == "line" or not installed("rich"):
        return TerminalScreen(stream, lambda _: LinePainter())
    return TerminalScreen(stream, _rich_painter)


def installed(library: str) -> bool:
    """Whether there is such a library; it is not imported."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _rich_painter(stream: TextIO) -> Painter:
    from eisenmp.display.painter import RichPainter

    return RichPainter(stream)


def in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this; nothing is imported to find out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")
