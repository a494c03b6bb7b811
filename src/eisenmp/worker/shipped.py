"""Modules whose source has come with the setup: the manager's machine has their files, this one may not.

What was shipped goes ahead of a file of the same path here: the manager's program is the one that is meant.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Final

__all__ = ["Shipment", "clear_away", "file_of", "install", "is_shipped", "loader_of"]

Shipment = tuple[Mapping[str, bytes], Mapping[str, tuple[str, bool]]]  # path -> content; module -> (path, is a package)

_contents: dict[str, bytes] = {}
_SOURCE: Final = tuple(importlib.machinery.SOURCE_SUFFIXES)


def install(shipment: Shipment) -> None:
    """From now on these modules are found by their names, and these files by their paths."""
    contents, names = shipment
    _contents.update(contents)
    if names:
        sys.meta_path.insert(0, _Finder(dict(names)))


def is_shipped(path: str) -> bool:
    """Whether the file at that path on the manager's machine has come along."""
    return path in _contents


def loader_of(name: str, path: str) -> importlib.abc.Loader:
    """Loads a shipped source file."""
    return _Loader(name, path)


def file_of(path: str) -> str:
    """Where a shipped file that is no source lies on this machine; it is laid down here unless it is the same there."""
    if not is_shipped(path):
        return path
    content = _contents[path]
    try:
        with open(path, "rb") as file:
            if file.read(len(content) + 1) == content:
                return path
    except OSError:
        pass
    import tempfile

    here = os.path.join(tempfile.mkdtemp(prefix="eisenmp-module-"), os.path.basename(path))
    with open(here, "xb") as file:
        file.write(content)
    return here


def clear_away(laid_down: str) -> None:
    """It is loaded, or never will be: the file that :func:`file_of` has laid down is not needed any more."""
    try:
        os.remove(laid_down)
        os.rmdir(os.path.dirname(laid_down))
    except OSError:
        pass  # a system that keeps what is loaded


class _Loader(importlib.machinery.SourceFileLoader):
    """Its bytes are those that came along; of the file system, nothing is looked at, old bytecode included."""

    def get_data(self, path: str) -> bytes:
        try:
            return _contents[path]
        except KeyError:
            raise OSError(f"{path} was not shipped") from None

    def path_stats(self, path: str) -> Mapping[str, float]:
        raise OSError(f"{path} lies on another machine")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds shipped modules by their names."""

    def __init__(self, names: Mapping[str, tuple[str, bool]]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None for modules that have not come along: the finders behind this one are asked."""
        if fullname not in self._names:
            return None
        where, is_package = self._names[fullname]
        if not where.endswith(_SOURCE):  # a folder without an __init__.py, and what lies in it
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [where]
            return spec
        folder = [os.path.dirname(where)] if is_package else None
        return importlib.util.spec_from_file_location(
            fullname, where, loader=_Loader(fullname, where), submodule_search_locations=folder
        )
