"""The table of faults: each kind, at each spot, with each way to start workers, in both styles.

Whatever happens, each ticket has one outcome, the sums are right, every forwarded message came once, and no process is
left. The single rows beside it are in test_rows.py, those of pickling in ../contract/test_errors.py.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

import eisenmp
from tests.faults.afflicted import EXCEPTIONS, FAULTS, MARKED, Trap
from tests.support import ALARM, FORKS, wait_until

WORKER: Final = str(Path(__file__).with_name('afflicted.py'))
METHODS: Final = ('spawn', 'forkserver', 'fork')
STYLES: Final = ('classic', 'plain')
SPOTS: Final = {
    'import': 'the module is loaded',
    'idle': 'it waits for its next chunk',
    'before': 'classic: it has not asked yet; plain: the items of its chunk are unpickled',
    'during': 'the function is at work on its chunk',
    'result': 'classic: the result is put; plain: it is returned, and pickled',
    'write': 'in the middle of the message that answers',
}
WITHOUT_TICKET: Final = (('classic', 'import'), ('plain', 'import'), ('classic', 'before'))
TICKETS: Final = 6
STRUCK: Final = 2  # the ticket with the marked item
SUMS: Final = [sum(range(3 * n, 3 * n + 3)) for n in range(TICKETS)]

pytestmark = FORKS

Start = Callable[..., eisenmp.Mp]


class Items:
    """What is fed: the chunks of the table. A gate, in the middle, lets the workers wait."""

    def __init__(self, *, trap: bool = False, gated: bool = False) -> None:
        self.gate = threading.Event()
        self._trap = trap
        if not gated:
            self.gate.set()

    def __iter__(self) -> Iterator[Any]:
        for n in range(3 * TICKETS):
            if n == 9:
                assert self.gate.wait(ALARM)
            yield Trap() if n == MARKED and self._trap else n


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a job of the afflicted worker; whatever becomes of the test, it is ended."""
    jobs: list[eisenmp.Mp] = []

    def begin(items: Items, method: str, style: str, fault: str, spot: str, **settings: Any) -> eisenmp.Mp:
        os.mkfifo(tmp_path / 'here')
        monkeypatch.setenv('AFFLICTION', f'{fault} {spot} {tmp_path}')
        emp = eisenmp.Mp()
        jobs.append(emp)
        emp.add_queue('copies')
        emp.feed(items)
        emp.start(
            worker_modules=[{'WORKER_PATH': WORKER, 'WORKER_REF': style}],
            START_METHOD=method,
            WORKER_CALL='toolbox' if style == 'classic' else 'chunk',
            NUM_ROWS=3,
            RESULTS_STORE=True,
            ON_ERROR='skip',
            **{'NUM_PROCS': 2, **settings},
        )
        return emp

    yield begin
    for emp in jobs:
        emp.kill()
        assert emp.join(ALARM)


def pid_that_is_there(folder: Path) -> int:
    """Wait until a process has come to the spot."""
    with (folder / 'here').open() as pipe:
        return int(pipe.read())


def wait_until_idle(emp: eisenmp.Mp, pid: int) -> None:
    """The worker has asked for a chunk, and sleeps."""
    exchange = emp._exchange
    queue = exchange.table[0]
    wait_until(lambda: exchange.any_getters or any(queue.waiting()))
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING)


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def done(emp: eisenmp.Mp) -> int:
    return len(emp.results['mp_input_q'].done)


def restarts(emp: eisenmp.Mp) -> int:
    return sum(worker.restarts for worker in emp.snapshot().workers)


def each_ticket_once(emp: eisenmp.Mp, *, failed: tuple[int, ...] = ()) -> None:
    """All tickets have their results, but for those; every message forwarded by a ticket that is done came once."""
    results = emp.wait(ALARM)['mp_input_q']
    assert results.failed == list(failed)
    rest = [n for n in range(TICKETS) if n not in failed]
    assert results.done == rest
    assert [results[n].value for n in rest] == [SUMS[n] for n in rest]
    copies = emp.queues['copies']
    forwarded = [copies.get_nowait() for _ in range(copies.qsize())]
    assert len(forwarded) == len(set(forwarded)) == len(rest)
    assert emp.join(ALARM)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', EXCEPTIONS)
