"""Numbers as people read them. Pure."""

from __future__ import annotations

import re

__all__ = ["age", "amount", "cells", "clock", "counted", "one_line", "pace", "size"]

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # colours and movements of the cursor


def amount(number: int) -> str:
    """``12,345``"""
    return f"{number:,}"


def counted(count: int, what: str) -> str:
    """``1 restart``, ``3 chunks failed``: the first of the words is what is counted."""
    noun, _, rest = what.partition(" ")
    return " ".join(filter(None, (amount(count), noun if count == 1 else noun + "s", rest)))


def pace(rate: float) -> str:
    """Of a rate: ``1,234/s``, ``0.25/s``."""
    if rate >= 10 or not rate:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate:.2g}/s"


def clock(seconds: float) -> str:
    """``0:07``, ``1:02:03``"""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def age(seconds: float) -> str:
    """``0.3 s``, ``42 s``, ``1:02:03``"""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    return f"{seconds:.0f} s" if seconds < 99.5 else clock(seconds)


def size(count: int) -> str:
    """Of bytes: ``23 MiB``, ``1.4 GiB``."""
    number = count / (1 << 20)
    for unit in ("MiB", "GiB", "TiB"):
        if number < 1000 or unit == "TiB":
            return f"{number:.0f} {unit}" if number >= 10 or unit == "MiB" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def one_line(text: str, most: int = 300) -> str:
    """The first line of a text, without colours and with nothing that moves the cursor."""
    first = next((line for line in _CONTROL.sub("", text[: 4 * most]).splitlines() if line.strip()), "")
    return "".join(c if c.isprintable() else " " for c in first[:most]).strip()


def cells(text: str) -> int:
    """How many columns of a terminal a text of printable letters takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
