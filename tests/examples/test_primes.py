"""The prime example against a segmented sieve."""

import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Load = Callable[[str], ModuleType]


def sieve(first: int, count: int) -> list[int]:
    """The primes in [first, first + count), by striking out multiples instead of dividing."""
    root = math.isqrt(first + count)
    small = bytearray([1]) * (root + 1)
    small[:2] = b"\0\0"[: root + 1]
    segment = bytearray([1]) * count
    for number in range(max(0, 2 - first)):
        segment[number] = 0
    for prime in range(2, root + 1):
        if small[prime]:
            small[prime * prime :: prime] = bytes(len(range(prime * prime, root + 1, prime)))
            multiple = max(prime * prime, -(-first // prime) * prime)
            segment[multiple - first :: prime] = bytes(len(range(multiple - first, count, prime)))
    return [first + index for index, is_prime in enumerate(segment) if is_prime]


def test_the_sieve_itself() -> None:
    assert sieve(0, 30) == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert sieve(90, 12) == [97, 101]


@pytest.mark.parametrize(("first", "count", "rows"), [(0, 5_000, 64), (10**12, 1_000, 30)])
def test_finds_what_a_sieve_finds(load: Load, first: int, count: int, rows: int) -> None:
    report = load("primes/manager.py").manager_entry(workers=2, rows=rows, first=first, count=count)
    assert report.primes == sieve(first, count)
    assert (report.done, report.failed, report.missing) == (math.ceil(count / rows), 0, 0)
    assert report.items == count


def test_worker_function_alone(load: Load) -> None:
    is_prime = load("primes/worker/trial_division.py").is_prime
    assert [number for number in range(-5, 20_000) if is_prime(number)] == sieve(0, 20_000)


def test_worker_answers_under_the_header_and_stops(load: Load) -> None:
    worker = load("primes/worker/trial_division.py")
    answers: list[Any] = []
    chunks = iter([["numbers_in;_TID_0;", 10, 11, 12, 13], ["numbers_in;", "<stop>"]])
    toolbox = SimpleNamespace(
        STOP_MSG="<stop>",
        OUTPUT_HEADER="OUT;",
        numbers_in=SimpleNamespace(get=lambda: next(chunks)),
        mp_output_q=SimpleNamespace(put=answers.append),
    )
    assert worker.worker_entrance(toolbox)
    assert not worker.worker_entrance(toolbox)
    assert answers == [["OUT;numbers_in;_TID_0;", [11, 13]]]


def test_as_a_program(run: Callable[..., str]) -> None:
    expected = sieve(10**12, 10_000)
    printed = run("primes")
    assert f"{len(expected)} primes among 10,000 numbers" in printed
    assert " ".join(map(str, expected[:3])) in printed
    assert " ".join(map(str, expected[-3:])) in printed
    assert "tickets complete: 100 done, 0 failed, 0 missing" in printed
