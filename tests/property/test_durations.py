"""Quantiles from running totals, against all durations sorted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.measure import Durations

ANSWERS = st.lists(
    st.tuples(st.integers(1, 1000), st.floats(1e-9, 1e4)),  # items that were timed together, seconds of each
    min_size=1,
    max_size=60,
)
SHARES = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0])


def added(answers: list[tuple[int, float]]) -> Durations:
    durations = Durations()
    for serial, (items, each) in enumerate(answers):
        durations.add(0, serial, items, items * each)
    return durations


@given(ANSWERS, SHARES)
def test_a_quantile_is_right_to_about_a_percent(answers: list[tuple[int, float]], share: float) -> None:
    single = sorted(each for items, each in answers for _ in range(items))
    exact = single[max(1, math.ceil(share * len(single))) - 1]
    assert added(answers).quantile(share) == pytest.approx(exact, rel=0.012)


@given(ANSWERS, st.data())
def test_the_order_in_which_they_come_does_not_matter(answers: list[tuple[int, float]], data: st.DataObject) -> None:
    one, other = added(answers), added(data.draw(st.permutations(answers)))
    for share in (0.1, 0.5, 0.99):
        assert one.quantile(share) == pytest.approx(other.quantile(share), rel=1e-9)
    assert one.mean() == pytest.approx(other.mean(), rel=1e-9)
    assert sorted(t.seconds for t in one.slowest) == pytest.approx(sorted(t.seconds for t in other.slowest), rel=1e-9)


@given(ANSWERS)
def test_quantiles_grow_and_stay_between_the_shortest_and_the_longest(answers: list[tuple[int, float]]) -> None:
    durations = added(answers)
    values = [durations.quantile(share) or 0.0 for share in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)]
    assert values == sorted(values)
    each = [seconds for _, seconds in answers]
    assert min(each) * 0.999999 <= values[0] <= values[-1] <= max(each) * 1.000001


@given(st.lists(st.floats(1e-9, 1e4), min_size=1, max_size=30), st.integers(1, 5))
def test_items_that_take_as_long_weigh_the_same_together_and_alone(seconds: list[float], items: int) -> None:
    together, alone = Durations(), Durations()
    for each in seconds:
        together.add(0, 0, items, each * items)
        for _ in range(items):
            alone.add(0, 0, 1, each * items / items)
    assert together.items == alone.items
    for share in (0.0, 0.5, 0.99):
        assert together.quantile(share) == pytest.approx(alone.quantile(share), rel=0.023)
