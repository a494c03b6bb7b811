"""Drawing: the lines of rich's recording console, the area on an emulated terminal, streams that go above it."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import types
from typing import Any, ClassVar

import pyte
import pytest

from eisenmp.display import Display
from eisenmp.display.area import Area, Line, terminal_size
from eisenmp.display.bar import TqdmScreen
from eisenmp.display.board import Boards
from eisenmp.display.notebook import NotebookScreen
from eisenmp.display.painter import RichPainter
from eisenmp.display.redirect import Above, Redirection, is_terminal
from eisenmp.display.screens import CallbackScreen, LinePainter, PlainScreen, TerminalScreen, choose
from eisenmp.display.usage import Used
from eisenmp.errors import SettingsError
from eisenmp.events import FailureView, FeederView, QueueView, Snapshot, WorkerView
from tests.support import wait_until
from tests.unit.fakes import Clock


def usage(pids: Any) -> dict[int, Used]:
    return {pid: Used(5.0, 23 << 20) for pid in pids}


def snapshot(seconds: float = 12.0, workers: int = 2, **more: Any) -> Snapshot:
    given: dict[str, Any] = {
        'feeders': (FeederView('mp_input_q (default)', 300, 250, 1000, False),),
        'workers': tuple(
            WorkerView(n, f'Process-{n + 1}', 100 + n, 'up', (), 0.8, 3, int(n == 1), f'mp_input_q (default)_TID_{n}')
            for n in range(workers)
        ),
        'queues': (QueueView('mp_input_q (default)', 6, 0, 8, 8), QueueView('blue_q_7', 1, 3)),
        'failed': 2,
        'set_aside': 1,
        'last_failure': FailureView('mp_input_q (default)', 17, lambda: ZeroDivisionError('division by zero')),
        **more,
    }
    return Snapshot(seconds, **given)


def painted(
    columns: int, lines: int = 23, stream: Any = None, shot: Snapshot | None = None, **options: Any
) -> list[Line]:
    return RichPainter(stream, Boards(usage), **options).paint(shot or snapshot(), columns, lines)


def texts(columns: int, **more: Any) -> list[str]:
    """Without colours."""
    return [line.text for line in painted(columns, no_color=True, color_system=None, **more)]


# ---- rich's lines


def test_at_80_columns() -> None:
    assert texts(80) == [
        'eisenmp 0:12  2 of 2 workers up  1 restart  2 chunks failed  1 chunk set aside',
        'mp_input_q  ━━━━━━━━╸                           25 %  250/1,000  21/s  0:36 left',
        'worker     state    ticket    age  chunks  memory  restarts',
        'Process-1  working  _TID_0  0.8 s  0.25/s  23 MiB',
        'Process-2  working  _TID_1  0.8 s  0.25/s  23 MiB         1',
        'queues  mp_input_q 8/8  blue_q_7 1/3',
        'last failure mp_input_q_TID_17: ZeroDivisionError: division by zero',
    ]


def test_at_40_columns_what_matters_less_is_left_out() -> None:
    assert texts(40) == [
        'eisenmp 0:12  2 of 2 workers up  1 rest…',
        'mp_input_q  25 %  250/1,000  0:36 left',
        'worker     state    ticket    age',
        'Process-1  working  _TID_0  0.8 s',
        'Process-2  working  _TID_1  0.8 s',
        'queues  mp_input_q 8/8  blue_q_7 1/3',
        'last failure mp_input_q_TID_17: ZeroDiv…',
    ]


def test_at_200_columns_the_bar_stays_a_bar() -> None:
    lines = texts(200)
    assert lines[1] == 'mp_input_q  ' + 10 * '━' + 30 * ' ' + '  25 %  250/1,000  21/s  0:36 left'
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize('columns', [1, 3, 10, 20, 39, 40, 79, 80, 120, 200])
@pytest.mark.parametrize('lines', [1, 2, 5, 23])
def test_nothing_is_wider_or_longer_than_the_terminal(columns: int, lines: int) -> None:
    feeders = (
        FeederView('mp_input_q (default)', 300, 250, 1000, False),
        FeederView('世界|grün', 10**9, 10**9, None, False),
        FeederView('a_rather_long_name_of_a_queue|another_one', 5, 5, None, True),
    )
    for shot in (
        snapshot(workers=64),
        snapshot(feeders=feeders, info={'recorder': 5}),
        snapshot(workers=0, feeders=()),
    ):
        found = painted(columns, lines, shot=shot)
        assert 0 < len(found) <= lines
        assert all(line.columns <= columns for line in found)
        assert all('\n' not in line.text for line in found)


def test_64_workers_are_summed_up() -> None:
    lines = texts(80, shot=snapshot(workers=64))
    assert len(lines) == 23
    assert lines[-3].startswith('47 more: 47 working  12/s  1.1 GiB')


def test_a_total_that_nobody_knows() -> None:
    line = texts(60, shot=snapshot(feeders=(FeederView('q', 400, 250, None, False),)))[1]
    assert line.endswith('  250 of ?  21/s')
    assert '━' in line
    assert '%' not in line


def test_tickets_of_several_queues_are_named() -> None:
    views = tuple(WorkerView(n, f'Process-{n}', 0, 'up', (), 0.1, 0, 0, f'q{n}_TID_5') for n in range(2))
    assert 'q1_TID_5' in texts(80, shot=Snapshot(1.0, (), views, (), 0, 0))[3]


def test_colours_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm-256color')
    monkeypatch.delenv('NO_COLOR', raising=False)
    assert any('\x1b[3' in line.text for line in painted(80))
    monkeypatch.setenv('NO_COLOR', '1')
    assert not any('\x1b[3' in line.text for line in painted(80))


def test_a_terminal_without_those_letters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    for columns in (40, 80):
        assert all(line.text.isascii() for line in painted(columns, stream=stream))
    assert '----' in painted(80, stream=stream)[1].text


def test_marks_of_rich_in_a_message_are_letters() -> None:
    failure = FailureView('q', 1, lambda: ValueError('[bold]x[/bold] [/red] :smile:'))
    assert texts(80, shot=snapshot(last_failure=failure))[-1].endswith('ValueError: [bold]x[/bold] [/red] :smile:')


# ---- the area, on an emulated terminal


class Terminal:
    """A terminal of some columns and lines; all that is written to one of its streams is shown at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.screen = pyte.HistoryScreen(40, 10, history=10_000)
        self.stream = pyte.Stream(self.screen)
        self.drawings = 0
        self.monkeypatch = monkeypatch

    def plug_in(self) -> None:
        """From now on it shows what is printed. In the test itself: pytest puts its own streams there before."""
        self.monkeypatch.setattr(sys, 'stdout', Tty(self))
        self.monkeypatch.setattr(sys, 'stderr', Tty(self))

    def shown(self) -> list[str]:
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def scrolled(self) -> list[str]:
        rows = self.screen.history.top
        return [''.join(row[x].data for x in range(self.screen.columns)).rstrip() for row in rows]