def test_a_module_that_raises(start: Start, method: str, style: str, fault: str) -> None:
    """It would raise everywhere: one error, with file and line, and no chunk is handed out."""
    emp = start(Items(), method, style, fault, 'import')
    with pytest.raises(eisenmp.WorkerStartError, match=r'afflicted\.py, line \d+: (ValueError: afflicted|SystemExit)'):
        emp.wait(ALARM)
    results = emp.results['mp_input_q']
    assert (results.done, results.failed) == ([], [])
    assert emp.join(ALARM)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', EXCEPTIONS)
@pytest.mark.parametrize('spot', ['before', 'during', 'result'])
def test_an_exception(start: Start, tmp_path: Path, method: str, style: str, fault: str, spot: str) -> None:
    """It costs the ticket that the worker holds, or nothing; the worker lives on."""
    emp = start(Items(trap=style == 'plain' and spot == 'before'), method, style, fault, spot)
    pid_that_is_there(tmp_path)
    holds_none = style == 'classic' and spot == 'before'
    each_ticket_once(emp, failed=() if holds_none else (STRUCK,))
    assert restarts(emp) == 0
    if not holds_none:
        outcome = emp.results['mp_input_q'][STRUCK]
        assert ('ValueError: afflicted' if fault == 'raise' else 'SystemExit: 3') in str(
            getattr(outcome.error, '__cause__', None)
        )
        assert outcome.attempts == 1


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', EXCEPTIONS)
def test_an_exception_while_it_waits(start: Start, method: str, style: str, fault: str, tmp_path: Path) -> None:
    """A signal handler raises. A classic worker fails its call, without a ticket, and goes on; a plain one ends."""
    items = Items(gated=True)
    emp = start(items, method, style, fault, 'idle', NUM_PROCS=1)
    wait_until(lambda: done(emp) == 3)
    pid = emp.proc_list[0].pid
    wait_until_idle(emp, pid)
    os.kill(pid, signal.SIGUSR1)
    pid_that_is_there(tmp_path)
    items.gate.set()
    each_ticket_once(emp)
    assert restarts(emp) == (0 if style == 'classic' else 1)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', ['_exit', 'SIGKILL', 'SIGSEGV'])
