"""``eisenmp map``, before anything of it is loaded: its workers begin.

The command line library and what runs a job take a tenth of a second to load. Here, one look at the arguments has to
do; what is wrong with them, others say, and whoever began in vain ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

__all__ = ["wanted", "workers"]

_NEEDED: Final = ("ctypes", "eisenmp.cli.block")  # by each worker, when its job has come


@contextmanager
def workers(arguments: Sequence[str]) -> Iterator[None]:
    """Those that the call will need have begun; any that nobody has taken are gone afterwards."""
    if arguments[:1] != ["map"]:
        yield
        return
    from eisenmp.cores import usable_cores  # other commands need none of these
    from eisenmp.engines import early

    try:
        early.begin(
            wanted(arguments[1:], usable_cores()), bare=not _given(arguments, "--start-method"), modules=_NEEDED
        )
        yield
    finally:
        early.end()


def wanted(arguments: Sequence[str], cores: int) -> int:
    """How many workers shall begin at once, of `map` with these arguments: no more than there are cores."""
    if not arguments or any(text.startswith(("-h", "--help")) for text in arguments):
        return 0
    if _given(arguments, "--start-method") not in ("", "spawn"):
        return 0
    given = _given(arguments, "--workers", "-j")
    return min(int(given), cores) if given.isdecimal() else cores


def _given(arguments: Sequence[str], name: str, short: str = "") -> str:
    """The value of an option; empty where there is none."""
    for at, text in enumerate(arguments):
        if text in (name, short):
            return arguments[at + 1] if at + 1 < len(arguments) else ""
        if text.startswith(f"{name}="):
            return text.removeprefix(f"{name}=")
        if short and text.startswith(short):
            return text.removeprefix(short)
    return ""
