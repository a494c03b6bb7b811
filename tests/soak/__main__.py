"""Jobs of many tickets, one after the other, with each start method in turn, under a random fault every 200 ms.

Checks that every ticket has one outcome, that the sum is that of a plain loop, that no process, open file or shared
memory is left, and that the manager's memory is flat. What is random comes from the seed; moments are the clock's.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import logging
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import psutil

import eisenmp
from eisenmp.listen import WorkerView
from tests.soak.worker import value

METHODS: Final = ('spawn', 'forkserver', 'fork')
STYLES: Final = {'classic': 'toolbox', 'plain': 'item'}
LOAD: Final = bytes(300_000)  # of some items: goes through shared memory
PATIENCE: Final = 90.0  # seconds that a job may take longer than it was given: an alarm for deadlocks
OTHERS: Final = 20.0  # seconds that what other programs share may be there
RESUME_AFTER: Final = 1.0  # seconds after which a stopped worker that holds no ticket, and so was not killed, goes on
MAX_GROWTH: Final = 32 << 20  # bytes resident, from the end of the first job of a kind to the end of any later one


def items(tickets: int, until: float) -> Iterator[tuple[int, bytes]]:
    """One for each ticket, as long as there is time."""
    for n in range(tickets):
        if time.monotonic() > until:
            return
        yield n, LOAD if n % 500 == 499 else b''


@dataclass
class Left:
    """What must not grow from job to job."""

    processes: list[int]
    files: int
    shared: list[str]
    mapped: int

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        shm = Path('/dev/shm')
        return cls(
            [child.pid for child in psutil.Process().children(recursive=True)],
            len(os.listdir('/proc/self/fd')),
            sorted(os.listdir(shm)) if shm.is_dir() else [],
            Path('/proc/self/maps').read_text().count('memfd:'),
        )

    def settled(self, before: Left) -> bool:
        """Whether it is what was there before. New names in /dev/shm may be of other programs: those go again."""
        if (self.processes, self.files, self.mapped) != (before.processes, before.files, before.mapped):
            return False
        new, deadline = set(self.shared) - set(before.shared), time.monotonic() + OTHERS
        while new and time.monotonic() < deadline:
            time.sleep(0.1)
            new &= set(os.listdir('/dev/shm'))
        return not new


class Saboteur:
    """Brings a random fault over the workers of a job, again and again, until it is closed."""

    def __init__(self, emp: eisenmp.Mp, method: str, wishes: Path, chance: random.Random, every: float) -> None:
        self.struck: Counter[str] = Counter()
        self._emp = emp
        self._wishes = wishes
        self._chance = chance
        self._every = every
        self._stopped: dict[int, float] = {}
        self._faults = ['SIGKILL', 'SIGSEGV', 'SIGSTOP', 'SIGTERM', '_exit', 'raise', 'unpicklable', 'all at once']
        if method == 'forkserver':
            self._faults.append('template')
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name='saboteur')
        self._thread.start()

    def close(self) -> None:
        """No more of it."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # somebody has just died anyway
                self._strike(self._chance.choice(self._faults))
            self._resume()

    def _strike(self, fault: str) -> None:
        workers = self._emp.snapshot().workers
        up = [view for view in workers if view.phase == 'up' and view.pid]
        if not up or (fault == 'template' and len(up) < len(workers)):
            return  # three failed starts in a row end a job, as they should
        if fault in ('_exit', 'raise', 'unpicklable'):
            (self._wishes / fault).touch()
        elif fault == 'all at once':
            for view in up:
                os.kill(view.pid, signal.SIGKILL)
        elif fault == 'template':
            os.kill(psutil.Process(up[0].pid).ppid(), signal.SIGKILL)
        else:
            self._signal(fault, self._chance.choice(up))
        self.struck[fault] += 1

    def _signal(self, fault: str, view: WorkerView) -> None:
        if fault == 'SIGSTOP':
            self._stopped[view.pid] = time.monotonic()
        os.kill(view.pid, signal.Signals[fault])

    def _resume(self) -> None:
        for pid, since in list(self._stopped.items()):
            if time.monotonic() - since > RESUME_AFTER:
                del self._stopped[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@dataclass
class Plan:
    """What was asked for."""

    tickets: int
    every: float
    chance: random.Random
    resident: dict[str, int] = field(default_factory=dict)  # at the end of the first job of each kind


def run_job(plan: Plan, method: str, style: str, until: float) -> list[str]:
    """One job, that is fed until then at most; what was wrong."""
    before, began = Left.now(), time.monotonic()
    faulthandler.dump_traceback_later(until - began + PATIENCE, exit=True)
    seen, total = bytearray(plan.tickets), 0
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as wishes:
        emp = eisenmp.Mp()
        outcomes = emp.results.outcomes()
        emp.feed(items(plan.tickets, until))
        emp.start(
            worker_modules=[{'WORKER_PATH': str(Path(__file__).with_name('worker.py')), 'WORKER_REF': style}],
            START_METHOD=method,
            WORKER_CALL=STYLES[style],
            NUM_PROCS=2,
            NUM_ROWS=1,
            CRASH_RETRIES=1000,
            RETRIES=1000,
            CHUNK_TIMEOUT=0.5,
            wishes=wishes,
        )
        saboteur = Saboteur(emp, method, Path(wishes), plan.chance, plan.every)
        try:
            for outcome in outcomes:
                seen[outcome.ticket] += 1
                if outcome.error is None:
                    total += sum(outcome.value)
                else:
                    failures.append(f'ticket {outcome.ticket}: {outcome.error!r}')
        finally:
            saboteur.close()
        emp.wait()
        restarts = sum(worker.restarts for worker in emp.snapshot().workers)
        emp.join()
    faulthandler.cancel_dump_traceback_later()
    made = emp.snapshot().feeders[0].made
    struck = ', '.join(f'{name} {times}' for name, times in sorted(saboteur.struck.items()))
    seconds = time.monotonic() - began
    del emp, outcomes, saboteur
    wrong = failures[:10] + check(plan, f'{method} {style}', before, seen, made, total)
    mib = psutil.Process().memory_info().rss / (1 << 20)
    print(f'{method} {style}: {made} tickets in {seconds:.1f} s, {restarts} restarts, {mib:.1f} MiB; {struck}')
    return [f'{method} {style}: {line}' for line in wrong]


def check(plan: Plan, kind: str, before: Left, seen: bytearray, made: int, total: int) -> list[str]:
    """What is wrong with a job that has ended."""
    wrong = []
    if seen.count(1) != made or seen.count(0) != len(seen) - made:
        wrong.append(
            f'{made} tickets were made, {seen.count(1)} have one outcome, {len(seen) - seen.count(0)} have any'
        )
    expected = sum(map(value, items(made, math.inf)))
    if total != expected:
        wrong.append(f'the sum is {total}, a plain loop has {expected}')
    if not (after := Left.now()).settled(before):
        wrong.append(f'left behind: {after}, before the job {before}')
    resident = psutil.Process().memory_info().rss
    growth = resident - plan.resident.setdefault(kind, resident)
    if growth > MAX_GROWTH:
        wrong.append(f'the manager has grown by {growth >> 20} MiB since the first job of this kind')
    return wrong


def main() -> int:
    """Jobs until the time is over, one of each start method at least."""
    parser = argparse.ArgumentParser(prog='python -m tests.soak', description=__doc__)
    parser.add_argument('--seconds', type=float, default=300.0, help='how long in all (300)')
    parser.add_argument('--tickets', type=int, default=100_000, help='of a job (100000), as far as time allows')
    parser.add_argument('--every', type=float, default=0.2, help='seconds between two faults (0.2)')
    parser.add_argument('--seed', type=int, default=None, help='of what is random')
    told = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if told.seed is None else told.seed
    print(
        f'seed {seed}: a fault every {told.every:g} s, {told.seconds:g} s, jobs of {told.tickets} tickets', flush=True
    )
    warnings.filterwarnings(
        'ignore', r'This process .* is multi-threaded', DeprecationWarning
    )  # that is what fork does
    logging.getLogger('eisenmp').setLevel(logging.CRITICAL)  # every death is news otherwise
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    plan = Plan(told.tickets, told.every, random.Random(seed))
    psutil.Process().children()  # opens what it keeps open
    end = time.monotonic() + told.seconds
    wrong: list[str] = []
    for job in count():
        now, turn = time.monotonic(), job // len(METHODS)
        if wrong or (turn and now > end - told.seconds / 10):
            break
        until = min(end, now + told.seconds / 3) if turn else now + told.seconds / 3
        wrong += run_job(plan, METHODS[job % 3], list(STYLES)[(job % 3 + turn) % 2], until)
    for line in wrong:
        print(f'WRONG: {line}')
    print('something is wrong' if wrong else 'nothing lost, nothing doubled, nothing left')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
