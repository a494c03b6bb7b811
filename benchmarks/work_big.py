"""The functions that workers of the benchmark `big` run. Numpy is loaded before the first array comes."""

from __future__ import annotations

import importlib.util
from typing import Any

if importlib.util.find_spec("numpy") is not None:
    import numpy as np  # noqa: F401

__all__ = ["ends", "same_array", "total"]


def ends(block: bytes) -> tuple[int, int, int]:
    """How many bytes have arrived, the first and the last of them."""
    return len(block), block[0], block[-1]


def total(array: Any) -> int:
    """Reads the whole array."""
    return int(array.sum())


def same_array(array: Any) -> Any:
    """Returns as much as it gets."""
    return array
