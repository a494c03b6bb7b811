"""Where a Ctrl-C came: some instructions have no line of their own."""

import sys
import types

from eisenmp.leave import _line


def test_an_instruction_without_a_line_is_told_by_one_that_has_one() -> None:
    kept = 1

    def inner() -> int:
        return kept  # so that this frame's first instruction makes a cell, which is on no line

    frame = sys._getframe()
    trace = types.TracebackType(None, frame, 0, -1)
    assert str(trace.tb_lineno) == 'None'
    assert _line(trace) == frame.f_code.co_firstlineno
    assert inner() == 1


def test_any_other_is_told_by_its_own_line() -> None:
    try:
        for number in (1, 0):
            1 // number
    except ZeroDivisionError as error:
        trace = error.__traceback__
    assert trace is not None
    assert trace.tb_lineno == _line(trace)
