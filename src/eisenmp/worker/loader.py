"""From a path and a name to a function. A file is loaded under a name made from its whole path.

So two files of one name in different folders are two modules, and the manager never needs to import either. The
file's own folder goes onto the search path, as it does for a script, so that a worker file may import its siblings.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import threading
import types
import zlib
from collections.abc import Callable
from typing import Any, Final

from eisenmp.errors import nearest
from eisenmp.payload import FILE_MODULES

__all__ = ["is_file", "load", "load_module"]

_loading = threading.RLock()  # workers that are threads of one process (engine inline) load one module once

_SUFFIXES: Final = (
    *importlib.machinery.SOURCE_SUFFIXES,
    *importlib.machinery.BYTECODE_SUFFIXES,
    ".so",
    ".pyd",
)


def is_file(path: str) -> bool:
    """Whether WORKER_PATH names a file; otherwise it is a dotted module name."""
    return path.endswith(_SUFFIXES) or os.sep in path or "/" in path


def load(path: str, ref: str) -> Callable[..., Any]:
    """Load the module and return its entry function.

    Raises:
        AttributeError: the module has no such function; the nearest name is given.
        TypeError: it is there and cannot be called.
        Exception: whatever the module's own code raises while it is loaded.
    """
    module = load_module(path)
    try:
        entry = getattr(module, ref)
    except AttributeError:
        names = [n for n, value in vars(module).items() if callable(value)]
        raise AttributeError(f"{path} has no function {ref!r}{nearest(ref, names)}") from None
    if not callable(entry):
        raise TypeError(f"{path}: {ref!r} is no function but {type(entry).__name__}")
    return entry  # type: ignore[no-any-return]


def load_module(path: str) -> types.ModuleType:
    """Load a worker module once per process."""
    if not is_file(path):
        return importlib.import_module(path)
    with _loading:
        return _load_file(os.path.abspath(path))


def _load_file(path: str) -> types.ModuleType:
    folder, base = os.path.split(path)
    stem = base.split(".")[0]
    # An extension module finds its init function by the last part of its name, so the file's own name must come
    # last; what makes it unique goes into a package of its own.
    package = f"{FILE_MODULES}{zlib.crc32(path.encode()):08x}"
    name = f"{package}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    if not (os.path.exists(path) or _is_shipped(path)):
        raise FileNotFoundError(f"no worker module {path}")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if package not in sys.modules:
        holder = types.ModuleType(package)
        holder.__path__ = [folder]
        sys.modules[package] = holder
    loader = _loader(name, path)
    lies_at = getattr(loader, "path", path)
    spec = importlib.util.spec_from_file_location(name, lies_at, loader=loader)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module; known endings: {', '.join(_SUFFIXES)}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        if lies_at != path:
            sys.modules["eisenmp.worker.shipped"].clear_away(lies_at)
    return module


def _is_shipped(path: str) -> bool:
    """Whether it has come from the manager's machine (shipped.py, which most workers never load)."""
    shipped = sys.modules.get("eisenmp.worker.shipped")
    return shipped is not None and shipped.is_shipped(path)


def _loader(name: str, path: str) -> Any:
    if _is_shipped(path):
        from eisenmp.worker import shipped

        if path.endswith(tuple(importlib.machinery.SOURCE_SUFFIXES)):
            return shipped.loader_of(name, path)
        path = shipped.file_of(path)
    if path.endswith((".so", ".pyd")):
        return importlib.machinery.ExtensionFileLoader(name, path)
    if path.endswith(tuple(importlib.machinery.BYTECODE_SUFFIXES)):
        return importlib.machinery.SourcelessFileLoader(name, path)
    if path.endswith(tuple(importlib.machinery.SOURCE_SUFFIXES)):
        return importlib.machinery.SourceFileLoader(name, path)
    return None
