"""Search spaces beside itertools where a list can be made, and beside more-itertools where none can."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import more_itertools
from hypothesis import given, settings
from hypothesis import strategies as st

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

# ---- spaces that a list can hold, each with that list

Pair = tuple[Space[Any], list[Any]]

atoms = st.sampled_from([0, 1, True, "a", "b", None, 2.5, ("a", 0)])
sequences = st.one_of(
    st.lists(atoms, max_size=5),
    st.tuples(atoms, atoms),
    st.text("abc", max_size=5),
    st.binary(max_size=3),
    st.builds(range, st.integers(-3, 3), st.integers(-9, 9), st.sampled_from([1, 2, -1, -3])),
)


def pools(parts: st.SearchStrategy[Pair]) -> st.SearchStrategy[tuple[Any, list[Any]]]:
    """What a space can be made of: a sequence, or another space; and its items."""
    return st.one_of(sequences.map(lambda sequence: (sequence, list(sequence))), parts.filter(lambda p: len(p[1]) < 9))


@st.composite
def products(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    chosen = draw(st.lists(pools(parts), max_size=3))
    repeat = draw(st.integers(0, 2))
    return (
        Product(*[pool for pool, _ in chosen], repeat=repeat),
        list(itertools.product(*[items for _, items in chosen], repeat=repeat)),
    )


@st.composite
def choices(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    pool, items = draw(pools(parts))
    r = draw(st.integers(0, 6))
    space, plain = draw(
        st.sampled_from(
            [
                (Permutations, itertools.permutations),
                (Combinations, itertools.combinations),
                (CombinationsWithReplacement, itertools.combinations_with_replacement),
            ]
        )
    )
    return space(pool, r), list(plain(items, r))


@st.composite
def joins(draw: st.DrawFn, parts: st.SearchStrategy[Pair]) -> Pair:
    chosen = draw(st.lists(st.one_of(parts, pools(parts)), max_size=4))
    sources, lists = [source for source, _ in chosen], [items for _, items in chosen]
    if draw(st.booleans()):
        return Chain(*sources), list(itertools.chain(*lists))
    return Zip(*sources), list(zip(*lists, strict=False))


ranges: st.SearchStrategy[Pair] = st.builds(
    lambda *bounds: (Range(*bounds), list(range(*bounds))),
    st.integers(-50, 50),
    st.integers(-50, 50),
    st.integers(-5, 5).filter(bool),
)

cuts = st.builds(
    slice,
    st.none() | st.integers(-200, 200),
    st.none() | st.integers(-200, 200),
    st.none() | st.sampled_from([1, 1, -1, 2, -3, 300]),
)


def cut(pair: Pair, key: slice) -> Pair:
    return pair[0][key], pair[1][key]


spaces = st.recursive(
    ranges,
    lambda parts: st.one_of(products(parts), choices(parts), joins(parts), st.builds(cut, parts, cuts)),
    max_leaves=4,
).filter(lambda pair: len(pair[1]) < 5_000)


def alike(space: Space[Any], items: Sequence[Any]) -> None:
    assert space.size == len(space) == len(items)
    assert list(space) == list(items)


@settings(deadline=None)
@given(spaces, st.lists(cuts, max_size=3))
def test_a_space_is_the_list_it_stands_for(pair: Pair, keys: list[slice]) -> None:
    space, items = pair
    alike(space, items)
    for key in keys:
        space, items = space[key], items[key]
        alike(space, items)
        arrived = pickle.loads(pickle.dumps(space))
        assert arrived == space
        assert hash(arrived) == hash(space)
        alike(arrived, items)


@settings(deadline=None)
@given(spaces, st.data())
def test_items_and_their_places(pair: Pair, data: st.DataObject) -> None:
    space, items = pair
    if items:
        at = data.draw(st.integers(-len(items), len(items) - 1))
        assert space[at] == items[at]
        assert space.index(items[at]) == items.index(items[at])
        assert items[at] in space
    else:
        assert not space
        assert None not in space


@settings(deadline=None)
@given(spaces, st.data())
def test_two_ways_to_the_same_part(pair: Pair, data: st.DataObject) -> None:
    space, items = pair
    lo, mid_lo, mid_hi, hi = sorted(data.draw(st.tuples(*[st.integers(0, len(items))] * 4)))
    within = space[lo:hi][mid_lo - lo : mid_hi - lo]
    assert within == space[mid_lo:mid_hi]
    assert pickle.loads(pickle.dumps(space[lo:hi]))[mid_lo - lo : mid_hi - lo] == within
    alike(within, items[mid_lo:mid_hi])


# ---- spaces that no list can hold


class Giant(NamedTuple):
    """A space of more than 10**30 items, and what more-itertools says: item by place, and place by item."""

    space: Space[Any]
    item: Callable[[int], Any]
    place: Callable[[Any], int]


letters = "abcdefghijklmnopqrstuvwxyz"
repeated = [letters] * 10 + [range(10)] * 30
deck = range(52)
GIANTS = [
    Giant(
        Product(letters, repeat=22),
        lambda at: more_itertools.nth_product(at, *[letters] * 22),
        lambda item: more_itertools.product_index(item, *[letters] * 22),
    ),
    Giant(
        Product(*repeated),
        lambda at: more_itertools.nth_product(at, *repeated),
        lambda item: more_itertools.product_index(item, *repeated),
    ),
    Giant(
        Permutations(deck),
        lambda at: more_itertools.nth_permutation(deck, 52, at),
        lambda item: more_itertools.permutation_index(item, deck),
    ),
    Giant(
        Permutations(range(400), 13),
        lambda at: more_itertools.nth_permutation(range(400), 13, at),
        lambda item: Permutations(range(400), 13).index(item),  # permutation_index takes whole pools only
    ),
    Giant(
        Combinations(range(200), 60),
        lambda at: more_itertools.nth_combination(range(200), 60, at),
        lambda item: more_itertools.combination_index(item, range(200)),
    ),
    Giant(
        CombinationsWithReplacement(range(60), 60),
        lambda at: more_itertools.nth_combination_with_replacement(range(60), 60, at),
        lambda item: more_itertools.combination_with_replacement_index(item, range(60)),
    ),
    Giant(Range(10**40, -(10**40), -7), lambda at: 10**40 - 7 * at, lambda item: (10**40 - item) // 7),
    Giant(
        Zip(Range(10**31), Permutations(deck)),
        lambda at: (at, more_itertools.nth_permutation(deck, 52, at)),
        lambda item: int(item[0]),
    ),
    Giant(
        Chain("abc", Range(10**31), "abc"),
        lambda at: at - 3 if at > 2 else "abc"[at],
        lambda item: 3 + item if isinstance(item, int) else "abc".index(item),
    ),
]


@settings(deadline=None)
@given(st.sampled_from(GIANTS), st.data())
def test_giants(giant: Giant, data: st.DataObject) -> None:
    space = giant.space
    assert space.size > 10**30
    at = data.draw(st.integers(3, space.size - 300))
    expected = giant.item(at)
    assert space[at] == space[at - space.size] == expected
    assert space.index(expected) == giant.place(expected) == at

    part = pickle.loads(pickle.dumps(space[at : at + 200]))
    items = list(part)
    assert len(items) == 200
    some = data.draw(st.integers(0, 199))
    assert items[some] == part[some] == giant.item(at + some)
    assert list(part[::-3]) == items[::-3]
    assert list(itertools.islice(space[at:], some)) == items[:some]


@settings(deadline=None)
@given(st.sampled_from(GIANTS), st.data())
def test_giant_steps(giant: Giant, data: st.DataObject) -> None:
    space = giant.space
    step = data.draw(st.integers(300, space.size // 10)) * data.draw(st.sampled_from([1, -1]))
    lo, hi = sorted(data.draw(st.tuples(*[st.integers(3, space.size - 5)] * 2)))
    part = space[lo:hi:step] if step > 0 else space[hi:lo:step]
    assert part.size == max(0, -((lo - hi) // abs(step)))
    begin = lo if step > 0 else hi
    assert list(itertools.islice(part, 2)) == [giant.item(begin + n * step) for n in range(min(2, part.size))]
