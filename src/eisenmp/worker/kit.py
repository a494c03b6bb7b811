"""What all workers get alike: settings, attributes, shared objects, the list of modules.

It comes in messages ahead of what is a worker's own. A worker reads and opens it by itself; with ``forkserver`` the
template does, once, and its forks have it.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

from eisenmp.functions import FUNCTION, Function
from eisenmp.parcel import Place, open_place
from eisenmp.traces import remote_text
from eisenmp.wire import Buffer

__all__ = ["Kit", "StartError"]

Files = list[int] | list[list[memoryview]] | None  # what comes beside a message: descriptors, or the pieces themselves


class StartError(Exception):
    """The worker cannot begin. ``args``: (what is wrong and where, traceback text)."""


class Kit:
    """Collects SETUP and SHARE messages.

    Args:
        own_files: descriptors that come along belong to this process, which closes them when they have served.
    """

    def __init__(self, *, own_files: bool) -> None:
        self.setup: dict[str, Any] = {}  # see worker/main.py
        self.objects: dict[str, Any] = {}  # attributes and shared objects, opened
        self._places: dict[str, tuple[str, Place]] = {}  # those that are not: name -> (what it is, where)
        self._own_files = own_files

    @property
    def complete(self) -> bool:
        """Whether a worker's own part has come as well."""
        return "slot" in self.setup

    def add_setup(self, body: Buffer, files: Files = None) -> None:
        """One part of the setup. `files`: what came along instead of descriptors that are inherited."""
        part = pickle.loads(body)
        for name, place in part.pop("attributes", ()):
            what = "the function" if name == FUNCTION else f"the toolbox attribute {name!r}"
            self._places[name] = (what, _here(place, files))
        self.setup.update(part)

    def add_share(self, body: Buffer, files: Files = None) -> None:
        """A shared object; the newest of one name counts. `files`: see above."""
        name, place = pickle.loads(body)
        self._forget(name)
        self._places[name] = (f"the shared object {name!r}", _here(place, files))

    def open(self) -> dict[str, Any]:
        """All objects by name.

        Raises:
            StartError: one cannot be made here.
        """
        for name, (what, place) in list(self._places.items()):
            try:
                self.objects[name] = open_place(place)
            except BaseException as error:
                words = f"{what} cannot be made in the worker: {type(error).__name__}: {error}"
                raise StartError(words, remote_text(error)) from error
            self._forget(name)
        return self.objects

    def function(self) -> Function | None:
        """Of a short form, what its workers do; call :meth:`open` first."""
        return Function(*self.objects[FUNCTION]) if FUNCTION in self.objects else None

    def _forget(self, name: str) -> None:
        _, place = self._places.pop(name, ("", []))
        if isinstance(place, tuple) and self._own_files:
            os.close(place[0])


def _here(place: Place, files: Files) -> Place:
    """The place, with the next of `files` as its descriptor, or as what it is in all."""
    if isinstance(place, tuple) and files is not None:
        file = files.pop(0)
        return file if isinstance(file, list) else (file, place[1])
    return place
