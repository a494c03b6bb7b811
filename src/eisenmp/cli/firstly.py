"""``eisenmp map``, before anything of it is loaded: its workers begin.

The command line library and what runs a job take a tenth of a second to load. Here, one look at the arguments has to
do; what is wrong with them, others say, and whoever began in vain ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from eisenmp.cores import usable_cores
from eisenmp.engines import early

__all__ = ["wanted", "workers"]

_NO_RUN: Final = ("-h", "--help", "--start-method")  # or none of such workers


@contextmanager
def workers(arguments: Sequence[str]) -> Iterator[None]:
    """Those that the call will need have begun; any that nobody has taken are gone afterwards."""
    try:
        early.begin(wanted(arguments, usable_cores()), bare=True)
        yield
    finally:
        early.end()


def wanted(arguments: Sequence[str], cores: int) -> int:
    """How many workers shall begin at once, of a command with these arguments: no more than there are cores."""
    if len(arguments) < 2 or arguments[0] != "map":
        return 0
    if any(text.startswith(_NO_RUN) for text in arguments):
        return 0
    given = _given(arguments)
    return min(int(given), cores) if given.isdecimal() else cores


def _given(arguments: Sequence[str]) -> str:
    """What stands after ``-j`` or ``--workers``."""
    for at, text in enumerate(arguments):
        if text in ("-j", "--workers"):
            return arguments[at + 1] if at + 1 < len(arguments) else ""
        for option in ("--workers=", "-j"):
            if text.startswith(option):
                return text.removeprefix(option)
    return ""
