"""Search spaces: what they hold beside itertools, what they cost, what they refuse."""

from __future__ import annotations

import itertools
import math
import pickle
import subprocess
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import eisenmp
from eisenmp.errors import SettingsError
from eisenmp.spaces import (
    Chain,
    Combinations,
    CombinationsWithReplacement,
    Permutations,
    Product,
    Range,
    Space,
    Zip,
)
from eisenmp.spaces.base import WIDE

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = Product(range(10), repeat=40)


def odd(value: Any) -> Any:
    """A value that the type checker would refuse."""
    return value


def same(space: Space[Any], expected: Any) -> None:
    """All ways to read `space` agree with the list that itertools makes."""
    items = list(expected)
    assert space.size == len(space) == len(items)
    assert list(space) == items
    assert list(reversed(space)) == items[::-1]
    assert [space[at] for at in range(-len(items), len(items))] == items * 2
    assert bool(space) == bool(items)
    assert pickle.loads(pickle.dumps(space)) == space
    assert [space.index(item) for item in items] == [items.index(item) for item in items]


# ---- each kind beside itertools


@pytest.mark.parametrize(
    ("pools", "repeat"),
    [
        ((), 1),
        ((), 0),
        (("",), 0),
        (("abc",), 1),
        (("abc", range(4), [1, 2]), 1),
        (("ab", {"x": 1, "y": 2}), 2),
        ((b"ab", "c", (None,)), 1),
        (("ab", ""), 1),
        (("01",), 7),
    ],
)
def test_product(pools: tuple[Any, ...], repeat: int) -> None:
    same(Product(*pools, repeat=repeat), itertools.product(*pools, repeat=repeat))


@pytest.mark.parametrize("pool", ["", "a", "abcd", "aabb", range(6), [1, 2, 3]])
@pytest.mark.parametrize("r", [0, 1, 2, 3, 4, 7])
def test_choices_of_one_pool(pool: Any, r: int) -> None:
    same(Permutations(pool, r), itertools.permutations(pool, r))
    same(Combinations(pool, r), itertools.combinations(pool, r))
    same(CombinationsWithReplacement(pool, r), itertools.combinations_with_replacement(pool, r))


def test_permutations_of_a_whole_pool() -> None:
    same(Permutations("abcde"), itertools.permutations("abcde"))
    same(Permutations([]), [()])


@pytest.mark.parametrize("bounds", [(0,), (7,), (-3,), (2, 9), (9, 2), (9, 2, -2), (0, 100, 7)])
def test_range(bounds: tuple[int, ...]) -> None:
    same(Range(*bounds), range(*bounds))
    assert Range(*bounds)[1:-1] == Range(*range(*bounds)[1:-1].__reduce__()[1])


def test_range_finds_what_equals_a_number() -> None:
    space = Range(0, 10**40, 3)
    assert space.index(3.0) == space.index(3) == 1
    assert space.index(3 * 10**30) == 10**30
    for strange in (1, 3.5, -3, "3", None, float("inf"), float("nan"), 10**41):
        assert strange not in space


def test_chain() -> None:
    parts: tuple[Any, ...] = (range(5), "abc", [], [None, 2.5], Product("xy", repeat=2))
    same(Chain(*parts), itertools.chain(range(5), "abc", [None, 2.5], itertools.product("xy", repeat=2)))
    same(Chain(), [])
    same(Chain([], ""), [])


def test_zip() -> None:
    same(
        Zip(range(9), "abcde", Permutations(range(3))),
        zip(range(9), "abcde", itertools.permutations(range(3)), strict=False),
    )
    same(Zip("aab", "xyx"), zip("aab", "xyx", strict=True))
    same(Zip("aba", "xxx"), zip("aba", "xxx", strict=True))
    same(Zip(), [])
    same(Zip("abc", [3, 2, 1], strict=True), zip("abc", [3, 2, 1], strict=True))


def test_spaces_in_spaces() -> None:
    orders = list(itertools.permutations(range(3)))
    same(Product(Permutations(range(3)), Range(2)), itertools.product(orders, range(2)))
    same(Permutations(Range(5)[1:4]), itertools.permutations(range(1, 4)))
    same(Combinations(Chain("ab", "cd"), 2), itertools.combinations("abcd", 2))


