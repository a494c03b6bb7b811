"""What every queue must do, checked in the manager, in a worker, and with ``queue.Queue`` itself.

Each check gets an empty queue with room for two and one without a bound, and leaves both empty. As a worker module it
runs all checks on the toolbox' queues ``small`` and ``large`` and puts the verdicts into ``verdicts``.
"""

import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

Check = Callable[[Any, Any], None]

_ALARM = 10.0
_SHORT = 0.03


def fifo(small: Any, large: Any) -> None:
    for n in range(100):
        large.put(n)
    assert [large.get() for _ in range(100)] == list(range(100))
    small.put('a')
    small.put_nowait('b')
    assert (small.get_nowait(), small.get()) == ('a', 'b')


def any_object(small: Any, large: Any) -> None:
    for obj in (None, False, '', [], {'a': [1, (2, b'3')]}, 10**50, b'x' * 300_000, [None] * 3):
        small.put(obj)
        assert small.get() == obj


def sizes(small: Any, large: Any) -> None:
    assert (small.qsize(), small.empty(), small.full()) == (0, True, False)
    small.put(1)
    assert (small.qsize(), small.empty(), small.full()) == (1, False, False)
    small.put(2)
    assert (small.qsize(), small.empty(), small.full()) == (2, False, True)
    small.get()
    small.get()
    assert (small.qsize(), small.empty(), small.full()) == (0, True, False)
    for _ in range(5):
        large.put(0)
    assert (large.qsize(), large.empty(), large.full()) == (5, False, False)
    for _ in range(5):
        large.get()


def full_without_waiting(small: Any, large: Any) -> None:
    small.put(1)
    small.put(2)
    for put in (
        lambda: small.put_nowait(3),
        lambda: small.put(3, False),
        lambda: small.put(3, block=False),
        lambda: small.put(3, True, 0),
        lambda: small.put(3, timeout=0),
        lambda: small.put(3, block=False, timeout=5),
        lambda: small.put(3, block=False, timeout=-1),
    ):
        _raises(queue.Full, put)
    assert small.qsize() == 2
    assert (small.get(), small.get()) == (1, 2), 'an object that found no room came in'
    assert small.empty()


def empty_without_waiting(small: Any, large: Any) -> None:
    for get in (
        small.get_nowait,
        lambda: small.get(False),
        lambda: small.get(block=False),
        lambda: small.get(True, 0),
        lambda: small.get(timeout=0),
        lambda: small.get(block=False, timeout=5),
        lambda: small.get(block=False, timeout=-1),
    ):
        _raises(queue.Empty, get)
    small.put('here')
    assert small.get(block=False) == 'here'


def time_outs(small: Any, large: Any) -> None:
    began = time.monotonic()
    _raises(queue.Empty, lambda: small.get(timeout=_SHORT))
    _raises(queue.Empty, lambda: small.get(True, _SHORT))
    small.put(1)
    small.put(2, timeout=_SHORT)
    _raises(queue.Full, lambda: small.put(3, timeout=_SHORT))
    _raises(queue.Full, lambda: small.put(3, True, _SHORT))
    took = time.monotonic() - began
    assert 4 * _SHORT <= took + 0.001, f'gave up too early, after {took:.3f} s'
    assert took < _ALARM
    assert (small.get(timeout=_SHORT), small.get(timeout=_ALARM)) == (1, 2)


def negative_time_outs(small: Any, large: Any) -> None:
    _raises(ValueError, lambda: small.get(timeout=-1))
    _raises(ValueError, lambda: small.get(True, -0.5))
    _raises(ValueError, lambda: small.put(1, timeout=-1))
    assert small.empty()


def a_get_wakes_when_something_comes(small: Any, large: Any) -> None:
    got: list[Any] = []
    readers = [threading.Thread(target=lambda: got.append(small.get(timeout=_ALARM))) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(2):
        small.put(n)
    for reader in readers:
        reader.join(_ALARM)
    assert sorted(got) == [0, 1]
    assert small.empty()


def a_put_wakes_when_there_is_room(small: Any, large: Any) -> None:
    def write() -> None:
        for n in range(20):
            small.put(n, timeout=_ALARM)

    writer = threading.Thread(target=write)
    writer.start()
    assert [small.get(timeout=_ALARM) for _ in range(20)] == list(range(20))
    writer.join(_ALARM)
    assert small.empty()


def nothing_is_lost_between_time_outs(small: Any, large: Any) -> None:
    def write() -> None:
        for n in range(200):
            large.put(n)

    got: list[int] = []
    writer = threading.Thread(target=write)
    writer.start()
    deadline = time.monotonic() + _ALARM
    while len(got) < 200 and time.monotonic() < deadline:
        try:
            got.append(large.get(timeout=0.0001))
        except queue.Empty:
            continue
    writer.join(_ALARM)
    assert got == list(range(200))


def many_threads(small: Any, large: Any) -> None:
    got: list[int] = []

    def move() -> None:
        for _ in range(25):
            got.append(small.get(timeout=_ALARM))

    def write(first: int) -> None:
        for n in range(first, first + 25):
            small.put(n, timeout=_ALARM)

    threads = [threading.Thread(target=move) for _ in range(4)]
    threads += [threading.Thread(target=write, args=(25 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_ALARM)
    assert sorted(got) == list(range(100))


def _raises(kind: type[Exception], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f'no {kind.__name__}')


CHECKS: list[Check] = [
    fifo,
    any_object,
    sizes,
    full_without_waiting,
    empty_without_waiting,
    time_outs,
    negative_time_outs,
    a_get_wakes_when_something_comes,
    a_put_wakes_when_there_is_room,
    nothing_is_lost_between_time_outs,
    many_threads,
]


def entry(toolbox: Any) -> bool:
    for check in CHECKS:
        verdict = 'fine'
        try:
            check(toolbox.small, toolbox.large)
        except BaseException:
            verdict = traceback.format_exc()
        toolbox.verdicts.put((check.__name__, verdict))
    return False
