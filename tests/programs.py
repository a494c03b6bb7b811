"""Programs in a session of their own, as a terminal would start them: what a signal does to them and their workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.support import ALARM, script_env, strict, wait_until, write

__all__ = ['METHODS', 'WORKERS', 'Program']

METHODS: Final = ('spawn', 'forkserver', 'fork')

# Worker functions of all styles; each takes a moment for a chunk, so that there is always one at work.
WORKERS: Final = """
    import time

    def plain(rows):
        time.sleep(0.01)
        return len(rows)

    def classic(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in rows:
            return False
        time.sleep(0.01)
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, len(rows)])
        return True
"""

_HEAD: Final = """
    import itertools, os, signal, sys, threading, time
    import eisenmp

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have it ignored
    METHOD = {method!r}
    STYLE = {style!r}

    def here():
        print('here', flush=True)

    def slow(item):
        time.sleep(0.01)
        return item

    def started(emp=None, **settings):
        emp = emp or eisenmp.Mp()
        modules = [{{'WORKER_PATH': 'worker.py', 'WORKER_REF': STYLE}}]
        own = dict(worker_modules=modules, NUM_PROCS=2, NUM_ROWS=1, START_METHOD=METHOD, RESULTS_STORE=True)
        own['WORKER_CALL'] = 'chunk' if STYLE == 'plain' else 'toolbox'
        emp.start(**{{**own, **settings}})
        return emp

    def endless(at=10, then=lambda: None):
        for item in itertools.count():
            if item == at:
                here()
                then()
            yield item
"""


class Program:
    """A program that says ``here`` where a test is to act.

    Args:
        folder: where it runs; ``worker.py`` is written there.
        text: what it does, after the imports and helpers above.
        method: of starting workers.
        style: name of the worker function that ``started`` uses.
        worker: text of the worker file.
    """

    def __init__(self, folder: Path, text: str, method: str, style: str = 'plain', worker: str = WORKERS) -> None:
        write(folder, worker)
        head = textwrap.dedent(_HEAD).format(method=method, style=style)
        script = write(folder, head + textwrap.dedent(text), 'script.py')
        self.process = subprocess.Popen(
            [sys.executable, *strict(method), script],
            cwd=folder,
            env=script_env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out = ''
        self.err = ''

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        for pid in self.members():  # of a test that has failed
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def members(self) -> list[int]:
        """All living processes of its session: itself, workers, the template, and what those have started."""
        found = []
        for name in os.listdir('/proc'):
            if name.isdigit():
                try:
                    stat = Path('/proc', name, 'stat').read_text().rpartition(')')[2].split()
                except OSError:
                    continue
                if int(stat[3]) == self.process.pid and stat[0] not in 'ZX':
                    found.append(int(name))
        return found

    def says(self, line: str = 'here') -> str:
        """Wait for a line that begins so."""
        assert self.process.stdout is not None
        got = self.process.stdout.readline()
        if not got.startswith(line):
            self.process.kill()
            out, err = self.process.communicate(timeout=ALARM)
            raise AssertionError(f'not {line!r} but {got!r}\n{out}\n{err}')
        return got

    def tell(self) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def workers(self, least: int = 2) -> list[int]:
        """The processes beside the program itself; waits until there are so many."""
        wait_until(lambda: len(self.members()) > least, 'processes of workers')
        return [pid for pid in self.members() if pid != self.process.pid]

    def ctrl_c(self) -> None:
        """As the terminal sends it: to all of them."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self) -> float:
        """Wait until all of its processes are gone; how long that took."""
        began = time.monotonic()
        self.out, self.err = self.process.communicate(timeout=ALARM)
        wait_until(lambda: not self.members(), 'the end of all processes')
        return time.monotonic() - began
