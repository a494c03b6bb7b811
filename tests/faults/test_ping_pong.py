"""One thing after the other, by put and get: a thread that waits takes its answer in itself, and nothing gets lost."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support import run_script, write

WORKER = """
    import os, time

    def echo(toolbox):
        while True:
            asked = toolbox.mp_input_q.get()
            if isinstance(asked, list) and asked[-1] == toolbox.STOP_MSG:
                return
            if asked == 'die':
                os.kill(os.getpid(), 9)
            if isinstance(asked, float):
                time.sleep(asked)
            toolbox.mp_output_q.put(asked)
"""

HEAD = """
    import os, queue, random, signal, sys, threading, time
    import eisenmp
    from eisenmp import dispatcher

    turns = []
    absorb = dispatcher.Dispatcher._absorb

    def noted(self, ready):
        turns.append(threading.current_thread().name)
        return absorb(self, ready)

    dispatcher.Dispatcher._absorb = noted
    emp = eisenmp.Mp()
    emp.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'echo'}], NUM_PROCS=2, **SETTINGS)
    put, get = emp.mp_input_q.put, emp.mp_output_q.get

    def trips(count):
        for number in range(count):
            put(number)
            assert get() == number

    trips(100)
"""

TAIL = """
    emp.kill()
    emp.join()
"""
METHODS = [{'START_METHOD': 'spawn'}, {'START_METHOD': 'forkserver'}, {'START_METHOD': 'fork'}, {'ENGINE': 'inline'}]


def told(folder: Path, text: str, settings: dict[str, str] = METHODS[0]) -> list[str]:
    write(folder, textwrap.dedent(WORKER), 'worker.py')
    head = textwrap.dedent(HEAD).replace('SETTINGS', repr(settings))
    return run_script(folder, head + textwrap.dedent(text) + textwrap.dedent(TAIL)).stdout.split()


@pytest.mark.parametrize('settings', METHODS, ids=lambda settings: next(iter(settings.values())))
def test_the_thread_that_waits_takes_it_in(tmp_path: Path, settings: dict[str, str]) -> None:
    (count,) = told(
        tmp_path,
        """
        turns.clear()
        trips(500)
        print(turns.count('MainThread'))
        """,
        settings,
    )
    assert int(count) > 10


def test_so_does_any_other_thread(tmp_path: Path) -> None:
    (count,) = told(
        tmp_path,
        """
        turns.clear()
        thread = threading.Thread(target=trips, args=(500,), name='mine')
        thread.start()
        thread.join()
        print(turns.count('mine'))
        """,
    )
    assert int(count) > 10


def test_not_where_the_program_handles_signals_itself(tmp_path: Path) -> None:
    (count,) = told(
        tmp_path,
        """
        signal.signal(signal.SIGALRM, lambda *_: None)
        turns.clear()
        trips(100)
        print(turns.count('MainThread'))
        """,
    )
    assert count == '0'


@pytest.mark.parametrize('handler', ['the default', 'one of its own'])
def test_a_ctrl_c_at_any_moment_loses_nothing(tmp_path: Path, handler: str) -> None:
    """It comes while the answer does, and the next `get` has that."""
    own = 'def strike(*_): raise KeyboardInterrupt\nsignal.signal(signal.SIGINT, strike)\n'
    text = """
        chance = random.Random(1)
        armed, go, done = [0.0], threading.Event(), False

        def strikes():
            while not done:
                go.wait()
                go.clear()
                end = time.perf_counter() + armed[0]
                while time.perf_counter() < end:
                    pass
                if not done:
                    os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=strikes, daemon=True).start()
        hits = 0
        end = time.monotonic() + 3
        number = 0
        while time.monotonic() < end:
            number += 1
            put(number)
            got = None
            try:
                armed[0] = chance.random() * 0.0006
                go.set()
                got = get()
                time.sleep(0.05)  # at the latest, it comes here
            except KeyboardInterrupt:
                hits += got is None
            if got is None:
                got = get(timeout=5)
            assert got == number, (got, number)
        done = True
        go.set()
        print(hits > 20)
    """
    script = textwrap.dedent(text)
    assert told(tmp_path, script if handler == 'the default' else own + script) == ['True']


def test_whoever_asks_for_a_moment_waits_no_longer(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        for patience in (0.0, 0.01, 0.2):
            begin = time.monotonic()
            try:
                get(timeout=patience)
            except queue.Empty:
                print(patience <= time.monotonic() - begin < patience + 0.1)
        try:
            get(block=False)
        except queue.Empty:
            print('empty')
        put(0.3)
        print(get() == 0.3)  # longer than it takes things in itself
        trips(50)
        """,
    ) == ['True', 'True', 'True', 'empty', 'True']


def test_threads_that_wait_at_the_same_time_all_get_theirs(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        got = []

        def ask(count):
            for number in range(count):
                put(number)
                got.append(get(timeout=10))

        threads = [threading.Thread(target=ask, args=(300,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sorted(got) == sorted([*range(300)] * 3))
        trips(50)
        """,
    ) == ['True']


def test_a_worker_that_dies_meanwhile_is_replaced(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        for _ in range(4):
            put('die')
            try:
                print(get(timeout=0.1))
            except queue.Empty:
                pass
            trips(50)
        print('done')
        """,
    ) == ['done']


@pytest.mark.parametrize('how', ['kill', 'stop'])
@pytest.mark.parametrize('pause', [0.001, 0.02, 0.2])
def test_the_job_ends_while_somebody_waits(tmp_path: Path, how: str, pause: float) -> None:
    assert told(
        tmp_path,
        f"""
        threading.Timer({pause}, emp.{how}).start()
        begin = time.monotonic()
        header, _ = get()
        print('_END_' in header, time.monotonic() - begin < 2)
        """,
    ) == ['True', 'True']
