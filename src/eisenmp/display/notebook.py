"""Progress in a notebook: one output of the cell that is replaced again and again.

By IPython's own ``display`` and its handle, which need no widgets. Without rich it is the line of progress, in place.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from eisenmp.display.progress import Progress
from eisenmp.display.screens import Painter, installed
from eisenmp.events import Snapshot

__all__ = ["NotebookScreen"]

_COLUMNS: Final = 100
_LINES: Final = 24
_PAGE: Final = '<pre style="line-height: 1.2; font-family: monospace">{code}</pre>'


class NotebookScreen:
    """Shows a job below the cell that has started it."""

    every = 0.5

    def __init__(self) -> None:
        self.stirred = threading.Event()
        self._progress = Progress()
        self._painter: Painter | None = None
        self._handle: Any = None

    def update(self, snapshot: Snapshot) -> None:
        """Put the new state in the place of the old one."""
        if not installed("rich"):
            self._show({"text/plain": self._progress.line(snapshot)})
            return
        if self._painter is None:
            from eisenmp.display.painter import RichPainter

            self._painter = RichPainter(None, record=True)
        painter: Any = self._painter
        painter.paint(snapshot, _COLUMNS, _LINES)
        plain = painter.console.export_text(clear=False)
        self._show(
            {"text/plain": plain, "text/html": painter.console.export_html(inline_styles=True, code_format=_PAGE)}
        )

    def tidy(self) -> None:
        """What others write has an output of its own."""

    def end(self, snapshot: Snapshot) -> None:
        """What stays."""
        self._show({"text/plain": "\n".join(self._progress.last_lines(snapshot))})

    def release(self) -> None:
        """It holds nothing."""

    def _show(self, bundle: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
