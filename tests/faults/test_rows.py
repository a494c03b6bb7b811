"""The single rows beside the table of faults: objects, prints and processes that make trouble, each with a death.

Rows that need no death are elsewhere: what cannot be pickled or unpickled, exceptions that travel badly, generators
that raise in ../contract/test_errors.py and test_classic.py; slow readers in ../contract/test_short.py; several workers
killed at once in test_death.py and test_batches.py; starts that fail again and again in test_death.py.
"""

import io
import os
import re
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

import eisenmp
from eisenmp.wire import Kind, encode
from eisenmp.worker.channel import WorkerChannel
from tests.support import ALARM, FORKS, Lab, wait_until

TICKETS: Final = 12
STRUCK: Final = 5

pytestmark = FORKS

ONCE: Final = """
import os, signal

def first(toolbox):
    try:
        os.close(os.open(os.path.join(toolbox.marks, 'once'), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""
STYLES: Final = {
    'toolbox': """
def entry(toolbox):
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in rows:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, [work(row, toolbox) for row in rows]])
    return True
""",
    'item': """
def entry(item, toolbox):
    return work(item, toolbox)
""",
}


@pytest.fixture(params=['spawn', 'forkserver', 'fork'])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


def begin(lab: Lab, work: str, items: Any, style: str = 'item', **settings: Any) -> eisenmp.Mp:
    """A job of ``work(item, toolbox)``, an item a ticket."""
    emp = lab.mp()
    emp.add_queue('here')
    emp.feed(items)
    known = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'RESULTS_STORE': True, 'WORKER_CALL': style, 'marks': str(lab.folder)}
    lab.start(emp, ONCE + work + STYLES[style], **{**known, **settings})
    return emp


class Killer:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


@pytest.mark.parametrize('style', STYLES)
def test_an_item_that_kills_whoever_opens_it(lab: Lab, style: str) -> None:
    items = [Killer() if n == STRUCK else n for n in range(TICKETS)]
    emp = begin(lab, 'def work(item, toolbox): return -item\n', items, style, CRASH_RETRIES=1)
    results = emp.wait(ALARM)['mp_input_q']
    rest = [n for n in range(TICKETS) if n != STRUCK]
    assert results.set_aside == [STRUCK]
    assert isinstance(results[STRUCK].error, eisenmp.CrashError)
    assert 'exit code 3, exit code 3' in str(results[STRUCK].error)
    assert [results[n].value for n in rest] == [[-n] for n in rest]


HUGE: Final = """
from tests.faults.afflicted import HalfWay

def work(item, toolbox):
    if item == 5:
        HalfWay(toolbox._inbox.channel)
    return bytes(8 << 20)
"""


@pytest.mark.parametrize('style', STYLES)
def test_stopped_in_the_middle_of_a_huge_result(
    lab: Lab, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others do all that is not in its hands: nobody waits for the rest of the message. Then it is killed."""
    os.mkfifo(tmp_path / 'here')
    monkeypatch.setenv('AFFLICTION', f'SIGSTOP write {tmp_path}')
    emp = begin(lab, HUGE, range(TICKETS), style)
    pid = int((tmp_path / 'here').read_text())

    def only_its_own_are_left() -> bool:
        views = emp.snapshot()
        return views.queues[0].fill == 0 and not any(view.holding for view in views.workers if view.pid != pid)

    wait_until(lambda: emp.snapshot().feeders[0].finished)
    wait_until(only_its_own_are_left)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    os.kill(pid, signal.SIGKILL)
    assert emp.wait(ALARM)['mp_input_q'].values() == [[bytes(8 << 20)]] * TICKETS
    assert emp.results['mp_input_q'][STRUCK].attempts == 2


FLOOD: Final = """
def work(item, toolbox):
    for line in range(1000):
        print(f'ticket {item} line {line} of a flood')
        if (item, line) == (5, 700) and first(toolbox):
            os.kill(os.getpid(), signal.SIGKILL)
    return -item
"""


