"""The functions that workers of the benchmarks run, ours and the peers' alike."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["chunk_length", "chunk_sum", "classic_sum", "slow_length", "square"]


def chunk_sum(rows: list[int]) -> int:
    """A function of the chunk."""
    return sum(rows)


def square(number: int) -> int:
    """A function of the item."""
    return number * number


def classic_sum(toolbox: Any) -> bool:
    """The same as `chunk_sum` in the classic style."""
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in (rows[0], rows[-1]):
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, sum(rows)])
    return True


def chunk_length(rows: list[bytes]) -> bytes:
    """Returns as much as it gets."""
    return b"".join(rows)


def slow_length(rows: list[bytes]) -> int:
    """Slower than any generator."""
    time.sleep(0.02 * len(rows))
    return sum(map(len, rows))
