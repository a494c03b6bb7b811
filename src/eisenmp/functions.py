"""A function on its way to the workers: the short forms have no worker module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eisenmp.errors import PayloadError, SettingsError
from eisenmp.payload import dumps, loads

__all__ = ["pack_function", "unpack_function"]


def pack_function(
    func: Callable[[Any], Any], initializer: Callable[..., Any] | None, initargs: Any, retries: int | None
) -> dict[str, Any]:
    """What the workers get, as plain data.

    Args:
        func: of one argument.
        initializer: called in each worker first; None: nothing is.
        initargs: its arguments.
        retries: how often an item that raised is tried again at once; None: an error is the chunk's.

    Raises:
        SettingsError: something cannot be called.
        PayloadError: something cannot be pickled.
    """
    if not callable(func):
        raise SettingsError(f"func={func!r} cannot be called; allowed: a function of one argument")
    if initializer is not None and not callable(initializer):
        raise SettingsError(f"initializer={initializer!r} cannot be called; allowed: a function, or None")
    try:
        initargs = tuple(initargs)
    except TypeError:
        raise SettingsError(f"initargs={initargs!r} does not fit; allowed: a tuple of arguments") from None
    try:
        whole = dumps((func, initializer, initargs))
    except PayloadError as error:
        raise PayloadError(f"func, initializer or initargs: {error}") from error
    return {"payload": [bytes(piece) for piece in whole], "retries": retries}


def unpack_function(packed: dict[str, Any]) -> Callable[[Any], Any]:
    """The function, in a worker, after the initializer was called. Raises whatever that raises."""
    func, initializer, initargs = loads(packed["payload"])
    if initializer is not None:
        initializer(*initargs)
    made: Callable[[Any], Any] = func
    return made
