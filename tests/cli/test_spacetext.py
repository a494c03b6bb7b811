"""``--space`` and ``--range``: a small language, and nothing is evaluated."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp import SettingsError
from eisenmp.cli.spacetext import parse_range, parse_space


@pytest.mark.parametrize(
    ('text', 'items'),
    [
        ('product(abc, 2)', itertools.product('abc', repeat=2)),
        ('product(ab, cd, repeat=2)', itertools.product('ab', 'cd', repeat=2)),
        ('product(0123456789, 2)', itertools.product('0123456789', repeat=2)),
        ("product(ab, '12')", itertools.product('ab', '12')),
        ('product("a b", [1, x])', itertools.product('a b', [1, 'x'])),
        (' permutations ( abc ) ', itertools.permutations('abc')),
        ('permutations(abc, 2)', itertools.permutations('abc', 2)),
        ('combinations(range(5), r=3)', itertools.combinations(range(5), 3)),
        (
            'combinations_with_replacement(range(1, 7, 2), 2)',
            itertools.combinations_with_replacement(range(1, 7, 2), 2),
        ),
        ('chain(ab, range(2), [c, -3])', ['a', 'b', 0, 1, 'c', -3]),
        ('zip(abc, range(3))', zip('abc', range(3), strict=True)),
        (
            'zip(product(ab, 2), permutations(abc, 2),)',
            zip(itertools.product('ab', repeat=2), itertools.permutations('abc', 2), strict=False),
        ),
        ('product()', [()]),
        ('product([])', []),
        ('range(1_000)', range(1000)),
    ],
)
def test_spaces(text: str, items: Any) -> None:
    assert list(parse_space(text)) == list(items)


def test_one_that_is_too_large_to_be_made() -> None:
    assert parse_space('permutations(range(52))').size > 10**67


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', 'a space such as product'),
        ('abc', 'a space such as product'),
        ('prduct(ab, 2)', "no space 'prduct' (did you mean 'product'?)"),
        ('product(ab, 2', "the end in the place of ',' or ')', at character 14"),
        ('product(ab 2)', "'2' in the place of"),
        ('product(ab, 2) x', "'x' after the end"),
        ('product(, 2)', "',' in the place of an argument"),
        ('product(ab, rept=2)', 'allowed is repeat='),
        ('product(ab, repeat=x)', 'repeat=x'),
        ('product(ab, r=2)', 'at character 1'),
        ('product("ab', 'a quote that nothing closes'),
        ('product([a, [b]])', 'a list holds texts and numbers'),
        ('combinations(abc)', 'at character 1'),
        ('combinations(abc, -1)', 'at character 1'),
        ('range()', 'range takes'),
        ('range(a)', 'range takes'),
        ('range(0, 5, 0)', 'at character 1'),
        ('__import__(os)', 'no space'),
        ('product(' * 40, 'a space such as'),
    ],
)
def test_what_is_no_space(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_space(text)
    assert words in str(caught.value)


@given(st.text(alphabet='product(range,chain)[]=\'" 0123456789ab', max_size=40))
def test_any_text_is_a_space_or_an_error_of_ours(text: str) -> None:
    try:
        parse_space(text)
    except SettingsError:
        pass


@pytest.mark.parametrize(
    ('text', 'numbers'),
    [('0:3', range(3)), ('-2:2', range(-2, 2)), ('5:0:-2', range(5, 0, -2)), (' 1 : 1_000 ', range(1, 1000))],
)
def test_ranges(text: str, numbers: range) -> None:
    assert parse_range(text) == numbers


@pytest.mark.parametrize('text', ['', '3', ':3', '1:2:3:4', 'a:b', '1.5:2', '0:1:0', '1:'])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(SettingsError, match=r'--range'):
        parse_range(text)
