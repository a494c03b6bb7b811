"""Below the dispatcher: what an engine promises, with tiny workers and the test in the dispatcher's place."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eisenmp.engines import make_engine
from eisenmp.engines.base import Engine, Event, Exit
from eisenmp.payload import dumps, loads
from eisenmp.remote import brought
from eisenmp.settings import Settings
from eisenmp.wire import FOREVER, Buffer, Frame, Kind, encode
from tests.support import ALARM, ENGINES, FORKS, write

# Reads tools until it gets None, and does what it is told.
TELLTALE = """
    import os, signal, sys, threading, time

    def entry(toolbox):
        while (order := toolbox.mp_tools_q.get()) is not None:
            if order[0] == 'say':
                toolbox.mp_output_q.put(order[1])
            elif order[0] == 'flood':
                for n in range(order[1]):
                    toolbox.mp_output_q.put((n, bytes(order[2])))
            elif order[0] == 'exit':
                os._exit(order[1])
            elif order[0] == 'signal':
                os.kill(os.getpid(), order[1])
            elif order[0] == 'block':
                toolbox.mp_output_q.put('blocking')
                toolbox.mp_input_q.get()
        return False
"""


class Bench:
    """One engine and what came from its workers."""

    def __init__(self, folder: Path, name: str) -> None:
        settings = ENGINES[name]
        self.in_process = name == 'inline'
        self.far = name == 'ray'  # nobody here is told with which signal a process there has ended
        self.engine: Engine = make_engine(Settings(**settings))
        self.path = write(folder, TELLTALE)
        self.events: list[Event] = []
        self.handles: dict[int, Any] = {}
        self._lock = threading.Lock()  # one thread at a time may note messages; any may flush

    def start(self, worker: int, **changes: Any) -> None:
        common = {
            'manager': os.getpid(),
            'sys_path': list(sys.path),
            'argv': [''],
            'modules': [(self.path, 'entry')],
            'call': 'toolbox',
            'settings': {},
            'log_levels': {},
            **changes,
        }
        own = {
            'slot': worker,
            'name': f'Process-{worker + 1}',
            'queues': [
                (0, 'mp_input_q (default)', 'mp_input_q', None, 0),
                (1, 'mp_output_q (default)', 'mp_output_q', None, 0),
                (2, 'mp_tools_q (default)', 'mp_tools_q', None, 0),
            ],
            'tools': 0,
        }
        if not self.handles:
            self.engine.equip('', encode(Kind.SETUP, (pickle.dumps(common),)))
        message = encode(Kind.SETUP, (pickle.dumps(own),))
        self.handles[worker] = self.engine.start(worker, f'Process-{worker + 1}', message)
        self.engine.flush()

    def send(self, worker: int, message: list[Buffer]) -> None:
        with self._lock:
            self.engine.send(worker, message)
        self.engine.flush()

    def tell(self, worker: int, order: Any) -> None:
        self.send(worker, encode(Kind.TOOL, dumps(order)))

    def until(self, condition: Callable[[], Any]) -> None:
        """Take in events until the condition holds."""
        deadline = time.monotonic() + ALARM
        while not condition():
            assert time.monotonic() < deadline, f'still not after {ALARM} s; the last events: {self.events[-5:]}'
            self.events += self.engine.take(self.engine.wait(0.1))

    def frames(self, worker: int, kind: int) -> list[Frame]:
        return [e.what for e in self.events if e.worker == worker and isinstance(e.what, Frame) and e.what.kind == kind]

    def said(self, worker: int) -> list[Any]:
        return [loads(brought(frame.payload)) for frame in self.frames(worker, Kind.PUT)]

    def exits(self, worker: int) -> list[Exit]:
        return [e.what for e in self.events if e.worker == worker and isinstance(e.what, Exit)]

    def close(self) -> None:
        for worker in self.handles:
            if not self.exits(worker):
                self.engine.kill(worker)
        self.until(lambda: all(self.exits(worker) for worker in self.handles))
        self.engine.close()


_PARAMS = [pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES]


@pytest.fixture(params=_PARAMS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture(params=_PARAMS[1:])
def process_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Only engines whose workers are processes: a thread has no exit code and gets no signal."""
    made = Bench(tmp_path, request.param)
    yield made
    made.close()


