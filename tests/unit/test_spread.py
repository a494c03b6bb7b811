"""What each Python leaves to the others: never a case, never a way of a test, and together the three leave nothing."""

from __future__ import annotations

from itertools import product

import pytest

from tests.spread import WAYS, Case, selected

TURNS = (11, 12, 13)


def cases(**parameters: list[str]) -> list[Case]:
    """The product of the parameters, as pytest makes it."""
    names = list(parameters)
    return [
        Case(
            dict(zip(names, values, strict=True)),
            {n: parameters[n].index(v) for n, v in zip(names, values, strict=True)},
        )
        for values in product(*parameters.values())
    ]


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
