"""Whether a program that is started again is the one with which a job file was made: digests of what shapes results.

Digests must be the same in another process: no addresses, no order of sets, no identity of objects counts.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import reprlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Final

from eisenmp.functions import Function
from eisenmp.jobfile.borders import is_sampled
from eisenmp.settings import ModuleSpec, Settings

__all__ = ["Witness", "digest", "digest_of_chunk", "fingerprint", "source_digest"]

_LOOKS: Final = 8  # items of a chunk that are looked at
_SHAPING: Final = ("WORKER_CALL",)  # settings that change what a result is; all others may differ from run to run
_PLAIN: Final = (int, float, complex, bool, str, bytes, type(None))
_SETS: Final = (b"\x8f", b"\x91")  # opcodes of pickle whose elements come in any order
_SUFFIXES: Final = (".py", ".pyc", ".so", ".pyd")

Prints = dict[str, tuple[str, bytes]]  # name -> how it looks, digest


def digest(obj: Any) -> bytes:
    """Sixteen bytes that tell objects of different contents apart. What cannot be told is left out of it."""
    hash_ = hashlib.blake2b(digest_size=16)
    _feed(hash_.update, obj, 0)
    return hash_.digest()


def _feed(update: Callable[[bytes], None], obj: Any, depth: int) -> None:
    kind = type(obj)
    update(kind.__qualname__.encode() + b":")
    if kind in _PLAIN:
        raw = obj if isinstance(obj, bytes) else repr(obj).encode("utf-8", "surrogatepass")
        update(str(len(raw)).encode() + b":" + raw)
    elif depth > 20:
        return  # deep enough, or a circle
    elif kind in (list, tuple):
        update(str(len(obj)).encode())
        for item in obj:
            _feed(update, item, depth + 1)
    elif kind is dict:
        update(str(len(obj)).encode())
        for pair in obj.items():
            _feed(update, pair, depth + 1)
    elif kind in (set, frozenset):
        for part in sorted([digest(item) for item in obj]):
            update(part)
    else:
        update(_pickled(obj))


def _pickled(obj: Any) -> bytes:
    """Without a memo, so that it does not count which parts are the same object."""
    file = BytesIO()
    pickler = pickle.Pickler(file, 5)
    pickler.fast = True
    try:
        pickler.dump(obj)
    except Exception:  # a circle, or something that only cloudpickle can
        return b""
    made = file.getvalue()
    return b"" if any(opcode in made for opcode in _SETS) else made


def digest_of_chunk(rows: Any) -> bytes:
    """Of some of its items, first and last among them, and how many there are."""
    count = len(rows)
    places = sorted({at * (count - 1) // (_LOOKS - 1) for at in range(_LOOKS)}) if count else []
    if hasattr(rows, "to_pylist"):  # Arrow: an index asks for a column
        items = [rows.slice(at, 1).to_pylist() for at in places]
    else:
        items = [rows[at] for at in places]
    return digest((count, items))


class Witness:
    """Watches a source being cut, and keeps digests of some of its chunks.

    Args:
        chunks: of the source that were cut in earlier runs.
        keep: called with position, items, digest.
    """

    def __init__(self, chunks: int, keep: Callable[[int, int, bytes], None]) -> None:
        self._number = chunks
        self._keep = keep
        self._next = self._following(chunks)

    def saw(self, rows: Any, position: int, size: int) -> None:
        """Chunks of `size` items each, the last of which may have fewer. `position`: of the first item."""
        count = -(-len(rows) // size)
        while self._next < self._number + count:
            at = (self._next - self._number) * size
            chunk = rows if count == 1 else rows[at : at + size]
            self._keep(position + at, len(chunk), digest_of_chunk(chunk))
            self._next = self._following(self._next + 1)
        self._number += count

    @staticmethod
    def _following(number: int) -> int:
        while not is_sampled(number):
            number += 1
        return number


def fingerprint(
    settings: Settings, modules: Sequence[ModuleSpec], custom: Mapping[str, Any], function: Function | None
) -> Prints:
    """Digests of all that shapes results, by name."""
    prints: Prints = {name: _print(getattr(settings, name)) for name in _SHAPING}
    for at, module in enumerate(modules):
        prints[f"worker_modules[{at}]"] = (
            f"{module.path}:{module.ref}",
            digest((module.ref, source_digest(module.path))),
        )
    for name, value in custom.items():
        if _is_plain(value):
            prints[name] = _print(value)
    if function is not None:
        prints["func"] = _print_of_function(function.func)
        if function.initializer is not None:
            prints["initializer"] = _print_of_function(function.initializer)
        if _is_plain(function.initargs):
            prints["initargs"] = _print(function.initargs)
    return prints


def _print(value: Any) -> tuple[str, bytes]:
    return reprlib.repr(value), digest(value)


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Numbers, texts and small containers of them: what parametrises a search. The rest is not compared."""
    if type(value) in _PLAIN:
        return True
    if depth > 3 or type(value) not in (list, tuple, set, frozenset, dict) or len(value) > 10_000:
        return False
    parts: Iterable[Any] = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return all(_is_plain(part, depth + 1) for part in parts)


