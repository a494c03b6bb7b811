"""Lines that stay together: as they lie in the file, so they go to a worker, and only there are they taken apart.

A million lines as a million objects cost the manager more than the function costs the workers, each time: to make them,
to hand them on, to pickle them. Here it only looks where a line ends.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from eisenmp.cli.block import Slab
from eisenmp.cli.inputs import Lines
from eisenmp.sources import Items

__all__ = ["SlabSource"]

_NEAR: Final = 64  # lines: so few are looked for one by one
_SHY: Final = 0.9  # of the way that so many lines should take by their mean length


class SlabSource(Items):
    """The lines of files, which come out as slabs. See :class:`eisenmp.sources.Items`."""

    own_pickle = False

    def __init__(self, lines: Lines) -> None:
        super().__init__(())
        self._blocks = lines.blocks()
        self._block = b""
        self._at = 0  # where the next line begins in it
        self._left = 0  # lines from there on
        self._taken: deque[tuple[bytes, int]] = deque()  # another thread may take these away while more are added

    def read(self, count: int) -> None:
        while count > 0:
            if not self._left:
                block = next(self._blocks, None)
                if block is None:
                    return
                (self._block, self._left), self._at = block, 0
            taken = min(count, self._left)
            end = len(self._block) if taken == self._left else _end_of(self._block, self._at, taken, self._left)
            piece = self._block[self._at : end]
            self._at, self._left = end + 1, self._left - taken
            self._taken.append((piece, taken))
            count -= taken

    def part(self, multiple: int) -> Any:
        data, size = self._take()
        extra = size % multiple
        if not extra:
            return Slab(data, size) if size else ()
        if extra == size:
            self._taken.appendleft((data, size))
            return ()
        end = _end_of(data, 0, size - extra, size)
        self._taken.appendleft((data[end + 1 :], extra))
        return Slab(data[:end], size - extra)

    def rest(self) -> Any:
        data, size = self._take()
        return Slab(data, size) if size else ()

    def count(self) -> int:
        return sum([size for _, size in tuple(self._taken)])

    def item(self, at: int) -> Any:
        return b"\n".join([data for data, _ in tuple(self._taken)]).split(b"\n")[at]

    def _take(self) -> tuple[bytes, int]:
        pieces, size = [], 0
        while self._taken:
            piece, lines = self._taken.popleft()
            pieces.append(piece)
            size += lines
        return (pieces[0] if len(pieces) == 1 else b"\n".join(pieces)), size


def _end_of(data: bytes, at: int, lines: int, there: int) -> int:
    """Where the last of the next `lines` lines ends, of `there` that begin at `at`; more of them follow."""
    stride = _SHY * (len(data) - at) / there
    while lines > _NEAR:
        step = int(lines * stride) + 1
        passed = data.count(b"\n", at, at + step)
        if passed >= lines:  # those here are shorter than others
            stride /= 2
            continue
        lines -= passed
        at += step
    end = at - 1
    for _ in range(lines):
        end = data.index(b"\n", end + 1)
    return end