@pytest.mark.parametrize('style', STYLES)
def test_killed_in_a_flood_of_prints(lab: Lab, style: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever was printed is there, in whole lines."""
    emp = begin(lab, FLOOD, range(TICKETS), style)
    assert emp.wait(ALARM)['mp_input_q'].values() == [[-n] for n in range(TICKETS)]
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith('ticket')]
    assert all(re.fullmatch(r'ticket \d+ line \d+ of a flood', line) for line in lines)
    for n in range(TICKETS):
        own = [int(line.split()[3]) for line in lines if line.split()[1] == str(n)]
        assert own == ([*range(701), *range(1000)] if n == STRUCK else list(range(1000)))


ORPHAN: Final = """
def work(item, toolbox):
    if item == 5 and first(toolbox):
        pid = os.fork()
        if not pid:
            open(os.path.join(toolbox.marks, 'leave')).read()
            os._exit(0)
        toolbox.here.put(pid)
        os._exit(3)
    return -item
"""


def test_a_grandchild_is_left_behind(lab: Lab) -> None:
    """It keeps its parent's channel open, so the end-of-file never comes. The death shows all the same."""
    os.mkfifo(lab.folder / 'leave')
    emp = begin(lab, ORPHAN, range(TICKETS))
    grandchild = os.pidfd_open(emp.queues['here'].get(timeout=ALARM))
    try:
        assert emp.wait(ALARM)['mp_input_q'].values() == [[-n] for n in range(TICKETS)]
        assert emp.join(ALARM)
        assert not select.select([grandchild], [], [], 0)[0], 'it has nothing to do with the job'
        (lab.folder / 'leave').write_text('')
        assert select.select([grandchild], [], [], ALARM)[0]
    finally:
        signal.pidfd_send_signal(grandchild, signal.SIGKILL)
        os.close(grandchild)


DIES_ONCE: Final = """
def work(item, toolbox):
    if item == 5 and first(toolbox):
        os.kill(os.getpid(), signal.SIGKILL)
    return -item
"""


def test_a_death_and_a_generator_that_raises(lab: Lab) -> None:
    def items() -> Iterator[int]:
        yield from range(TICKETS)
        raise LookupError('no more rows')

    emp = begin(lab, DIES_ONCE, items())
    with pytest.raises(LookupError, match='no more rows'):
        emp.wait(ALARM)
    assert emp.results['mp_input_q'].values() == [[-n] for n in range(TICKETS)]


def test_deaths_before_a_slow_reader(lab: Lab) -> None:
    """What waits to be read stays; nothing more is made meanwhile."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for n in range(TICKETS):
            made.append(n)
            yield n

    emp = begin(lab, 'def work(item, toolbox): return -item\n', items(), BUFFER_CHUNKS=4, RESULTS_STORE=False)
    outcomes = emp.results.outcomes(ordered=True)
    first = next(outcomes)
    wait_until(lambda: len(emp.results['mp_input_q'].done) >= 5)
    handles = emp.proc_list
    for handle in handles:
        handle.kill()
    for handle in handles:
        handle.join(ALARM)
    wait_until(lambda: all(worker.phase == 'up' and worker.restarts for worker in emp.snapshot().workers))
    assert len(made) <= 6  # one was read, four fill the window, one may be in the feeder's hands
    assert [first.value, *[outcome.value for outcome in outcomes]] == [[-n] for n in range(TICKETS)]
    emp.wait(ALARM)


INTERRUPTED: Final = """
import signal

def wake(*_):
    raise TimeoutError

def entry(toolbox):
    signal.signal(signal.SIGUSR1, wake)
    try:
        toolbox.letters.get()
    except TimeoutError:
        toolbox.here.put('interrupted')
    toolbox.here.put(toolbox.letters.get())
    return False
"""


def test_what_comes_to_a_get_that_was_interrupted_is_not_lost(lab: Lab) -> None:
    """A signal handler raises, as those do that keep time: the request is on its way all the same."""
    emp = lab.mp()
    emp.add_queue('here')
    letters = emp.add_queue('letters')
    lab.start(emp, INTERRUPTED)
    exchange = emp._exchange
    wait_until(lambda: any(exchange.table[letters.number].waiting()))
    pid = emp.proc_list[0].pid
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING)
    os.kill(pid, signal.SIGUSR1)
    assert emp.queues['here'].get(timeout=ALARM) == 'interrupted'
    letters.put('a letter')
    assert emp.queues['here'].get(timeout=ALARM) == 'a letter'
    emp.wait(ALARM)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='there is no fork')
def test_after_half_a_message_no_other_thread_sends() -> None:
    """The manager would take what it sends for the other half."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        _break_off(theirs)
        os._exit(9)  # it should have ended by itself
    theirs.close()
    with ours:
        came = b''.join(iter(lambda: ours.recv(1 << 16), b''))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    whole = b''.join(encode(Kind.PRINT, (b'x' * 100,)))
    assert came == whole[:50]


def _break_off(sock: socket.socket) -> None:
    """Send half a message and let a signal handler raise, while another thread waits for its turn."""

    class Half:
        def __getattr__(self, name: str) -> Any:
            return getattr(sock, name)

        def sendmsg(self, pieces: list[memoryview]) -> int:
            channel._sock = sock
            sock.sendall(b''.join(pieces)[:50])
            other.start()
            raise ZeroDivisionError

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            other.join(0.2)  # it would be through by now
            return len(text)

    channel = WorkerChannel(sock, lambda _: None, shared_process=False)
    channel._sock = Half()  # type: ignore[assignment]
    other = threading.Thread(target=lambda: channel.send(encode(Kind.PRINT, (b'other',))), daemon=True)
    sys.__stderr__ = Slow()  # type: ignore[misc,assignment]
    try:
        channel.send(encode(Kind.PRINT, (b'x' * 100,)))
    finally:
        os._exit(9)
