"""A latch falls once; a Ctrl-C in who waits for it leaves it as it was."""

import signal
import threading
import time

import pytest

from eisenmp.guard import Latch
from tests.support import ALARM


def test_it_falls_once_for_all() -> None:
    latch = Latch()
    assert not latch.is_set()
    assert not latch.wait(0)
    assert not latch.wait(-5)
    assert not latch.wait(0.01)
    came: list[bool] = []
    threads = [threading.Thread(target=lambda: came.append(latch.wait(ALARM))) for _ in range(5)]
    for thread in threads:
        thread.start()
    latch.set()
    latch.set()
    for thread in threads:
        thread.join(ALARM)
    assert came == [True] * 5
    assert latch.is_set()
    assert latch.wait()
    assert latch.wait(0)


def test_who_has_waited_long_enough_leaves_nothing_behind() -> None:
    latch = Latch()
    for _ in range(100):
        latch.wait(0)
    assert not latch._waiting


def test_nobody_sleeps_through_it() -> None:
    """Set at any moment of a wait's beginning."""
    for _ in range(2000):
        latch = Latch()
        thread = threading.Thread(target=latch.set)
        thread.start()
        assert latch.wait(ALARM)
        thread.join()


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timers on this system')
def test_signals_at_any_moment_do_no_harm() -> None:
    """A handler that raises every few microseconds: the latch can still be asked, waited for and set."""

    class Struck(Exception):
        pass

    def strike(*_: object) -> None:
        raise Struck

    latch = Latch()
    before = signal.signal(signal.SIGALRM, strike)
    hits = 0
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + (hits % 50) * 0.000002)
                while True:
                    latch.wait(0)
            except Struck:
                hits += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > 100
    threading.Timer(0.01, latch.set).start()
    assert latch.wait(ALARM)
    assert latch.is_set()
