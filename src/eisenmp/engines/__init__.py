"""What starts workers and carries bytes. One narrow seam (:mod:`eisenmp.engines.base`), several engines behind it."""

from __future__ import annotations

from eisenmp.engines.base import Engine
from eisenmp.engines.inline import InlineEngine
from eisenmp.engines.local import LocalEngine

__all__ = ["Engine", "make_engine"]


def make_engine(name: str, start_method: str) -> Engine:
    """The engine of that name (``ENGINE``); `start_method` matters to the local one only."""
    if name == "inline":
        return InlineEngine()
    return LocalEngine(start_method)
