"""The tree of exceptions: as drawn in its docstring, and fit for travelling."""

from __future__ import annotations

import builtins
import copy
import pickle
import re

import pytest

import eisenmp
from eisenmp import errors
from eisenmp.errors import EisenmpError, nearest


def test_the_tree_is_as_drawn() -> None:
    drawn = dict(re.findall(r'[├└]── (\w+)(?: \((\w+)\))?', errors.__doc__ or ''))
    assert len(drawn) >= 9
    for name, second in drawn.items():
        cls = getattr(errors, name)
        assert issubclass(cls, EisenmpError)
        if second:
            assert issubclass(cls, getattr(builtins, second))
    made_here = {name for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, EisenmpError)}
    assert made_here - {'EisenmpError'} == set(drawn)


def test_all_of_it_is_exported() -> None:
    for name in errors.__all__:
        if isinstance(getattr(errors, name), type):
            assert getattr(eisenmp, name) is getattr(errors, name)
            assert name in eisenmp.__all__


def test_stop_job_is_no_error_of_this_package() -> None:
    assert not issubclass(errors.StopJob, EisenmpError)
    assert errors.StopJob().value is None
    assert errors.StopJob(7).value == 7


@pytest.mark.parametrize(
    'error',
    [
        errors.SettingsError('x'),
        errors.RemoteError('mod.Error', 'text'),
        errors.RemoteTraceback('line 1\nline 2'),
        errors.CrashError('q', 3, ['signal SIGKILL', 'exit code 1']),
        errors.StopJob({'answer': 42}),
        errors.JobKilled('x'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_they_pickle_and_copy(error: Exception) -> None:
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert vars(back) == vars(error)


def test_texts() -> None:
    assert str(errors.CrashError('blue', 3, iter(['signal SIGKILL', 'exit code 1']))) == (
        "ticket _TID_3 of queue 'blue' was set aside: its worker died 2 times (signal SIGKILL, exit code 1)"
    )
    assert str(errors.RemoteError('mod.Error', 'text')) == 'mod.Error: text'


@pytest.mark.parametrize(
    ('name', 'names', 'text'),
    [
        ('blu', ['blue', 'red'], " (did you mean 'blue'?)"),
        ('zzz', ['blue', 'red'], ''),
        ('blue', [], ''),
    ],
)
def test_nearest(name: str, names: list[str], text: str) -> None:
    assert nearest(name, names) == text
