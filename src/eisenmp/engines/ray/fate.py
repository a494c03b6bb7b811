"""Why an actor is gone, in few words. Pure: made of what Ray says."""

from __future__ import annotations

from typing import Final

__all__ = ["constructor_error", "death_text"]

# What is found in Ray's text, and what is said instead; the first that is found counts.
_WORDS: Final = (
    ("low on memory", "its node ran out of memory, and Ray ended it"),
    ("node has died", "its node is gone"),
    ("node was terminated", "its node is gone"),
    ("is unavailable", "its node cannot be reached"),
    ("never ran", "it was given up before it began"),
    ("Worker unexpectedly exits", "its process ended unexpectedly (killed, out of memory, or crashed)"),
    ("worker process has died", "its process ended unexpectedly (killed, out of memory, or crashed)"),
    ("ray.kill", "a kill"),
    ("owner has died", "its manager is gone"),
)
_CONSTRUCTION: Final = "raised in its creation task, "


def death_text(said: str) -> str:
    """How a worker ended."""
    for mark, words in _WORDS:
        if mark in said:
            return words
    return (said.strip().splitlines() or ["an unknown reason"])[0]


def constructor_error(said: str) -> str:
    """What went wrong while the actor was made, from the traceback of it; empty when nothing did."""
    if _CONSTRUCTION not in said:
        return ""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return lines[-1].strip()
