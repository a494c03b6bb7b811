"""Items that kill their workers: found by halving their chunk, and their neighbours have results."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import eisenmp
from eisenmp import CrashError, Mp, Outcome, Part
from tests.faults import poison

PATH = os.path.join(os.path.dirname(__file__), 'poison.py')
ALARM = 60.0

Run = Callable[..., list[Outcome]]


@pytest.fixture(params=['spawn', 'forkserver', 'fork'])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a job and returns its outcomes in ticket order."""

    def runs(style: str, items: Any, **settings: Any) -> list[Outcome]:
        emp = Mp()
        modules = [{'WORKER_PATH': PATH, 'WORKER_REF': style}]
        known = {'NUM_PROCS': 2, 'NUM_ROWS': 16, 'CRASH_RETRIES': 1, 'RESULTS_STORE': True, 'ON_ERROR': 'skip'}
        emp.start(worker_modules=modules, WORKER_CALL=style, START_METHOD=request.param, **{**known, **settings})
        try:
            emp.feed(items)
            return list(emp.wait(ALARM)['mp_input_q'])
        finally:
            emp.kill()
            emp.join()

    return runs


def test_the_item_stands_accused_and_its_neighbours_have_results(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = run('item', range(100))
    assert [outcome.state for outcome in outcomes] == ['done', 'set aside', 'done', 'done', 'set aside', 'done', 'done']
    for outcome in outcomes:
        first = 16 * outcome.ticket
        failed = dict(outcome.failures)
        assert [value for at, value in enumerate(outcome.value) if at not in failed] == [
            first + at for at in range(outcome.items) if first + at not in poison.EVIL
        ]
        for at, error in failed.items():
            assert isinstance(error, CrashError)
            assert (first + at in poison.EVIL, outcome.value[at]) == (True, error)
            assert (error.ticket, error.item, error.text) == (outcome.ticket, at, str(first + at))
            assert set(error.exits) == {'exit code 7'}
    assert "item 7 (23) of ticket _TID_1 of queue 'mp_input_q (default)' was set aside" in caplog.text


def test_of_chunks_the_parts_have_results(run: Run) -> None:
    outcomes = run('chunk', range(100))
    assert [outcome.state for outcome in outcomes] == ['done', 'set aside', 'done', 'done', 'set aside', 'done', 'done']
    parts = outcomes[1].parts
    assert outcomes[1].value is None
    assert parts[0] == Part(0, 4, [16, 17, 18, 19])
    assert sum([part.items for part in parts]) == 16
    assert [row for part in parts for row in part.value or ['?']] == [*range(16, 23), '?', *range(24, 32)]
    (bad,) = [part for part in parts if part.error is not None]
    assert (bad.first, bad.items) == (7, 1)
    assert outcomes[1].error is bad.error or str(outcomes[1].error) == str(bad.error)


def test_an_item_that_hangs_is_found_too(run: Run) -> None:
    (outcome,) = run('item', [1, 2, 'hangs', 4], CHUNK_TIMEOUT=0.3, CRASH_RETRIES=0)
    assert [outcome.value[at] for at in (0, 1, 3)] == [1, 2, 4]
    assert isinstance(outcome.value[2], CrashError)
    assert outcome.value[2].text == "'hangs'"
    assert set(outcome.value[2].exits) == {'CHUNK_TIMEOUT of 0.3 s'}


def test_a_chunk_that_cannot_even_be_opened_is_set_aside_whole(run: Run) -> None:
    rows: list[Any] = [*range(16), 16, poison.Mine(), *range(22)]
    outcomes = run('item', rows)
    assert [outcome.state for outcome in outcomes] == ['done', 'set aside', 'done']
    assert isinstance(outcomes[1].error, CrashError)
    assert outcomes[1].error.item is None
    assert outcomes[1].error.exits == ['exit code 9'] * 4
    assert len(outcomes[1].failures) == 16


@pytest.mark.parametrize('rows', [1, 5])
def test_an_item_whose_repr_raises(rows: int) -> None:
    items: list[Any] = [poison.Shy(), *range(1, rows)]
    with eisenmp.imap(poison.item, items, max_workers=2, chunksize=rows, on_error='yield', crash_retries=1) as values:
        got = list(values)
    assert got[1:] == [*range(1, rows)]
    assert isinstance(got[0], CrashError)
    assert got[0].text == 'its repr raises ValueError'


def test_what_raises_beside_it_fails_alone_as_well(run: Run) -> None:
    (outcome,) = run('item', [1, 'raises', 23, 4], CRASH_RETRIES=0)
    assert outcome.state == 'set aside'
    assert isinstance(outcome.error, CrashError)
    assert [type(error) for _, error in outcome.failures] == [ValueError, CrashError]
    assert (outcome.value[0], outcome.value[3]) == (1, 4)


def test_results_that_are_not_kept_are_not_kept_the_errors_are(run: Run) -> None:
    outcomes = run('item', [*range(30), 'raises'], RESULTS_STORE=False)
    assert [outcome.value for outcome in outcomes] == [None, None]
    assert [len(outcome.failures) for outcome in outcomes] == [0, 2]
    assert outcomes[1].failures[0][0] == 7


def test_short_forms_name_the_item() -> None:
    with eisenmp.imap(poison.item, range(100), max_workers=2, chunksize=10, on_error='skip') as values:
        assert list(values) == [n for n in range(100) if n not in poison.EVIL]
        assert [failure.index for failure in values.failures] == sorted(poison.EVIL)
        assert [failure.error.text for failure in values.failures if isinstance(failure.error, CrashError)] == [
            '23',
            '71',
        ]
    with eisenmp.imap_chunks(poison.chunk, range(100), max_workers=2, chunksize=10, on_error='skip') as chunks:
        assert [n for rows in chunks for n in rows] == [n for n in range(100) if n not in poison.EVIL]
        assert [failure.index for failure in chunks.failures] == sorted(poison.EVIL)
    with (
        eisenmp.imap(poison.item, range(100), max_workers=2, chunksize=10) as values,
        pytest.raises(CrashError, match='item 3 \\(23\\) of ticket _TID_2'),
    ):
        list(values)
