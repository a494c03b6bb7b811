"""How much may lie in a worker's hands: one chunk until its own history says that chunks are short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.credit import AutoRows, History, Window


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
    assert history(*[0.0] * 10).allowance(10**6, 1) == 16384


@pytest.mark.parametrize('seconds', [0.004, 0.006, 0.0099])
def test_one_of_some_milliseconds_lies_ahead_so_that_no_worker_waits_for_the_next(seconds: float) -> None:
    assert history(*[seconds] * 5).allowance(1000, 2) == 2
    assert history(*[seconds] * 5).allowance(1, 2) == 1  # the other worker gets it


@pytest.mark.parametrize('seconds', [0.0101, 0.02, 1.0, 3600.0])
def test_long_chunks_are_not(seconds: float) -> None:
    assert history(*[seconds] * 5).allowance(1000, 1) == 1


def test_one_long_chunk_after_many_short_ones_ends_it() -> None:
    assert history(*[0.000_1] * 50, 1.0).allowance(1000, 1) == 1


def test_and_short_ones_bring_it_back() -> None:
    assert history(1.0, *[0.000_1] * 50).allowance(1000, 1) > 10


def test_what_is_queued_is_shared_out_evenly() -> None:
    short = history(*[0.002] * 5)
    assert short.allowance(0, 4) == 1
    assert short.allowance(3, 4) == 1
    assert short.allowance(8, 4) == 3


@given(st.lists(st.floats(0, 1e6), max_size=20), st.integers(0, 10**6), st.integers(1, 1000))
def test_any_history_allows_something_within_bounds(seconds: list[float], queued: int, workers: int) -> None:
    made = history(*seconds)
    assert 1 <= made.allowance(queued, workers) <= 16384
    if seconds:
        assert min(seconds) - 1e-9 <= made.mean <= max(seconds) + 1e-9


# ---- batches


def test_a_millisecond_of_work_is_handed_out_whatever_is_queued() -> None:
    assert history(*[0.000_01] * 5).allowance(0, 4) == 100


def test_a_batch_is_a_millisecond_of_work() -> None:
    assert history(0.000_1).batch(10) == 1  # one answer is no history
    assert history(*[0.000_1] * 5).batch(10) == 10
    assert history(*[0.005] * 5).batch(10) == 1


def test_a_batch_has_bytes_enough_at_128_kib() -> None:
    short = history(*[0.000_001] * 5)
    assert short.batch(4 << 10) == 32
    assert short.batch(1 << 20) == 1
    assert short.batch(0) == 1000


def test_answers_that_come_together_count_by_their_number() -> None:
    made = History()
    made.add(0.5, 100)
    assert (made.answers, made.mean) == (100, 0.005)
    made.add(0.1, 100)
    assert 0.001 < made.mean < 0.005


def test_a_small_message_that_was_slow_does_not_make_the_next_ones_small() -> None:
    made = History()
    for _ in range(5):
        made.add(0.001, 1000)
    made.add(0.000_5, 80)  # what it cost to begin it
    assert made.batch(0) > 500


def test_a_message_that_lasted_does() -> None:
    made = History()
    for _ in range(5):
        made.add(0.001, 1000)
    made.add(1.0, 1000)
    assert made.batch(0) == 1


def test_of_the_shortest_a_message_has_a_millisecond_too_within_bounds() -> None:
    assert history(*[0.000_000_4] * 5).batch(0) == 2500
    assert history(*[0.0] * 5).batch(0) == 4096


def test_while_a_worker_is_at_a_message_the_next_ones_are_in_its_hands() -> None:
    made = history(*[0.000_000_3] * 5)
    assert made.allowance(10**6, 1) >= 3 * made.batch(0)


def test_a_window_that_was_asked_for_stays() -> None:
    window = Window(64, 2, fixed=True)
    assert [window.batch(1000, 0, 1) for _ in range(5)] == [8] * 5
    assert window.size == 64
    assert Window(3, 2, fixed=True).batch(1000, 0, 1) == 1


def test_the_default_window_widens_until_messages_are_full() -> None:
    window = Window(8, 2, fixed=False)
    sizes = []
    for _ in range(8):
        window.batch(20, 0, 1)
        sizes.append(window.size)
    assert sizes == [16, 32, 64, 128, 160, 160, 160, 160]
    assert window.batch(20, 0, 1) == 20


def test_it_does_not_while_results_wait_to_be_read_and_narrows_when_many_do() -> None:
    window = Window(8, 2, fixed=False)
    assert window.batch(20, 1, 1) == 1
    assert window.size == 8
    for _ in range(5):
        window.batch(20, 0, 1)
    assert window.batch(20, 80, 1) == 20
    assert (window.batch(20, 81, 1), window.size) == (1, 8)


def test_it_does_not_widen_for_large_chunks() -> None:
    window = Window(8, 2, fixed=False)
    for _ in range(8):
        window.batch(100, 0, 1 << 20)
    assert window.size == 16


# ---- chunks of automatic size


def test_automatic_sizes_aim_at_some_milliseconds() -> None:
    rows = AutoRows()
    assert rows.next(None, 10) == rows.next(History(1, 0.000_1), 10) == 1
    pace = history(*[0.000_1] * 5)
    assert [rows.next(pace, 10) for _ in range(3)] == [8, 50, 50]


def test_in_a_long_job_they_last_longer() -> None:
    def seconds(done: float) -> float:
        pace = History(int(done / 0.000_1), 0.000_1)  # items of a tenth of a millisecond
        return AutoRows(1000).next(pace, 10) * 0.000_1

    assert [round(seconds(done), 4) for done in (0.01, 0.2, 0.4, 0.8, 3600.0)] == [0.005, 0.005, 0.01, 0.02, 0.025]


def test_they_grow_step_by_step_and_fall_at_once() -> None:
    rows = AutoRows()
    pace = history(*[0.000_000_1] * 5)
    assert [rows.next(pace, 10) for _ in range(6)] == [8, 64, 512, 4096, 32768, 50_000]
    assert rows.next(history(*[0.001] * 5), 10) == 5
    assert rows.next(history(*[30.0] * 5), 10) == 1


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20), st.integers(0, 10**9), st.integers(1, 10**6))
def test_any_pace_gives_a_size_within_bounds(seconds: list[float], size: int, before: int) -> None:
    rows = AutoRows(before)
    wanted = rows.next(history(*seconds), size)
    assert 1 <= wanted <= max(1, min(1 << 20, 8 * before))
    assert wanted == 1 or wanted * size <= 1 << 20


def test_large_chunks_lie_ahead_two_at_a_time() -> None:
    short = history(*[0.000_5] * 5)
    assert short.allowance(100, 2, 4 << 20, 8 << 20) == 2
    assert short.allowance(100, 2, 64 << 20, 8 << 20) == 2
    assert short.allowance(100, 2, 1 << 20, 8 << 20) == 8
    assert short.allowance(100, 2, 1000, 8 << 20) == 20


def test_more_bytes_lie_ahead_where_a_worker_is_far_away() -> None:
    short = history(*[0.000_5] * 5)
    assert short.allowance(100, 2, 4 << 20, 32 << 20) == 8
    assert short.allowance(100, 2, 64 << 20, 32 << 20) == 2
    assert short.allowance(4, 2, 4 << 20, 32 << 20) == 3  # the others get theirs first
