"""What the user sees while a job runs: the line of progress, news, and what workers say."""

import codecs
import fcntl
import logging
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

import eisenmp
from eisenmp.events import Snapshot
from tests.support import ALARM, Lab, run_script, script_env, wait_until, write

WORKER = """
    def entry(rows, toolbox):
        if rows[0] in toolbox.stops:
            toolbox.say.put(rows[0])
            toolbox.gate.get()
        return sum(rows)
"""

# Stops at a few places until the display has been drawn meanwhile, however slow the machine is.
SCRIPT = """
    import sys, time
    import eisenmp
    from eisenmp.display.screens import TerminalScreen

    TerminalScreen.every = 0.01
    drawn = []

    class Counting:
        def __init__(self, stream):
            self.stream = stream
        def write(self, text):
            drawn.append(text)
            return self.stream.write(text)
        def __getattr__(self, name):
            return getattr(self.stream, name)

    sys.stderr = Counting(sys.stderr)
    emp = eisenmp.Mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=1,
              NUM_ROWS=10, INFO_ENABLE=HOW, stops=(0, 500, 900))
    emp.run_q_feeder(generator=(n for n in range(1000)), total=TOTAL)
    for stop in (0, 500, 900):
        assert say.get(timeout=20) == stop
        deadline = time.monotonic() + 20
        while sys.__stderr__.isatty() and not any(f'{stop:,}' in text for text in drawn):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if stop == 500:
            emp.mp_print_q.put('a line of the manager')
        gate.put(1)
    emp.wait(20)
    print('rich' in sys.modules)
"""


