"""The manager's process is ended, by a signal or by itself: no worker outlives it, whatever it is at."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.programs import METHODS, Program

# What a worker is at when its manager dies. ALONE: without the parent-death signal of Linux.
BUSY = """
    import collections, ctypes, itertools, os, threading, time

    ALONE = {alone}

    def at_it(toolbox):
        if ALONE:
            assert ctypes.CDLL(None).prctl(1, 0) == 0
        toolbox.say.put(1)

    def sleeps(rows, toolbox):
        at_it(toolbox)
        time.sleep(60)

    def computes(rows, toolbox):
        at_it(toolbox)
        while True:
            pass

    def holds_the_interpreter(rows, toolbox):
        at_it(toolbox)
        collections.deque(itertools.repeat(0), maxlen=0)

    def waits(toolbox):
        at_it(toolbox)
        toolbox.nothing.get()

    def deaf_thread(toolbox):
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        at_it(toolbox)
        threading.Thread(target=time.sleep, args=(60,)).start()
        return False

    def sends(toolbox):
        at_it(toolbox)
        while True:
            toolbox.flood.put(bytes(1 << 20))
"""
MANAGER = """
    emp = eisenmp.Mp()
    emp.queue_cust_dict_std_create(('say', 0), ('nothing', 0), ('flood', 3))
    plain = STYLE in ('sleeps', 'computes', 'holds_the_interpreter')
    started(emp, WORKER_CALL='chunk' if plain else 'toolbox')
    if plain:
        emp.feed(range(2))
    for _ in range(2):
        emp.queues['say'].get()
    here()
    time.sleep(60)
"""


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('alone', [False, True], ids=['', 'alone'])
@pytest.mark.parametrize('busy', ['sleeps', 'computes', 'holds_the_interpreter', 'waits', 'deaf_thread', 'sends'])
def test_it_is_killed(tmp_path: Path, busy: str, alone: bool, method: str) -> None:
    if alone and busy == 'holds_the_interpreter':
        pytest.skip('nothing but the parent-death signal ends a worker that lets no other thread of its own run')
    with Program(tmp_path, MANAGER, method, busy, BUSY.format(alone=alone)) as program:
        program.says()
        program.workers()
        program.process.kill()
        seconds = program.ends()
    assert seconds < 3  # a second on a machine that has time
    assert program.err == ''


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize('busy', ['sleeps', 'deaf_thread'])
def test_a_signal_takes_its_default_action(tmp_path: Path, busy: str, number: signal.Signals, method: str) -> None:
    """SIGTERM goes to the manager alone, SIGHUP, of a terminal that is closed, to all of them."""
    with Program(tmp_path, MANAGER, method, busy, BUSY.format(alone=False)) as program:
        program.says()
        program.workers()
        if number == signal.SIGTERM:
            program.process.terminate()
        else:
            os.killpg(program.process.pid, number)
        seconds = program.ends()
    assert program.process.returncode == -number
    assert seconds < 3
    assert program.err == ''


HANDLER = """
    def leave(*_):
        sys.exit(7)

    signal.signal(signal.SIGTERM, leave)

    def tell():
        results = emp.results['mp_input_q']
        print('kept', len(results.done) >= 2, sum(p.is_alive() for p in emp.proc_list))
"""
ORDERLY = {
    'in wait': """
    emp = started()
    emp.feed(endless())
    try:
        emp.wait()
    finally:
        tell()
    """,
    'in a block': """
    emp = eisenmp.Mp()
    try:
        with emp:
            started(emp)
            emp.feed(endless())
            time.sleep(60)
    finally:
        tell()
    """,
    'at the end of a block': """
    emp = eisenmp.Mp()
    try:
        with emp:
            started(emp)
            emp.feed(endless())
    finally:
        tell()
    """,
    'in outcomes': """
    emp = started()
    emp.feed(endless())
    try:
        for outcome in emp.results.outcomes():
            pass
    finally:
        tell()
    """,
    'in imap': """
    for _ in eisenmp.imap(slow, endless(), max_workers=2, chunksize=1, start_method=METHOD):
        pass
    """,
}


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('place', ORDERLY)
def test_a_handler_of_the_program_leaves(tmp_path: Path, place: str, method: str) -> None:
    with Program(tmp_path, HANDLER + ORDERLY[place], method) as program:
        program.says()
        program.workers()
        program.process.terminate()
        seconds = program.ends()
    assert program.process.returncode == 7
    assert seconds < 2
    assert program.out in ('', 'kept True 0\n')
    assert program.err == ''


@pytest.mark.parametrize('method', METHODS)
def test_its_handlers_are_not_the_workers(tmp_path: Path, method: str) -> None:
    """A forked worker is a copy of the manager; a signal to it is none to the manager."""
    script = """
        import socket

        heard, told = socket.socketpair()
        told.setblocking(False)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit('a handler of the manager, in a worker'))
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        emp = started()
        emp.feed(endless())
        sys.stdin.readline()
        victim = emp.proc_list[0]
        victim.terminate()
        victim.join(10)
        heard.setblocking(False)
        try:
            print(heard.recv(9))
        except BlockingIOError:
            print(victim.exitcode)
        emp.kill()
    """
    with Program(tmp_path, script, method) as program:
        program.says()
        program.tell()
        program.ends()
    assert program.out == f'{-signal.SIGTERM}\n', program.err


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('moment', ['at once', 'a worker reads its setup'])
def test_it_is_killed_while_workers_begin(tmp_path: Path, moment: str, method: str) -> None:
    """They have not come to what ends them with their manager; they find its end where they read, and say nothing."""
    slow = "emp.share('large', bytes(100 << 20))" if moment == 'a worker reads its setup' else ''
    script = f"""
        emp = eisenmp.Mp()
        {slow}
        started(emp, rows=[bytes(1000)] * 10000)
        here()
        time.sleep(60)
    """
    with Program(tmp_path, script, method) as program:
        program.says()
        program.process.kill()
        seconds = program.ends()
    assert seconds < 3
    assert program.err == ''
