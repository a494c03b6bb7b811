"""Jobs whose manager is killed again and again until they are done. A program of its own, which forks its managers.

Prints one JSON line for each job: what was found wrong (nothing), how many chunks there are, how often the manager was
killed, how many chunks ran again, and how many of them were under way when it was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import eisenmp
from eisenmp.jobfile import JobReader

LOG = 0  # file descriptor: one line for each chunk that is begun


def noted(rows: Any) -> list[int]:
    """A worker's function: it takes about a millisecond."""
    os.write(LOG, f'{rows[0]}\n'.encode())
    time.sleep(0.0005)
    return [rows[0], sum(rows), *rows[:3]]


class Kind:
    """One way to use a job file: items of its feeders, and how they are run."""

    def __init__(self, random: random.Random) -> None:
        self.size = random.randrange(3, 40)
        self.feeders = [random.randrange(50, 1000) for _ in range(random.randrange(1, 4))]
        self.as_generator = random.random() < 0.5
        self.short_form = random.random() < 0.4
        self.forks = random.random() < 0.1
        self.padding = random.choice([0, 0, 0, 20_000])
        if self.short_form:
            del self.feeders[1:]

    def items(self, at: int) -> Iterable[int]:
        """No number is in two feeders."""
        numbers = range(at * 1_000_000, at * 1_000_000 + self.feeders[at])
        return (n for n in numbers) if self.as_generator else numbers

    def run(self, path: str, log: str, before: Callable[[eisenmp.Mp], None] = lambda _: None) -> None:
        """In a process of its own, from the beginning or from where it was."""
        global LOG
        LOG = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        padding = 'x' * self.padding
        engine: dict[str, Any] = {'START_METHOD': 'fork'} if self.forks else {'ENGINE': 'inline'}
        if self.short_form:
            options = {name.lower(): value for name, value in engine.items()}
            func = lambda rows: (noted(rows), padding)  # noqa: E731
            with eisenmp.imap_chunks(
                func, self.items(0), job=path, chunksize=self.size, max_workers=2, **options
            ) as out:
                for _ in out:
                    pass
            return
        emp = eisenmp.Mp()
        emp.add_queue('other')
        for at in range(len(self.feeders)):
            emp.feed(self.items(at), 'other' if at % 2 else None)
        modules = [{'WORKER_PATH': __file__, 'WORKER_REF': 'padded'}]
        settings = {'JOB': path, 'NUM_ROWS': self.size, 'NUM_PROCS': 2, 'WORKER_CALL': 'chunk', **engine}
        emp.start(worker_modules=modules, padding=padding, log=log, **settings)
        before(emp)
        emp.wait()
        emp.join()

    def expected(self) -> list[int]:
        """The sum of each chunk, as a plain loop makes it."""
        found = []
        for at in range(len(self.feeders)):
            numbers = list(self.items(at))
            found += [sum(numbers[first : first + self.size]) for first in range(0, len(numbers), self.size)]
        return sorted(found)


def padded(rows: Any, toolbox: Any) -> Any:
    """The same as a worker module's function, which is another copy of this module."""
    global LOG
    LOG = LOG or os.open(toolbox.log, os.O_WRONLY | os.O_APPEND)
    return (noted(rows), toolbox.padding)


def in_a_fork(call: Callable[[], None]) -> int:
    """Run it in a process and a process group of its own."""
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)  # here and there: whoever is first
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int, patience: float) -> int | None:
    """The exit code of a process that ends in time; else it is killed, and all that it has started."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def rows_of(path: str) -> tuple[list[tuple[int, int, int, list[Any]]], str]:
    """(queue, ticket, first item, value) of all outcomes, and SQLite's own verdict."""
    with JobReader(path) as reader:
        found = []
        for queue in reader.summary().queues:
            number = reader.queue_number(queue.name)
            for outcome in reader.outcomes(queue.name):
                found.append((number, outcome.ticket, outcome.value[0][0], outcome.value[0]))
    db = sqlite3.connect(path)
    verdict = db.execute('PRAGMA integrity_check').fetchone()[0]
    db.close()
    return found, verdict