def source_digest(path: str) -> bytes:
    """Of a worker module's file, without importing it; nothing of one that cannot be found."""
    places = [path]
    if not (path.endswith(_SUFFIXES) or os.sep in path or "/" in path):
        relative = path.replace(".", os.sep)
        places = [os.path.join(folder or ".", relative + suffix) for folder in sys.path for suffix in _SUFFIXES]
    for place in places:
        try:
            with open(place, "rb") as file:
                return hashlib.blake2b(file.read(), digest_size=16).digest()
        except OSError:
            continue
    return b""


def _print_of_function(func: Any) -> tuple[str, bytes]:
    name = getattr(func, "__qualname__", type(func).__qualname__)
    return f"{getattr(func, '__module__', '')}.{name}", digest(_parts(func, 0))


def _parts(func: Any, depth: int) -> Any:
    """What makes a function what it is, as plain values."""
    if depth > 4:
        return None
    if isinstance(func, functools.partial):
        return ("partial", _parts(func.func, depth + 1), _values(func.args), _values(func.keywords))
    if isinstance(func, types.MethodType):
        return ("method", _parts(func.__func__, depth + 1), _values(vars(func.__self__) if _has_vars(func) else {}))
    if isinstance(func, types.FunctionType):
        cells = [cell.cell_contents for cell in func.__closure__ or () if _is_filled(cell)]
        inner = [_parts(value, depth + 1) if callable(value) else value for value in cells]
        return (_source(func), _values(func.__defaults__ or ()), _values(func.__kwdefaults__ or {}), _values(inner))
    if _has_vars_itself(func):
        return (type(func).__qualname__, _values(vars(func)))
    return getattr(func, "__qualname__", type(func).__qualname__)


def _source(func: types.FunctionType) -> Any:
    """Its text, where that can be had: another Python makes other code of it.

    Not by the name ``<string>``: all that ``exec`` makes bears it, and from Python 3.13 on so does the text of ``-c``.
    """
    if func.__code__.co_filename == "<string>":
        return _code(func.__code__)
    try:
        return inspect.cleandoc(inspect.getsource(func))
    except (OSError, TypeError, SyntaxError):
        return _code(func.__code__)


def _code(code: types.CodeType) -> Any:
    constants = [_code(value) if isinstance(value, types.CodeType) else value for value in code.co_consts]
    return (code.co_code, code.co_names, constants)


def _values(values: Any) -> Any:
    """Those of them that are plain."""
    if isinstance(values, dict):
        return {key: value for key, value in values.items() if _is_plain(value)}
    return [value for value in values if _is_plain(value)]


def _has_vars(method: types.MethodType) -> bool:
    return hasattr(method.__self__, "__dict__")


def _has_vars_itself(func: Any) -> bool:
    return hasattr(func, "__dict__") and not isinstance(func, type | types.BuiltinFunctionType)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