class Tty(io.StringIO):
    """One of its streams."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self.terminal = terminal
        self.error: Exception | None = None

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        self.terminal.drawings += '\x1b[J' in text
        self.terminal.stream.feed(text.replace('\r\n', '\n').replace('\n', '\r\n'))
        return len(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    sized(monkeypatch, 40, 10)
    return Terminal(monkeypatch)


def sized(monkeypatch: pytest.MonkeyPatch, columns: int, lines: int) -> None:
    monkeypatch.setenv('COLUMNS', str(columns))
    monkeypatch.setenv('LINES', str(lines))


def area_lines(*words: str) -> list[Line]:
    return [Line(text, len(text)) for text in words]


class Test_area:
    def test_lines_are_drawn_in_place(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area = Area(sys.stderr)
        for n in range(30):
            area.draw(area_lines(f'one {n}', f'two {n}', 'x' * (30 - n)))
        assert terminal.shown() == ['one 29', 'two 29', 'x']
        area.draw(area_lines('only one'))
        assert terminal.shown() == ['only one']
        area.close(['the end'])
        assert terminal.shown() == ['the end']
        assert terminal.scrolled() == []

    def test_text_goes_above(self, terminal: Terminal) -> None:
        terminal.plug_in()
        clock = Clock()
        area = Area(sys.stderr, clock)
        print('before')
        area.draw(area_lines('one', 'two'))
        clock.now += 1
        area.above(sys.stdout, 'a print\nof two lines\n')
        assert terminal.shown() == ['before', 'a print', 'of two lines', 'one', 'two']
        clock.now += 1
        area.above(sys.stdout, 'x' * 90 + '\n')  # three lines of this terminal
        assert terminal.shown()[-3:] == ['x' * 10, 'one', 'two']
        area.close()
        assert terminal.shown() == ['before', 'a print', 'of two lines', 'x' * 40, 'x' * 40, 'x' * 10]

    def test_a_lot_of_text_is_complete_and_in_order_and_the_area_is_there(self, terminal: Terminal) -> None:
        terminal.plug_in()
        clock = Clock()
        area = Area(sys.stderr, clock)
        area.draw(area_lines('one', 'two'))
        for n in range(1000):
            clock.now += 0.001
            area.above(sys.stdout if n % 3 else sys.stderr, f'line {n}\n')
            assert terminal.shown()[-2:] == ['one', 'two']
        assert terminal.drawings < 100, 'some times a second, not for each print'
        area.tidy()
        area.close()
        assert [line for line in terminal.scrolled() + terminal.shown() if line] == [f'line {n}' for n in range(1000)]

    def test_what_was_put_off_comes_soon(self, terminal: Terminal) -> None:
        terminal.plug_in()
        clock = Clock()
        area = Area(sys.stderr, clock)
        area.draw(area_lines('one'))
        area.above(sys.stdout, 'a print\n')
        assert terminal.shown() == ['one']
        area.tidy()
        assert terminal.shown() == ['a print', 'one']

    def test_a_terminal_made_narrower_that_wraps_what_is_there(
        self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal.plug_in()
        area = Area(sys.stderr)
        print('before')
        area.draw(area_lines('x' * 39, 'y' * 39))
        # what a terminal that wraps anew shows then
        terminal.screen.reset()
        terminal.screen.resize(10, 20)
        print('before')
        print('\n'.join(['x' * 20, 'x' * 19, 'y' * 20, 'y' * 19]), end='')
        sized(monkeypatch, 20, 10)
        assert area.resized
        area.draw(area_lines('x' * 19, 'y'))
        assert terminal.shown() == ['before', 'x' * 19, 'y']

    def test_lines_for_another_size_are_not_drawn_again(
        self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal.plug_in()
        area = Area(sys.stderr)
        area.draw(area_lines('x' * 39))
        sized(monkeypatch, 20, 10)
        area.above(sys.stdout, 'a print\n')
        area.tidy()
        assert terminal.shown() == ['a print']

    @pytest.mark.parametrize('error', [OSError(5, 'Input/output error'), BrokenPipeError(32, 'Broken pipe')], ids=str)
    def test_a_terminal_that_has_gone_harms_nobody(self, terminal: Terminal, error: OSError) -> None:
        """The connection breaks in the middle of a job, and the job goes on."""
        terminal.plug_in()
        stderr: Any = sys.stderr
        area = Area(stderr)
        area.draw(area_lines('one'))
        stderr.error = error
        for _ in range(3):
            area.draw(area_lines('two'))
            area.above(sys.stdout, 'a print\n')
            area.above(stderr, 'another\n')
            area.tidy()
        area.close(['the end'])
        assert area.broken
        assert 'a print' in '\n'.join(terminal.shown())

    def test_after_the_end_nothing_is_put_off(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area = Area(sys.stderr, Clock())
        area.draw(area_lines('one'))
        area.close(['the end'])
        area.above(sys.stdout, 'a print\n')
        assert terminal.shown() == ['the end', 'a print']


def test_the_size_is_that_of_the_stream_s_own_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    monkeypatch.delenv('COLUMNS', raising=False)
    monkeypatch.delenv('LINES', raising=False)
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 77, 0, 0))
        with open(theirs, 'w', encoding='utf-8', closefd=False) as stream:
            assert terminal_size(stream) == (77, 33)
            monkeypatch.setenv('COLUMNS', '50')
            assert terminal_size(stream) == (50, 33)
    finally:
        os.close(ours)
        os.close(theirs)
    assert all(number > 0 for number in terminal_size(io.StringIO()))


# ---- streams that go above


class Test_redirection:
    def start(self, clock: Clock | None = None) -> tuple[Area, Redirection]:
        area = Area(sys.stderr, clock or Clock())
        redirection = Redirection(area)
        area.unfinished = redirection.unfinished
        area.draw(area_lines('one', 'two'))
        return area, redirection

    def test_prints_and_log_records_go_above(self, terminal: Terminal) -> None:
        terminal.plug_in()
        handler = logging.StreamHandler(sys.stderr)
        logger = logging.getLogger('tests.of.the.display')
        logger.addHandler(handler)
        old = sys.stdout, sys.stderr
        try:
            area, redirection = self.start()
            print('a print')
            logger.warning('a record')
            print('an error', file=sys.stderr, flush=True)
            assert terminal.shown() == ['a print', 'a record', 'an error', 'one', 'two']
            area.close()
            redirection.end()
            assert (sys.stdout, sys.stderr, handler.stream) == (*old, old[1])
            print('after')
            assert terminal.shown() == ['a print', 'a record', 'an error', 'after']
        finally:
            logger.removeHandler(handler)

    def test_a_line_that_is_begun_is_shown_below_until_it_is_whole(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area, redirection = self.start()
        for _ in range(3):
            print('.', end='', flush=True)
        area.tidy()
        assert terminal.shown() == ['...', 'one', 'two']
        print('a worker says', file=sys.stderr, flush=True)
        assert terminal.shown() == ['a worker says', '...', 'one', 'two']
        print(' done', flush=True)
        assert terminal.shown() == ['a worker says', '... done', 'one', 'two']
        print('and', end='')
        area.close()
        redirection.end()
        print(' more')
        assert terminal.shown() == ['a worker says', '... done', 'and more']

    def test_a_bar_of_somebody_else(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area, redirection = self.start()
        for part in range(5):
            sys.stderr.write(f'\r\x1b[32m{part} of 5\x1b[0m')
            area.tidy()
            assert terminal.shown() == [f'{part} of 5', 'one', 'two']
        area.close()
        redirection.end()

    def test_workers_do_not_write_into_a_line_that_is_begun(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area, redirection = self.start()
        print('begun', end='')
        Display().lines('a worker', stderr=False)
        area.tidy()
        assert terminal.shown() == ['a worker', 'begun', 'one', 'two']
        area.close()
        redirection.end()

    def test_a_file_is_left_alone(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal.plug_in()
        file = io.StringIO()
        monkeypatch.setattr(sys, 'stdout', file)
        area, redirection = self.start()
        assert sys.stdout is file
        print('a print')
        assert file.getvalue() == 'a print\n'
        area.close()
        redirection.end()
        assert sys.stdout is file

    def test_what_somebody_else_has_put_there_stays(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal.plug_in()
        area, redirection = self.start()
        ours, theirs = sys.stdout, io.StringIO()
        sys.stdout = theirs
        area.close()
        redirection.end()
        assert sys.stdout is theirs
        print('through what was there before', file=ours)  # it may be kept for ever
        assert terminal.shown() == ['through what was there before']

    def test_a_stand_in_is_like_the_stream(self, terminal: Terminal) -> None:
        terminal.plug_in()
        area, redirection = self.start()
        stream: Any = sys.stdout
        assert isinstance(stream, Above)
        assert stream.isatty()
        assert is_terminal(sys.stdout)
        assert stream.write('abc') == 3
        stream.writelines(['d\n', 'e\n'])
        with pytest.raises(TypeError):
            stream.write(b'bytes')  # type: ignore[arg-type]
        area.close()
        redirection.end()

    def test_in_a_forked_copy_it_is_the_stream(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """There the lock may be held by a thread that does not exist."""
        terminal.plug_in()
        area, redirection = self.start()
        with area.lock:
            monkeypatch.setattr(os, 'getpid', lambda: 1)
            thread = threading.Thread(target=lambda: print('of the copy', flush=True))
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
            monkeypatch.undo()
        redirection.end()


# ---- which screen


class Test_choice:
    def test_a_terminal(self, terminal: Terminal) -> None:
        terminal.plug_in()
        assert isinstance(choose(True, sys.stderr), TerminalScreen)
        assert isinstance(choose('line', sys.stderr), TerminalScreen)

    def test_no_terminal(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal.plug_in()
        assert isinstance(choose(True, io.StringIO()), PlainScreen)
        assert isinstance(choose(True, None), PlainScreen)
        closed = io.StringIO()
        closed.close()
        assert isinstance(choose(True, closed), PlainScreen)
        monkeypatch.setenv('TERM', 'dumb')
        assert isinstance(choose(True, sys.stderr), PlainScreen)

    def test_without_rich_it_is_one_line(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal.plug_in()
        monkeypatch.setattr('eisenmp.display.screens.installed', lambda library: False)
        screen = choose(True, sys.stderr)
        assert isinstance(screen, TerminalScreen)
        screen.update(snapshot())
        assert terminal.shown() == ['eisenmp   25 %  250/1,000 items  21/s']
        screen.end(snapshot(over=True))

    def test_tqdm_that_is_not_there_is_told_before_anything_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('eisenmp.display.display.installed', lambda library: False)
        with pytest.raises(SettingsError, match='INFO_ENABLE=.tqdm. needs tqdm'):
            Display('tqdm')

    def test_a_notebook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shell = types.SimpleNamespace(kernel=object())
        monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(get_ipython=lambda: shell))
        assert isinstance(choose(True, io.StringIO()), NotebookScreen)
        del shell.kernel  # IPython in a terminal
        assert isinstance(choose(True, io.StringIO()), PlainScreen)


# ---- screens


def test_a_job_on_a_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.plug_in()
    terminal.screen.resize(24, 100)
    sized(monkeypatch, 100, 24)
    old = sys.stdout, sys.stderr
    screen = choose(True, sys.stderr)
    screen.update(snapshot(1.0))
    print('a print')
    screen.tidy()
    assert terminal.shown()[0] == 'a print'
    assert terminal.shown()[1].startswith('eisenmp 0:01  2 of 2 workers up')
    assert len(terminal.shown()) == 8
    screen.end(snapshot(10.0, over=True))
    assert terminal.shown() == [
        'a print',
        'eisenmp   25 %  250/1,000 items  25/s  took 10 s  2 chunks failed  1 chunk set aside  1 restart',
        'eisenmp  last failure: mp_input_q_TID_17: ZeroDivisionError: division by zero',
    ]
    assert (sys.stdout, sys.stderr) == old


def test_a_line_that_is_begun_when_the_job_ends_goes_on(terminal: Terminal) -> None:
    terminal.plug_in()
    screen = choose('line', sys.stderr)
    screen.update(snapshot())
    print('begun', end='')
    screen.end(snapshot(1.0, failed=0, set_aside=0, last_failure=None, over=True, workers=0))
    print(' and ended')
    lines = terminal.shown()
    assert lines[0].startswith('eisenmp   25 %')
    assert lines[-1] == 'begun and ended'


def test_another_size_is_drawn_at_once(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.plug_in()
    screen = choose('line', sys.stderr)
    screen.update(snapshot())
    assert terminal.shown() == ['eisenmp   25 %  250/1,000 items  21/s']
    sized(monkeypatch, 20, 10)
    screen.tidy()
    assert terminal.shown() == ['eisenmp   25 %  250']
    screen.end(snapshot(over=True))


def test_two_jobs_do_not_draw_over_each_other(terminal: Terminal) -> None:
    terminal.plug_in()
    first, second = choose('line', sys.stderr), choose('line', sys.stderr)
    first.update(snapshot())
    second.update(snapshot(feeders=()))
    assert len(terminal.shown()) == 1
    second.end(snapshot(1.0, feeders=(), failed=0, set_aside=0, last_failure=None, over=True, workers=0))
    first.tidy()
    assert terminal.shown() == ['eisenmp  0 items  0/s  took 1.0 s', 'eisenmp   25 %  250/1,000 items  21/s']
    first.end(snapshot(over=True))
    third = choose('line', sys.stderr)
    third.update(snapshot())
    assert terminal.shown()[-1] == 'eisenmp   25 %  250/1,000 items  21/s'
    third.end(snapshot(over=True))


def test_a_drawing_that_fails_leaves_nothing_behind(terminal: Terminal) -> None:
    terminal.plug_in()

    class Bad(LinePainter):
        def paint(self, snapshot: Snapshot, columns: int, lines: int) -> list[Line]:
            if snapshot.seconds > 1:
                raise ZeroDivisionError('a bug of ours')
            return super().paint(snapshot, columns, lines)

    old = sys.stdout, sys.stderr
    screen = TerminalScreen(sys.stderr, lambda _: Bad())
    screen.update(snapshot(1.0))
    with pytest.raises(ZeroDivisionError):
        screen.update(snapshot(2.0))
    screen.release()
    assert terminal.shown() == []
    assert (sys.stdout, sys.stderr) == old
    assert isinstance(choose('line', sys.stderr), TerminalScreen)


def test_plain_lines() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)
    screen.update(snapshot())
    screen.tidy()
    screen.end(snapshot(20.0, over=True))
    assert [line[:40] for line in stream.getvalue().splitlines()] == [
        'eisenmp   25 %  250/1,000 items  21/s  0',
        'eisenmp   25 %  250/1,000 items  12/s  t',
        'eisenmp  last failure: mp_input_q_TID_17',
    ]


class Handle:
    """Of IPython's display: keeps what is shown in one place."""

    outputs: ClassVar[list[list[dict[str, str]]]] = []

    def __init__(self, bundle: dict[str, str]) -> None:
        self.output = [bundle]
        self.outputs.append(self.output)

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.output.append(bundle)