class OnTerminal:
    """A script whose standard output and error are a terminal, and what it has shown there so far.

    Args:
        folder: where it runs.
        text: the script; or the command, whose standard input is the terminal as well.
        columns: of the terminal.
        lines: of the terminal.
        more: for its environment.
    """

    def __init__(self, folder: Path, text: str | list[str], columns: int = 100, lines: int = 24, **more: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
        env = {key: value for key, value in script_env().items() if key not in ('COLUMNS', 'LINES', 'NO_COLOR')}
        command = text
        if isinstance(text, str):
            command = [sys.executable, '-W', 'error', write(folder, text, 'script.py')]
        stdin = subprocess.DEVNULL if isinstance(text, str) else theirs
        self.process = subprocess.Popen(
            command, cwd=folder, env={**env, 'TERM': 'xterm', **more}, stdin=stdin, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.text = ''
        self._wanted: set[str] = set()
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self._stream = pyte.Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder('utf-8')()

    def read(self) -> bool:
        """Show what has come. False: nothing will come any more."""
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            piece = b''
        text = self._decoder.decode(piece)
        self.text += text
        for drawing in re.split(r'(?<=\x1b\[J)', text):
            self._stream.feed(drawing)
            lines = self.shown() if self._wanted else []
            self._wanted = {wanted for wanted in self._wanted if not any(re.search(wanted, line) for line in lines)}
        return bool(piece)

    def until(self, *patterns: str) -> None:
        """Read until each of them has stood on the screen."""
        self._wanted = set(patterns)
        while self._wanted:
            assert self.read(), (self._wanted, self.shown())

    def shown(self) -> list[str]:
        """The lines on the screen and those that were scrolled away."""
        rows = self._screen.history.top
        gone = [''.join(row[x].data for x in range(self._screen.columns)).rstrip() for row in rows]
        lines = gone + [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def end(self, code: int = 0) -> list[str]:
        """Read to the end; what stands there then."""
        while self.read():
            pass
        assert self.process.wait(ALARM) == code, self.shown()
        return self.shown()

    def type(self, keys: str) -> None:
        """Somebody presses these keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Somebody makes the window larger or smaller."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def waits_for_enter(self) -> bool:
        """Whether the terminal gives what is typed line by line, as it does before and after."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ICANON)

    def hang_up(self) -> None:
        """The terminal is gone."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def clear_away(self) -> None:
        """Nothing is left of it."""
        self.process.kill()
        self.process.wait(ALARM)
        self.hang_up()


Run = Callable[..., OnTerminal]


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[Run]:
    """Starts scripts on terminals."""
    scripts: list[OnTerminal] = []

    def run(text: str, **more: Any) -> OnTerminal:
        scripts.append(OnTerminal(tmp_path, text, **more))
        return scripts[-1]

    yield run
    for script in scripts:
        script.clear_away()


def test_without_rich_a_terminal_shows_one_line_that_is_redrawn(tmp_path: Path, on_terminal: Run) -> None:
    write(tmp_path, WORKER)
    script = on_terminal("TOTAL, HOW = 1000, 'line'\n" + textwrap.dedent(SCRIPT))
    percents: list[int] = []
    while script.read():
        states = [line for line in script.shown() if 'items' in line]
        assert len(states) <= 1
        percents += [int(found.group(1)) for line in states if (found := re.search(r'(\d+) %', line))]
    assert percents == sorted(percents)
    assert {0, 50, 100} <= set(percents)  # a busy machine may draw less often in between
    line, last, rich = script.end()
    assert line == 'a line of the manager'
    assert '100 %  1,000/1,000 items' in last
    assert rich == 'False'


def test_a_terminal_shows_feeders_workers_and_queues(tmp_path: Path, on_terminal: Run) -> None:
    write(tmp_path, WORKER)
    script = on_terminal('TOTAL, HOW = 1000, True\n' + textwrap.dedent(SCRIPT), columns=100)
    script.until(r'500/1,000', r'Process-1 +working +_TID_50 .*MiB', r'queues +mp_input_q \d+/\d+')
    line, last, rich = script.end()
    assert line == 'a line of the manager'
    assert re.match(r'eisenmp  100 %  1,000/1,000 items .* took ', last)
    assert rich == 'True'
    assert '\x1b[?25l' not in script.text, 'the cursor is never hidden'


@pytest.mark.parametrize('how', ["'line'", 'True'])
def test_a_narrow_terminal_never_wraps(tmp_path: Path, on_terminal: Run, how: str) -> None:
    write(tmp_path, WORKER)
    script = on_terminal(f'TOTAL, HOW = None, {how}\n' + textwrap.dedent(SCRIPT), columns=30)
    drawn = 7 if how == 'True' else 1
    while script.read():
        if 'took' not in script.text:
            assert len(script.shown()) <= drawn + 3, 'the line of the manager, which may be wrapped, and the drawing'
    script.end()


def test_nothing_that_is_printed_is_torn_or_lost(tmp_path: Path, on_terminal: Run) -> None:
    """By workers on both streams, by their loggers, by the manager's main thread and its logger, all at once."""
    write(
        tmp_path,
        """
        import logging, sys

        def entry(rows):
            for row in rows:
                print('worker row', row)
                print('worker error', row, file=sys.stderr)
                logging.getLogger('of.the.worker').warning('worker record %d', row)
            return sum(rows)
        """,
    )
    script = on_terminal(
        """
        import logging, sys, time
        import eisenmp
        from eisenmp.display.redirect import Above
        from eisenmp.display.screens import TerminalScreen

        TerminalScreen.every = 0.01
        logging.basicConfig(format='%(message)s')
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=2,
                  NUM_ROWS=5, INFO_ENABLE=True)
        def numbers():
            for n in range(300):
                time.sleep(0.001)
                yield n
        emp.feed(numbers())
        while not isinstance(sys.stdout, Above):  # a print that is under way when it begins may be torn
            time.sleep(0.001)
        for n in range(300):
            print('main', end=' ')
            print('row', n)
            logging.warning('main record %d', n)
            time.sleep(0.001)
        emp.wait()
        print('after')
        """,
    )
    lines = script.end()
    wanted = {'worker row', 'worker error', 'worker record', 'main row', 'main record'}
    assert [line for line in lines if not re.fullmatch(r'(\w+ \w+) \d+', line)] == [
        next(line for line in lines if line.startswith('eisenmp  100 %')), 'after'
    ]  # fmt: skip
    for words in wanted:
        numbers = [int(line.rsplit(' ', 1)[1]) for line in lines if line.startswith(words + ' ')]
        assert sorted(numbers) == list(range(300)), words
        if words.startswith('main'):
            assert numbers == sorted(numbers)


def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path, on_terminal: Run) -> None:
    write(tmp_path, 'import time\ndef entry(rows):\n    time.sleep(0.05)\n    return rows\n')
    script = on_terminal(
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=2,
                  NUM_ROWS=5, INFO_ENABLE=True)
        emp.feed(n for n in range(10**9))
        emp.wait()
        """,
    )
    script.until('Process-2 +working')
    os.killpg(script.process.pid, signal.SIGINT)  # as a terminal does
    lines = script.end(code=130 if sys.platform == 'win32' else -signal.SIGINT)
    assert len(lines) <= 5
    assert re.match(r'eisenmp .* items .* took', lines[0])
    assert 'Process-2' not in '\n'.join(lines)
    assert lines[1].startswith('KeyboardInterrupt')


def test_a_worker_that_dies_and_one_that_fails_are_seen(tmp_path: Path, on_terminal: Run) -> None:
    write(
        tmp_path,
        """
        import os, signal, time

        def entry(rows):
            if rows[0] == 20 and not os.path.exists('died'):
                open('died', 'w').close()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.02)
            return 1 / (rows[0] - 10)
        """,
    )
    script = on_terminal(
        """
        import eisenmp
        from eisenmp.display.screens import TerminalScreen

        TerminalScreen.every = 0.01
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=1,
                  NUM_ROWS=1, INFO_ENABLE=True, ON_ERROR='skip')
        emp.feed(n for n in range(100))
        emp.wait()
        """,
    )
    script.until(
        r'1 of 1 workers up  1 restart  1 chunk failed',
        r'last failure mp_input_q_TID_10: ZeroDivisionError: division by zero',
    )
    assert script.end() == [
        'Process-1 died with signal SIGKILL; it is replaced',
        next(line for line in script.shown() if line.startswith('eisenmp  100 %')),
        'eisenmp  last failure: mp_input_q_TID_10: ZeroDivisionError: division by zero',
    ]


def test_a_terminal_that_goes_away_spoils_no_job(tmp_path: Path, on_terminal: Run) -> None:
    """The connection breaks (ssh, say): the work is done all the same."""
    write(tmp_path, 'import time\ndef entry(rows):\n    print(rows)\n    time.sleep(0.02)\n    return sum(rows)\n')
    script = on_terminal(
        """
        import signal
        import eisenmp
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=2,
                  NUM_ROWS=1, INFO_ENABLE=True, RESULTS_STORE=True)
        emp.feed(range(100))
        with open('result', 'w') as file:
            print(sum(emp.wait(20)['mp_input_q'].values()), file=file)
        import os
        os._exit(0)
        """,
    )
    script.until('Process-2 +working')
    script.hang_up()
    assert script.process.wait(ALARM) == 0
    assert (tmp_path / 'result').read_text() == '4950\n'


def test_a_file_for_standard_output_gets_what_is_printed_and_nothing_else(tmp_path: Path, on_terminal: Run) -> None:
    write(
        tmp_path,
        "import time\ndef entry(rows):\n    print('worker', *rows)\n    time.sleep(0.1)\n    return sum(rows)\n",
    )
    script = on_terminal(
        """
        import sys
        import eisenmp
        sys.stdout = open('output', 'w')
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=1,
                  NUM_ROWS=1, INFO_ENABLE=True)
        emp.feed(range(8))
        emp.wait(20)
        sys.stdout.close()
        sys.stdout = sys.__stdout__
        """,
    )
    script.until('Process-1 +working')
    (last,) = script.end()
    assert '8/8 items' in last
    assert (tmp_path / 'output').read_text() == ''.join(f'worker {n}\n' for n in range(8))


@pytest.mark.parametrize('start_method', ['spawn', 'forkserver', 'fork'])
def test_no_worker_imports_rich(tmp_path: Path, on_terminal: Run, start_method: str) -> None:
    """Not even one that is forked while the manager draws? That one has what the manager has; but it draws nothing."""
    write(
        tmp_path,
        """
        import sys, time

        def entry(rows):
            time.sleep(0.1)
            print('rich' in sys.modules, sys.stdout.isatty())
            return sum(rows)
        """,
    )
    script = on_terminal(
        f"""
        import warnings
        warnings.simplefilter('ignore', DeprecationWarning)  # a fork beside threads
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=1,
                  NUM_ROWS=1, INFO_ENABLE=True, START_METHOD='{start_method}')
        emp.feed(range(6))
        emp.wait(20)
        """,
    )
    script.until('Process-1 +working')
    assert script.end()[:-1] == ['False False'] * 6


def test_a_function_as_display(lab: Lab) -> None:
    seen: list[Snapshot] = []
    emp = lab.mp()
    lab.start(emp, 'import time\ndef entry(rows):\n    time.sleep(0.05)\n', WORKER_CALL='chunk', NUM_ROWS=1,
              INFO_ENABLE=seen.append)  # fmt: skip
    emp.feed(range(20), total=20)
    emp.wait(ALARM)
    assert [shot.over for shot in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].feeders[0].done == 20
    assert len(seen) > 1


def test_what_a_snapshot_tells(lab: Lab) -> None:
    emp = lab.mp()
    gate = emp.add_queue('gate', 2)
    worker = """
        def entry(rows, toolbox):
            if rows[0] == 3:
                raise ValueError('row 3')
            if rows[0] == 5:
                toolbox.gate.get()
    """
    lab.start(emp, worker, WORKER_CALL='chunk', NUM_ROWS=1, NUM_PROCS=1, ON_ERROR='skip', BUFFER_CHUNKS=4)
    emp.feed((n for n in range(50)), total=50)
    wait_until(lambda: emp.snapshot().workers[0].at == 'mp_input_q (default)_TID_5')
    wait_until(lambda: emp.snapshot().queues[0].under_way == 4)
    shot = emp.snapshot()
    assert shot.workers[0].oldest_seconds >= 0
    assert (shot.queues[0].window, shot.failed) == (4, 1)
    assert shot.last_failure is not None
    assert (shot.last_failure.queue, shot.last_failure.ticket) == ('mp_input_q (default)', 3)
    assert repr(shot.last_failure.open()) == "ValueError('row 3')"
    gate.put(1)
    emp.wait(ALARM)


def test_a_job_that_is_broken_off_is_not_at_100_percent(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(rows, toolbox):\n    if rows[0] == 9: toolbox.stop_job(1)\n', WORKER_CALL='chunk',
              NUM_ROWS=1, NUM_PROCS=1)  # fmt: skip
    emp.feed(range(1_000_000))
    emp.wait(ALARM)
    (fed,) = emp.snapshot().feeders
    assert (fed.total, fed.finished) == (1_000_000, False)


def test_items_that_fail_are_told_of() -> None:
    """In the short forms an item fails, not its chunk."""
    seen: list[Snapshot] = []

    def odd(number: int) -> float:
        return 1 / (number % 10)

    with eisenmp.imap(odd, range(40), chunksize=10, on_error='skip', max_workers=1, progress=seen.append) as results:
        assert len(list(results)) == 36
    wait_until(lambda: seen and seen[-1].over)
    assert (seen[-1].failed, seen[-1].partly_failed) == (0, 4)
    assert seen[-1].last_failure is not None
    assert repr(seen[-1].last_failure.open()) == "ZeroDivisionError('division by zero')"


@pytest.mark.parametrize('total', ['1000', 'None'])
def test_elsewhere_there_are_plain_lines(tmp_path: Path, total: str) -> None:
    write(tmp_path, WORKER)
    done = run_script(tmp_path, f'TOTAL, HOW = {total}, True\n' + textwrap.dedent(SCRIPT))
    assert done.stdout == 'a line of the manager\nFalse\n', 'without a terminal nobody needs rich'
    assert '\x1b' not in done.stderr
    assert '\r' not in done.stderr
    (line,) = done.stderr.splitlines()
    assert '1,000/1,000 items' in line
    assert '100 %' in line


def test_rows_that_workers_report_count(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    worker = """
        def entry(toolbox):
            chunk = toolbox.port_q.get()
            toolbox.mp_info_q.put([toolbox.PERF_HEADER_ETA + 'recorder', 250])
            return False
    """
    emp = lab.mp()
    emp.add_queue('port_q')
    lab.start(emp, worker, NUM_PROCS=2, NUM_ROWS=1, INFO_ENABLE=True, INFO_THREAD_MAX=1000)
    emp.feed([8001, 8002], 'port_q')
    emp.wait(ALARM)
    err = capsys.readouterr().err
    assert '500/1,000 items' in err
    assert '50 %' in err


def test_failures_and_restarts_are_shown(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return 1 / rows[0]\n', WORKER_CALL='chunk', NUM_ROWS=1, ON_ERROR='skip',
              INFO_ENABLE=True)  # fmt: skip
    emp.feed([1, 0, 2, 0])
    emp.wait(ALARM)
    assert '2 chunks failed' in capsys.readouterr().err


def test_a_worker_that_waits_for_a_queue_nobody_feeds(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('eisenmp.tickets._NAME_AFTER', 0.05)
    worker = """
        def entry(toolbox):
            toolbox.batch_1['video_in'].get()
            return toolbox.touched.get()
    """
    emp = lab.mp()
    emp.queue_cust_dict_category_create(('batch_1', 'video_in', 1), ('batch_1', 'audio_lg', 1))
    touched = emp.add_queue('touched')
    lab.start(emp, worker, NUM_PROCS=2)
    wait_until(lambda: 'batch_1|video_in' in caplog.text)
    with pytest.raises(TimeoutError):
        emp.wait(0.15)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, 'once is enough'
    assert re.search(r"Process-\d has waited .* queue 'batch_1\|video_in', which nobody feeds", said[0])
    assert caplog.records[0].levelname == 'WARNING'
    for _ in range(2):
        emp.queues['batch_1', 'video_in'].put('something')
        touched.put(False)
    emp.wait(ALARM)


def test_a_plain_worker_without_any_feeder(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('eisenmp.tickets._NAME_AFTER', 0.05)
    emp = lab.mp()
    lab.start(emp, 'entry = sum\n', WORKER_CALL='chunk')
    wait_until(lambda: 'feeder' in caplog.text)
    emp.feed([1])
    emp.wait(ALARM)


def test_a_queue_that_is_fed_slowly_is_no_news(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('eisenmp.tickets._NAME_AFTER', 0.02)
    worker = """
        def entry(toolbox):
            toolbox.by_hand.get()
            return toolbox.by_hand.get()
    """
    emp = lab.mp()
    by_hand = emp.add_queue('by_hand')
    by_hand.put(1)
    lab.start(emp, worker)
    with pytest.raises(TimeoutError):
        emp.wait(0.3)
    by_hand.put(False)
    emp.wait(ALARM)
    assert caplog.records == []


def test_news_of_a_script_without_logging_set_up(tmp_path: Path) -> None:
    """Warnings reach standard error through logging's last resort; standard output stays the user's."""
    write(tmp_path, 'def entry(toolbox):\n    toolbox.mp_input_q.get()\n    return False\n')
    done = run_script(
        tmp_path,
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1, NUM_ROWS=1)
        emp.feed(range(50))
        emp.wait(20)
        """,
    )
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert re.match(r'\d+ chunks \(\d+ items\) were never read', line)


