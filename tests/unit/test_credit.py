"""How much may lie in a worker's hands: one chunk until its own history says that chunks are short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.credit import History


def history(*seconds: float) -> History:
    made = History()
    for one in seconds:
        made.add(one)
    return made


def test_without_a_history_there_is_one_chunk() -> None:
    assert History().allowance(1000, 1) == 1
    assert history(0.000_01).allowance(1000, 1) == 1


def test_short_chunks_are_handed_out_ahead_some_milliseconds_of_them() -> None:
    many = history(*[0.001] * 10).allowance(1000, 1)
    assert 5 <= many <= 20


def test_there_is_an_upper_bound() -> None:
    assert history(*[0.0] * 10).allowance(10**6, 1) == 64


@pytest.mark.parametrize('seconds', [0.02, 1.0, 3600.0])
def test_long_chunks_are_not(seconds: float) -> None:
    assert history(*[seconds] * 5).allowance(1000, 1) == 1


def test_one_long_chunk_after_many_short_ones_ends_it() -> None:
    assert history(*[0.000_1] * 50, 1.0).allowance(1000, 1) == 1


def test_and_short_ones_bring_it_back() -> None:
    assert history(1.0, *[0.000_1] * 50).allowance(1000, 1) > 10


def test_what_is_queued_is_shared_out_evenly() -> None:
    short = history(*[0.000_01] * 5)
    assert short.allowance(0, 4) == 1
    assert short.allowance(3, 4) == 1
    assert short.allowance(8, 4) == 3


@given(st.lists(st.floats(0, 1e6), max_size=20), st.integers(0, 10**6), st.integers(1, 1000))
def test_any_history_allows_something_within_bounds(seconds: list[float], queued: int, workers: int) -> None:
    made = history(*seconds)
    assert 1 <= made.allowance(queued, workers) <= 64
    if seconds:
        assert min(seconds) - 1e-9 <= made.mean <= max(seconds) + 1e-9
