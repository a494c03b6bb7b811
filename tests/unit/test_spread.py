"""What each Python leaves to the others: never a case, never a way of a test, and together the three leave nothing."""

from __future__ import annotations

from itertools import product

import pytest

from tests.spread import SHARES, WAYS, Case, has_turn, numbered, selected

TURNS = (11, 12, 13)


def cases(**parameters: list[str]) -> list[Case]:
    """The product of the parameters."""
    return numbered([dict(zip(parameters, values, strict=True)) for values in product(*parameters.values())])


@pytest.mark.parametrize(
    'others',
    [
        {'place': list('abc')},
        {'place': list('abcdefg')},
        {'style': list('xy'), 'fault': list('ab')},
        {'style': list('xy'), 'fault': list('abcdefg')},
        {'style': list('xy'), 'fault': list('abc'), 'spot': list('123456')},
    ],
)
@pytest.mark.parametrize('ways', [list(WAYS), ['inline', *WAYS]])
def test_each_case_once_a_turn_and_everything_in_three(ways: list[str], others: dict[str, list[str]]) -> None:
    runs = cases(lab=ways, **others)
    times = [0] * len(runs)
    for turn in TURNS:
        chosen = [run for run, has in zip(runs, selected(runs, turn), strict=True) if has]
        by_process = [run for run in chosen if run.values['lab'] != 'inline']
        assert sorted(run.others('lab') for run in by_process) == sorted({run.others('lab') for run in runs})
        assert {run.values['lab'] for run in chosen} == set(ways)
        times = [before + (run in chosen) for before, run in zip(times, runs, strict=True)]
    assert times == [3 if run.values['lab'] == 'inline' else 1 for run in runs]


def test_no_value_always_comes_with_the_same_way() -> None:
    runs = cases(method=list(WAYS), style=['x', 'y'], spot=['1', '2', '3'])
    chosen = [run for run, has in zip(runs, selected(runs, 11), strict=True) if has]
    for spot in '123':
        assert len({run.values['method'] for run in chosen if run.values['spot'] == spot}) == 2


@pytest.mark.parametrize(
    'runs',
    [
        cases(method=list(WAYS)),
        cases(method=list(WAYS), style=['x', 'y']),
        cases(method=['spawn', 'fork'], place=list('abc')),
        cases(method=list(WAYS), other=list(WAYS)),
        cases(place=list('abc')),
    ],
    ids=['no other parameter', 'two cases', 'two ways', 'two parameters of ways', 'none'],
)
def test_what_is_not_spread(runs: list[Case]) -> None:
    assert all(selected(runs, 11))


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> dict[str, list[pytest.Function]]:
    """The tests below, as pytest has collected them here."""
    if request.config.getoption('--share'):
        pytest.skip('some of the cases are in the share of another Python')
    tests: dict[str, list[pytest.Function]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.path.name == 'test_spread.py':
            tests.setdefault(item.originalname, []).append(item)
    return tests


@pytest.mark.parametrize('method', WAYS)
@pytest.mark.parametrize('place', ['a', 'b', 'c', 'd'])
def test_of_all_that_pytest_makes_of_two_lists_each_case_is_left(
    collected: dict[str, list[pytest.Function]], place: str, method: str
) -> None:
    """This test is spread itself: here are the runs that this Python has, or all of them when they were named."""
    params = [
        item.callspec.params for item in collected['test_of_all_that_pytest_makes_of_two_lists_each_case_is_left']
    ]
    assert {run['place'] for run in params} == set('abcd')
    assert len(params) in (4, 12)


@pytest.mark.parametrize('runs', [2, 9, 10, 11, 100])
def test_every_test_of_several_runs_has_a_run_in_each_share(runs: int) -> None:
    shares = [has_turn('tests/unit/test_x.py::test_y', 'unit/test_x.py', runs, turn) for turn in range(SHARES)]
    assert all(any(share) for share in shares)
    times = [sum(has) for has in zip(*shares, strict=True)]
    assert sum(times) == max(runs, SHARES)
    assert all(times), 'each run has its turn on some Python'


@pytest.mark.parametrize(('folder', 'of'), [('examples', SHARES), ('unit', 2), ('contract', 2)])
def test_of_tests_with_a_single_run_each_share_has_a_part(folder: str, of: int) -> None:
    names = [f'tests/{folder}/test_{number}.py::test_it' for number in range(300)]
    times = [sum(has_turn(name, name.removeprefix('tests/'), 1, turn)[0] for turn in range(of)) for name in names]
    assert set(times) == {1}, 'one share in so many has it'


@pytest.mark.parametrize('folder', ['faults', 'contract'])
def test_of_slow_tests_with_many_runs_each_share_has_a_third(folder: str) -> None:
    names = [f'tests/{folder}/test_{number}.py::test_it' for number in range(300)]
    for turns in (range(3), range(11, 14)):
        times = [sum(any(has_turn(name, name.removeprefix('tests/'), 7, turn)) for turn in turns) for name in names]
        assert set(times) == {1}, 'one share in three has it'
