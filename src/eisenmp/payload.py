"""Objects to bytes and back: pickle protocol 5 with out-of-band buffers, cloudpickle where plain pickle cannot.

Plain pickle names classes and functions by module. Two kinds of modules exist on one side only: the manager's
``__main__`` (a worker never imports it) and worker files (the manager never imports them). What was made there is
pickled by value instead, so that it arrives whole.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from eisenmp.errors import PayloadError, ProtocolError, RemoteError, RemoteTraceback
from eisenmp.wire import MOST_BUFFERS, Buffer

__all__ = ["FILE_MODULES", "Payload", "dumps", "dumps_error", "loads", "loads_error", "nbytes", "opened"]

Payload = tuple[Buffer, ...]

FILE_MODULES: Final = "_eisenmp_file_"  # prefix of the module names given to worker files, see worker/loader.py
_OUT_OF_BAND: Final = 4 << 10  # bytes from which a buffer travels by itself
_ONE_SIDED: Final = (b"__main__", FILE_MODULES.encode())


def dumps(obj: Any) -> Payload:
    """Pickle `obj` once: (body, buffer, …).

    Raises:
        PayloadError: neither pickle nor cloudpickle can; the text says why.
    """
    buffers: list[Buffer] = []
    try:
        body = pickle.dumps(obj, 5, buffer_callback=_sieve(buffers))
    except Exception:
        return _dumps_by_value(obj)
    for mark in _ONE_SIDED:
        if mark in body:
            return _dumps_by_value(obj)
    return (body, *buffers)


def _sieve(large: list[Buffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """A buffer callback: keeps large buffers apart, and small ones, which are not worth it, in the pickle."""

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND or len(large) >= MOST_BUFFERS:
            return True
        large.append(raw)
        return False

    return in_band


def _dumps_by_value(obj: Any) -> Payload:
    import cloudpickle  # only where it is needed: 10 ms of start-up otherwise

    for name in [n for n in sys.modules if n.startswith(FILE_MODULES)]:
        if name not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(sys.modules[name])
    buffers: list[Buffer] = []
    try:
        body = cloudpickle.dumps(obj, 5, buffer_callback=_sieve(buffers))
    except Exception as error:
        raise PayloadError(f"{_name(obj)} cannot be pickled: {type(error).__name__}: {error}") from error
    return (body, *buffers)


def loads(payload: Sequence[Buffer]) -> Any:
    """Rebuild the object. Arrays in out-of-band buffers lie in the message's own memory and may be written to.

    Raises whatever unpickling raises: the caller knows which ticket it was.
    """
    return pickle.loads(payload[0], buffers=payload[1:])


def opened(body: Buffer) -> Any:
    """Unpickle what our own side of a worker has sent about itself.

    Raises:
        ProtocolError: whatever unpickling raises, which may be anything.
    """
    try:
        return pickle.loads(body)
    except Exception as error:
        raise ProtocolError(f"a message that cannot be opened: {type(error).__name__}: {error}") from error


def nbytes(payload: Sequence[Buffer]) -> int:
    """Bytes of a payload in all."""
    return sum([memoryview(p).nbytes for p in payload])


def dumps_error(error: BaseException, text: str | None = None) -> Payload:
    """Pickle an exception with its traceback text.

    The exception is tried there and back here, where a failure harms nobody: a class whose ``__init__`` takes other
    arguments than ``args`` unpickles with a TypeError on the other side. What does not survive travels as text.
    """
    if text is None:
        import traceback  # start-up time that a worker in good order need not spend

        text = "".join(traceback.format_exception(error))
    try:
        whole = dumps(error)
        if type(loads(whole)) is type(error):
            return dumps((_name(error), _say(error), text, [bytes(p) for p in whole]))
    except Exception:
        pass  # whatever went wrong, the text below tells the user the same
    return dumps((_name(error), _say(error), text, None))


def loads_error(payload: Sequence[Buffer]) -> BaseException:
    """The exception with the remote traceback as its cause; a RemoteError where the exception itself cannot be made."""
    name, message, text, whole = opened(payload[0])
    cause = RemoteTraceback(text)
    if whole is not None:
        try:
            made = loads(whole)
            if isinstance(made, BaseException):
                made.__cause__ = cause
                return made
        except Exception:
            pass  # a class whose module the manager does not have, say, or one that refuses attributes
    error = RemoteError(name, message)
    error.__cause__ = cause
    return error


def _name(obj: Any) -> str:
    cls = type(obj)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _say(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be made)"
