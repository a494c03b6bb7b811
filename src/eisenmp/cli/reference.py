"""``WORKER.py:function`` on the command line. The file is looked at, never imported: that is the workers' business."""

from __future__ import annotations

import ast
import os
from typing import Final

from eisenmp.cli.exits import BadCall
from eisenmp.errors import nearest
from eisenmp.worker.loader import is_file

__all__ = ["split_reference"]

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def split_reference(text: str) -> tuple[str, str]:
    """(path or dotted module, function).

    Raises:
        BadCall: there is no such file, or nothing of that name in it.
    """
    path, colon, ref = text.rpartition(":")
    if not colon or not path or not ref.isidentifier():
        allowed = "FILE.py:function or package.module:function"
        raise BadCall(f"WORKER {text!r} does not fit; allowed: {allowed}{_hint(text)}")
    if is_file(path):
        _check_file(path, ref)
    return path, ref


def _hint(text: str) -> str:
    path = text.partition(":")[0]
    if not path.endswith(".py") or not os.path.isfile(path):
        return ""
    tree = _parse(path)
    names = [node.name for node in tree.body if isinstance(node, _DEFINITIONS) and not node.name.startswith("_")]
    return f"; {path} has: {', '.join(names[:10])}" if names else ""


def _check_file(path: str, ref: str) -> None:
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        what = "is a folder" if os.path.isdir(path) else "is not there"
        try:
            hint = nearest(name, os.listdir(folder or "."))
        except OSError:
            hint = f": there is no folder {folder}"
        raise BadCall(f"WORKER: {path} {what}{hint}")
    if not path.endswith(".py"):
        return  # compiled: the worker will see
    names, certain = _names(_parse(path))
    if certain and ref not in names:
        raise BadCall(f"WORKER: {path} has no function {ref!r}{nearest(ref, names)}")


def _parse(path: str) -> ast.Module:
    try:
        with open(path, "rb") as file:
            return ast.parse(file.read(), path)
    except OSError as error:
        raise BadCall(f"WORKER: {path} cannot be read: {error.strerror or error}") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadCall(f"WORKER: {path}{line}: {type(error).__name__}: {getattr(error, 'msg', error)}") from error


def _names(tree: ast.Module) -> tuple[list[str], bool]:
    """What the file gives a name at its top, and whether that is all."""
    names: list[str] = []
    certain = True
    for node in tree.body:
        if isinstance(node, _DEFINITIONS):
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [(alias.asname or alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names += [name.id for name in ast.walk(node) if isinstance(name, ast.Name)]
        elif not isinstance(node, ast.Expr | ast.Pass | ast.Assert | ast.Delete):
            certain = False  # names may be given anywhere in there
    return names, certain and "*" not in names and "__getattr__" not in names and not _makes_globals(tree)


def _makes_globals(tree: ast.Module) -> bool:
    """Whether names may come to be in other ways: by exec, globals() or setattr."""
    ways = {"exec", "globals", "vars", "setattr", "locals"}
    return any(isinstance(node, ast.Name) and node.id in ways for node in ast.walk(tree))
