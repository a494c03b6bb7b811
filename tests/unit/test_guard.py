"""The job's lock: what was made ready under it is sent when it is free, once, also while waiting."""

from __future__ import annotations

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
