"""``INFO_ENABLE='tqdm'``: a bar of tqdm, for people whose tools expect one. In a notebook it is tqdm's own widget."""

from __future__ import annotations

import sys
import threading
from typing import Any, TextIO

from eisenmp.display.progress import Progress, counts, trouble_words
from eisenmp.display.redirect import Redirection, is_terminal
from eisenmp.display.screens import PlainScreen
from eisenmp.display.stream import write
from eisenmp.events import Snapshot

__all__ = ["TqdmScreen"]


class TqdmScreen:
    """One bar for the whole job. Prints go above it.

    Args:
        stream: where it is shown.

    Raises:
        ImportError: tqdm is not installed.
    """

    every = 0.25

    def __init__(self, stream: TextIO | None) -> None:
        from tqdm.auto import tqdm  # where there is no notebook, the plain one

        class Bar(tqdm):  # type: ignore[misc]
            """Without what tqdm shares with other processes and other bars: a semaphore, a thread that watches."""

            monitor_interval = 0

        self.stirred = threading.Event()
        self.lock = threading.RLock()
        Bar.set_lock(self.lock)
        self._make_bar = Bar
        self._stream = stream
        self._bar: Any = None
        self._progress = Progress()
        self._redirection: Redirection | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        done, total = counts(snapshot)
        if self._bar is None:
            how = {"unit": " items", "desc": "eisenmp", "dynamic_ncols": True}
            self._bar = self._make_bar(total=total, file=self._stream, **how)
            if is_terminal(self._stream):
                self._redirection = Redirection(self)
        self._bar.total, self._bar.n = total, done
        self._bar.set_postfix_str(", ".join(trouble_words(snapshot)), refresh=False)
        self._bar.refresh()

    def tidy(self) -> None:
        """What was printed has brought the bar back itself."""

    def end(self, snapshot: Snapshot) -> None:
        """Leave the last state."""
        if self._bar is None:
            PlainScreen(self._stream).end(snapshot)
            return
        self.update(snapshot)
        self._bar.close()
        self.release()
        lines = self._progress.last_lines(snapshot)[1:]  # the bar says how much was done
        write(sys.stderr, "".join(line + "\n" for line in lines))

    def release(self) -> None:
        """The streams are what they were."""
        if self._redirection is not None:
            self._redirection.end()
            self._redirection = None

    # ---- what is written above it

    def above(self, stream: TextIO, text: str) -> None:
        """See :class:`eisenmp.display.redirect.Place`."""
        with self.lock:
            self._bar.clear(nolock=True)
            write(stream, text)
            self._bar.refresh(nolock=True)

    def begun(self) -> None:
        """It is shown when it is whole."""

    def flush(self) -> None:
        """Nothing is put off."""