def test_what_can_be_iterated_once_is_read_once() -> None:
    same(Product(iter("ab"), (n for n in range(3))), itertools.product("ab", range(3)))
    same(Chain(iter("ab"), deque([1, 2])), ["a", "b", 1, 2])


def test_lists_are_copied() -> None:
    pool = [1, 2, 3]
    spaces = [Product(pool), Permutations(pool, 1), Chain(pool), Zip(pool)]
    pool.append(4)
    assert [space.size for space in spaces] == [3] * 4


# ---- sizes that nobody will see the end of


def test_sizes_are_exact() -> None:
    assert DIGITS.size == 10**40
    assert Permutations(range(52)).size == math.factorial(52)
    assert Combinations(range(200), 60).size == math.factorial(200) // math.factorial(60) // math.factorial(140)
    assert Chain(DIGITS, DIGITS, "a").size == 2 * 10**40 + 1
    assert Zip(DIGITS, Range(10**39)).size == 10**39
    assert DIGITS[::-3].size == (10**40 + 2) // 3


def test_len_points_to_size() -> None:
    assert DIGITS
    with pytest.raises(OverflowError, match=r"Product\(range\(0, 10\), repeat=40\) has about 10\*\*40 items.* size"):
        len(DIGITS)
    with pytest.raises(OverflowError, match="items"):
        len(Range(10**5000))


def test_an_item_far_out() -> None:
    at = 1234567890123456789012345678901234567890
    assert DIGITS[at] == tuple(map(int, str(at)))
    assert DIGITS.index(DIGITS[at]) == at
    assert DIGITS[at - 10**40] == DIGITS[at]
    assert DIGITS[-1] == (9,) * 40
    deck = Permutations(range(52))
    assert deck[-1] == tuple(range(51, -1, -1))
    assert deck.index(deck[10**60]) == 10**60


def test_a_slice_far_out() -> None:
    part = DIGITS[10**39 + 95 : 10**39 + 105]
    assert ["".join(map(str, item))[-4:] for item in part] == [f"{n:04}" for n in range(95, 105)]
    assert part[4:6][1] == DIGITS[10**39 + 100]
    assert next(iter(DIGITS[10**39 :])) == (1, *[0] * 39)
    assert next(iter(DIGITS[:: -(10**20)])) == (9,) * 40
    assert next(iter(Permutations(range(52))[10**60 :])) == Permutations(range(52))[10**60]
    assert (
        next(itertools.islice(Combinations(range(200), 60)[10**50 :], 5000, None))
        == (Combinations(range(200), 60)[10**50 + 5000])
    )


def test_long_pools_are_not_made() -> None:
    huge = Range(10**30)
    assert list(Product("ab", huge)[10**30 - 1 : 10**30 + 1]) == [("a", 10**30 - 1), ("b", 0)]
    assert list(Product(huge, "ab", huge)[10**30 - 1 : 10**30 + 1]) == [(0, "a", 10**30 - 1), (0, "b", 0)]
    assert list(itertools.islice(Product("ab", huge), 2)) == [("a", 0), ("a", 1)]
    assert list(itertools.islice(Product("ab", huge, "ab")[10**30 :], 2)) == [("a", 5 * 10**29, x) for x in "ab"]
    assert Combinations(Range(10**12), 2)[10**12 - 1] == (1, 2)
    pairs = Product(range(2 * WIDE), "ab")
    assert list(pairs[1:-1]) == list(itertools.product(range(2 * WIDE), "ab"))[1:-1]


def test_choosing_one_of_many() -> None:
    numbers = range(3 * WIDE)
    for kind in (Permutations, Combinations, CombinationsWithReplacement):
        assert list(kind(numbers, 1)[5:-5]) == [(n,) for n in numbers[5:-5]]


def test_two_of_many() -> None:
    numbers = range(WIDE + 5)
    for kind, plain in (
        (Permutations, itertools.permutations),
        (Combinations, itertools.combinations),
        (CombinationsWithReplacement, itertools.combinations_with_replacement),
    ):
        assert list(kind(numbers, 2)[:200_000]) == list(itertools.islice(plain(numbers, 2), 200_000))


# ---- slices


