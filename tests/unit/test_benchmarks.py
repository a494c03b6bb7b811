"""The counting part of the benchmarks: turns, ratios, goals, the table, the numbers, greedy scheduling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import record
from benchmarks.contenders import Contender, Plan
from benchmarks.makespan import greedy
from benchmarks.plot import of_goal
from benchmarks.rounds import Contest, Figure, Goal, NoAnswer, Turns, difference, ratio, take_turns
from benchmarks.table import contest_table, goal_table, verdict


def contenders(names: str, log: list[str]) -> dict[str, Callable[[], float]]:
    """One for each letter; tells its name to `log` and returns how many have run before."""

    def make(name: str) -> Callable[[], float]:
        def run() -> float:
            log.append(name)
            return float(len(log) - 1)

        return run

    return {name: make(name) for name in names}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split('  ') if cell.strip()]


class Test_turns:
    def test_every_round_has_everybody_once_and_another_one_first(self) -> None:
        log: list[str] = []
        turns = take_turns(contenders('abc', log), 4, warm_up=False)
        assert [''.join(log[at : at + 3]) for at in range(0, len(log), 3)] == ['abc', 'bca', 'cab', 'abc']
        assert turns.values == {'a': [0, 5, 7, 9], 'b': [1, 3, 8, 10], 'c': [2, 4, 6, 11]}

    def test_the_warm_up_round_does_not_count(self) -> None:
        log: list[str] = []
        turns = take_turns(contenders('ab', log), 2)
        assert len(log) == 6
        assert all(len(values) == 2 and min(values) >= 2 for values in turns.values.values())

    def test_of_several_tries_the_fastest_counts(self) -> None:
        log: list[str] = []
        turns = take_turns(contenders('ab', log), 2, tries=3, seconds=lambda value: abs(value - 7))
        assert ''.join(log) == 'ba' + 'abbaab' + 'baabba', 'one round that does not count, and two of three tries'
        assert turns.values == {'a': [6, 9], 'b': [7, 8]}

    def test_whoever_fails_is_out_and_the_others_go_on(self) -> None:
        log: list[str] = []
        field = contenders('ab', log)

        def lose() -> float:
            log.append('x')
            if log.count('x') == 2:
                raise AssertionError('a result is missing')
            return 0.0001

        turns = take_turns({**field, 'fast': lose}, 3, warm_up=False)
        assert log.count('x') == 2
        assert list(turns.values) == ['a', 'b']
        assert all(len(values) == 3 for values in turns.values.values())
        assert turns.failed == {'fast': 'AssertionError: a result is missing'}

    def test_whoever_has_no_answer_is_asked_once_and_its_words_are_kept(self) -> None:
        log: list[str] = []

        def hang() -> float:
            log.append('x')
            raise NoAnswer('hangs')

        turns = take_turns({**contenders('a', []), 'Pool': hang}, 3)
        assert log == ['x']
        assert (list(turns.values), turns.said, turns.failed) == (['a'], {'Pool': 'hangs'}, {})

    def test_nobody_takes_part(self) -> None:
        assert take_turns({}, 3).values == {}


class Test_plan:
    def test_peers_are_chosen_and_ours_always_run(self) -> None:
        log: list[str] = []
        field = contenders('abcd', log)
        names = ['eisenmp.Mp', 'Pool', 'joblib', 'limit: nothing']
        entrants = [Contender(name, run) for name, run in zip(names, field.values(), strict=True)]
        turns = Plan(1, ('Pool',)).compete(entrants, warm_up=False)
        assert list(turns.values) == ['eisenmp.Mp', 'Pool', 'limit: nothing']

    def test_who_lacks_something_is_left_out_with_a_word(self) -> None:
        entrants = [
            Contender('peer', lambda: 1.0, 'no_such_package'),
            Contender('eisenmp.Mp', lambda: 1.0),
            Contender('hypothesis', lambda: 2.0, 'hypothesis'),
        ]
        turns = Plan(9).compete(entrants, most=2)
        assert turns.values == {'eisenmp.Mp': [1.0, 1.0], 'hypothesis': [2.0, 2.0]}
        assert turns.left_out == {'peer': 'no_such_package is not installed'}


class Test_ratios:
    def test_a_ratio_is_made_within_a_round(self) -> None:
        # The machine slows down tenfold: the seconds drift, the ratio does not.
        contest = Contest('c', 'title', 'ms', {'ours': [1.0, 5.0, 10.0], 'Pool': [2.0, 10.0, 20.0]})
        contest.against('ours', 'Pool', Goal(must=2.0))
        contest.part_of('ours', 'Pool', Goal(must=0.5, least=False))
        assert [figure.values for figure in contest.figures] == [(2.0, 2.0, 2.0), (0.5, 0.5, 0.5)]
        assert [figure.met for figure in contest.figures] == [True, True]

    def test_the_median_of_ratios_is_not_the_ratio_of_medians(self) -> None:
        contest = Contest('c', 'title', 'ms', {'ours': [1.0, 2.0, 4.0], 'Pool': [4.0, 2.0, 2.0]})
        contest.against('ours', 'Pool', Goal())
        assert contest.figures[0].median == 1.0
        assert contest.figures[0].values == (4.0, 1.0, 0.5)

    def test_without_one_of_both_there_is_no_figure(self) -> None:
        contest = Contest('c', 'title', 'ms', {'ours': [1.0]})
        contest.against('ours', 'Pool', Goal(must=1.0))
        contest.part_of('Pool', 'ours', Goal(must=1.0))
        contest.absolute('Pool', Goal(must=1.0))
        assert contest.figures == []

    def test_rounds_that_are_not_paired_are_refused(self) -> None:
        with pytest.raises(ValueError):
            ratio([1.0], [1.0, 2.0])
        with pytest.raises(ValueError):
            difference([1.0], [1.0, 2.0])


class Test_goals:
    @pytest.mark.parametrize(
        ('goal', 'value', 'word'),
        [
            (Goal(must=2.0, aim=4.0), 1.99, 'SHORT'),
            (Goal(must=2.0, aim=4.0), 2.0, 'must'),
            (Goal(must=2.0, aim=4.0), 4.0, 'aim'),
            (Goal(must=1.1, aim=0.8, least=False), 1.2, 'SHORT'),
            (Goal(must=1.1, aim=0.8, least=False), 1.1, 'must'),
            (Goal(must=1.1, aim=0.8, least=False), 0.8, 'aim'),
            (Goal(must=96.0, least=False), 95.0, 'must'),
            (Goal(aim=0.8), 0.7, 'below aim'),
            (Goal(aim=0.8), 0.8, 'aim'),
            (Goal(), 5.0, ''),
        ],
    )
    def test_verdicts(self, goal: Goal, value: float, word: str) -> None:
        assert verdict(Figure('f', (value,), 'x', goal)) == word

    def test_the_median_counts_unless_the_worst_does(self) -> None:
        values = (90.0, 95.0, 200.0)
        assert Figure('f', values, 'MiB', Goal(must=96.0, least=False)).met is True
        assert Figure('f', values, 'MiB', Goal(must=96.0, least=False, worst=True)).met is False
        assert Figure('f', (1.0, 3.0, 3.0), 'x', Goal(must=2.0, worst=True)).met is False

    def test_a_contest_falls_short_by_a_figure_or_by_a_failure_of_ours(self) -> None:
        turns: Turns[float] = Turns({}, failed={'Pool': 'lost something'})
        shorts = []
        for must in (1.0, 2.0):
            contest = turns.contest('c', 'title', 'ms', {'eisenmp.Mp': [1.0], 'Pool': [1.0]})
            contest.against('eisenmp.Mp', 'Pool', Goal(must=must))
            shorts.append(contest.short)
        assert shorts == [False, True]
        turns = Turns({}, failed={'eisenmp.Mp': 'TimeoutError: not done after 180 s'})
        assert turns.contest('c', 'title', 'ms', {}).short
        assert Turns({}, said={'eisenmp.Mp': 'hangs'}).contest('c', 'title', 'ms', {}).short
        assert not Turns({}, said={'Pool': 'hangs'}).contest('c', 'title', 'ms', {}).short

    @given(value=st.floats(0.001, 1000), must=st.floats(0.001, 1000), least=st.booleans())
    def test_the_plot_shows_beyond_one_what_reaches_the_goal(self, value: float, must: float, least: bool) -> None:
        figure = Figure('f', (value,), 'x', Goal(must=must, least=least))
        assert (of_goal(figure, value) >= 1.0) == figure.met

    def test_the_plot_can_show_nothing_at_all(self) -> None:
        assert of_goal(Figure('f', (0.0,), 'MiB', Goal(must=8.0, least=False)), 0.0) > 1.0


class Test_what_is_shown:
    def contest(self) -> Contest:
        turns: Turns[float] = Turns({}, left_out={'joblib': 'joblib is not installed'}, failed={'mpire': 'lost one'})
        contest = turns.contest(
            'c', 'a title', 'ms', {'eisenmp.Mp': [80.0, 100.0, 90.0], 'Pool': [160.0, 100.0, 180.0]}
        )
        contest.against('eisenmp.Mp', 'Pool', Goal(must=1.5, aim=4.0))
        return contest

    def test_a_contest(self) -> None:
        title, _, _, ours, pool, _, _, _, figure, *notes = contest_table(self.contest()).splitlines()
        assert title == 'c: a title'
        assert cells(ours) == ['eisenmp.Mp', '90.0', '80.0 … 100', '1.00']
        assert cells(pool) == ['Pool', '160', '100 … 180', '2.00']
        name = 'eisenmp.Mp, times as fast as Pool'
        assert cells(figure) == [name, '2.00 x', '1.00 … 2.00', '≥ 1.5', '≥ 4', 'must']
        assert notes == ['note: joblib left out: joblib is not installed', 'note: mpire FAILED: lost one']

    def test_words_stand_where_there_is_no_number(self) -> None:
        contest = Contest('c', 'title', 'ms', {'eisenmp.Mp': [1.0, 2.0], 'Pool': [3.0]}, said={'executor': 'hangs'})
        _, _, _, ours, pool, executor = contest_table(contest).splitlines()
        assert cells(ours) == ['eisenmp.Mp', '1.50', '1.00 … 2.00', '1.00']
        assert cells(pool) == ['Pool', '3.00']  # other kills than ours: there are no pairs
        assert cells(executor) == ['executor', 'hangs']
        assert contest_table(Contest('c', 'title', 'ms', {}, said={'Pool': 'hangs'})).endswith('Pool       hangs')

    def test_all_goals(self) -> None:
        head, line, figure = goal_table([self.contest()]).splitlines()
        assert cells(head)[0] == 'contest'
        assert set(line) == {'-', ' '}
        assert cells(figure)[0] == 'c'
        assert goal_table([]) == 'no figures'

    def test_the_raw_numbers(self, tmp_path: Path) -> None:
        path = tmp_path / 'figures.json'
        record.write(path, [self.contest()], record.environment(3))
        told = json.loads(path.read_text(encoding='utf-8'))
        assert told['measured_with']['rounds'] == 3
        contest = told['contests'][0]
        assert contest['values']['Pool'] == [160.0, 100.0, 180.0]
        figure = contest['figures'][0]
        assert figure['values'] == [2.0, 1.0, 2.0]
        assert (figure['median'], figure['reached'], figure['goal']['must']) == (2.0, 'must', 1.5)


class Test_greedy_scheduling:
    def test_each_task_goes_to_whoever_is_free_first(self) -> None:
        assert greedy([3.0, 1.0, 1.0, 1.0, 2.0], 2) == 5.0
        assert greedy([1.0, 1.0, 1.0, 3.0], 2) == 4.0

    @given(durations=st.lists(st.integers(0, 100), max_size=40), workers=st.integers(1, 5))
    def test_bounds(self, durations: list[int], workers: int) -> None:
        span = greedy([float(d) for d in durations], workers)
        least = max(sum(durations) / workers, max(durations, default=0))
        assert least <= span + 1e-9
        assert span <= sum(durations) / workers + max(durations, default=0) + 1e-9
