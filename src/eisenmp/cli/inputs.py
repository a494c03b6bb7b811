"""Files, line by line, as the feeder reads them: no further than it has to."""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from eisenmp.cli.exits import InputError
from eisenmp.errors import nearest

__all__ = ["STDIN", "Lines", "blocks_of", "check_paths"]

STDIN: Final = "-"
_BLOCK: Final = 1 << 18  # bytes asked for at once; a pipe or a terminal gives what there is


def check_paths(paths: Sequence[str]) -> None:
    """Raise InputError for a file that is not there, is a folder, or must not be read."""
    for path in paths:
        if path == STDIN:
            if sys.stdin is None:
                raise InputError("there is no standard input: it is closed")
        elif os.path.isdir(path):
            raise InputError(f"{path} is a folder; allowed: files, or - for standard input")
        elif not os.path.exists(path):
            raise InputError(f"there is no file {path}{_neighbour(path)}")
        elif not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read: permission denied")


def _neighbour(path: str) -> str:
    folder, name = os.path.split(path)
    try:
        return nearest(name, os.listdir(folder or "."))
    except OSError:
        return f": there is no folder {folder}"


class Lines:
    """All lines of all files, as bytes without their newline.

    Attributes:
        what: how one item is called in messages.
    """

    what = "line"

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._starts: list[int] = []  # number of each file's first item
        self._names: list[str] = []
        self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        for block, _ in self.blocks():
            yield from block.split(b"\n")

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """The same, as they lie in the files: lines with a newline between them, and how many they are."""
        for path in self._paths:
            self._begin(path)
            for block in blocks_of(path):
                count = block.count(b"\n") + 1
                self._count += count
                yield block, count

    def where(self, number: int) -> str:
        """``words.txt, line 7``, of an item counted from 0 through all files."""
        at = bisect_right(self._starts, number) - 1
        if at < 0 or (number >= self._count and len(self._paths) > 1):  # a job file tells of it before it is read again
            return f"{self.what} {number + 1} of the input"
        name = "standard input" if self._names[at] == STDIN else self._names[at]
        return f"{name}, {self.what} {number - self._starts[at] + 1}"

    def _begin(self, path: str) -> None:
        self._names.append(path)  # first the name: `where` looks for the start
        self._starts.append(self._count)


def blocks_of(path: str) -> Iterator[bytes]:
    """The lines of one file, as many at a time as one read has ended, with a newline between any two.

    Not by a buffered file: when the program ends while a thread waits in one, the interpreter dies on its lock.
    """
    try:
        file = 0 if path == STDIN else os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            begun: list[bytes] = []  # of a line that has no end yet
            while data := os.read(file, _BLOCK):
                end = data.rfind(b"\n")
                if end < 0:
                    begun.append(data)
                    continue
                begun.append(data[:end])
                block = b"".join(begun)
                begun = [data[end + 1 :]]
                yield block
            last = b"".join(begun)
            if last:
                yield last
        finally:
            if path != STDIN:
                os.close(file)
    except OSError as error:
        name = "standard input" if path == STDIN else path
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
