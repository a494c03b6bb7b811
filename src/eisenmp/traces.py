"""Tracebacks for people: frames of theirs, with the lines of their source, and none of the way that led there.

A worker tells a traceback as text. It leaves out its own frames, and shows the source where it has it. Of a cell of a
notebook only the manager has it; so the manager fills in what is missing.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from traceback import StackSummary, TracebackException

__all__ = ["came_by_signal", "remote_text", "with_sources"]

_OURS: Final = os.path.dirname(__file__) + os.sep
_THEIRS: Final = _OURS + "examples" + os.sep  # in an installed package
_FRAME: Final = re.compile(r'(?P<margin>[\s|]*)File "(?P<file>.+)", line (?P<line>\d+), in ')


def remote_text(error: BaseException) -> str:
    """The error as the interpreter shows one, without the frames of ours that lead to the user's function.

    Frames of ours *below* the user's stay: they say what his own call came to. Where all are ours, the last one does.
    """
    import traceback  # start-up time that a worker in good order need not spend

    told = traceback.TracebackException.from_exception(error)
    _fold(told)
    return "".join(told.format()).rstrip()


def came_by_signal(error: BaseException) -> bool:
    """Whether a signal handler has raised it: it is meant for the program, whatever line the signal has hit."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(handler, "__code__", None) for handler in handlers} - {None}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _fold(told: TracebackException) -> None:
    todo: list[TracebackException | None] = [told]
    while todo:
        one = todo.pop()
        if one is not None:
            _drop_ours(one.stack)
            todo += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]


def _drop_ours(stack: StackSummary) -> None:
    ours = 0
    while ours < len(stack) - 1 and _is_ours(stack[ours].filename):
        ours += 1
    del stack[:ours]


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS) and not filename.startswith(_THEIRS)


def with_sources(text: str, known: Collection[str], line_of: Callable[[str, int], str]) -> str:
    """The text of a traceback, with source lines under the frames that have none.

    Args:
        text: as the interpreter shows it.
        known: names of files whose lines are at hand. No other file is opened: the text may name anything.
        line_of: the line of a file, by its number from 1 on; empty when there is none.
    """
    lines = text.split("\n")
    filled: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        filled.append(line)
        frame = _FRAME.match(line)
        if frame is None or frame["file"] not in known or below.startswith(frame["margin"] + "  "):
            continue
        source = line_of(frame["file"], int(frame["line"])).strip()
        if source:
            filled.append(f"{frame['margin']}  {source}")
    return "\n".join(filled)
