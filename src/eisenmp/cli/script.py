"""Runs a program as ``__main__`` in this process, with other settings than it was written with."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any

from eisenmp.cli.exits import FAILED, FINE, INTERRUPTED, BadCall, say
from eisenmp.errors import SettingsError, nearest
from eisenmp.settings import Settings, override

__all__ = ["assignments", "run_script"]


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each: a Python literal, or else a text.

    Raises:
        BadCall: a text without a name or without ``=``, or a name that is given twice.
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise BadCall(f"--set {text!r} does not fit; allowed: NAME=VALUE, such as NUM_PROCS=4")
        if name in given:
            raise BadCall(f"--set {name} is given twice")
        if not name.isupper() and name.upper() in Settings._fields:
            raise BadCall(f"--set {name}: did you mean {name.upper()!r}? Settings are written in capitals")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            given[name] = value
    return given


def run_script(path: str, arguments: Sequence[str], settings: Sequence[str]) -> int:
    """Run the file and return its exit code.

    Raises:
        BadCall: no such file, or a setting that does not fit.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(override(**assignments(settings)))
        except SettingsError as error:
            raise BadCall(f"--set: {error}") from error
        return _run(path, arguments)


def _run(path: str, arguments: Sequence[str]) -> int:
    code = _compile(path)
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    # Not runpy, which takes __main__ away again at the end of the file: a job may go on and pickle things of it.
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    try:
        exec(code, main.__dict__)
    except KeyboardInterrupt as error:
        sys.last_type = KeyboardInterrupt  # as the interpreter notes it: jobs that still run are ended, not waited for
        frames = traceback.extract_tb(error.__traceback__)
        where = next((f" at {frame.filename}, line {frame.lineno}" for frame in frames if frame.filename == path), "")
        say(f"interrupted{where}")
        return INTERRUPTED
    except Exception as error:
        trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
        traceback.print_exception(type(error), error, trace)
        return FAILED
    return FINE


def _compile(path: str) -> types.CodeType:
    try:
        with io.open_code(os.path.abspath(path)) as file:
            return compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        folder, name = os.path.split(path)
        hint = nearest(name, os.listdir(folder or ".")) if os.path.isdir(folder or ".") else ""
        raise BadCall(f"MANAGER: {path} cannot be read: {error.strerror or error}{hint}") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadCall(f"MANAGER: {path}{line}: {type(error).__name__}: {getattr(error, 'msg', error)}") from error
