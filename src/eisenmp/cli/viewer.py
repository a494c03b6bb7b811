"""Shows a job that runs in another process: on a terminal, or as lines for whatever standard output is."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Final, TextIO

from eisenmp.cli.exits import FAILED, FINE, OutputClosed, say
from eisenmp.cli.keys import Keyboard, Talk
from eisenmp.control import Connection, ConnectionEnded
from eisenmp.display.area import Area, Line, terminal_size
from eisenmp.display.painter import RichPainter
from eisenmp.display.redirect import is_terminal
from eisenmp.display.remote import board_of, failure_line, summary
from eisenmp.display.stream import write
from eisenmp.display.words import cells, clock, one_line

__all__ = ["view"]

_TIDY: Final = 0.25  # seconds between two looks at the size of the terminal
_EVERY: Final = 5.0  # seconds between two lines where there is no terminal
_TOLD: Final = ("news", "warning", "WARNING", "ERROR", "CRITICAL")  # what is written above the job
_ENDS: Final = ("failed", "set aside")  # what a ticket has come to, unlike the death of a worker


def view(connection: Connection) -> int:
    """Watch the job until it is over, or until the user leaves; return the exit code."""
    terminal = is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"
    screen: Screen | Lines = Screen(sys.stdout) if terminal else Lines(sys.stdout)
    keys = sys.stdin.fileno() if terminal and is_terminal(sys.stdin) else None
    watcher = Watcher(connection, screen, keys)
    try:
        with Keyboard(keys) if keys is not None else nullcontext() as keyboard:
            ended = watcher.run(keyboard)
    finally:
        screen.close(watcher.state, watcher.failure, over=watcher.over)
    if ended is None:
        return FINE
    name, pid = connection.job.get("name"), connection.job.get("pid")
    if ended.in_order:
        say(f"the job of {name} (process {pid}) is over")
        return FINE
    say(f"process {pid} ({name}) has gone without a word")
    return FAILED


class Watcher:
    """What has come so far, and what is done about it.

    Attributes:
        state: the newest one; empty: none has come.
        failure: the newest one.
        over: the job is.
    """

    def __init__(self, connection: Connection, screen: Screen | Lines, keys: int | None) -> None:
        self.state: Mapping[str, Any] = {}
        self.failure: Mapping[str, Any] | None = None
        self.over = False
        self._connection = connection
        self._screen = screen
        self._keys = keys
        self._talk = Talk()

    def run(self, keyboard: Keyboard | None) -> ConnectionEnded | None:
        """Until there is nothing more to see; None: the user has left."""
        self._connection.watch()
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if keyboard is not None:
                selector.register(keyboard.descriptor, selectors.EVENT_READ, keyboard)
            while not self._talk.left:
                try:
                    for key, _ in selector.select(_TIDY):
                        if isinstance(key.data, Keyboard):
                            self._press(key.data.read())
                        else:
                            self._read()
                except ConnectionEnded as ended:
                    return ended
                self._show()
        return None

    def _read(self) -> None:
        message = self._connection.next_message(0.0)
        while message is not None:
            self._take(message)
            message = self._connection.next_message(0.0)

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["kind"]
        if kind in ("said", "error"):
            self._talk.hear(one_line(message["text"]), time.monotonic())
            return
        state = message["state"] if kind == "history" else message if kind == "state" else None
        if kind in ("history", "state"):
            ended = [failure for failure in message["failures"] if failure["kind"] in _ENDS]
            self.failure = ended[-1] if ended else self.failure
        if state is None:
            return
        self.state, self.over = state, state["over"]
        if kind == "state":
            self._screen.tell(_news(state))

    def _press(self, keys: str) -> None:
        if not keys or keys.startswith("\x1b"):
            return  # an arrow, say
        for key in keys:
            request = self._talk.press(key, self.state)
            if request is not None:
                self._connection.ask(request.what, **request.arguments)

    def _show(self) -> None:
        if self.state:
            below = self._talk.words(self.state, time.monotonic()) if self._keys is not None else ""
            self._screen.show(self.state, self.failure, below)


def _news(state: Mapping[str, Any]) -> Iterator[str]:
    """Lines to be written above the job."""
    for log in state["logs"]:
        if log["level"] in _TOLD:
            worker = f"{log['worker']}: " if log["worker"] else ""
            yield f"{clock(log['seconds'])} {worker}{one_line(log['text'])}"
    for failure in state["failures"]:
        if failure["kind"] in _ENDS:  # of deaths there is news
            yield f"{clock(failure['seconds'])} {failure['kind']}: {failure_line(failure)}"


class Screen:
    """The bottom of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._area = Area(stream)
        self._painter = RichPainter(stream)
        self._shown: tuple[Any, ...] = ()

    def tell(self, lines: Iterator[str]) -> None:
        """Write lines above the job."""
        text = "".join(f"{line}\n" for line in lines)
        if text:
            self._area.above(self._stream, text)

    def show(self, state: Mapping[str, Any], failure: Mapping[str, Any] | None, below: str) -> None:
        """Show the job, if there is anything new."""
        news = (state["n"], below, failure)
        if news == self._shown and not self._area.resized:
            self._area.tidy()
            return
        self._shown = news
        columns, lines = terminal_size(self._stream)
        columns, lines = max(1, columns - 1), max(2, lines - 1)
        drawn = self._painter.paint_board(board_of(state, failure), columns, lines - bool(below))
        if below:
            below = below[:columns]
            drawn.append(Line(below, cells(below)))
        self._area.draw(drawn)
        if self._area.broken:
            raise OutputClosed

    def close(self, state: Mapping[str, Any], failure: Mapping[str, Any] | None, *, over: bool) -> None:
        """Leave one line that says how the job stands."""
        last = []
        if state:
            board = board_of(state, failure)
            last = [summary(board, over=over)]
            if over and board.failure:
                last.append(f"eisenmp  last failure: {board.failure}")
        self._area.close(last)


class Lines:
    """No terminal: a line now and then."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._next = 0.0
        self._closed = False

    def tell(self, lines: Iterator[str]) -> None:
        """What a terminal shows above the job."""
        self._write("".join(f"{line}\n" for line in lines))

    def show(self, state: Mapping[str, Any], failure: Mapping[str, Any] | None, below: str) -> None:
        """A line, if it is time for one."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            self._write(summary(board_of(state, failure), over=False) + "\n")

    def close(self, state: Mapping[str, Any], failure: Mapping[str, Any] | None, *, over: bool) -> None:
        """The last line."""
        if over:
            self._write(summary(board_of(state, failure), over=True) + "\n")

    def _write(self, text: str) -> None:
        if text and not self._closed:
            try:
                write(self._stream, text)
            except (BrokenPipeError, ValueError):
                self._closed = True
                raise OutputClosed from None
