"""Lanes: what each worker did when, as bars."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eisenmp.events import WorkerView
from eisenmp.live.lanes import Bar, Lanes, thinned
from eisenmp.tap import Answer, Phased


def answer(end: float, seconds: float, serial: int = 0, slot: int = 0, tickets: int = 1) -> Answer:
    return Answer(slot, 0, serial, tickets, tickets, end - seconds, end - seconds, end, seconds, 'done')


def worker(at: str = '', oldest: float = 0.0, slot: int = 0, phase: str = 'up') -> WorkerView:
    return WorkerView(slot, f'Process-{slot + 1}', 1, phase, (at,) if at else (), oldest, 0, 0, at)


class Picture:
    """The bars as a page has them: a bar that comes again replaces itself."""

    def __init__(self) -> None:
        self.lanes = Lanes(lambda queue, serial: f'q{queue}_TID_{serial}')
        self.bars: dict[tuple[int, float], list[object]] = {}

    def tick(
        self,
        now: float,
        answers: list[Answer] | None = None,
        phases: list[Phased] | None = None,
        workers: list[WorkerView] | None = None,
    ) -> list[Bar]:
        changed = self.lanes.advance(answers or [], phases or [], workers or [], 0.0, now)
        for bar in changed:
            row = bar.row()
            self.bars[row[0], row[1]] = row
        return changed

    def rows(self, slot: int = 0) -> list[list[object]]:
        return [row for (number, _), row in sorted(self.bars.items()) if number == slot]


def test_long_chunks_are_bars_of_their_own() -> None:
    picture = Picture()
    picture.tick(2.0, [answer(0.5, 0.4, 0), answer(1.5, 0.8, 1)])
    assert picture.rows() == [[0, 0.1, 0.5, 'work', 'q0_TID_0', 1], [0, 0.7, 1.5, 'work', 'q0_TID_1', 1]]


def test_a_chunk_that_takes_long_shows_while_it_runs_and_keeps_its_start() -> None:
    picture = Picture()
    picture.tick(0.05, workers=[worker('q0_TID_7', 0.05)])
    assert picture.rows() == []  # it may be over in a moment
    picture.tick(0.5, workers=[worker('q0_TID_7', 0.5)])
    picture.tick(1.0, workers=[worker('q0_TID_7', 1.0)])
    assert picture.rows() == [[0, 0.0, None, 'work', 'q0_TID_7', 1]]
    picture.tick(1.5, [answer(1.2, 1.19, 7)], workers=[worker()])
    assert picture.rows() == [[0, 0.0, 1.2, 'work', 'q0_TID_7', 1]]


def test_a_chunk_that_was_given_back_is_not_shown_as_running_for_ever() -> None:
    picture = Picture()
    picture.tick(1.0, workers=[worker('q0_TID_7', 1.0)])
    picture.tick(1.5, workers=[worker()])
    assert picture.rows() == [[0, 0.0, 1.5, 'work', 'q0_TID_7', 1]]


def test_the_next_long_chunk_gets_a_bar_of_its_own() -> None:
    picture = Picture()
    picture.tick(1.0, workers=[worker('q0_TID_7', 1.0)])
    picture.tick(1.6, [answer(1.2, 1.2, 7)], workers=[worker('q0_TID_8', 0.4)])
    assert picture.rows() == [[0, 0.0, 1.2, 'work', 'q0_TID_7', 1], [0, 1.2, None, 'work', 'q0_TID_8', 1]]


def test_the_life_of_a_process_is_seen() -> None:
    picture = Picture()
    picture.tick(0.5, phases=[Phased(0, 0.1, 'start')], workers=[worker(phase='starting')])
    assert picture.rows() == [[0, 0.1, None, 'start', '', 1]]
    picture.tick(
        3.0,
        [answer(2.0, 1.0)],
        [Phased(0, 0.6, 'up'), Phased(0, 2.0, 'down'), Phased(0, 2.5, 'start'), Phased(0, 2.9, 'up')],
        [worker()],
    )
    assert [row[1:4] for row in picture.rows()] == [
        [0.1, 0.6, 'start'],
        [1.0, 2.0, 'work'],
        [2.0, 2.5, 'down'],
        [2.5, 2.9, 'start'],
    ]
    picture.tick(4.0, phases=[Phased(0, 3.5, 'gone')])
    assert all(row[2] is not None for row in picture.rows())


def test_a_worker_that_never_rests_is_one_bar_of_some_seconds() -> None:
    picture = Picture()
    for tick in range(1, 41):
        answers = [answer(ms / 1000, 0.001) for ms in range(500 * (tick - 1) + 1, 500 * tick + 1)]
        picture.tick(tick * 0.5, answers, workers=[worker()])
    rows = picture.rows()
    assert len(rows) <= 3  # of ten seconds each
    assert sum(row[5] for row in rows) == 20_000  # type: ignore[misc]
    assert sum(row[2] - row[1] for row in rows) > 19.8  # type: ignore[operator]


def test_a_worker_that_rests_half_of_the_time_shows_half_a_lane() -> None:
    picture = Picture()
    for tick in range(1, 11):
        picture.tick(tick * 0.5, [answer((tick - 1) * 0.5 + n * 0.002, 0.001) for n in range(1, 251)])
    rows = picture.rows()
    assert len(rows) <= 51
    assert 2.2 < sum(row[2] - row[1] for row in rows) < 2.8  # type: ignore[operator]


def test_answers_that_come_all_at_once_lose_no_time() -> None:
    """The manager was busy, and took in at one time what workers had sent over 50 milliseconds."""
    picture = Picture()
    for n in range(1, 101):
        picture.tick(n * 0.05, [answer(n * 0.05, 0.001) for _ in range(49)])
    assert sum(row[2] - row[1] for row in picture.rows()) > 4.5  # type: ignore[operator]


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.3) | st.just(0.0), st.floats(1e-4, 0.5) | st.floats(1e-4, 0.003), st.integers(1, 50)
        ),
        min_size=1,
        max_size=60,
    ),
    st.floats(0.05, 1.0),
)
def test_bars_never_overlap_and_tell_of_no_more_work_than_there_was(
    chunks: list[tuple[float, float, int]], every: float
) -> None:
    picture = Picture()
    at = worked = 0.0
    batch: list[Answer] = []
    due = every
    for rest, seconds, tickets in chunks:
        at += rest + seconds
        worked += seconds
        batch.append(answer(at, seconds, tickets=tickets))
        if at >= due:
            picture.tick(at, batch, workers=[worker()])
            batch, due = [], at + every
    picture.tick(at + 0.1, batch, workers=[worker()])
    rows: list[list[float]] = [row[1:3] for row in picture.rows()]  # type: ignore[misc]
    for (start, end), (following, _) in zip(rows, [*rows[1:], [float('inf'), 0.0]], strict=True):
        assert start <= end + 1e-4
        assert end <= following + 2e-4  # they are rounded
    shown = sum(end - start for start, end in rows)
    assert shown <= worked / 0.9 + 1e-3 * len(rows)
    assert sum(row[5] for row in picture.rows()) == sum(tickets for *_, tickets in chunks)  # type: ignore[misc]


def test_thinned_bars_are_as_long_as_all_of_them_and_do_not_cross_a_gap_of_another_kind() -> None:
    bars = [Bar(0, start / 10, start / 10 + 0.05, 'work', f't{start}') for start in range(10)]
    assert [bar.row() for bar in thinned(bars, 1.0)] == [[0, 0.0, 0.5, 'work', 't0', 10]]
    died = [Bar(0, 0.0, 0.1, 'work'), Bar(0, 0.1, 0.2, 'down'), Bar(0, 0.2, 0.3, 'work'), Bar(1, 0.2, None, 'work')]
    assert len(thinned(died, 1.0)) == 4
