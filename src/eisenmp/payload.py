"""Objects to bytes and back: pickle protocol 5 with out-of-band buffers, cloudpickle where plain pickle cannot.

Plain pickle names classes and functions by module. Two kinds of modules exist on one side only: the manager's
``__main__`` (a worker never imports it) and worker files (the manager never imports them). What was made there is
pickled by value instead, so that it arrives whole.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any, Final

from eisenmp.errors import PayloadError, ProtocolError, RemoteError, RemoteTraceback
from eisenmp.traces import came_by_signal, remote_text, with_sources
from eisenmp.wire import LARGE, MOST_BUFFERS, Buffer, Pieces

__all__ = [
    "CONSTANT",
    "FILE_MODULES",
    "ItemError",
    "Payload",
    "Store",
    "are_constant",
    "dumps",
    "dumps_error",
    "dumps_plain",
    "has_large",
    "loads",
    "loads_error",
    "name_culprit",
    "nbytes",
    "opened",
    "read_error",
    "rough_size",
]

Payload = tuple[Buffer | Pieces, ...]  # Pieces only as the body
Store = Callable[[memoryview], Buffer | None]  # keeps a copy of something large; None: it does not

FILE_MODULES: Final = "_eisenmp_file_"  # prefix of the module names given to worker files, see worker/loader.py
CONSTANT: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})  # what nobody can change
_OUT_OF_BAND: Final = 4 << 10  # bytes from which a buffer travels by itself
_LOOK: Final = 8  # so many objects of a list, and so many fields of each, are looked at for their size
_COPIED: Final = (bytes, str, bytearray)
_MAIN: Final = b"__main__"
_FILE: Final = FILE_MODULES.encode()


def dumps(obj: Any, store: Store | None = None) -> Payload:
    """Pickle `obj` once: (body, buffer, …).

    Args:
        obj: what is sent.
        store: keeps the copies of large buffers that may change.

    Raises:
        PayloadError: neither pickle nor cloudpickle can; the text says why.
    """
    buffers: list[Buffer] = []
    body: bytes | Pieces
    try:
        if has_large(obj):
            body = _dumps_in_pieces(obj, buffers, store)
            one_sided = any(_names_one_side(piece) for piece in body.pieces if len(piece) < LARGE)
        else:
            body = pickle.dumps(obj, 5, buffer_callback=_sieve(buffers, store))
            one_sided = _names_one_side(body)
    except Exception:
        return _dumps_by_value(obj, store)
    return _dumps_by_value(obj, store) if one_sided else (body, *buffers)


def _names_one_side(pickled: bytes) -> bool:
    """Whether something in there may be named by a module that the other side does not have."""
    return _MAIN in pickled or _FILE in pickled


def has_large(obj: Any) -> bool:
    """Whether there is something large on top of the object that pickle would copy. Only looks, must be quick."""
    if type(obj) not in (list, tuple):
        return type(obj) in _COPIED and len(obj) >= LARGE
    for item in obj[:_LOOK]:
        kind = type(item)
        if kind in _COPIED:
            if len(item) >= LARGE:
                return True
        elif kind is tuple or kind is list:
            for part in item[:_LOOK]:
                if type(part) in _COPIED and len(part) >= LARGE:
                    return True
    return False


class _Sink(list[Any]):
    """What a pickler writes to: large ``bytes`` come as the object itself."""

    @property
    def write(self) -> Callable[[Any], None]:
        return self.append


def _dumps_in_pieces(obj: Any, buffers: list[Buffer], store: Store | None) -> Pieces:
    sink = _Sink()
    pickle.Pickler(sink, 5, buffer_callback=_sieve(buffers, store)).dump(obj)
    return Pieces([piece if type(piece) is bytes else bytes(piece) for piece in sink])


def _sieve(large: list[Buffer], store: Store | None) -> Callable[[pickle.PickleBuffer], bool]:
    """A buffer callback: keeps large buffers apart, and small ones, which are not worth it, in the pickle.

    What is kept apart is copied, unless nobody can change it: a payload may wait long before it is sent, and be sent
    again, while its owner fills the same array anew.
    """

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND or len(large) >= MOST_BUFFERS - 1:  # one may come to it on the way
            return True
        large.append(raw if _is_constant(raw) else _copy(raw, store))
        return False

    return in_band


class _Watchful(pickle.Pickler):
    """Notices objects that pickle does not make by itself: unpickling those runs code, which may fail."""

    foreign = False

    def reducer_override(self, obj: Any) -> Any:  # not called for the plain builtin types
        self.foreign = True
        return NotImplemented


def dumps_plain(obj: Any) -> bytes | None:
    """Pickle what consists of plain numbers, texts, bytes and containers of them only; None for anything else.

    What is made here opens everywhere. So objects of several tickets may share one pickle without one of them being
    able to spoil it for its neighbours.
    """
    file = io.BytesIO()
    pickler = _Watchful(file, 5)
    try:
        pickler.dump(obj)
    except Exception:
        return None
    return None if pickler.foreign else file.getvalue()


def _copy(raw: memoryview, store: Store | None) -> Buffer:
    if raw.nbytes < LARGE:
        return bytearray(raw)
    kept = store(raw) if store is not None else None
    if kept is not None:
        return kept
    from eisenmp.ring import shelf

    return shelf("payloads").copy(raw)


def _is_constant(raw: memoryview) -> bool:
    """Whether the memory is that of a ``bytes`` object. Read-only alone does not say so: the owner may still write."""
    owner: Any = raw.obj
    while type(owner).__name__ == "ndarray":
        owner = owner.base  # an array that is a view tells of what
    return type(owner) is bytes


def are_constant(items: Sequence[Any]) -> bool:
    """Whether none of them can change: numbers, texts, bytes, tuples of those."""
    kinds = set(map(type, items))
    if kinds == {tuple}:
        kinds = set(map(type, chain.from_iterable(items)))
    return kinds <= CONSTANT


def _dumps_by_value(obj: Any, store: Store | None) -> Payload:
    import cloudpickle  # only where it is needed: 10 ms of start-up otherwise

    from eisenmp import byvalue

    for name in [n for n in list(sys.modules) if n.startswith(FILE_MODULES)]:  # others import meanwhile
        if name not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(sys.modules[name])
    buffers: list[Buffer] = []
    try:
        body = byvalue.dumps(obj, _sieve(buffers, store))
    except Exception as error:
        raise PayloadError(f"{_name(obj)} cannot be pickled: {type(error).__name__}: {error}") from error
    return (body, *buffers)


def loads(payload: Sequence[Buffer | Pieces]) -> Any:
    """Rebuild the object. Arrays in out-of-band buffers lie in the message's own memory and may be written to.

    Raises whatever unpickling raises: the caller knows which ticket it was.
    """
    body = payload[0]
    if type(body) is Pieces:
        body = bytes(body)
    return pickle.loads(body, buffers=payload[1:])  # type: ignore[arg-type]  # nothing lies in pieces now


class _PlainUnpickler(pickle.Unpickler):
    """Makes numbers, texts, bytes and containers of them, and runs nobody's code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} in it, where only plain values are allowed")


