"""Whatever goes wrong in `start`, at whatever point: nobody waits for a job that is half begun."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

import eisenmp
from eisenmp import dispatcher, display, feeder, manager
from eisenmp.constants import STOP_MSG
from tests.support import ALARM, FORKS, Lab

pytestmark = FORKS

WORKER = 'def entry(rows): return rows[0]\n'


class NoThreadError(RuntimeError):
    """What the system says when there are too many threads."""


def breaks(*_: Any, **__: Any) -> NoReturn:
    raise MemoryError('mine')


@pytest.fixture(params=['spawn', 'forkserver', 'fork', 'inline'])
def lab(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


PLACES = {
    'dispatcher': (dispatcher.Dispatcher, '__init__'),
    'exit hook': (manager, 'watch_exit'),
    'loop': (dispatcher.Dispatcher, 'start'),
    'display': (display.Display, 'start'),
    'feeder': (feeder.Feeder, 'start'),
    'desk': (dispatcher, 'MessageDesk'),
}


@pytest.mark.parametrize('place', PLACES)
def test_a_block_in_which_the_start_breaks(lab: Lab, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(*PLACES[place], breaks)
    emp = lab.mp()
    emp.feed([1])
    with pytest.raises(MemoryError, match='mine'), emp:
        lab.start(emp, WORKER, WORKER_CALL='chunk', NUM_ROWS=1)
    assert emp.join(0)
    assert emp.begin_proc_shutdown
    for process in emp.proc_list:
        assert not process.is_alive()
    with pytest.raises(MemoryError, match='mine'):
        emp.wait(0)
    with pytest.raises(MemoryError, match='mine'):
        emp.feed([1])
    with pytest.raises(eisenmp.JobOver):
        lab.start(emp, WORKER)
    emp.kill()
    emp.stop()
    assert emp.mp_input_q.get(timeout=ALARM)[1:] == [STOP_MSG], 'whoever reads is told the end'


@pytest.mark.parametrize('name', ['eisenmp-dispatcher', 'eisenmp-feeder-mp_input_q (default)'])
def test_the_system_gives_no_thread(lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == name:
            raise NoThreadError(name)
        real(thread)

    monkeypatch.setattr(threading.Thread, 'start', start)
    emp = lab.mp()
    emp.feed([1])
    with pytest.raises(NoThreadError):
        lab.start(emp, WORKER, WORKER_CALL='chunk')
    assert emp.join(ALARM)


def test_a_feeder_gets_no_thread_in_a_running_job(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job goes on with what the other feeders bring."""
    emp = lab.mp()
    lab.start(emp, WORKER, WORKER_CALL='chunk', NUM_ROWS=1, RESULTS_STORE=True)
    gate = threading.Event()
    emp.feed(2 for _ in range(1) if gate.wait(ALARM))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', breaks)
        with pytest.raises(MemoryError):
            emp.feed([1])
    gate.set()
    assert emp.wait(ALARM)['mp_input_q'].values() == [2]


@pytest.mark.parametrize('place', PLACES)
def test_a_short_form_that_breaks(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(*PLACES[place], breaks)
    with pytest.raises(MemoryError, match='mine'):
        eisenmp.imap(abs, [1], max_workers=1)