def test_a_worker_comes_up_does_as_told_and_leaves(bench: Bench) -> None:
    bench.start(0)
    bench.tell(0, ('say', 'hello'))
    bench.tell(0, None)
    bench.until(lambda: bench.exits(0))
    assert bench.said(0) == ['hello']
    kinds = [e.what.kind for e in bench.events if isinstance(e.what, Frame)]
    assert kinds == [Kind.UP, Kind.PUT, Kind.RETURNED]
    assert bench.exits(0) == [Exit(0, 'exit code 0')]
    assert bench.events[-1].what == Exit(0, 'exit code 0')
    handle = bench.handles[0]
    handle.join(ALARM)
    assert not handle.is_alive()
    assert handle.exitcode == 0


def test_messages_keep_their_order_both_ways(bench: Bench) -> None:
    bench.start(0)
    for n in range(2000):
        bench.tell(0, ('say', n))
    bench.until(lambda: len(bench.said(0)) == 2000 if len(bench.events) > 2000 else False)
    assert bench.said(0) == list(range(2000))


def test_what_is_noted_goes_out_with_the_next_flush(bench: Bench) -> None:
    bench.start(0)
    for n in range(5):
        bench.engine.send(0, encode(Kind.TOOL, dumps(('say', n))))
    bench.engine.flush()
    bench.engine.flush()
    bench.until(lambda: bench.said(0) == [0, 1, 2, 3, 4])


def test_several_threads_send_at_once(bench: Bench) -> None:
    bench.start(0)

    def send(name: str) -> None:
        for n in range(300):
            bench.tell(0, ('say', (name, n, bytes(n * 100))))

    threads = [threading.Thread(target=send, args=(name,)) for name in 'abc']
    for thread in threads:
        thread.start()
    bench.until(lambda: len(bench.frames(0, Kind.PUT)) == 900)
    for thread in threads:
        thread.join()
    said = bench.said(0)
    for name in 'abc':
        assert [(n, len(load)) for sender, n, load in said if sender == name] == [(n, n * 100) for n in range(300)]


def test_send_never_blocks(bench: Bench) -> None:
    """The worker reads nothing; megabytes more than any socket buffer holds are taken at once."""
    bench.start(0)
    bench.tell(0, ('block',))
    bench.until(lambda: bench.frames(0, Kind.GET))
    if not bench.in_process:
        bench.until(
            lambda: bench.handles[0].known_pid is not None
        )  # a template may tell it after the worker has spoken
        os.kill(bench.handles[0].pid, signal.SIGSTOP)
    began = time.monotonic()
    load = bytes(1 << 20)
    for n in range(40):
        bench.tell(0, ('say', (n, load)))
    took = time.monotonic() - began
    assert took < 5
    bench.events += bench.engine.take(bench.engine.wait(0))
    if not bench.in_process:
        os.kill(bench.handles[0].pid, signal.SIGCONT)
    (request,) = bench.frames(0, Kind.GET)
    bench.send(0, encode(Kind.MESSAGE, dumps('go'), queue=0, serial=request.serial))
    bench.until(lambda: len(bench.frames(0, Kind.PUT)) == 41)
    assert [n for n, _ in bench.said(0)[1:]] == list(range(40))


def test_everything_a_worker_sent_comes_before_its_exit(process_bench: Bench) -> None:
    for worker in range(2):
        process_bench.start(worker)
        process_bench.tell(worker, ('flood', 500, 10_000))
        process_bench.tell(worker, ('exit', 3 + worker))
    process_bench.until(lambda: process_bench.exits(0) and process_bench.exits(1))
    for worker in range(2):
        assert [n for n, _ in process_bench.said(worker)] == list(range(500))
        assert process_bench.exits(worker) == [Exit(3 + worker, f'exit code {3 + worker}')]
        mine = [event for event in process_bench.events if event.worker == worker]
        assert isinstance(mine[-1].what, Exit)
    process_bench.events += process_bench.engine.take(process_bench.engine.wait(0.05))
    assert len(process_bench.exits(0) + process_bench.exits(1)) == 2, 'an exit was told twice'


@pytest.mark.parametrize('number', [9, 11, 15])
def test_a_signal_is_named(process_bench: Bench, number: int) -> None:
    process_bench.start(0)
    process_bench.tell(0, ('signal', number))
    process_bench.until(lambda: process_bench.exits(0))
    name = {9: 'SIGKILL', 11: 'SIGSEGV', 15: 'SIGTERM'}[number]
    if process_bench.far:
        (end,) = process_bench.exits(0)
        assert (end.code, process_bench.handles[0].exitcode) == (None, 255)
        assert 'ended unexpectedly' in end.text or number == 15
        return
    assert process_bench.exits(0) == [Exit(-number, f'signal {name}')]
    assert process_bench.handles[0].exitcode == -number


