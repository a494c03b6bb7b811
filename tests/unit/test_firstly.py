"""How many workers `eisenmp map` has begun before it has read its own arguments."""

from __future__ import annotations

import pytest

from eisenmp.cli.firstly import wanted, workers

CORES = 8


@pytest.mark.parametrize(
    ('arguments', 'count'),
    [
        ('work.py:f', 8),
        ('work.py:f -j 2', 2),
        ('work.py:f -j2 lines', 2),
        ('work.py:f --workers 3 lines', 3),
        ('--workers=3 work.py:f lines', 3),
        ('work.py:f -j 1000', 8),
        ('work.py:f -j', 8),
        ('work.py:f -j many', 8),
        ('work.py:f -j -2', 8),
        ('', 0),
        ('--help', 0),
        ('work.py:f -h', 0),
        ('work.py:f --start-method fork', 0),
        ('work.py:f --start-method=forkserver', 0),
        ('work.py:f --start-method=spawn -j 2', 2),
        ('work.py:f --start-method spawn', 8),
    ],
)
def test_by_the_arguments(arguments: str, count: int) -> None:
    assert wanted(arguments.split(), CORES) == count


@pytest.mark.parametrize(
    ('arguments', 'begun'),
    [
        ('map work.py:f -j 2', [(2, True)]),
        ('map work.py:f -j 2 --start-method spawn', [(2, False)]),
        ('status map work.py:f', []),
        ('-V', []),
        ('', []),
    ],
)
def test_forks_only_where_no_other_way_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, arguments: str, begun: list[tuple[int, bool]]
) -> None:
    monkeypatch.setattr('eisenmp.cores.usable_cores', lambda: CORES)
    seen: list[tuple[int, bool]] = []
    monkeypatch.setattr('eisenmp.engines.early.begin', lambda count, bare, modules: seen.append((count, bare)))
    with workers(arguments.split()):
        assert seen == begun
