"""``eisenmp top`` without a terminal: what keys mean, what is made of a state, lines where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from eisenmp.cli.exits import OutputClosed
from eisenmp.cli.keys import Request, Talk
from eisenmp.cli.viewer import Lines, _news
from eisenmp.display.board import Boards
from eisenmp.display.painter import RichPainter
from eisenmp.display.remote import board_of, failure_line, summary
from eisenmp.live.state import States
from eisenmp.snapshot import Look
from eisenmp.tap import Tap
from tests.unit.test_screens import snapshot, usage

ALL = {'can': ['stop', 'restart', 'resize', 'retry'], 'wanted': 3}


def typed(talk: Talk, keys: str, state: Any = ALL) -> list[Request]:
    return [request for key in keys if (request := talk.press(key, state)) is not None]


# ---- keys


def test_q_leaves_and_the_job_goes_on() -> None:
    talk = Talk()
    assert typed(talk, 'xq') == []
    assert talk.left


def test_stop_is_asked_for_twice() -> None:
    talk = Talk()
    assert typed(talk, 's') == []
    assert talk.words(ALL, 0.0).startswith('stop the job?')
    assert typed(talk, 'q') == []
    assert not talk.left, 'no answer but y is yes'
    assert typed(talk, 'sy') == [Request('stop')]
    assert typed(talk, 'y') == []


def test_a_slot_is_typed() -> None:
    talk = Talk()
    assert typed(talk, 'r12\x7f0') == []
    assert '10_' in talk.words(ALL, 0.0)
    assert typed(talk, '\n') == [Request('restart', {'slot': 10})]
    assert typed(talk, 'ra') == [Request('restart')]
    assert typed(talk, 'r\n') == []
    assert typed(talk, 'r1q1\n') == []
    assert not talk.left


def test_plus_and_minus_count_from_what_was_asked_for_last() -> None:
    talk = Talk()
    assert [request.arguments['workers'] for request in typed(talk, '++-=')] == [4, 5, 4, 5]
    assert typed(talk, '-', {**ALL, 'wanted': 5}) == [Request('resize', {'workers': 4})], 'the job has heard it'
    assert typed(talk, '+', {**ALL, 'wanted': 9}) == [Request('resize', {'workers': 10})], 'somebody else has, too'
    assert [request.arguments['workers'] for request in typed(Talk(), '-----')] == [2, 1, 1, 1, 1]


def test_only_what_the_job_can_take_now() -> None:
    nothing = {'can': [], 'wanted': 3}
    talk = Talk()
    assert typed(talk, 'sytr1\n+-', nothing) == []
    assert talk.words(nothing, 0.0) == 'q leave'
    assert talk.words({}, 0.0) == 'q leave'
    assert typed(talk, 't') == [Request('retry')]
    assert talk.words(ALL, 0.0) == 'q leave   s stop   r restart   + - workers   t try failures again'


def test_answers_are_shown_for_a_while() -> None:
    talk = Talk()
    talk.hear('4 workers from now on', 10.0)
    assert talk.words(ALL, 12.0) == '4 workers from now on'
    assert talk.words(ALL, 17.0).startswith('q leave')
    talk.hear('again', 20.0)
    typed(talk, 's')
    assert talk.words(ALL, 20.0).startswith('stop')


# ---- states


def state_of(**more: Any) -> dict[str, Any]:
    """As it is sent."""
    look = Look(snapshot(**more), Tap(), ('mp_input_q (default)', 'blue_q_7'), 100.0)
    return States({}, usage=usage, here=lambda: None).make(look, [], ['stop'])[0]


@pytest.mark.parametrize('columns', [40, 80, 200])
def test_it_looks_as_in_the_job_s_own_terminal(columns: int) -> None:
    options: dict[str, Any] = {'no_color': True, 'color_system': None}
    own = RichPainter(None, Boards(usage), **options).paint(snapshot(last_failure=None), columns, 23)
    other = RichPainter(None, **options).paint_board(board_of(state_of(last_failure=None)), columns, 23)
    assert [line.text for line in other] == [line.text for line in own]
    assert len(own) > 4


def test_the_one_line() -> None:
    board = board_of(state_of())
    assert summary(board, over=False) == (
        'eisenmp   25 %  250/1,000 items  21/s  0:36 left  workers 2/2  2 chunks failed  1 chunk set aside  1 restart'
    )
    assert summary(board, over=True).startswith('eisenmp   25 %  250/1,000 items  21/s  took 12 s  2 chunks failed')
    assert summary(board_of(state_of(feeders=())), over=False).startswith('eisenmp  0 items of an unknown number')


def test_failures_on_one_line() -> None:
    failure = {'queue': 'blue', 'ticket': 3, 'text': 'ValueError: no\ngood', 'kind': 'failed', 'seconds': 61.0}
    assert failure_line(failure) == 'blue_TID_3: ValueError: no'
    assert board_of(state_of(), failure).failure == 'blue_TID_3: ValueError: no'
    assert failure_line({**failure, 'ticket': None}) == 'ValueError: no'


def test_what_is_written_above_the_job() -> None:
    logs = [
        {'seconds': 1.0, 'level': 'print', 'worker': 'Process-1', 'text': 'much'},
        {'seconds': 2.0, 'level': 'INFO', 'worker': 'Process-1', 'text': 'more'},
        {'seconds': 3.0, 'level': 'ERROR', 'worker': 'Process-1', 'text': 'bad\nTraceback'},
        {'seconds': 4.0, 'level': 'news', 'worker': '', 'text': 'Process-2 died'},
    ]
    failures = [
        {'seconds': 5.0, 'kind': 'failed', 'queue': 'q', 'ticket': 1, 'text': 'ValueError: x'},
        {'seconds': 6.0, 'kind': 'died', 'queue': 'q', 'ticket': 2, 'text': 'signal SIGKILL'},
    ]
    assert list(_news({'logs': logs, 'failures': failures})) == [
        '0:03 Process-1: bad',
        '0:04 Process-2 died',
        '0:05 failed: q_TID_1: ValueError: x',
    ]


# ---- no terminal


def test_a_line_now_and_then() -> None:
    out = io.StringIO()
    lines = Lines(out)
    for _ in range(3):
        lines.show(state_of(), None, '')
    lines.tell(iter(['news']))
    lines.close(state_of(), None, over=True)
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ['eisenmp', 'news', 'eisenmp']
    assert 'took' in out.getvalue().splitlines()[-1]


def test_a_reader_that_has_left_ends_it() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    lines = Lines(Broken())
    with pytest.raises(OutputClosed):
        lines.show(state_of(), None, '')
    lines.close(state_of(), None, over=True)
