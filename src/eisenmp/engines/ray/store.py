"""Ray's object store, where large pieces of messages lie.

A chunk's payload needs a copy of what its owner may change, and Ray one of what it sends. Made here when the chunk is
cut, one does for both, and for every further time that the chunk is sent.
"""

from __future__ import annotations

import pickle
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from eisenmp.remote import Stored
from eisenmp.ring import shelf
from eisenmp.wire import Buffer

__all__ = ["Store", "fetch"]

_FETCH: Final = 60.0  # seconds that bytes of another machine get to come here
_SHARE: Final = 2  # of the object store, one half: what workers return, and other programs, need it, too


class Store:
    """Pieces of chunks in the object store of the manager's node.

    Args:
        room: says how large that is; asked once, when the first piece comes.
    """

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self._left: int | None = None  # bytes that may be laid there yet
        self._gone: deque[int] = deque()  # sizes of pieces that nobody has any more; told from wherever that shows
        self._lock = threading.Lock()

    def put(self, piece: memoryview) -> Buffer | None:
        """Lay a copy there. None: it is full, or gone."""
        size = piece.nbytes
        if not self._claim(size):
            return None
        import ray

        try:
            ref = ray.put(pickle.PickleBuffer(piece))
        except Exception:  # others have filled it, say; or the cluster is gone, which is told elsewhere
            self._gone.append(size)
            return None
        stored = Stored(size, ref, fetch)
        weakref.finalize(stored, self._gone.append, size).atexit = False
        return cast(Buffer, stored)

    def _claim(self, size: int) -> bool:
        with self._lock:
            if self._left is None:
                self._left = self._measure()
            while self._gone:
                self._left += self._gone.popleft()
            if size > self._left:
                return False
            self._left -= size
            return True

    def _measure(self) -> int:
        try:
            return self._room() // _SHARE
        except Exception:  # the cluster is gone
            return 0


def fetch(ref: Any) -> Buffer:
    """Bring a piece from the memory of its node."""
    import ray

    return shelf("received").copy(memoryview(ray.get(ref, timeout=_FETCH)).cast("B"))
