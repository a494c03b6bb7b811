"""Ctrl-C while a thread takes in results itself. In programs of their own, for pytest has handlers."""

from __future__ import annotations

import textwrap
import threading
from pathlib import Path

import pytest

from eisenmp.shortcut import Calm
from tests.support import run_script

HEAD = """
    import os, signal, time
    from eisenmp.shortcut import Calm, Struck

    def strike():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass  # handlers run between two instructions
"""


def told(folder: Path, text: str) -> list[str]:
    return run_script(folder, textwrap.dedent(HEAD) + textwrap.dedent(text)).stdout.split()


def test_it_is_raised_at_the_end(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        calm = Calm()
        assert calm.begin()
        strike()
        print('calm')
        try:
            calm.end()
        except KeyboardInterrupt:
            print('raised')
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """,
    ) == ['calm', 'raised', 'True']


def test_a_wait_is_struck_at_once_and_only_once(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        calm = Calm()
        assert calm.begin()
        calm.waits = True
        try:
            strike()
        except Struck:
            print('struck')
        strike()
        try:
            calm.end()
        except KeyboardInterrupt:
            print('raised')
        """,
    ) == ['struck', 'raised']


def test_without_one_all_is_as_before(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        for _ in range(3):
            calm = Calm()
            assert calm.begin()
            calm.end()
        try:
            strike()
        except KeyboardInterrupt:
            print('raised')
        """,
    ) == ['raised']


@pytest.mark.parametrize('number', ['SIGINT', 'SIGALRM', 'SIGRTMIN'])
def test_a_handler_of_the_program_is_not_kept_off(tmp_path: Path, number: str) -> None:
    assert told(
        tmp_path,
        f"""
        mine = lambda *_: None
        signal.signal(signal.{number}, mine)
        print(Calm().begin(), signal.getsignal(signal.{number}) is mine)
        """,
    ) == ['False', 'True']


def test_what_is_ignored_stays_so(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(Calm().begin(), signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
        """,
    ) == ['False', 'True']


def test_a_fork_of_another_thread_hears_of_ctrl_c(tmp_path: Path) -> None:
    assert told(
        tmp_path,
        """
        import threading

        def fork():
            pid = os.fork()
            if not pid:
                os._exit(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        calm = Calm()
        assert calm.begin()
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        calm.end()
        """,
    ) == ['1', 'False']


def test_other_threads_have_nothing_to_keep_off() -> None:
    found: list[bool] = []

    def look() -> None:
        calm = Calm()
        found.append(calm.begin())
        calm.end()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [True]
