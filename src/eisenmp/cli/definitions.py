"""What a Python file gives a name, by its syntax tree. Loaded when something is wrong: ``ast`` takes milliseconds."""

from __future__ import annotations

import ast
from typing import Final

__all__ = ["functions", "names_in"]

_MADE: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def functions(source: bytes, path: str) -> list[str]:
    """The functions and classes at its top.

    Raises:
        SyntaxError, ValueError: it is no Python.
    """
    return [node.name for node in ast.parse(source, path).body if isinstance(node, _MADE)]


def names_in(source: bytes, path: str) -> tuple[list[str], bool]:
    """All that gets a name at its top, and whether that is all.

    Raises:
        SyntaxError, ValueError: it is no Python.
    """
    tree = ast.parse(source, path)
    names: list[str] = []
    certain = True
    for node in tree.body:
        if isinstance(node, _MADE):
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
