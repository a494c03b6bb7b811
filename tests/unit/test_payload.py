"""Objects to bytes and back: by value where one side lacks the module, and errors that always arrive."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eisenmp.errors import CrashError, PayloadError, ProtocolError, RemoteError, RemoteTraceback, StopJob
from eisenmp.payload import FILE_MODULES, dumps, dumps_error, loads, loads_error, nbytes, opened, read_error
from eisenmp.wire import Buffer, Kind, Pieces, encode
from eisenmp.worker.loader import load_module

MAIN = sys.modules['__main__']


def there_and_back(obj: Any) -> Any:
    return loads(dumps(obj))


# ---- plain data

plain_data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=5),
        st.tuples(inner, inner),
        st.frozensets(st.integers(), max_size=5),
    ),
    max_leaves=20,
)


@given(plain_data)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back(obj: Any) -> None:
    assert there_and_back(obj) == obj


def test_plain_data_is_one_piece() -> None:
    payload = dumps(list(range(1000)))
    assert len(payload) == 1
    assert nbytes(payload) == len(payload[0])


class Block:
    """Gives its bytes out of band, as arrays do."""

    def __init__(self, data: bytearray | bytes) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Block, (pickle.PickleBuffer(self.data),)


def test_large_buffers_travel_out_of_band() -> None:
    blocks = [Block(bytearray(b'a' * 100_000)), Block(bytearray(b'b' * 200_000))]
    payload = dumps(blocks)
    assert len(payload) == 3
    assert len(payload[0]) < 1000
    assert nbytes(payload) == len(payload[0]) + 300_000
    back = loads(payload)
    assert bytes(back[1].data) == b'b' * 200_000


def test_a_payload_is_what_the_object_was() -> None:
    """It may wait long before it is sent, or be sent again, while its owner fills the same memory anew."""
    data = bytearray(b'a' * 100_000)
    watched = np.frombuffer(data, 'u1')
    watched.flags.writeable = False  # for those who look, not for the owner
    payloads = [dumps(Block(data)), dumps(watched)]
    data[:] = bytes(100_000)
    assert [bytes(payload[1]) for payload in payloads] == [b'a' * 100_000] * 2


def bytes_like(piece: Buffer | Pieces) -> Buffer:
    assert not isinstance(piece, Pieces)
    return piece


LARGE_OBJECTS: dict[str, Any] = {
    'bytes': b'x' * 500_000,
    'str': 'ü' * 500_000,
    'bytearray': bytearray(b'y' * 500_000),
    'in a list': [b'z' * 200_000, 'small', b'z' * 300_000],
    'in rows': [('name', b'z' * 200_000), ['other', 'x' * 200_000]],
    'the same twice': [b'k' * 200_000] * 2,
    'far behind': [*range(1000), b'z' * 500_000],
    'deep': {'image': {'data': b'z' * 500_000}},
    'beside an array': [b'z' * 500_000, np.arange(100_000)],
}


@pytest.mark.parametrize('name', LARGE_OBJECTS)
def test_large_objects_come_back(name: str) -> None:
    obj = LARGE_OBJECTS[name]
    payload = dumps(obj)
    back = loads(payload)
    assert nbytes(payload) >= 200_000
    if name == 'the same twice':
        assert back[0] is back[1]
    if name == 'beside an array':
        assert (back[1] == obj[1]).all()
        back, obj = back[0], obj[0]
    assert back == obj
    assert type(back) is type(obj)
    one = bytes(payload[0])
    assert len(one) == len(payload[0])
    assert pickle.loads(one, buffers=[bytes_like(buffer) for buffer in payload[1:]]) is not None


def test_large_bytes_are_not_copied_into_the_pickle() -> None:
    items = [b'a' * 200_000, b'b' * 300_000]
    (body,) = dumps(items)
    assert isinstance(body, Pieces)
    assert [piece for piece in body.pieces if len(piece) > 100_000] == items
    assert all(any(piece is item for piece in body.pieces) for item in items)


def test_a_large_bytearray_is_what_it_was() -> None:
    data = bytearray(b'a' * 200_000)
    payload = dumps([data])
    data[:] = bytes(200_000)
    assert loads(payload) == [b'a' * 200_000]


def test_a_class_of_main_beside_large_bytes_travels_by_value(
    main_class: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = dumps([b'x' * 500_000, main_class(4)])
    monkeypatch.delattr(MAIN, 'Thing')
    assert loads(payload)[1].double() == 8


def test_what_nobody_can_change_is_not_copied() -> None:
    data = b'a' * 100_000
    for obj in (Block(data), np.frombuffer(data, 'u1'), np.frombuffer(data, 'u1')[5:].view('i1')):
        buffer = bytes_like(dumps(obj)[1])
        assert np.shares_memory(np.frombuffer(buffer, 'u1'), np.frombuffer(data, 'u1'))


def test_many_small_buffers_stay_in_band() -> None:
    payload = dumps([Block(bytearray(b'12345678')) for _ in range(1000)])
    assert len(payload) == 1
    assert [bytes(block.data) for block in loads(payload)] == [b'12345678'] * 1000


def test_a_payload_always_fits_into_a_message() -> None:
    blocks = [Block(bytearray(b'12345678')) for _ in range(70_000)]
    encode(Kind.CHUNK, dumps(blocks))


class Strided:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytes, (pickle.PickleBuffer(memoryview(bytearray(10))[::2]),)


# ---- by value


@pytest.fixture
def main_class(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """A class that really is in ``__main__``, so that plain pickle would name it."""

    class Thing:
        def __init__(self, value: int) -> None:
            self.value = value

        def double(self) -> int:
            return 2 * self.value

    Thing.__module__, Thing.__qualname__ = '__main__', 'Thing'
    monkeypatch.setattr(MAIN, 'Thing', Thing, raising=False)
    pickle.dumps(Thing(1))
    return Thing


def test_a_class_of_main_travels_by_value(main_class: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    payload = dumps([main_class(21)])
    monkeypatch.delattr(MAIN, 'Thing')  # the other side's __main__ does not have it
    with pytest.raises(AttributeError):
        pickle.loads(b'c__main__\nThing\n.')
    (thing,) = loads(payload)
    assert thing.double() == 42


def test_a_function_of_main_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def triple(x: int) -> int:
        return 3 * x

    triple.__module__, triple.__qualname__ = '__main__', 'triple'
    monkeypatch.setattr(MAIN, 'triple', triple, raising=False)
    payload = dumps(triple)
    monkeypatch.delattr(MAIN, 'triple')
    assert loads(payload)(7) == 21


def test_the_class_of_an_object_comes_back_as_itself(main_class: type[Any]) -> None:
    assert type(there_and_back(main_class(1))) is main_class


def test_lambdas_and_closures_travel() -> None:
    base = 40
    assert there_and_back(lambda x: x + base)(2) == 42


@pytest.fixture
def worker_file(tmp_path: Path) -> Iterator[ModuleType]:
    path = tmp_path / 'rows.py'
    path.write_text(
        'class Row:\n'
        '    def __init__(self, value):\n'
        '        self.value = value\n'
        '    def half(self):\n'
        '        return helper(self.value)\n'
        'class RowError(Exception):\n'
        '    pass\n'
        'def helper(value):\n'
        '    return value // 2\n',
        encoding='utf-8',
    )
    module = load_module(str(path))
    yield module
    if module.__name__ in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.unregister_pickle_by_value(module)
    for name in [name for name in sys.modules if name.startswith(FILE_MODULES)]:
        del sys.modules[name]


def test_a_class_of_a_worker_file_travels_by_value(worker_file: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = dumps({'row': worker_file.Row(84)})
    monkeypatch.delitem(sys.modules, worker_file.__name__)  # as in the manager, which never imports it
    assert loads(payload)['row'].half() == 42


def test_a_function_of_a_worker_file_travels_by_value(worker_file: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = dumps(worker_file.helper)
    monkeypatch.delitem(sys.modules, worker_file.__name__)
    assert loads(payload)(84) == 42


def test_an_exception_of_a_worker_file_reaches_the_manager_as_itself(
    worker_file: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = dumps_error(worker_file.RowError('row 7 is empty'))
    monkeypatch.delitem(sys.modules, worker_file.__name__)
    error = loads_error(payload)
    assert type(error).__name__ == 'RowError'
    assert str(error) == 'row 7 is empty'


# ---- what cannot be pickled


class BadState:
    def __reduce__(self) -> Any:
        raise OSError('the state is on fire')


class BadRecursion:
    def __reduce__(self) -> Any:
        return list, ([BadRecursion()],)


@pytest.mark.parametrize(
    ('obj', 'says'),
    [
        (threading.Lock(), 'lock cannot be pickled: TypeError'),
        ([1, threading.Lock()], 'list cannot be pickled.*_thread.lock'),
        (BadState(), 'BadState cannot be pickled: OSError: the state is on fire'),
        ((n for n in 'abc'), 'generator'),
        (BadRecursion(), '(?i)BadRecursion cannot be pickled: .*recursion'),
        (Strided(), 'Strided cannot be pickled'),
        (sys._getframe(), 'frame cannot be pickled'),
    ],
    ids=['lock', 'inside', 'reduce', 'generator', 'recursion', 'strided', 'frame'],
)
def test_what_cannot_be_pickled_is_named(obj: Any, says: str) -> None:
    with pytest.raises(PayloadError, match=says) as caught:
        dumps(obj)
    assert isinstance(caught.value, TypeError)


def test_the_object_inside_a_closure_is_named_not_the_closure() -> None:
    lock = threading.Lock()
    with pytest.raises(PayloadError, match=r"_thread\.lock"):
        dumps(lambda: lock)


# ---- errors


class TwoArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f'{code}: {text}')
        self.code = code


class Keyword(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(code)
        self.code = code


class HoldsLock(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError('no text')


class ExplodesHere(Exception):
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise MemoryError('boom')


class BecomesAnother(Exception):
    def __reduce__(self) -> Any:
        return ValueError, ('another',)


class NoException(Exception):
    def __reduce__(self) -> Any:
        return dict, ()


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Sealed(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'{name} cannot be set')


def raised(error: BaseException) -> BaseException:
    def deep_down() -> None:
        raise error

    try:
        deep_down()
    except BaseException as caught:
        return caught
    raise AssertionError


def travelled(error: BaseException) -> BaseException:
    return loads_error(dumps_error(raised(error)))


@pytest.mark.parametrize(
    'error',
    [ValueError('bad row'), KeyError('key'), OSError(2, 'No such file', 'x.txt'), SystemExit(3), StopJob([1])],
    ids=repr,
)
def test_an_exception_arrives_as_itself(error: BaseException) -> None:
    back = travelled(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)


def test_the_remote_traceback_is_its_cause() -> None:
    back = travelled(ValueError('bad row'))
    cause = back.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert 'deep_down' in str(cause)
    assert 'ValueError: bad row' in str(cause)


def test_the_text_of_a_traceback_may_be_given() -> None:
    back = loads_error(dumps_error(ValueError('x'), text='line 1\nline 2\n'))
    assert str(back.__cause__) == '\nline 1\nline 2'


@pytest.mark.parametrize(
    ('error', 'name', 'message'),
    [
        (TwoArguments(7, 'seven'), 'TwoArguments', '7: seven'),
        (Keyword(code=3), 'Keyword', '3'),
        (HoldsLock('locked'), 'HoldsLock', 'locked'),
        (BadText('x'), 'BadText', ''),
        (ExplodesHere('x'), 'ExplodesHere', 'x'),
        (BecomesAnother('original'), 'BecomesAnother', 'original'),
        (NoException('original'), 'NoException', 'original'),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else '',
)
def test_an_exception_that_cannot_travel_arrives_as_text(error: Exception, name: str, message: str) -> None:
    back = travelled(error)
    if not isinstance(error, BadText):  # its class travels, its text cannot be made on either side
        assert isinstance(back, RemoteError)
        assert back.type_name.endswith(name)
        assert back.message == message
        assert str(back).endswith(f'{name}: {message}')
    assert isinstance(back.__cause__, RemoteTraceback)
    assert 'deep_down' in str(back.__cause__)


def test_an_exception_whose_class_is_local_arrives_as_itself() -> None:
    class LocalError(Exception):
        pass

    back = travelled(LocalError('here'))
    assert type(back).__name__ == 'LocalError'
    assert str(back) == 'here'


def test_a_local_exception_with_two_arguments_arrives_as_text() -> None:
    class LocalTwo(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(text)

    back = travelled(LocalTwo(1, 'one'))
    assert isinstance(back, RemoteError)
    assert str(back).endswith('LocalTwo: one')


def test_an_exception_of_main_arrives_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class MainError(Exception):
        pass

    MainError.__module__, MainError.__qualname__ = '__main__', 'MainError'
    monkeypatch.setattr(MAIN, 'MainError', MainError, raising=False)
    assert type(travelled(MainError('x'))) is MainError  # the user's `except MainError` catches it


@pytest.mark.parametrize('error', [Frozen(5), Sealed(5)], ids=['dataclass', 'sealed'])
def test_an_exception_that_refuses_attributes_still_arrives(error: Exception) -> None:
    back = travelled(error)
    assert type(error).__name__ in f'{type(back).__name__} {back}'
    assert '5' in str(back)
    assert isinstance(back.__cause__, RemoteTraceback)
    back.add_note('a note')  # as the dispatcher does


def test_an_exception_group_arrives() -> None:
    back = travelled(ExceptionGroup('several', [ValueError(1), TwoArguments(2, 'two')]))
    assert 'several' in str(back)


def test_notes_arrive() -> None:
    error = ValueError('x')
    error.add_note('while reading row 7')
    assert getattr(travelled(error), '__notes__', []) == ['while reading row 7']


def test_a_class_that_the_reader_lacks_leaves_type_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType('only_here')
    made: Callable[..., Any] = type('OnlyHereError', (Exception,), {'__module__': 'only_here'})
    module.OnlyHereError = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'only_here', module)
    payload = dumps_error(made('text'))
    monkeypatch.delitem(sys.modules, 'only_here')
    back = loads_error(payload)
    assert isinstance(back, RemoteError)
    assert back.type_name == 'only_here.OnlyHereError'
    assert back.message == 'text'


def test_errors_of_this_package_travel() -> None:
    back = travelled(CrashError('blue_q', 4, ['signal SIGKILL', 'exit code 3']))
    assert isinstance(back, CrashError)
    assert (back.queue, back.ticket, back.exits) == ('blue_q', 4, ['signal SIGKILL', 'exit code 3'])
    again = travelled(RemoteError('ValueError', 'x'))
    assert isinstance(again, RemoteError)
    assert (again.type_name, again.message) == ('ValueError', 'x')


# ---- what the manager opens by itself


@pytest.mark.parametrize(
    'obj', [None, 1, 2.5, 'x', b'y', bytearray(b'z'), [1, (2, {3: {4}})], 1 << 100, frozenset({1})]
)
def test_plain_values_are_opened(obj: Any) -> None:
    assert opened(pickle.dumps(obj, 5)) == obj


@pytest.mark.parametrize('obj', [int, print, ValueError('x'), 1j, Path('x'), range(3)], ids=repr)
def test_nothing_is_opened_that_could_run_code(obj: Any) -> None:
    with pytest.raises(ProtocolError):
        opened(pickle.dumps([obj], 5))


@pytest.mark.parametrize('obj', [None, 5, 'text', ('a', 'b', 'c'), ['a', 'b', 'c', None], ('a', 'b', 5, None)])
def test_an_error_that_is_none(obj: Any) -> None:
    with pytest.raises(ProtocolError):
        read_error(dumps(obj))


class Word(str):
    __slots__ = ()


class Wordy(Exception):
    def __str__(self) -> str:
        return Word('said in a special way')


def test_a_message_of_a_special_class_is_a_plain_text() -> None:
    _, message, _, _ = read_error(dumps_error(Wordy()))
    assert (type(message), message) == (str, 'said in a special way')


class Leaves(Exception):
    """Can be pickled, tried there and back here, and not be opened where `armed` is set."""

    armed = False

    def __reduce__(self) -> Any:
        return _leave, ()


def _leave() -> Exception:
    if Leaves.armed:
        raise SystemExit(3)
    return Leaves()


def test_an_exception_that_leaves_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = dumps_error(Leaves())
    monkeypatch.setattr(Leaves, 'armed', True)
    assert isinstance(loads_error(payload), RemoteError)
