"""How many workers `eisenmp map` has begun before it has read its own arguments."""

from __future__ import annotations

import pytest

from eisenmp.cli.firstly import wanted

CORES = 8


@pytest.mark.parametrize(
    ('arguments', 'count'),
    [
        ('map work.py:f', 8),
        ('map work.py:f -j 2', 2),
        ('map work.py:f -j2 lines', 2),
        ('map work.py:f --workers 3 lines', 3),
        ('map --workers=3 work.py:f lines', 3),
        ('map work.py:f -j 1000', 8),
        ('map work.py:f -j', 8),
        ('map work.py:f -j many', 8),
        ('map work.py:f -j -2', 8),
        ('map', 0),
        ('map --help', 0),
        ('map work.py:f -h', 0),
        ('map work.py:f --start-method fork', 0),
        ('map work.py:f --start-method=spawn', 0),
        ('-V', 0),
        ('status map work.py:f', 0),
        ('', 0),
    ],
)
def test_by_the_arguments(arguments: str, count: int) -> None:
    assert wanted(arguments.split(), CORES) == count