def test_kill_is_told_once_and_harms_nobody_else(bench: Bench) -> None:
    for worker in range(2):
        bench.start(worker)
    bench.tell(0, ('block',))
    bench.tell(1, ('say', 'here'))
    bench.until(lambda: bench.said(0) and bench.said(1))
    bench.engine.kill(0)
    bench.engine.kill(0)
    bench.until(lambda: bench.exits(0))
    bench.engine.kill(0)
    bench.engine.kill(77)
    bench.tell(0, ('say', 'to nobody'))
    bench.tell(1, ('say', 'still here'))
    bench.until(lambda: len(bench.said(1)) == 2)
    assert bench.said(1) == ['here', 'still here']
    (end,) = bench.exits(0)
    assert end.code == -9
    assert bench.exits(1) == []
    assert bench.handles[0].exitcode == -9


def test_a_busy_worker_can_be_killed_before_it_is_up(bench: Bench) -> None:
    bench.start(0)
    bench.engine.kill(0)
    bench.until(lambda: bench.exits(0))
    assert [end.code for end in bench.exits(0)] == [-9]


def test_wait_returns_when_woken_and_when_the_time_is_over(bench: Bench) -> None:
    assert bench.engine.wait(0) == []
    began = time.monotonic()
    assert bench.engine.wait(0.05) == []
    assert time.monotonic() - began >= 0.045
    waker = threading.Timer(0.02, bench.engine.wake)
    waker.start()
    assert bench.engine.wait(ALARM) == []
    waker.join()
    for _ in range(100_000 if not bench.in_process else 1000):
        bench.engine.wake()  # nobody waits: it must not block or pile up
    while bench.engine.wait(0):
        pass


def test_what_one_thread_polls_is_not_lost_to_the_one_that_waits(bench: Bench) -> None:
    """Feeders poll while the loop waits: a wake-up is the loop's, and what came is taken in once, whoever takes it."""
    bench.engine.wake()
    assert bench.engine.poll() == []
    began = time.monotonic()
    assert bench.engine.wait(ALARM) == []
    assert time.monotonic() - began < ALARM / 2
    bench.start(0)
    bench.tell(0, ('say', 'hello'))
    while not (ready := bench.engine.wait(0.1)):
        pass
    deadline = time.monotonic() + ALARM
    while not bench.said(0):
        assert time.monotonic() < deadline
        bench.events += bench.engine.take(bench.engine.poll())
    bench.events += bench.engine.take(ready)  # told before, taken by now
    bench.tell(0, None)
    bench.until(lambda: bench.exits(0))
    bench.events += bench.engine.take(ready)
    assert bench.said(0) == ['hello']
    assert len(bench.exits(0)) == 1


def test_ctrl_c_is_the_managers_business(process_bench: Bench) -> None:
    process_bench.start(0)
    process_bench.tell(0, ('signal', 2))
    process_bench.tell(0, ('say', 'unharmed'))
    process_bench.until(lambda: process_bench.said(0) == ['unharmed'])


def test_modules_that_cannot_be_loaded_are_told(bench: Bench) -> None:
    bench.start(0, modules=[(bench.path, 'entri')])
    bench.until(lambda: bench.exits(0))
    (error,) = bench.frames(0, Kind.START_ERROR)
    words, trace = pickle.loads(error.body)
    assert words.startswith(f'worker module {bench.path}: AttributeError: ')
    assert "'entri'" in words
    assert "did you mean 'entry'" in words
    assert trace.startswith('Traceback')
    assert bench.frames(0, Kind.UP) == []


def test_closing_right_away(tmp_path: Path) -> None:
    for name in ENGINES:
        engine = make_engine(Settings(**ENGINES[name]))
        engine.wake()
        engine.close()
        engine.wake()  # a thread that comes late


def test_a_get_is_one_message_there_and_one_back(bench: Bench) -> None:
    bench.start(0)
    bench.tell(0, ('block',))
    bench.until(lambda: bench.frames(0, Kind.GET))
    (request,) = bench.frames(0, Kind.GET)
    assert (request.queue, request.number) == (0, FOREVER)
    chunk: list[Buffer] = encode(Kind.CHUNK, dumps([1, 2]), queue=0, serial=5, number=float(request.serial))
    bench.send(0, chunk)
    bench.tell(0, None)
    bench.until(lambda: bench.exits(0))
    kinds = [e.what.kind for e in bench.events if isinstance(e.what, Frame)]
    assert kinds == [Kind.UP, Kind.PUT, Kind.GET, Kind.ANSWER, Kind.RETURNED]
    (answer,) = bench.frames(0, Kind.ANSWER)
    assert (answer.queue, answer.serial) == (0, 5)
    assert answer.number >= 0
