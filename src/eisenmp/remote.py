"""Bytes of a message that lie elsewhere; the manager only passes on where.

Only the Ray engine has such. :class:`Remote`: large messages from worker to worker, on the machine where they were
made. :class:`Stored`: large pieces of chunks, which it keeps where workers get at them. Whoever wants the bytes in the
manager has them brought.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eisenmp.wire import Buffer, Far, Pieces

__all__ = ["LostError", "Remote", "Stored", "brought", "is_remote"]


class LostError(Exception):
    """The machine where the bytes lay is gone, and they with it."""


class _Elsewhere(Far):
    """One body or buffer.

    Args:
        nbytes: its size.
        ref: how the engine finds it.
        fetch: brings it here, given `ref`; may take a while.
    """

    __slots__ = ("_fetch", "ref")

    def __init__(self, nbytes: int, ref: Any, fetch: Callable[[Any], Buffer]) -> None:
        super().__init__(nbytes)
        self.ref = ref
        self._fetch = fetch

    def bring(self) -> Buffer:
        """The bytes.

        Raises:
            LostError: they are nowhere any more.
        """
        try:
            return self._fetch(self.ref)
        except Exception as error:
            raise LostError(f"{self.nbytes} bytes are lost: {type(error).__name__}: {error}") from error


class Remote(_Elsewhere):
    """It lies on the machine where it was made. Once it was brought, it is here."""

    __slots__ = ("_here",)

    def __init__(self, nbytes: int, ref: Any, fetch: Callable[[Any], Buffer]) -> None:
        super().__init__(nbytes, ref, fetch)
        self._here: Buffer | None = None

    def bring(self) -> Buffer:
        if self._here is None:
            self._here = super().bring()
            self.ref = None
        return self._here


class Stored(_Elsewhere):
    """The engine keeps it as long as this object is there. It is lost only when all is."""

    __slots__ = ("__weakref__",)


def is_remote(payload: Sequence[object]) -> bool:
    """Whether some of it lies on another machine, and may be lost with it."""
    return any(isinstance(piece, Remote) for piece in payload)


def brought(payload: Sequence[Any]) -> tuple[Buffer | Pieces, ...]:
    """The same payload with all of it here.

    Raises:
        LostError: some of it is nowhere any more.
    """
    return tuple([piece.bring() if isinstance(piece, _Elsewhere) else piece for piece in payload])