@pytest.mark.parametrize('rich', [True, False])
def test_a_notebook_has_one_output_that_changes(monkeypatch: pytest.MonkeyPatch, rich: bool) -> None:
    module = types.SimpleNamespace(display=lambda bundle, raw, display_id: Handle(bundle))
    monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, 'IPython.display', module)
    monkeypatch.setattr('eisenmp.display.notebook.installed', lambda library: rich)
    monkeypatch.setattr('rich.console._is_jupyter', lambda: True)
    monkeypatch.setattr(Handle, 'outputs', [])
    screen = NotebookScreen()
    for second in (1.0, 2.0, 3.0):
        screen.update(snapshot(second))
        screen.tidy()
    screen.end(snapshot(4.0, over=True))
    screen.release()
    (output,) = Handle.outputs
    assert len(output) == 4
    assert '250/1,000' in output[2]['text/plain']
    assert len(output[2]['text/plain'].splitlines()) == (7 if rich else 1)
    if rich:
        assert output[2]['text/html'].startswith('<pre')
        assert 'Process-2' in output[2]['text/html']
    assert output[3]['text/plain'].startswith('eisenmp   25 %  250/1,000 items')


def test_tqdm(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.plug_in()
    terminal.screen.resize(10, 100)
    old = sys.stdout, sys.stderr
    screen = choose('tqdm', sys.stderr)
    assert isinstance(screen, TqdmScreen)
    screen.update(snapshot(failed=0, workers=0))
    print('a print', 'of two', 'words')
    screen.tidy()
    assert terminal.shown()[0] == 'a print of two words'
    assert '250/1000' in terminal.shown()[-1]
    assert '1 chunk set aside' in terminal.shown()[-1]
    screen.end(snapshot(20.0, over=True))
    assert terminal.shown()[-1].startswith('eisenmp  last failure: mp_input_q_TID_17')
    assert (sys.stdout, sys.stderr) == old


# ---- the thread


class Recorder:
    every = 0.001

    def __init__(self) -> None:
        self.stirred = threading.Event()
        self.seen: list[Snapshot] = []
        self.ended: list[Snapshot] = []
        self.released = 0

    def update(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)

    def tidy(self) -> None:
        pass

    def end(self, snapshot: Snapshot) -> None:
        self.ended.append(snapshot)

    def release(self) -> None:
        self.released += 1


def test_a_display_shows_what_is_and_what_was_last() -> None:
    screen = Recorder()
    display = Display(True, select=lambda progress, stream: screen)
    display.start(snapshot)
    wait_until(lambda: len(screen.seen) > 2)
    display.stop()
    assert [shot.over for shot in screen.ended] == [True]
    assert not any(shot.over for shot in screen.seen)


class Slow(Recorder):
    every = 20.0

    def __init__(self) -> None:
        super().__init__()
        self.tidied = 0

    def tidy(self) -> None:
        self.tidied += 1


def test_a_screen_that_is_seldom_drawn_is_tidied_when_somebody_has_written() -> None:
    screen = Slow()
    display = Display(True, select=lambda progress, stream: screen)
    display.start(snapshot)
    time.sleep(0.3)
    assert screen.tidied == 0
    screen.stirred.set()
    wait_until(lambda: screen.tidied == 1)
    screen.stirred.set()
    wait_until(lambda: screen.tidied == 2)
    begin = time.monotonic()
    display.stop()
    assert time.monotonic() - begin < 5
    assert len(screen.ended) == 1


def test_writing_stirs_the_area(terminal: Terminal) -> None:
    area = Area(sys.stderr)
    above = Above(sys.stdout)
    above.begin(area)
    for text in ('a line\n', 'a begun', ' one', '\n'):
        area.stirred.clear()
        above.write(text)
        assert area.stirred.is_set(), text
    above.end()


def test_a_job_that_ends_without_a_word_is_noticed() -> None:
    screen = Recorder()
    display = Display(True, select=lambda progress, stream: screen)
    display.start(lambda: snapshot(over=True))
    wait_until(lambda: screen.ended)
    display.stop()
    assert screen.seen == []


def test_nothing_is_started_unasked() -> None:
    display = Display(False, select=lambda progress, stream: pytest.fail('nobody asked for it'))
    display.start(snapshot)
    display.stop()


@pytest.mark.parametrize('where', ['select', 'update', 'end'])
def test_what_goes_wrong_is_told_once_and_spoils_nothing(where: str, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Recorder):
        def fail(self, *_: object) -> Any:
            raise ZeroDivisionError('a bug of ours')

    screen = Bad()
    if where != 'select':
        setattr(screen, where, screen.fail)
    display = Display(True, select=screen.fail if where == 'select' else lambda progress, stream: screen)
    display.start(snapshot)
    wait_until(lambda: screen.seen or caplog.records)
    display.stop()
    assert [record.getMessage() for record in caplog.records] == [
        'progress is not shown any more: ZeroDivisionError: a bug of ours'
    ]
    assert screen.released == (where != 'select')


def test_a_terminal_that_takes_nothing_holds_no_job_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-S, or a connection that hangs."""
    monkeypatch.setattr('eisenmp.display.display._PATIENCE', 0.05)
    go_on = threading.Event()

    class Stuck(Recorder):
        def update(self, snapshot: Snapshot) -> None:
            super().update(snapshot)
            go_on.wait(20)

    screen = Stuck()
    display = Display(True, select=lambda progress, stream: screen)
    display.start(snapshot)
    wait_until(lambda: screen.seen)
    display.stop()
    assert screen.released == 1
    go_on.set()
    wait_until(lambda: screen.ended)


def test_drawing_that_takes_long_is_done_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('eisenmp.display.display._SELDOM', 0.2)

    class Slow(Recorder):
        times: ClassVar[list[float]] = []

        def update(self, snapshot: Snapshot) -> None:
            import time

            super().update(snapshot)
            self.times.append(time.monotonic())
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass

    screen = Slow()
    display = Display(True, select=lambda progress, stream: screen)
    display.start(snapshot)
    wait_until(lambda: len(screen.times) > 3)
    display.stop()
    pauses = [later - sooner for sooner, later in zip(screen.times[1:], screen.times[2:], strict=False)]
    assert min(pauses) >= 0.2


def test_a_callback() -> None:
    seen: list[Snapshot] = []
    screen = choose(seen.append, sys.stderr)
    assert isinstance(screen, CallbackScreen)
    screen.update(snapshot(1.0))
    screen.tidy()
    screen.end(snapshot(2.0, over=True))
    screen.release()
    assert [(shot.seconds, shot.over) for shot in seen] == [(1.0, False), (2.0, True)]
