"""The first display: prints and log records of workers, and one line of progress.

On a terminal the line is redrawn in place, some times a second; anywhere else a plain line is written every few
seconds, and nothing at all for a job that ends before the first one is due.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO

from eisenmp.display.progress import Progress
from eisenmp.display.stream import write
from eisenmp.listen import Snapshot

__all__ = ["LineDisplay"]

_REDRAW: Final = 0.25  # seconds between two drawings on a terminal
_EVERY: Final = 5.0  # seconds between two lines elsewhere
_CLEAR: Final = "\r\x1b[K"


class LineDisplay:
    """See :class:`eisenmp.listen.Listener`.

    Args:
        progress: draw the line of progress (``INFO_ENABLE``), on standard error.
    """

    def __init__(self, *, progress: bool) -> None:
        self._progress = progress
        self._lock = threading.Lock()  # one writer at a time, so that no line is torn
        self._drawn = False
        self._complaints: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._logger = logging.getLogger("eisenmp")

    # ---- Listener

    def lines(self, text: str, *, stderr: bool) -> None:
        self._write(sys.stderr if stderr else sys.stdout, text + "\n")

    def log(self, fields: dict[str, Any]) -> None:
        record = logging.makeLogRecord(fields)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            with self._lock:
                self._wipe()
            logger.handle(record)

    def news(self, text: str) -> None:
        with self._lock:
            self._wipe()
        self._logger.warning(text)

    # ---- the line of progress

    def start(self, snapshot: Callable[[], Snapshot]) -> None:
        """Begin to draw, until :meth:`stop`."""
        if self._progress:
            self._thread = threading.Thread(target=self._run, args=(snapshot,), name="eisenmp-display", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Draw the last state and draw no more."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _run(self, snapshot: Callable[[], Snapshot]) -> None:
        progress = Progress()
        stream = sys.stderr
        terminal = _is_terminal(stream)
        while not self._stop.wait(_REDRAW if terminal else _EVERY):
            self._draw(stream, progress.line(snapshot()), terminal=terminal)
        last = progress.line(snapshot())
        if terminal:
            self._draw(stream, last, terminal=True)
            self._write(stream, "\n", wipe=False)
        else:
            self._write(stream, last + "\n")

    def _draw(self, stream: TextIO | None, line: str, *, terminal: bool) -> None:
        if not terminal:
            self._write(stream, line + "\n")
            return
        width = shutil.get_terminal_size().columns
        self._write(stream, _CLEAR + line[: max(10, width - 1)], wipe=False)
        self._drawn = True

    def _write(self, stream: TextIO | None, text: str, *, wipe: bool = True) -> None:
        with self._lock:
            if wipe:
                self._wipe()
            try:
                write(stream, text)
            except BrokenPipeError:
                self._give_up(stream)
            except (OSError, ValueError) as error:  # a full disk; a stream that was closed
                self._complain(stream, error)
            self._drawn = not wipe and not text.endswith("\n")

    def _wipe(self) -> None:
        if self._drawn:
            self._drawn = False
            try:
                write(sys.stderr, _CLEAR)
            except (OSError, ValueError):
                pass  # the terminal has gone; what comes next says so, if it matters

    def _give_up(self, stream: TextIO | None) -> None:
        """Whoever read our output has left; say so once and write no more to it."""
        if stream is sys.stdout:
            self._complain(stream, BrokenPipeError("the reader of the output has closed it"))
            sys.stdout = open(os.devnull, "w", encoding="utf-8")

    def _complain(self, stream: TextIO | None, error: Exception) -> None:
        if stream is not sys.stderr and str(error) not in self._complaints:  # once is enough
            self._complaints.add(str(error))
            try:
                write(sys.stderr, f"eisenmp: a worker's output is lost: {error}\n")
            except (OSError, ValueError):
                pass  # nobody is left to tell


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False
