"""Which files a worker needs that only the manager's machine has: its modules, and what of the user's these import.

The imports are read from the source, at every depth of it; nothing is imported to find out. What is installed (the
standard library, ``site-packages``) is left to the other machine, and so are modules whose names are made at run time:
those can be imported by the manager's program, whose modules come along too.
"""

from __future__ import annotations

import ast
import os
import site
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Final

from eisenmp.errors import WorkerStartError
from eisenmp.worker.loader import is_file
from eisenmp.worker.shipped import Shipment

__all__ = ["collect", "loaded_names", "project_folders"]

_MOST_BYTES: Final = 64 << 20
_OWN: Final = "eisenmp"  # has to be installed wherever workers run


def project_folders(search: Sequence[str]) -> list[str]:
    """The folders of a search path where the user's own modules are, absolute."""
    installed = _installed_folders()
    found: list[str] = []
    for entry in search:
        folder = os.path.abspath(entry)  # '' is where the program runs
        if os.path.isdir(folder) and not _is_below(folder, installed) and folder not in found:
            found.append(folder)
    return found


def loaded_names(modules: Mapping[str, ModuleType | None], folders: Sequence[str]) -> list[str]:
    """The user's own modules among those that the manager has imported: objects may name them."""
    names = []
    installed = _installed_folders()
    for name, module in list(modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py") or name == "__main__":
            continue
        if _is_below(os.path.abspath(path), folders) and not _is_below(path, installed):
            names.append(name)
    return names


def collect(modules: Iterable[str], names: Iterable[str], search: Sequence[str]) -> Shipment:
    """The files to send along, and the names under which they are imported.

    Args:
        modules: each a WORKER_PATH, absolute or a dotted name. A file that is not here is left to the other machine.
        names: of more modules.
        search: folders of the user's own modules.

    Raises:
        WorkerStartError: that is too much to be a program.
    """
    gathered = _Gathering(search)
    for module in modules:
        if is_file(module):
            gathered.add_file(module)
        else:
            gathered.add_name(module, search)
    for name in names:
        gathered.add_name(name, search)
    gathered.follow()
    return gathered.contents, gathered.names


class _Gathering:
    def __init__(self, search: Sequence[str]) -> None:
        self._search = list(search)
        self._unread: deque[tuple[str, str, list[str]]] = deque()  # path, its package, where its imports are looked for
        self.contents: dict[str, bytes] = {}
        self.names: dict[str, tuple[str, bool]] = {}

    def add_file(self, path: str) -> None:
        if self._take(path) and path.endswith(".py"):
            self._unread.append((path, "", [os.path.dirname(path), *self._search]))

    def add_name(self, name: str, search: Sequence[str]) -> None:
        """A dotted name: each package on the way to it counts, as far as they are the user's."""
        parts = name.split(".")
        if parts[0] == _OWN:
            return
        folders = list(search)
        for depth in range(1, len(parts) + 1):
            full = ".".join(parts[:depth])
            if full in self.names:
                path, is_package = self.names[full]
            else:
                found = _find(parts[depth - 1], folders)
                if found is None:
                    return
                path, is_package = found
                self._enter(full, path, search, is_package=is_package)
            if not is_package:
                return
            folders = [path if os.path.isdir(path) else os.path.dirname(path)]

    def follow(self) -> None:
        """Read what was added, and what that imports, and so on."""
        while self._unread:
            path, package, search = self._unread.popleft()
            for name in _imports(self.contents[path], package):
                self.add_name(name, search)

    def _enter(self, name: str, path: str, search: Sequence[str], *, is_package: bool) -> None:
        self.names[name] = (path, is_package)
        if path.endswith(".py") and self._take(path):
            self._unread.append((path, name if is_package else name.rpartition(".")[0], list(search)))

    def _take(self, path: str) -> bool:
        if path in self.contents:
            return False
        try:
            with open(path, "rb") as file:
                self.contents[path] = file.read()
        except OSError:
            return False  # not of this machine, or not to be read: the worker tells
        if sum(map(len, self.contents.values())) > _MOST_BYTES:
            raise WorkerStartError(
                f"the worker modules import more than {_MOST_BYTES >> 20} MiB of the program's own files "
                f"(up to {path}); install them on the nodes instead"
            )
        return True


def _find(part: str, folders: Iterable[str]) -> tuple[str, bool] | None:
    """(path, is a package) of a module in one of the folders; a package without an ``__init__.py`` is its folder."""
    bare: str | None = None
    for folder in folders:
        whole = os.path.join(folder, part)
        if os.path.isfile(os.path.join(whole, "__init__.py")):
            return os.path.join(whole, "__init__.py"), True
        if os.path.isfile(whole + ".py"):
            return whole + ".py", False
        if bare is None and os.path.isdir(whole):
            bare = whole
    return None if bare is None else (bare, True)


def _imports(source: bytes, package: str) -> Iterator[str]:
    """The dotted names that a source may import; of ``from a import b``, both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # the worker tells, with the line
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _absolute(module: str, level: int, package: str) -> str:
    if not level:
        return module
    parts = package.split(".")
    kept = parts[: len(parts) - level + 1]
    return ".".join(filter(None, [*kept, module]))


def _installed_folders() -> list[str]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib") if key in paths]
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    packages = os.path.join(own, _OWN)
    more = [*site.getsitepackages(), site.getusersitepackages(), packages, *_zipped(sys.path)]
    return [os.path.abspath(folder) for folder in (*folders, *more)]


def _zipped(search: Iterable[str]) -> list[str]:
    return [entry for entry in search if entry.endswith(".zip")]


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)
