"""Functions that some items kill."""

import os
import time
from typing import Any

EVIL = frozenset({23, 71})


class Mine:
    """Ends the process in which it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (9,)


class Shy:
    """An item that kills and whose repr raises."""

    def __repr__(self) -> str:
        raise ValueError('no')


def chunk(rows: list[Any]) -> list[Any]:
    """The rows, unless one of them kills."""
    for row in rows:
        item(row)
    return list(rows)


def item(row: Any) -> Any:
    """The item, unless it kills, hangs or raises."""
    if row in EVIL or isinstance(row, Shy):
        os._exit(7)
    if row == 'hangs':
        time.sleep(60)
    if row == 'raises':
        raise ValueError(row)
    return row
