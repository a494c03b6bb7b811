"""The job's lock: what was made ready under it is sent when it is free, once, also while waiting."""

from __future__ import annotations

import signal
import threading

import pytest

from eisenmp.guard import Guard


def guard_that_tells() -> tuple[Guard, list[bool]]:
    """The list tells, for each call of ``after``, whether the lock was held by then."""
    guard = Guard()
    calls: list[bool] = []
    guard.after = lambda: calls.append(guard._is_owned())
    return guard, calls


def test_after_is_called_once_when_the_outermost_hold_ends() -> None:
    guard, calls = guard_that_tells()
    with guard:
        with guard:
            guard.acquire()
            guard.release()
        assert calls == []
    assert calls == [False]


def test_after_is_called_when_the_block_raises() -> None:
    guard, calls = guard_that_tells()
    with pytest.raises(KeyError), guard:
        raise KeyError
    assert calls == [False]
    with guard:
        pass
    assert calls == [False, False]


def test_waiting_gives_the_lock_back_whole_and_sends() -> None:
    guard, calls = guard_that_tells()
    cond = guard.condition()
    with guard, cond:
        assert not cond.wait(0)
        assert calls == [False]
        assert guard._is_owned()
    assert calls == [False, False]


def test_a_condition_of_a_guard_wants_it_held() -> None:
    guard, _ = guard_that_tells()
    cond = guard.condition()
    with pytest.raises(RuntimeError):
        cond.notify()
    with pytest.raises(RuntimeError):
        cond.wait(0)


def test_it_keeps_others_out() -> None:
    guard, _ = guard_that_tells()
    got: list[bool] = []

    def other() -> None:
        got.append(guard.acquire(blocking=False))

    with guard:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert got == [False]
    assert guard.acquire(blocking=False)
    guard.release()


def test_after_a_ctrl_c_it_is_free() -> None:
    """It may hit anywhere, between taking the lock and being inside the block, say."""
    guard, calls = guard_that_tells()
    guard._lock.acquire()
    guard._lock.acquire()
    guard.unstick()
    guard.unstick()
    assert not guard._is_owned()
    with guard:
        pass
    assert calls == [False]


def test_who_does_not_hold_it_frees_nobody_else() -> None:
    guard, _ = guard_that_tells()
    with guard:
        thread = threading.Thread(target=guard.unstick)
        thread.start()
        thread.join()
        assert guard._is_owned()


def test_interrupts_at_any_moment() -> None:
    """Signals in a row, wherever they hit: afterwards the lock works as before."""
    guard, calls = guard_that_tells()
    cond = guard.condition()

    class HitError(BaseException):
        pass

    def hit(*_: object) -> None:
        raise HitError

    hits = 0
    before = signal.signal(signal.SIGALRM, hit)
    try:
        while hits < 200:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + hits % 10 * 0.00003)
                while True:
                    with guard, cond:
                        cond.wait(0)
            except HitError:
                hits += 1
                guard.unstick()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    calls.clear()
    test_it_keeps_others_out()
    with guard:
        pass
    assert calls == [False]
    done = threading.Event()

    def other() -> None:
        with guard:
            done.set()

    threading.Thread(target=other).start()
    assert done.wait(5)
