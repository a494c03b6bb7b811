"""Warnings of workers: what is sent, and what becomes of it in the manager."""

from __future__ import annotations

import io
import logging
import pickle
import warnings
from typing import Any

import pytest

from eisenmp.display.warned import WorkerWarnings
from eisenmp.wire import OF_WARNING, Kind
from eisenmp.worker.inbox import Lease
from eisenmp.worker.warned import WarningsToManager
from tests.unit.test_streams import FakeInbox


class Mine(DeprecationWarning):
    """A class that the manager has."""


class Stubborn(UserWarning):
    def __init__(self, text: str, more: int) -> None:
        super().__init__(text, more)


def fields(**more: Any) -> dict[str, Any]:
    own = {'worker': 'Process-2', 'slot': 1, 'ticket': 31, 'process': 77, 'text': 'old', 'filename': '/x/y.py'}
    return own | {'lineno': 7, 'module': 'y', 'categories': ['builtins:DeprecationWarning'], **more}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> FakeInbox:
    """What this process warns of goes to it."""
    inbox = FakeInbox()
    monkeypatch.setattr(warnings, 'showwarning', WarningsToManager(inbox, {'name': 'Process-2', 'slot': 1}))
    return inbox


def test_a_warning_tells_its_class_its_place_and_the_ticket(sent: FakeInbox) -> None:
    sent.lease = Lease(5, 31)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, 'filters', [('always', None, Warning, None, 0)])
        warnings.warn('old', Mine, stacklevel=1)
    (frame,) = sent.sent
    assert (frame.kind, frame.flags) == (Kind.LOG, OF_WARNING)
    told = pickle.loads(frame.body)
    assert (told['worker'], told['slot'], told['ticket']) == ('Process-2', 1, 31)
    assert (told['filename'], told['module'], told['text']) == (__file__, __name__, 'old')
    assert told['categories'][:2] == [f'{__name__}:Mine', 'builtins:DeprecationWarning']


def test_a_warning_for_a_file_is_written_there(sent: FakeInbox) -> None:
    file = io.StringIO()
    warnings.showwarning('old', UserWarning, 'x.py', 3, file)
    assert file.getvalue() == 'x.py:3: UserWarning: old\n'
    assert sent.sent == []


def test_a_place_that_nobody_is_at_has_no_module(sent: FakeInbox) -> None:
    warnings.showwarning('old', UserWarning, 'x.py', 3)
    assert pickle.loads(sent.sent[0].body)['module'] is None


# ---- in the manager


def test_it_is_given_again_with_its_class_and_place() -> None:
    with pytest.warns(Mine, match='^old$') as caught:
        WorkerWarnings().show(fields(categories=[f'{__name__}:Mine', 'builtins:DeprecationWarning']))
    assert [(w.category, w.filename, w.lineno) for w in caught] == [(Mine, '/x/y.py', 7)]


@pytest.mark.parametrize(
    ('categories', 'kind'),
    [
        (['only_in_the_worker:Gone', 'builtins:FutureWarning'], FutureWarning),
        ([f'{__name__}:Stubborn', 'builtins:UserWarning'], UserWarning),
        (['os:system', 'builtins:list', 'builtins:Warning'], Warning),
        (['builtins:KeyboardInterrupt'], Warning),
        ([], Warning),
    ],
    ids=str,
)
def test_a_class_that_does_not_do_gives_way_to_its_base(categories: list[str], kind: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        WorkerWarnings().show(fields(categories=categories))
    assert [w.category for w in caught] == [kind]


def test_filters_of_the_manager_count() -> None:
    shown = WorkerWarnings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings('ignore', module='y')
        shown.show(fields())
        warnings.simplefilter('default')
        for worker in ('Process-1', 'Process-2'):
            shown.show(fields(worker=worker))
        shown.show(fields(lineno=8))
    assert [w.lineno for w in caught] == [7, 8]


def test_a_filter_that_makes_errors_comes_too_late() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('error')
        WorkerWarnings().show(fields())
    assert [str(w.message) for w in caught] == ['old']


def test_captured_by_logging_it_tells_of_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        logging.captureWarnings(True)
        try:
            WorkerWarnings().show(fields())
            warnings.warn('of the manager', UserWarning, stacklevel=1)
        finally:
            logging.captureWarnings(False)
    first, second = caplog.records
    assert (first.name, first.levelname, first.lineno, first.filename) == ('py.warnings', 'WARNING', 7, 'y.py')
    assert (first.__dict__['worker'], first.__dict__['slot'], first.__dict__['ticket']) == ('Process-2', 1, 31)
    assert (first.process, first.processName) == (77, 'Process-2')
    assert '/x/y.py:7: DeprecationWarning: old' in first.getMessage()
    assert 'worker' not in second.__dict__
