"""Where the results go: standard output, as they come; or a file, which is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

from eisenmp.cli.exits import OutputClosed, OutputError
from eisenmp.wholefile import begin, put_in_place

__all__ = ["STDOUT", "Output", "open_output", "watch_reader"]

STDOUT: Final = 1


class Output(Protocol):
    """Takes blocks of bytes."""

    def write(self, data: bytes) -> None:
        """Write all of it now. Raises OutputError or OutputClosed."""

    def finish(self) -> None:
        """All is written. Raises OutputError."""

    def abandon(self) -> None:
        """The job has failed."""


def open_output(path: str | None) -> Output:
    """The file of ``--out``, or standard output.

    Raises:
        OutputError: it cannot be written.
    """
    if path is None:
        if sys.stdout is None:
            raise OutputError("there is no standard output: it is closed")
        return _Stream(STDOUT, "standard output")
    try:
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            raise OutputError(f"--out {path}: there is no folder {folder}")
        if os.path.isdir(path):
            raise OutputError(f"--out {path} is a folder; allowed: a file")
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            return _Stream(os.open(path, os.O_WRONLY), path)  # a device or a pipe cannot be replaced
        return _WholeFile(path)
    except OSError as error:
        raise OutputError(f"--out {path} cannot be written: {error.strerror or error}") from error


class _Stream:
    """Unbuffered: blocks are large where results come fast, and where they come slowly somebody waits for them."""

    def __init__(self, file: int, name: str) -> None:
        self._file = file
        self._name = name

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:
                _wait_for_room(self._file)
            except BrokenPipeError:
                raise OutputClosed from None
            except OSError as error:
                raise OutputError(f"{self._name} cannot be written: {error.strerror or error}") from error

    def finish(self) -> None:
        if self._file != STDOUT:
            os.close(self._file)

    def abandon(self) -> None:
        self.finish()


def _wait_for_room(file: int) -> None:
    """Somebody who shares our terminal or pipe has made it one that does not wait."""
    import select

    select.select([], [file], [])


class _WholeFile(_Stream):
    """Written under another name in the same folder, and renamed at the end."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)  # a link stays one
        file, self._temporary = begin(self._path)
        super().__init__(file, path)

    def finish(self) -> None:
        try:
            os.close(self._file)
            put_in_place(self._temporary, self._path)
        except OSError as error:
            self._remove()
            raise OutputError(f"{self._name} cannot be written: {error.strerror or error}") from error

    def abandon(self) -> None:
        os.close(self._file)
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


def watch_reader(call: Callable[[], None]) -> None:
    """Call `call`, from a thread, as soon as whoever reads our standard output through a pipe has left.

    A write would tell it too, but only when there is something to write.
    """
    import select

    if not hasattr(select, "poll") or not _is_pipe(STDOUT):
        return
    poll = select.poll()
    poll.register(STDOUT, 0)  # errors are told in any case

    def watch() -> None:
        if poll.poll():
            call()

    threading.Thread(target=watch, name="eisenmp-reader", daemon=True).start()


def _is_pipe(file: int) -> bool:
    mode = os.fstat(file).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
