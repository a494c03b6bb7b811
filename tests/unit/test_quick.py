"""Plain calls of `eisenmp map` are read as the command line library reads them, or left to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.cli.map import command as as_click_reads
from eisenmp.cli.quick import Call, read

WORDS = [
    'w.py:f',
    'lines',
    '-',
    '--',
    '',
    '7',
    '-1',
    '0',
    '02',
    '٣',
    'a=b',
    '-j',
    '-j4',
    '-u',
    '-uq',
    '-q',
    '-o',
    '-oout',
    '--workers',
    '--workers=3',
    '--workers=',
    '--work',
    '--out',
    '--out=o',
    '--out=',
    '--json',
    '--csv',
    '--quiet',
    '--progress',
    '--no-progress',
    '--unordered',
    '--unordered=1',
    '--chunksize',
    '--retries',
    '--help',
    '-h',
    '-jj',
]


def as_click(arguments: list[str]) -> Call:
    with as_click_reads.make_context('map', list(arguments)) as context:
        options = dict(context.params)
    return Call(options.pop('worker'), options.pop('files'), options)


@pytest.mark.parametrize(
    'arguments',
    [
        'w.py:f',
        'w.py:f -',
        'w.py:f lines more',
        'w.py:f -j 2 lines',
        '--workers 3 w.py:f',
        '--workers=3 w.py:f lines -u',
        'w.py:f --json lines -o out',
        'w.py:f --out=out --csv lines',
        'w.py:f lines -q',
        'w.py:f --progress lines --out out -j 02',
        'w.py:f -u --unordered -j 1 -j 5',
    ],
)
def test_a_plain_call_is_read_as_the_library_reads_it(arguments: str) -> None:
    assert read(['map', *arguments.split()]) == as_click(arguments.split())


@given(st.lists(st.sampled_from(WORDS), max_size=7))
def test_whatever_is_read_is_what_the_library_reads(arguments: list[str]) -> None:
    call = read(['map', *arguments])
    if call is not None:
        assert call == as_click(arguments)


@pytest.mark.parametrize(
    'arguments',
    [
        '',
        'map',
        'status w.py:f',
        'map -h',
        'map -u',
        'map w.py:f -j',
        'map w.py:f -j 0',
        'map w.py:f -j x',
        'map w.py:f -j2',
        'map w.py:f --workers=',
        'map w.py:f --chunksize 5',
        'map w.py:f -o -u',
        'map -- w.py:f',
    ],
)
def test_what_is_not_plain_is_left_to_the_library(arguments: str) -> None:
    assert read(arguments.split()) is None


def test_so_is_what_a_shell_asks_in_order_to_complete_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(['map', 'w.py:f']) is not None
    monkeypatch.setenv('_EISENMP_COMPLETE', 'bash_complete')
    assert read(['map', 'w.py:f']) is None
