"""What the user sees while a job runs: the line of progress, news, and what workers say."""

import logging
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import eisenmp
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
    import eisenmp, eisenmp.display.line

    eisenmp.display.line._REDRAW = 0.01
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
              NUM_ROWS=10, INFO_ENABLE=True, stops=(0, 500, 900))
    emp.run_q_feeder(generator=(n for n in range(1000)), total=TOTAL)
    for stop in (0, 500, 900):
        assert say.get(timeout=20) == stop
        deadline = time.monotonic() + 20
        while sys.stderr.isatty() and not any(f'{stop:,}' in text for text in drawn) and time.monotonic() < deadline:
            time.sleep(0.005)
        if stop == 500:
            emp.mp_print_q.put('a line of the manager')
        gate.put(1)
    emp.wait(20)
"""


def _on_terminal(folder: Path, text: str, columns: int) -> str:
    """Run a script whose standard output and error are a terminal; return what it shows."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    env = {key: value for key, value in script_env().items() if key not in ('COLUMNS', 'LINES')}
    command = [sys.executable, '-W', 'error', write(folder, text, 'script.py')]
    shown = b''
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as script:
        os.close(theirs)
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # Linux says so when the other side is closed
        finally:
            os.close(ours)
        assert script.wait(ALARM) == 0, shown.decode()
    return shown.decode()


def test_a_terminal_shows_one_line_that_is_redrawn(tmp_path: Path) -> None:
    write(tmp_path, WORKER)
    shown = _on_terminal(tmp_path, 'TOTAL = 1000\n' + textwrap.dedent(SCRIPT), columns=100)
    assert shown.count('\r\x1b[K') >= 9
    states = [piece for piece in shown.split('\r\x1b[K') if 'items' in piece]
    percents = [int(found.group(1)) for piece in states if (found := re.search(r'(\d+) %', piece))]
    assert percents == sorted(percents)
    assert {0, 50, 90, 100} <= set(percents)
    assert '500/1,000 items' in shown
    assert '1,000/1,000 items' in states[-1]
    assert shown.endswith('\n')
    assert all(len(piece.splitlines()[0]) < 100 for piece in states)
    # a line that is printed meanwhile stands on its own
    assert re.search(r'(\n|\x1b\[K)a line of the manager\r?\n', shown)
    lasting = [line.rsplit('\r\x1b[K', 1)[-1].strip() for line in shown.split('\n') if line.strip()]
    assert [line for line in lasting if 'items' not in line] == ['a line of the manager']
    assert len(lasting) == 2


def test_a_narrow_terminal_never_wraps(tmp_path: Path) -> None:
    write(tmp_path, WORKER)
    shown = _on_terminal(tmp_path, 'TOTAL = None\n' + textwrap.dedent(SCRIPT), columns=30)
    for piece in shown.split('\r\x1b[K'):
        assert len(piece.split('\n')[0].strip('\r')) < 30


@pytest.mark.parametrize('total', ['1000', 'None'])
def test_elsewhere_there_are_plain_lines(tmp_path: Path, total: str) -> None:
    write(tmp_path, WORKER)
    done = run_script(tmp_path, f'TOTAL = {total}\n' + textwrap.dedent(SCRIPT))
    assert done.stdout == 'a line of the manager\n'
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
    assert '2 tickets failed' in capsys.readouterr().err


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
