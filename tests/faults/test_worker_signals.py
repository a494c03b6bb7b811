"""Signals to a worker whose code has handlers for them: each is heard soon, however the worker was made."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ALARM, FORKS, Lab

pytestmark = FORKS

SIGNALS = 100

WORKER = """
    import os
    import signal
    import time

    HEARD = []

    def entry(rows, toolbox):
        signal.signal(signal.SIGUSR1, lambda *_: HEARD.append(time.monotonic()))
        toolbox.news.put(os.getpid())
        told = 0
        while told < rows[0]:
            sum(range(5000))  # a signal may come meanwhile, too
            time.sleep(0.0005)
            if len(HEARD) > told:
                told = len(HEARD)
                toolbox.news.put(told)
        return told
"""


@pytest.fixture(params=['spawn', 'forkserver', 'fork'])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


def test_handlers_run_soon_after_their_signals(lab: Lab) -> None:
    emp = lab.mp()
    news = emp.add_queue('news')
    lab.start(emp, WORKER, NUM_PROCS=1, NUM_ROWS=1, WORKER_CALL='chunk', RESULTS_STORE=True)
    emp.feed([SIGNALS])
    pid = news.get(timeout=ALARM)
    for n in range(SIGNALS):
        time.sleep(0.0001 * (n % 13))
        os.kill(pid, signal.SIGUSR1)
        assert news.get(timeout=2.0) == n + 1
    assert emp.wait(ALARM)['mp_input_q'].values() == [SIGNALS]
