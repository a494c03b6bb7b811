"""A function on its way to the workers: the short forms have no worker module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from eisenmp.errors import SettingsError

__all__ = ["FUNCTION", "Function", "begin", "check_function"]

FUNCTION: Final = "_function"  # under this name it travels, among the attributes of the toolbox


class Function(NamedTuple):
    """What a short form was given.

    Attributes:
        func: of one argument.
        initializer: called in each worker first; None: nothing is.
        initargs: its arguments. Large ones lie in memory once for all workers.
        retries: how often an item that raised is tried again at once; None: an error is the chunk's.
    """

    func: Callable[[Any], Any]
    initializer: Callable[..., Any] | None
    initargs: tuple[Any, ...]
    retries: int | None


def check_function(func: Any, initializer: Any, initargs: Any, retries: int | None) -> Function:
    """The same, validated.

    Raises:
        SettingsError: something cannot be called, or is no tuple of arguments.
    """
    if not callable(func):
        raise SettingsError(f"func={func!r} cannot be called; allowed: a function of one argument")
    if initializer is not None and not callable(initializer):
        raise SettingsError(f"initializer={initializer!r} cannot be called; allowed: a function, or None")
    try:
        return Function(func, initializer, tuple(initargs), retries)
    except TypeError:
        raise SettingsError(f"initargs={initargs!r} does not fit; allowed: a tuple of arguments") from None


def begin(function: Function) -> Callable[[Any], Any]:
    """In a worker: call the initializer, return the function. Raises whatever the initializer raises."""
    if function.initializer is not None:
        function.initializer(*function.initargs)
    return function.func