def opened(body: Buffer | Pieces) -> Any:
    """Unpickle what our own side of a worker has sent about itself: plain values, so that opening it is no risk.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(bytes(body))).load()
    except Exception as error:
        raise ProtocolError(f"a message that cannot be opened: {type(error).__name__}: {error}") from error


def nbytes(payload: Sequence[Buffer | Pieces]) -> int:
    """Bytes of a payload in all."""
    return sum(map(len, payload))


def dumps_error(error: BaseException, text: str | None = None) -> Payload:
    """Pickle an exception with its traceback text.

    The exception is tried there and back here, where a failure harms nobody: a class whose ``__init__`` takes other
    arguments than ``args`` unpickles with a TypeError on the other side. What does not survive travels as text.
    """
    if text is None:
        text = remote_text(error)
    try:
        whole = dumps(error)
        if type(loads(whole)) is type(error):
            return dumps((_name(error), _say(error), text, [bytes(p) for p in whole]))
    except BaseException:
        pass  # whatever went wrong, the text below tells the user the same
    return dumps((_name(error), _say(error), text, None))


def read_error(payload: Sequence[Buffer | Pieces]) -> tuple[str, str, str, list[bytes] | None]:
    """What :func:`dumps_error` has made, with the exception itself still closed: (name, message, traceback, exception).

    Raises:
        ProtocolError: it is something else.
    """
    parts = opened(payload[0])
    if not (isinstance(parts, tuple) and len(parts) == 4 and all(isinstance(part, str) for part in parts[:3])):
        raise ProtocolError("an error without its name, message and traceback")
    return parts


def loads_error(payload: Sequence[Buffer | Pieces]) -> BaseException:
    """The exception with the remote traceback as its cause; a RemoteError where the exception itself cannot be made."""
    name, message, text, whole = read_error(payload)
    import linecache  # not in each worker's start

    cause = RemoteTraceback(with_sources(text, linecache.cache, linecache.getline))
    if whole is not None:
        try:
            made = loads(whole)
            if isinstance(made, BaseException):
                made.__cause__ = cause
                return made
        except (Exception, SystemExit, GeneratorExit) as raised:  # a Ctrl-C is the user's
            if came_by_signal(raised):
                raise
            # a class whose module the manager does not have, say, or one that refuses attributes
    error = RemoteError(name, message)
    error.__cause__ = cause
    return error


class ItemError:
    """Stands in a chunk's results for those of an item whose function raised; it stays in the worker."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def pieces(self) -> tuple[bytes, ...]:
        """What it raised, as :func:`loads_error` takes it."""
        return tuple([bytes(piece) for piece in self.payload])


def _name(obj: Any) -> str:
    cls = type(obj)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _say(error: BaseException) -> str:
    try:
        return str.__str__(str(error))  # a plain text, whatever kind of text it is
    except Exception:
        return "(its text cannot be made)"


def name_culprit(rows: Any, error: PayloadError) -> PayloadError:
    """The error of a chunk, with the item that it is about."""
    for at, item in enumerate(rows):
        try:
            dumps(item)
        except PayloadError as reason:
            return PayloadError(f"item {at} of the chunk, a {type(item).__qualname__}: {reason}")
    return error


def rough_size(item: Any) -> int:
    """Bytes of an item, roughly; of a row of fields, what its first fields come to."""
    if isinstance(item, tuple | list):
        return sum([_flat_size(part) for part in islice(item, 100)])
    if isinstance(item, dict):
        return sum([_flat_size(part) for part in islice(item.values(), 100)])
    return _flat_size(item)


def _flat_size(item: Any) -> int:
    if isinstance(item, bytes | bytearray | str):
        return len(item)
    if isinstance(item, int | float):
        return 64
    try:
        size = item.nbytes
    except Exception:  # it has none, or its own code fails
        return 64
    return size if isinstance(size, int) else 64
