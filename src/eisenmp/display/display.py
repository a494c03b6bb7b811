"""Prints, log records and news of workers; and the thread that shows how the job stands, some times a second.

The thread takes snapshots, so it is never on the data's way, and what goes wrong in it spoils no job: it says so once
and shows no more.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from eisenmp.display.redirect import Above
from eisenmp.display.screens import Screen, choose, installed
from eisenmp.display.stream import write
from eisenmp.display.warned import WorkerWarnings
from eisenmp.errors import SettingsError
from eisenmp.events import Snapshot

__all__ = ["Display"]

Stream = TextIO | Above

_TIDY: Final = 0.05  # seconds after which what others have scrolled away is drawn again
_LOOK: Final = 0.25  # seconds between two looks whether the terminal has another size
_SHARE: Final = 0.006  # of one processor, which drawing may take; it is done less often where it would take more
_SELDOM: Final = 2.0  # seconds between two drawings, however long they take
_PATIENCE: Final = 2.0  # seconds that the last drawing may take before nobody waits for it


class Display:
    """See :class:`eisenmp.events.Listener`.

    Args:
        progress: ``INFO_ENABLE``.
        select: makes the screen, of `progress` and standard error.

    Raises:
        SettingsError: `progress` needs a library that is not installed.
    """

    def __init__(self, progress: Any = False, select: Callable[[Any, TextIO | None], Screen] = choose) -> None:
        if progress == "tqdm" and not installed("tqdm"):
            raise SettingsError("INFO_ENABLE='tqdm' needs tqdm, which is not installed: pip install tqdm")
        self._progress = progress
        self._select = select
        self._complaints: set[str] = set()
        self._lock = threading.Lock()  # one writer at a time, so that no line is torn
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen: Screen | None = None
        self._warnings = WorkerWarnings()
        self._logger = logging.getLogger("eisenmp")

    # ---- Listener

    def lines(self, text: str, *, stderr: bool, worker: str = "") -> None:
        self._write(sys.stderr if stderr else sys.stdout, text + "\n")

    def log(self, fields: dict[str, Any]) -> None:
        record = logging.makeLogRecord(fields)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)

    def warned(self, fields: dict[str, Any]) -> None:
        self._warnings.show(fields)

    def news(self, text: str) -> None:
        self._logger.warning(text)

    # ---- progress

    def start(self, snapshot: Callable[[], Snapshot]) -> None:
        """Begin to show progress, until :meth:`stop`."""
        if self._progress:
            self._thread = threading.Thread(target=self._run, args=(snapshot,), name="eisenmp-display", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Show the last state and no more."""
        self._stop.set()
        if self._screen is not None:
            self._screen.stirred.set()
        if self._thread is None or self._thread is threading.current_thread():
            return
        self._thread.join(_PATIENCE)
        if self._screen is not None and self._thread.is_alive():
            self._screen.release()  # the terminal takes nothing (Ctrl-S, say); the job does not wait for it

    def _run(self, snapshot: Callable[[], Snapshot]) -> None:
        try:
            self._screen = self._select(self._progress, sys.stderr)
            self._show(self._screen, snapshot)
            self._screen.end(snapshot()._replace(over=True))
        except Exception as error:
            if self._screen is not None:
                self._screen.release()
            self._logger.warning("progress is not shown any more: %s: %s", type(error).__name__, error)

    def _show(self, screen: Screen, snapshot: Callable[[], Snapshot]) -> None:
        """Update the screen until the job is over."""
        tick = max(_LOOK, screen.every)
        due = time.monotonic() + screen.every
        first = True
        while not self._stop.is_set():
            if screen.stirred.wait(max(0.0, min(tick, due - time.monotonic()))):
                screen.stirred.clear()
                if self._stop.wait(max(0.0, min(_TIDY, due - time.monotonic()))):
                    return
            if time.monotonic() < due:
                screen.tidy()
                continue
            state = snapshot()
            if state.over:  # it has ended in a way that nobody has told of
                return
            began = time.thread_time()
            screen.update(state)
            cost = 0.0 if first else time.thread_time() - began  # the first one imports what it needs
            due = time.monotonic() + max(screen.every, min(_SELDOM, cost / _SHARE))
            first = False

    # ---- writing

    def _write(self, stream: Stream | None, text: str) -> None:
        with self._lock:
            try:
                if isinstance(stream, Above):
                    stream.write_whole(text)
                else:
                    write(stream, text)
            except BrokenPipeError:
                self._give_up(stream)
            except (OSError, ValueError) as error:  # a full disk; a stream that was closed
                self._complain(stream, error)

    def _give_up(self, stream: Stream | None) -> None:
        """Whoever read our output has left; say so once and write no more to it."""
        if stream is sys.stdout:
            self._complain(stream, BrokenPipeError("the reader of the output has closed it"))
            sys.stdout = open(os.devnull, "w", encoding="utf-8")

    def _complain(self, stream: Stream | None, error: Exception) -> None:
        if stream is not sys.stderr and str(error) not in self._complaints:  # once is enough
            self._complaints.add(str(error))
            try:
                write(sys.stderr, f"eisenmp: a worker's output is lost: {error}\n")
            except (OSError, ValueError):
                pass  # nobody is left to tell
