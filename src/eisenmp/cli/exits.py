"""Exit codes, the errors that lead to them, and what is said on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from eisenmp.errors import EisenmpError

__all__ = [
    "BROKEN",
    "CLOSED",
    "FAILED",
    "FINE",
    "INTERRUPTED",
    "TERMINATED",
    "WRONG",
    "BadCall",
    "InputError",
    "OutputClosed",
    "OutputError",
    "code_of",
    "leave",
    "say",
]

FINE: Final = 0
FAILED: Final = 1  # an item failed, a worker died, the doctor found something broken
WRONG: Final = 2  # the call itself: options, paths, names
BROKEN: Final = 3  # input could not be read, or output not written
INTERRUPTED: Final = 130  # Ctrl-C
CLOSED: Final = 141  # whoever read the output has left: what a shell shows of tools that SIGPIPE ends
TERMINATED: Final = 143  # SIGTERM


class BadCall(Exception):  # noqa: N818 - it is the caller's
    """The call cannot work; nothing was done."""


class InputError(EisenmpError):
    """An input file cannot be read, or is not what it should be."""


class OutputError(EisenmpError):
    """The output cannot be written."""


class OutputClosed(Exception):  # noqa: N818 - no error: `| head` does it
    """Whoever read our output has closed it."""


def say(text: str) -> None:
    """One message on standard error, whatever is left of it."""
    try:
        sys.stderr.write(f"eisenmp: {text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass  # it is closed: nobody is left to tell


def code_of(call: Callable[[], object]) -> int:
    """The exit code of a command that was called, once what went wrong with it is said."""
    try:
        code = call()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else FINE
    except BadCall as error:
        say(str(error))
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        return CLOSED
    except OSError as error:
        say(str(error))
        return BROKEN


def leave(code: int) -> NoReturn:
    """End this process now.

    For commands that have loaded nothing of the user's, and have seen their output written: to take some hundred
    modules apart first would take ten milliseconds.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed
    os._exit(code)
