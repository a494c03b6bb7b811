"""Functions and classes that the other side cannot import: by cloudpickle, and with the names of their files.

Newer versions of cloudpickle (3.1.3) leave out in which file a function was written, so that equal functions have equal
pickles. Here nobody compares pickles, but tracebacks and warnings of workers are to show the user's lines.

Loaded when it is needed: cloudpickle takes ten milliseconds to import.
"""

from __future__ import annotations

import io
import types
from collections import ChainMap
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, ClassVar, Final

import cloudpickle

__all__ = ["dumps"]


def dumps(obj: Any, buffer_callback: Callable[[PickleBuffer], bool]) -> bytes:
    """Pickle by protocol 5. Raises whatever cloudpickle raises."""
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffer_callback).dump(obj)
    return file.getvalue()


def _reduced(code: types.CodeType) -> tuple[Any, ...]:
    make, arguments = _reduce_code(code)[:2]
    return _restored, (make, arguments, code.co_filename)


def _restored(make: Callable[..., types.CodeType], arguments: tuple[Any, ...], filename: str) -> types.CodeType:
    return make(*arguments).replace(co_filename=filename)


_reduce_code: Final = cloudpickle.Pickler.dispatch_table[types.CodeType]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _reduced}, cloudpickle.Pickler.dispatch_table)
