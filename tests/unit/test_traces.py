"""Tracebacks: which frames a worker tells of, and lines that only the manager has."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

from eisenmp import traces
from eisenmp.errors import PayloadError
from eisenmp.functions import Function, begin
from eisenmp.payload import dumps, dumps_error, loads, loads_error
from eisenmp.traces import remote_text, with_sources

OURS = begin.__code__.co_filename  # calls what it is given


def of_users(text: str = 'bad row') -> None:
    raise ValueError(text)


def raised(initializer: Any) -> Exception:
    """What comes out of a function of ours that calls one of theirs, without the frame of this one."""
    with pytest.raises(Exception) as caught:
        begin(Function(print, initializer, (), None))
    return caught.value.with_traceback(caught.tb.tb_next)


def test_frames_of_ours_that_lead_to_the_users_are_left_out() -> None:
    text = remote_text(raised(of_users))
    assert OURS not in text
    assert text.startswith('Traceback (most recent call last):\n  File "')
    assert 'in of_users\n    raise ValueError(text)' in text
    assert text.endswith('ValueError: bad row')


def test_frames_of_ours_below_the_users_stay() -> None:
    def of_the_user() -> None:
        loads((b'rubbish',))

    text = remote_text(raised(of_the_user))
    assert text.index('in of_the_user') < text.index('in loads')


def test_of_frames_that_are_all_ours_the_last_one_stays() -> None:
    with pytest.raises(PayloadError) as caught:
        dumps(letter for letter in 'ab')
    error = caught.value.with_traceback(caught.tb.tb_next)
    told = remote_text(error).rpartition('Traceback')[2]
    assert told.count('File "') == 1
    assert 'PayloadError: ' in told


def test_causes_and_groups_are_folded_as_well() -> None:
    def chained() -> None:
        try:
            begin(Function(print, of_users, (), None))
        except ValueError as error:
            raise RuntimeError('second') from error

    assert OURS in ''.join(remote_text(raised(chained)))  # below the user's own function
    group = ExceptionGroup('several', [raised(of_users), raised(of_users)])
    text = remote_text(group)
    assert text.count('in of_users') == 2
    assert OURS not in text


def test_examples_that_are_installed_with_the_package_are_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, '_OURS', '/lib/eisenmp/')
    monkeypatch.setattr(traces, '_THEIRS', '/lib/eisenmp/examples/')
    assert traces._is_ours('/lib/eisenmp/worker/batch.py')
    assert not traces._is_ours('/lib/eisenmp/examples/primes/worker/trial_division.py')
    assert not traces._is_ours('/home/eisenmp/mine.py')


TEXT = """\
Traceback (most recent call last):
  File "cell 1", line 2, in f
  File "known.py", line 1, in g
    return h()
           ^^^
  File "cell 2", line 7, in h
  | File "cell 1", line 1, in <lambda>
  File "/dev/zero", line 1, in h
ValueError: bad\
"""

FILLED = """\
Traceback (most recent call last):
  File "cell 1", line 2, in f
    line 2 of cell 1
  File "known.py", line 1, in g
    return h()
           ^^^
  File "cell 2", line 7, in h
  | File "cell 1", line 1, in <lambda>
  |   line 1 of cell 1
  File "/dev/zero", line 1, in h
ValueError: bad\
"""


def test_lines_that_are_missing_come_from_the_files_that_are_known() -> None:
    def line_of(name: str, number: int) -> str:
        return f'    line {number} of {name}\n' if number < 7 else ''

    assert with_sources(TEXT, {'cell 1', 'cell 2', 'known.py'}, line_of) == FILLED
    assert with_sources(TEXT, {}, line_of) == TEXT


def test_a_cell_of_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'def f(n):\n    return 1 // n\n'
    space: dict[str, object] = {'__name__': '__main__'}
    exec(compile(source, '<ipython-input-1>', 'exec'), space)
    function = loads(dumps(space['f']))  # as a worker gets it
    with pytest.raises(ZeroDivisionError) as caught:
        function(0)
    payload = dumps_error(caught.value)
    assert '<ipython-input-1>", line 2, in f\nZero' in str(loads_error(payload).__cause__)
    monkeypatch.setitem(linecache.cache, '<ipython-input-1>', (1, None, source.splitlines(True), '<ipython-input-1>'))
    assert '<ipython-input-1>", line 2, in f\n    return 1 // n\nZero' in str(loads_error(payload).__cause__)


def test_a_function_keeps_the_name_of_its_file() -> None:
    def outer() -> object:
        return lambda: None

    for function in (outer, outer()):
        assert loads(dumps(function)).__code__.co_filename == __file__
    nested = next(const for const in loads(dumps(outer)).__code__.co_consts if hasattr(const, 'co_filename'))
    assert nested.co_filename == __file__
