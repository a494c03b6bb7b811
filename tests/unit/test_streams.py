"""Prints and log records of a worker, on their way to a manager that lacks the worker's modules."""

from __future__ import annotations

import enum
import logging
import pickle
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eisenmp.payload import opened
from eisenmp.wire import Buffer, Frame, Kind
from eisenmp.worker.inbox import Lease
from eisenmp.worker.records import redirect_logging
from eisenmp.worker.streams import LineStream, _Awaited, _Follower
from tests.unit.fakes import frames_of


class FakeInbox:
    def __init__(self) -> None:
        self.channel = self
        self.sent: list[Frame] = []
        self.lease: Lease | None = None

    def send(self, *messages: list[Buffer]) -> None:
        for pieces in messages:
            self.sent += frames_of(pieces)

    def newest(self) -> Lease | None:
        return self.lease

    def texts(self) -> list[str]:
        return [bytes(frame.body).decode() for frame in self.sent]


# ---- prints


def test_lines_are_sent_whole() -> None:
    inbox = FakeInbox()
    stream = LineStream(inbox, 1)
    print('one', end='', file=stream)
    assert inbox.sent == []
    print(' line', file=stream)
    print('two\nthree\nfo', end='', file=stream)
    assert inbox.texts() == ['one line', 'two\nthree']
    stream.finish()
    assert inbox.texts() == ['one line', 'two\nthree', 'fo']
    assert {frame.kind for frame in inbox.sent} == {Kind.PRINT}
    assert {frame.flags for frame in inbox.sent} == {0}


def test_errors_are_marked_as_such() -> None:
    inbox = FakeInbox()
    print('x', file=LineStream(inbox, 2))
    assert [frame.flags for frame in inbox.sent] == [1]


def test_lines_of_two_threads_are_not_mixed() -> None:
    inbox = FakeInbox()
    stream = LineStream(inbox, 1)
    stream.write('mine ')
    thread = threading.Thread(target=lambda: stream.write('theirs\n'))
    thread.start()
    thread.join()
    stream.write('and mine\n')
    assert inbox.texts() == ['theirs', 'mine and mine']


def test_letters_that_no_coding_has_are_no_harm() -> None:
    inbox = FakeInbox()
    LineStream(inbox, 1).write('a\udce9b\n')
    assert inbox.texts() == ['a\\udce9b']


# ---- log records


@pytest.fixture
def inbox() -> Iterator[FakeInbox]:
    """The root logger sends to it, for one test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    made = FakeInbox()
    try:
        redirect_logging(made, {'': logging.INFO}, {'name': 'Process-2', 'slot': 1})
        yield made
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def fields_of(frame: Frame) -> dict[str, Any]:
    assert frame.kind == Kind.LOG
    return pickle.loads(frame.body)  # type: ignore[no-any-return]


def test_a_record_tells_worker_slot_and_ticket(inbox: FakeInbox) -> None:
    inbox.lease = Lease(5, 31)
    logging.getLogger('worker.module').info('row %d', 7)
    logging.getLogger('worker.module').debug('unwanted')
    (frame,) = inbox.sent
    fields = fields_of(frame)
    assert (fields['name'], fields['msg'], fields['args']) == ('worker.module', 'row 7', None)
    assert (fields['worker'], fields['slot'], fields['ticket']) == ('Process-2', 1, 31)


def test_a_traceback_comes_along_as_text(inbox: FakeInbox) -> None:
    try:
        raise ValueError('bad row')
    except ValueError:
        logging.getLogger().exception('it failed')
    fields = fields_of(inbox.sent[0])
    assert fields['exc_info'] is None
    assert 'ValueError: bad row' in fields['exc_text']


@pytest.mark.parametrize('more', [{}, {'guard': threading.Lock()}], ids=['pickles', 'does not pickle'])
def test_extras_arrive_where_the_worker_s_modules_are_not(
    inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    module = ModuleType('only_in_the_worker')
    exec('class Row:\n    def __repr__(self):\n        return "Row 7"', module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    extra = {'row': module.Row(), 'rows': [module.Row()], 'count': 3, 'label': 'x', **more}
    logging.getLogger().info('with extras', extra=extra)
    monkeypatch.delitem(sys.modules, module.__name__)
    fields = fields_of(inbox.sent[0])
    assert (fields['msg'], fields['count'], fields['label']) == ('with extras', 3, 'x')
    assert 'Row 7' in str(fields['row'])
    assert logging.makeLogRecord(fields).getMessage() == 'with extras'


def test_a_message_that_does_not_format_is_handled_as_logging_does(
    inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, 'handlers', [handler for handler in root.handlers if 'ToManager' in repr(type(handler))])
    root.info('row %d', 'seven')
    assert inbox.sent == []
    assert 'Logging error' in capsys.readouterr().err


# ---- logging is awaited


def test_something_is_done_right_after_the_first_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = 'awaited_by_a_test'
    (tmp_path / f'{name}.py').write_text('READY = True\n')
    monkeypatch.syspath_prepend(tmp_path)
    seen: list[bool] = []
    awaited = _Awaited(name, lambda: seen.append(sys.modules[name].READY))
    monkeypatch.setattr(sys, 'meta_path', [awaited, *sys.meta_path])
    monkeypatch.delitem(sys.modules, name, raising=False)
    import_module('json')
    with pytest.raises(ModuleNotFoundError):
        import_module(name + '_not')
    assert seen == []
    module = import_module(name)
    assert import_module(name) is module
    assert seen == [True]
    assert awaited not in sys.meta_path
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert not isinstance(module.__loader__, _Follower)
    monkeypatch.delitem(sys.modules, name)


class Level(enum.IntEnum):
    HIGH = 35


class Name(str):
    __slots__ = ()


class Ratio(float):
    def __repr__(self) -> str:
        return 'a ratio'


def test_values_of_special_classes_arrive_as_plain_ones(inbox: FakeInbox) -> None:
    """The manager opens nothing but plain values here."""
    logging.getLogger(Name('loud')).log(Level.HIGH, 'x', extra={'ratio': Ratio(0.5), 'sure': True, 'label': Name('y')})
    fields = opened(inbox.sent[0].body)
    assert (fields['name'], fields['levelno'], fields['ratio'], fields['sure']) == ('loud', 35, 0.5, True)
    assert {type(value) for value in fields.values()} <= {str, int, float, bool, type(None)}
