"""The texts that worker files see: headers can be read back, and the closing row is no data."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp import constants
from eisenmp.constants import (
    CLOSING_MARK,
    INPUT_HEADER,
    OUTPUT_HEADER,
    STOP_MSG,
    closing_header,
    parse_header,
    ticket_header,
)
from eisenmp.utils import eisenmp_constants as old_home


def test_headers_look_as_promised() -> None:
    assert ticket_header('mp_input_q (default)', 12) == 'mp_input_q (default);_TID_12;'
    assert '_TID_' not in closing_header('batch_1|video_in')
    assert closing_header('batch_1|video_in').startswith('batch_1|video_in;')


@pytest.mark.parametrize(
    ('text', 'parsed'),
    [
        ('blue_q_7;_TID_0;', ('blue_q_7', 0)),
        ('OUTPUT_HEADER;blue_q_7;_TID_31;', ('blue_q_7', 31)),
        ('INPUT_HEADER;blue_q_7;_TID_31;', ('blue_q_7', 31)),
        ('batch_1|video_in;_TID_5;', ('batch_1|video_in', 5)),
        ('a;b;_TID_5;', ('a;b', 5)),
        ('q;_TID_1;_TID_2;', ('q;_TID_1', 2)),
        ('q;_END_;', ('q', None)),
        ('OUTPUT_HEADER;q;_END_;', ('q', None)),
        ('q;_TID_3;_END_;', ('q;_TID_3', None)),
    ],
)
def test_parse_header(text: str, parsed: tuple[str, int | None]) -> None:
    assert parse_header(text) == parsed


@pytest.mark.parametrize(
    'text',
    [
        *('', ';', 'q', 'STOP', 'q;_TID_', 'q;_TID_;', 'q;_TID_12', 'q;_TID_x;', 'q;_TID_-1;', 'q;_TID_1.0;'),
        *('q;_TID_1; ', 'q_TID_1;', 'q;_TID_1;rest', 'q;_TID_²;', 'OUTPUT_HEADER;', 'q;_END_', '_END_;', 'q_END_;'),
    ],
)
def test_other_texts_are_no_header(text: str) -> None:
    assert parse_header(text) is None


names = st.text(min_size=1, max_size=30).filter(lambda n: not n.startswith((OUTPUT_HEADER, INPUT_HEADER)))


@given(names, st.integers(0, 2**64 - 1), st.sampled_from(['', OUTPUT_HEADER, INPUT_HEADER]))
def test_any_ticket_header_is_read_back(name: str, serial: int, before: str) -> None:
    assert parse_header(before + ticket_header(name, serial)) == (name, serial)
    assert parse_header(before + closing_header(name)) == (name, None)


@given(st.text(max_size=60))
def test_any_text_parses_or_not(text: str) -> None:
    parse_header(text)


def test_a_number_that_is_no_ticket_is_no_header() -> None:
    assert parse_header(f'q;_TID_{2**64};') is None  # beyond what a message holds
    assert parse_header(f'q;_TID_{"9" * 5000};') is None  # beyond what int() takes


@given(
    st.recursive(
        st.one_of(st.text(), st.binary(), st.integers(), st.sampled_from(['STOP', 'STOP_MSG', CLOSING_MARK])),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=8,
    )
)
def test_data_never_looks_like_the_closing_row(item: Any) -> None:
    assert STOP_MSG not in str(item)
    assert STOP_MSG not in [item]


def test_both_old_idioms_find_the_closing_row() -> None:
    chunk = pickle.loads(pickle.dumps([closing_header('q'), STOP_MSG]))
    assert STOP_MSG in chunk
    assert STOP_MSG in str(chunk)
    assert any(STOP_MSG in str(row) for row in chunk)
    assert STOP_MSG.isascii()
    assert STOP_MSG.isprintable()
    assert repr(STOP_MSG).strip('\'"') == STOP_MSG


def test_the_old_home_has_the_same_texts() -> None:
    for name in ('STOP_MSG', 'OUTPUT_HEADER', 'INPUT_HEADER', 'PERF_HEADER_ETA', 'PERF_CURRENT_ETA'):
        assert getattr(old_home, name) == getattr(constants, name)