@pytest.mark.parametrize('spot', [spot for spot in SPOTS if spot != 'idle'])
def test_a_death(start: Start, tmp_path: Path, method: str, style: str, fault: str, spot: str) -> None:
    """The worker is replaced; what it held runs again."""
    emp = start(Items(trap=style == 'plain' and spot == 'before'), method, style, fault, spot)
    pid_that_is_there(tmp_path)
    each_ticket_once(emp)
    template_died = method == 'forkserver' and spot == 'import'  # nobody had been forked
    assert restarts(emp) == (0 if template_died else 1)
    held = spot != 'import' and (style, spot) != ('classic', 'before')
    assert emp.results['mp_input_q'][STRUCK].attempts == 1 + held


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', EXCEPTIONS)
def test_an_exception_in_the_middle_of_a_message(
    start: Start, tmp_path: Path, method: str, style: str, fault: str
) -> None:
    """The rest of the message will never come, so nothing of the worker can be understood any more: it ends."""
    emp = start(Items(), method, style, fault, 'write')
    pid_that_is_there(tmp_path)
    each_ticket_once(emp)
    assert restarts(emp) == 1


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', ['_exit', 'SIGKILL', 'SIGSEGV'])
def test_a_death_while_it_waits(start: Start, tmp_path: Path, method: str, style: str, fault: str) -> None:
    items = Items(gated=True)
    emp = start(items, method, style, fault, 'idle', NUM_PROCS=1)
    wait_until(lambda: done(emp) == 3)
    handle = emp.proc_list[0]
    wait_until_idle(emp, handle.pid)
    os.kill(handle.pid, signal.SIGUSR1)
    assert pid_that_is_there(tmp_path) == handle.pid
    handle.join(ALARM)
    assert handle.exitcode == {'_exit': 3, 'SIGKILL': -signal.SIGKILL, 'SIGSEGV': -signal.SIGSEGV}[fault]
    items.gate.set()
    each_ticket_once(emp)
    assert restarts(emp) == 1
    assert {outcome.attempts for outcome in emp.results['mp_input_q']} == {1}


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize('fault', ['SIGSTOP', 'hangs'])
@pytest.mark.parametrize('spot', ['before', 'during', 'result', 'write'])
def test_a_stand_still_with_a_ticket(
    start: Start, tmp_path: Path, method: str, style: str, fault: str, spot: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for the worker but its ticket, and that no longer than ``CHUNK_TIMEOUT``."""
    if style == 'classic' and spot == 'before':
        pytest.skip('a classic worker that has not asked yet holds no ticket: see the next test')
    emp = start(Items(trap=spot == 'before'), method, style, fault, spot, CHUNK_TIMEOUT=0.25)
    pid = pid_that_is_there(tmp_path)
    if fault == 'hangs':
        os.kill(pid, signal.SIGTERM)  # is ignored
    each_ticket_once(emp)
    assert 'died with CHUNK_TIMEOUT of 0.25 s' in caplog.text
    assert emp.results['mp_input_q'][STRUCK].attempts >= 2
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('style', 'spot'), WITHOUT_TICKET)
def test_stopped_without_a_ticket(start: Start, tmp_path: Path, method: str, style: str, spot: str) -> None:
    """The others do all the work meanwhile. (Where the template is stopped there are none.)"""
    emp = start(Items(), method, style, 'SIGSTOP', spot)
    pid = pid_that_is_there(tmp_path)
    wait_until(lambda: is_stopped(pid))
    if (method, spot) != ('forkserver', 'import'):
        wait_until(lambda: done(emp) == TICKETS)
    os.kill(pid, signal.SIGCONT)
    each_ticket_once(emp)
    assert restarts(emp) == 0


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('style', 'spot'), WITHOUT_TICKET)
def test_hangs_without_a_ticket(start: Start, tmp_path: Path, method: str, style: str, spot: str) -> None:
    """SIGTERM does not help, SIGKILL does; then as for any death."""
    emp = start(Items(), method, style, 'hangs', spot)
    pid = pid_that_is_there(tmp_path)
    template_hangs = (method, spot) == ('forkserver', 'import')
    os.kill(pid, signal.SIGTERM)
    if not template_hangs:
        wait_until(lambda: done(emp) == TICKETS)
    assert psutil.pid_exists(pid)
    os.kill(pid, signal.SIGKILL)
    each_ticket_once(emp)
    assert restarts(emp) == (0 if template_hangs else 1)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
def test_stopped_while_it_waits(start: Start, method: str, style: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is handed a chunk, as nobody can know; that is taken away again in time."""
    items = Items(gated=True)
    emp = start(items, method, style, 'SIGSTOP', 'idle', NUM_PROCS=1, CHUNK_TIMEOUT=0.25)
    wait_until(lambda: done(emp) == 3)
    pid = emp.proc_list[0].pid
    wait_until_idle(emp, pid)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid))
    items.gate.set()
    each_ticket_once(emp)
    assert 'died with CHUNK_TIMEOUT of 0.25 s' in caplog.text
    assert restarts(emp) >= 1


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('style', STYLES)
def test_ignores_sigterm_while_it_waits(start: Start, method: str, style: str) -> None:
    items = Items(gated=True)
    emp = start(items, method, style, 'hangs', 'idle', NUM_PROCS=1)
    wait_until(lambda: done(emp) == 3)
    handle = emp.proc_list[0]
    wait_until_idle(emp, handle.pid)
    handle.terminate()
    items.gate.set()
    each_ticket_once(emp)
    assert restarts(emp) == 0


def test_every_fault_has_its_rows() -> None:
    assert {'raise', 'SystemExit', '_exit', 'SIGKILL', 'SIGSEGV', 'SIGSTOP', 'hangs'} == set(FAULTS)