def test_a_logging_handler_that_raises_spoils_no_work(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError('the log server is down')

    handler = Broken()
    logger = logging.getLogger('of.the.worker')
    logger.addHandler(handler)
    logger.propagate = False
    try:
        worker = """
            import logging

            def entry(rows):
                logging.getLogger('of.the.worker').warning('hello')
                return sum(rows)
        """
        assert lab.run(worker, range(20), WORKER_CALL='chunk')['mp_input_q'].values() == [45, 145]
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def test_an_output_that_cannot_say_everything(tmp_path: Path) -> None:
    """A terminal of another language: what cannot be encoded costs that text at most."""
    write(tmp_path, "def entry(rows):\n    print('grün')\n    print('plain')\n    return sum(rows)\n")
    done = run_script(
        tmp_path,
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1, WORKER_CALL='chunk',
                  RESULTS_STORE=True)
        emp.feed([1, 2])
        print(emp.wait(20)['mp_input_q'].values())
        """,
        env=script_env(PYTHONIOENCODING='ascii'),
    )
    assert 'plain' in done.stdout
    assert done.stdout.endswith('[3]\n')


def test_a_reader_of_the_output_that_leaves(tmp_path: Path) -> None:
    """`script.py | head -1`: the work goes on, and one line says what is lost."""
    write(tmp_path, "def entry(rows):\n    print('x' * 50_000)\n    return sum(rows)\n")
    write(
        tmp_path,
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1, WORKER_CALL='chunk',
                  NUM_ROWS=1, RESULTS_STORE=True)
        emp.feed(range(100))
        with open('result', 'w') as file:
            print(sum(emp.wait(20)['mp_input_q'].values()), file=file)
        """,
        'script.py',
    )
    shell = f'{sys.executable} -W error script.py | head -c 10'
    done = subprocess.run(
        ['sh', '-c', shell], cwd=tmp_path, env=script_env(), timeout=ALARM, check=False, capture_output=True, text=True
    )
    assert done.stdout == 'x' * 10
    wait_until((tmp_path / 'result').exists)
    wait_until(lambda: (tmp_path / 'result').read_text() == '4950\n')
    assert 'Traceback' not in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_the_printing_settings(tmp_path: Path) -> None:
    write(tmp_path, 'def entry(rows): return 1 / rows[0]\n')
    done = run_script(
        tmp_path,
        """
        import eisenmp
        emp = eisenmp.Mp()
        emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], NUM_PROCS=1, WORKER_CALL='chunk',
                  NUM_ROWS=1, RESULTS_PRINT=True, RESULTS_DICT_PRINT=True, RESULT_LABEL='my label', ON_ERROR='skip')
        emp.feed([4, 0, 2])
        emp.wait(20)
        print('after')
        """,
    )
    lines = done.stdout.splitlines()
    assert 'my label' in lines[0]
    assert '_TID_0' in lines[1]
    assert '0.25' in lines[1]
    assert 'ZeroDivisionError: division by zero' in lines[2]
    assert "{'mp_input_q (default)': [(0, 0.25), (2, 0.5)]}" in lines
    assert lines[-1] == 'after', 'what is printed at the end is printed before wait returns'
    assert eisenmp.Mp().results.summary() == 'no tickets'