def begun(log: str) -> list[int]:
    """First items of the chunks that were begun, as often as they were."""
    try:
        return [int(line) for line in Path(log).read_text().split()]
    except FileNotFoundError:
        return []


def at_a_commit(countdown: int) -> Callable[[eisenmp.Mp], None]:
    """Kill the manager when it has come so far in writing: in the middle of a transaction, or as it is committed."""

    def strike(*_: object) -> None:
        nonlocal countdown
        countdown -= 1
        if countdown < 0:
            os.killpg(0, signal.SIGKILL)

    def lay_in_wait(emp: eisenmp.Mp) -> None:
        archive = emp._started().archive
        assert archive is not None
        db = archive.journal._db
        with contextlib.suppress(sqlite3.ProgrammingError):  # little was left to do: it is done, and the file closed
            if countdown % 2:
                db.set_trace_callback(lambda text: strike() if text == 'COMMIT' else None)
            else:
                db.set_progress_handler(lambda: strike() if db.in_transaction else None, 20)

    return lay_in_wait


def one_job(folder: str, number: int, seed: int, how: str) -> dict[str, Any]:
    """Kill it until it is done. `how`: at a random moment (``time``), or while it writes (``commit``)."""
    rng = random.Random(seed)
    kind = Kind(rng)
    kind.short_form = kind.short_form and how == 'time'
    path, log = os.path.join(folder, f'{number}.db'), os.path.join(folder, f'{number}.log')
    patience = 0.04 + 0.0005 * sum(kind.feeders) / kind.size  # less than a fast machine takes; it grows with the kills
    kills = under_way = 0
    wrong: list[str] = []
    while True:
        if how == 'time' or kills >= 40:
            pid = in_a_fork(lambda: kind.run(path, log))
            code = ended(pid, rng.random() * patience * (1 + kills / 4) if kills < 40 else 30.0)
        else:
            before = at_a_commit(rng.randrange(4 + 4 * kills))
            pid = in_a_fork(lambda: kind.run(path, log, before))  # noqa: B023  # it runs now
            code = ended(pid, 30.0)
            code = None if code == -signal.SIGKILL else code
        if code == 0:
            break
        if code is not None or kills > 40:
            return {'wrong': [f'it ended with {code} after {kills} kills']}
        kills += 1
        finished = set[int]()
        try:
            rows, verdict = rows_of(path)
        except eisenmp.JobFileError as error:  # killed before there was a file, or the first thing in it
            if not any(word in str(error) for word in ('no job file', 'is empty', 'cut off', 'not a job file')):
                wrong.append(str(error))
            verdict, rows = 'ok', []
        if verdict != 'ok':
            wrong.append(verdict)
        finished = {first for _, _, first, _ in rows}
        under_way += len(set(begun(log)) - finished)
    rows, verdict = rows_of(path)
    expected = kind.expected()
    keys = [(queue, ticket) for queue, ticket, _, _ in rows]
    again = len(begun(log)) - len(expected)
    checks = {
        'integrity': verdict == 'ok',
        'each ticket once': len(keys) == len(set(keys)) == len(expected),
        'sums': sorted(value[1] for *_, value in rows) == expected,
        'not too much again': again <= under_way,
    }
    wrong += [name for name, good in checks.items() if not good]
    return {'wrong': wrong, 'chunks': len(expected), 'kills': kills, 'again': again, 'under_way': under_way}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder')
    parser.add_argument('--jobs', type=int, default=50)
    parser.add_argument('--how', choices=['time', 'commit'], default='time')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    for number in range(arguments.jobs):
        seed = arguments.seed + number
        print(json.dumps({'seed': seed, **one_job(arguments.folder, number, seed, arguments.how)}), flush=True)


if __name__ == '__main__':
    main()