def test_a_slice_of_a_slice_is_a_slice_of_the_space() -> None:
    space = Permutations(range(6))
    assert space[100:700:3][5:50][::-2] == space[100:700:3][49:4:-2]
    assert space[10:20][2:4] == space[12:14]
    assert space[:] is space
    assert space[::-1][::-1] is space
    assert repr(space[10:500][1:3]) == "Permutations(range(0, 6), 6)[11:13]"
    assert repr(space[::-7]) == "Permutations(range(0, 6), 6)[719::-7]"
    assert repr(space[9:5:-2]) == "Permutations(range(0, 6), 6)[9:5:-2]"


def test_large_steps_pass_over_nothing() -> None:
    space = Product("0123456789", repeat=6)
    assert ["".join(item) for item in space[7 :: 10**5]] == [f"{n:06}" for n in range(7, 10**6, 10**5)]
    assert ["".join(item) for item in space[-1 : -(10**4) : -999]] == [
        f"{n:06}" for n in range(10**6 - 1, 10**6 - 10**4, -999)
    ]


@pytest.mark.parametrize(
    "part",
    [
        DIGITS[10**39 : 10**39 + 1000],
        Product(LETTERS, repeat=5)[5_000_000:5_001_000],
        Permutations(range(10), 8)[500_000:501_000],
        Permutations(range(52))[10**60 : 10**60 + 1000],
        Combinations(range(50), 5)[1_000_000:1_001_000],
        CombinationsWithReplacement(LETTERS, 6)[1_000:2_000],
        Range(10**40)[10**39 : 10**39 + 1000],
        Chain(Range(10**6), list(range(10**5)))[999_990:1_000_005],
        Zip(Range(10**6), list(range(10**5)))[5_000:5_015],
        Product(list(range(10**5)), LETTERS)[260:280],
    ],
    ids=str,
)
def test_a_slice_pickles_to_some_hundred_bytes(part: Space[Any]) -> None:
    data = pickle.dumps(part)
    assert len(data) < 400
    arrived = pickle.loads(data)
    assert arrived == part
    assert hash(arrived) == hash(part)
    assert list(arrived) == list(part)


def test_an_empty_slice() -> None:
    for space in (DIGITS, Permutations("abc"), Combinations("abc", 2), Chain("ab"), Zip("ab"), Range(5)):
        empty = space[2:2]
        assert (empty.size, list(empty), list(empty[::-1]), bool(empty)) == (0, [], [], False)
        assert pickle.loads(pickle.dumps(empty)) == empty
        with pytest.raises(IndexError, match="has 0 items"):
            empty[0]


def test_index_in_a_slice() -> None:
    space = Permutations("abcd", 2)
    items = list(itertools.permutations("abcd", 2))
    assert space[3:9].index(items[5]) == 2
    assert space[::-2].index(items[5]) == items[::-2].index(items[5])
    assert items[2] not in space[3:9]
    assert items[6] not in space[::-2]
    # An item that comes again is found where it comes first in the slice.
    twice = Permutations("aab", 2)
    assert twice[3:].index(("a", "b")) == list(itertools.permutations("aab", 2))[3:].index(("a", "b"))


def test_index_from_to() -> None:
    space = Permutations("aab", 2)
    items = list(itertools.permutations("aab", 2))
    assert space.index(("a", "b"), 2) == items.index(("a", "b"), 2)
    assert space.index(("a", "b"), -3, -1) == items.index(("a", "b"), -3, -1)
    with pytest.raises(ValueError, match=r"\('a', 'b'\) is not in Permutations\('aab', 2\)"):
        space.index(("a", "b"), 4)


@pytest.mark.parametrize("strange", [None, "ab", ("a",), ("a", "b", "c"), ("a", "z"), ("a", "a"), ("ab", ""), (1, 2)])
def test_what_is_not_there(strange: object) -> None:
    for space in (
        Permutations("abc", 2),
        Combinations("abc", 2),
        Zip("abc", "cde"),
        Product("abc", "cde"),
        Chain("abc"),
    ):
        assert strange not in space


# ---- equality


