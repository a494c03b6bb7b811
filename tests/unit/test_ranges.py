"""Sets of tickets as ranges, and borders of chunks: against plain sets and lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eisenmp.jobfile.borders import Borders, Stretch, is_sampled, stretches
from eisenmp.jobfile.ranges import Ranges

PAIRS = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEPS = st.lists(st.one_of(PAIRS, st.integers(0, 70)), max_size=30)


@given(STEPS)
def test_ranges_are_a_set(steps: list[tuple[int, int] | int]) -> None:
    ranges, plain, written = Ranges(), set[int](), dict[int, int]()
    for step in steps:
        if isinstance(step, int):
            assert ranges.remove(step) == (step in plain)
            plain.discard(step)
        else:
            assert ranges.add(*step) == len(set(range(*step)) - plain)
            plain |= set(range(*step))
        for first, stop in ranges.changes.items():  # what a file has when each change is written down
            if stop is None:
                written.pop(first, None)
            else:
                written[first] = stop
        ranges.changes.clear()
        assert sorted(written.items()) == list(ranges)
    assert ranges.count == len(plain)
    assert {n for first, stop in ranges for n in range(first, stop)} == plain
    assert all(earlier[1] < later[0] for earlier, later in zip(list(ranges), list(ranges)[1:], strict=False))
    assert [n for n in range(75) if n in ranges] == sorted(plain)


@given(STEPS, PAIRS)
def test_within_tells_of_every_number(steps: list[tuple[int, int] | int], asked: tuple[int, int]) -> None:
    ranges = Ranges(step for step in steps if not isinstance(step, int))
    told = [(n, is_in) for first, stop, is_in in ranges.within(*asked) for n in range(first, stop)]
    assert told == [(n, n in ranges) for n in range(*asked)]


def test_a_billion_in_a_row_are_one_entry() -> None:
    ranges, borders = Ranges(), Borders()
    for at in range(0, 1_000_000_000, 10_000_000):
        ranges.add(at, at + 10_000_000)
        borders.add(10_000_000, 10_000_000 * 7, 7, 0, at * 7)
    assert list(ranges) == [(0, 1_000_000_000)]
    assert [(run.tickets, run.rows) for run in borders.runs] == [(1_000_000_000, 7)]


CUTS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=20)


@given(CUTS, st.sets(st.integers(0, 80)), st.sets(st.integers(0, 30)))
def test_what_is_to_be_done_again(cuts: list[tuple[int, int, int, bool]], done: set[int], marks: set[int]) -> None:
    """Each source gets all of its items in order, and every ticket has the items it had before."""
    borders, position, plain = Borders(), [0, 0], list[tuple[int, int, int]]()
    for source, tickets, rows, is_short in cuts:
        items = tickets * rows - (is_short and rows > 1)
        borders.add(tickets, items, rows, source, position[source])
        left = items
        for _ in range(tickets):
            size = items if tickets == 1 else min(rows, left)
            plain.append((source, position[source], size))
            position[source] += size
            left -= size
    assert borders.stop == len(plain)
    finished = Ranges((n, n + 1) for n in done if n < len(plain))
    for source in (0, 1):
        starts = {at for number, at, _ in plain if number == source}
        samples = sorted(marks & starts)
        again = list(stretches(borders.runs, source, finished, samples))
        told = [
            (number, part.position + (number - part.first) * part.rows, part.rows, part.finished)
            for part in again
            for number in range(part.first, part.first + part.tickets)
        ]
        assert told == [(n, at, size, n in done) for n, (of, at, size) in enumerate(plain) if of == source]
        assert [part.position for part in again if part.check] == [
            at for n, (of, at, _) in enumerate(plain) if of == source and n in done and at in samples
        ]
        assert all(part.tickets == 1 and part.finished for part in again if part.check)


def test_samples_become_rare() -> None:
    sampled = [n for n in range(1 << 16) if is_sampled(n)]
    assert sampled[:34] == [*range(32), 32, 34]
    assert len(sampled) == 32 + 16 * 11
    assert Stretch(0, 3, 5, 0, finished=True).items == 15
