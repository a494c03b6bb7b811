"""``WORKER.py:function`` on the command line. The file is looked at, never imported: that is the workers' business."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TypeVar

from eisenmp.cli.exits import BadCall
from eisenmp.errors import nearest
from eisenmp.worker.loader import is_file

__all__ = ["split_reference"]

_T = TypeVar("_T")


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
    from eisenmp.cli.definitions import functions

    source = _read(path)
    names = [name for name in _parsed(path, lambda: functions(source, path)) if not name.startswith("_")]
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
    text = _read(path)
    if ref in _parsed(path, lambda: compile(text, path, "exec", dont_inherit=True)).co_names:
        return  # it is given a value at the top, or is used there
    from eisenmp.cli.definitions import names_in

    names, certain = _parsed(path, lambda: names_in(text, path))
    if certain and ref not in names:
        raise BadCall(f"WORKER: {path} has no function {ref!r}{nearest(ref, names)}")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadCall(f"WORKER: {path} cannot be read: {error.strerror or error}") from error


def _parsed(path: str, parse: Callable[[], _T]) -> _T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the worker that imports the file shows them
            return parse()
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadCall(f"WORKER: {path}{line}: {type(error).__name__}: {getattr(error, 'msg', error)}") from error