def test_equal_when_built_alike() -> None:
    assert Product("ab", "ab") == Product("ab", repeat=2)
    assert Permutations([1, 2, 3]) == Permutations((1, 2, 3), 3)
    assert Range(10)[2:8:2] == Range(2, 8, 2)
    assert Product("abcd", "xy")[2:6] == Product("bc", "xy")
    assert len({Range(5), Range(0, 5), Chain("ab"), Chain("ab"), Zip("ab"), Zip("ab")[0:1]}) == 4
    assert Permutations("ab", 2) != Combinations("ab", 2)
    assert Combinations("ab", 2) != CombinationsWithReplacement("ab", 2)
    assert Product("ab")[:1] != Product("ab")[1:]
    assert Chain("ab") != Zip("ab")
    assert Range(3) != range(3)


def test_repr() -> None:
    assert repr(Product("ab", (1, 2), repeat=3)) == "Product('ab', (1, 2), repeat=3)"
    assert repr(Chain([1], Range(2))) == "Chain((1,), Range(0, 2))"
    assert repr(Zip("ab", Permutations("abc", 2)[1:3])) == "Zip('ab', Permutations('abc', 2)[1:3])"
    assert len(repr(Product(range(10), list(range(1000)), "x" * 1000))) < 200


# ---- arrays and the like stay where they are


def test_a_part_that_can_be_sliced_is_not_copied() -> None:
    numbers = array("q", range(10**6))
    space: Space[Any] = Chain(numbers, "ab")
    numbers[500_000] = -1
    assert space[500_000] == -1
    assert list(space[999_998:]) == [999_998, 999_999, "a", "b"]
    assert sum(space[: 10**6]) == sum(numbers)
    assert sum(space[1 : 10**6 - 1]) == sum(numbers[1:-1])
    assert len(pickle.dumps(space[10:20])) < 400


# ---- what is refused


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Product(odd(5)), TypeError, "Product takes sequences, spaces and other iterables; 5 is none"),
        (lambda: Permutations(odd(None)), TypeError, "Permutations takes sequences.*; None is none"),
        (lambda: Chain("a", odd(4)), TypeError, "Chain takes.*; 4 is none"),
        (lambda: Zip(odd(4)), TypeError, "Zip takes.*; 4 is none"),
        (lambda: Product("a", repeat=-1), SettingsError, "repeat=-1.* how often, an int from 0 on; not -1"),
        (lambda: Product("a", repeat=odd("x")), TypeError, "repeat='x'.* an int from 0 on; not 'x'"),
        (
            lambda: Permutations("ab", -2),
            SettingsError,
            r"Permutations\(…, r=-2\): r tells how many .*from 0 on; not -2",
        ),
        (lambda: Combinations("ab", odd(1.5)), TypeError, r"Combinations\(…, r=1.5\): .* int from 0 on; not 1.5"),
        (lambda: CombinationsWithReplacement("ab", odd(None)), TypeError, r"int from 0 on; not None"),
        (lambda: Range(odd(1.5)), TypeError, r"Range takes ints as start, stop and step, not \(0, 1.5, 1\)"),
        (lambda: Range(0, 5, 0), SettingsError, "Range takes any step but 0"),
        (lambda: Zip("ab", "c", strict=True), SettingsError, "parts of one size; these have 2, 1 items"),
        (lambda: DIGITS[10**40], IndexError, r"index about 10\*\*40 is outside Product"),
        (lambda: Range(5)[-6], IndexError, r"index -6 is outside Range\(0, 5\), which has 5 items"),
        (lambda: Range(5)[odd("a")], TypeError, r"Range\(0, 5\) takes an int or a slice in \[ \], not 'a'"),
        (lambda: Range(5)[::0], ValueError, "step"),
        (lambda: Range(5).index(7), ValueError, r"7 is not in Range\(0, 5\)"),
    ],
)
def test_refused_with_words(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_an_error_of_the_pool_itself_comes_through() -> None:
    def pool() -> Iterator[int]:
        yield 1
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        Product(pool())


# ---- the package


def test_loaded_on_demand() -> None:
    program = (
        "import sys, eisenmp; assert 'eisenmp.spaces' not in sys.modules; "
        "space = eisenmp.spaces.Range(3); assert list(space) == [0, 1, 2]; "
        "assert 'eisenmp.manager' not in sys.modules; print(sorted(eisenmp.spaces.__all__)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("Chain", "")


def test_spaces_are_marked_for_the_feeder() -> None:
    assert eisenmp.spaces.Space.__eisenmp_slices__ is True
    assert DIGITS[1:5].__eisenmp_slices__ is True
