"""The search example against loops that try one candidate after the other."""

import itertools
from collections.abc import Callable
from hashlib import md5
from types import ModuleType, SimpleNamespace

import pytest

import eisenmp
from eisenmp.spaces import Permutations, Product

Load = Callable[[str], ModuleType]
MANAGER = "search/manager.py"
PUZZLE = "search/worker/puzzle.py"
CHECKSUM = "search/worker/checksum.py"
SOLUTION = (9567, 1085, 10652)


def solve() -> list[tuple[int, int, int]]:
    """SEND + MORE = MONEY by the sums instead of the letters; M, the carry out of four digits, can only be 1."""
    found = []
    for send, o, r in itertools.product(range(1000, 10_000), range(10), range(10)):
        s, e, n, d = map(int, str(send))
        more = int(f"1{o}{r}{e}")
        total = str(send + more)
        fits = len(total) == 5 and total[:4] == f"1{o}{n}{e}"
        if fits and len({s, e, n, d, 1, o, r, int(total[4])}) == 8:
            found.append((send, more, send + more))
    return found


def smallest(prefix: str, digits: int) -> str | None:
    """By counting up."""
    numbers = (f"{number:0{digits}}" for number in range(10**digits))
    return next((number for number in numbers if md5(number.encode()).hexdigest()[: len(prefix)] == prefix), None)


def test_the_puzzle_has_one_solution() -> None:
    assert solve() == [SOLUTION]


@pytest.mark.parametrize(("workers", "rows"), [(1, 10_000), (2, 5_000)])
def test_solves_the_puzzle(load: Load, workers: int, rows: int) -> None:
    report = load(MANAGER).solve_puzzle(workers, rows)
    assert report.answer == SOLUTION
    assert 0 < report.first_hit <= report.seconds
    assert report.lost == 0
    assert report.size == 1_814_400
    # The rows of the ticket that has the hit are not counted, and the last chunk is a short one.
    assert report.done - 2 <= report.tried // rows <= report.done


@pytest.mark.parametrize(
    ("prefix", "digits", "rows"),
    [
        ("beef", 6, 1_000),
        ("00", 4, 7),  # several hits are under way at the same time
        ("1", 3, 1),
        ("c0ffee", 4, 1_000),  # there is none
    ],
)
def test_finds_the_smallest_number(load: Load, prefix: str, digits: int, rows: int) -> None:
    report = load(MANAGER).find_smallest(2, rows, prefix, digits)
    assert report.answer == smallest(prefix, digits)
    assert report.size == 10**digits
    assert report.lost == 0
    if report.answer is None:
        assert (report.first_hit, report.sure, report.tried) == (None, None, 10**digits)
    else:
        assert 0 < report.first_hit <= report.sure <= report.seconds
        assert int(report.answer) < report.tried <= 10**digits


def test_a_hit_is_sure_when_all_before_it_is_done(load: Load) -> None:
    lowest = load(MANAGER).Lowest()
    steps = [
        (3, "third", "third", False),
        (0, None, "third", False),
        (4, "fourth", "third", False),
        (1, "first", "first", True),
        (2, "second", "first", True),
    ]
    for ticket, hit, expected, sure in steps:
        lowest.add(ticket, hit)
        assert (lowest.hit, lowest.sure) == (expected, sure)


def test_without_a_hit_nothing_is_sure(load: Load) -> None:
    lowest = load(MANAGER).Lowest()
    for ticket in (1, 0, 2):
        lowest.add(ticket, None)
    assert (lowest.hit, lowest.sure) == (None, False)


@pytest.mark.parametrize("make", [list, tuple, lambda part: part])
def test_puzzle_worker_alone(load: Load, make: Callable[[object], object]) -> None:
    try_digits = load(PUZZLE).try_digits
    space = Permutations(range(10), 8)
    at = space.index((9, 5, 6, 7, 1, 0, 8, 2))
    assert try_digits(make(space[at - 50 : at])) == 50
    assert try_digits(make(space[:0])) == 0
    with pytest.raises(eisenmp.StopJob) as stop:
        try_digits(make(space[at - 50 : at + 50]))
    assert stop.value.value == SOLUTION


@pytest.mark.parametrize("make", [list, tuple, lambda part: part])
def test_checksum_worker_alone(load: Load, make: Callable[[object], object]) -> None:
    first_hit = load(CHECKSUM).first_hit
    toolbox = SimpleNamespace(prefix="00")
    space = Product("0123456789", repeat=4)
    at = int(smallest("00", 4) or "")
    assert first_hit(make(space[:at]), toolbox) == (at, None)
    assert first_hit(make(space[at - 5 : at + 500]), toolbox) == (6, f"{at:04}")
    assert first_hit(make(space[:0]), toolbox) == (0, None)


def test_as_a_program(run: Callable[..., str]) -> None:
    printed = run("search", "--prefix", "beef", "--digits", "6", "--workers", "2")
    assert "SEND + MORE = MONEY: 9567 + 1085 = 10652\n  first hit after " in printed
    assert f"smallest number of 6 digits with MD5 beef…: {smallest('beef', 6)}\n  first hit after " in printed
    assert "NOT SURE" not in printed
    assert "INCOMPLETE" not in printed
    assert "tickets done" in printed
    assert "a second" in printed
