"""More workers, fewer workers, in real processes: each item has its one result, and nobody is left over."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from tests.support import ALARM, FORKS, Lab, wait_until

pytestmark = FORKS

CHUNK = """
    import os, time

    def entry(rows, toolbox):
        time.sleep(0.005)
        return rows, toolbox.START_SEQUENCE_NUM, toolbox.NUM_PROCS, os.getpid()
"""
# Says who it is, waits to be let go on, and works on until the end of its stream.
CLASSIC = """
    import os

    def entry(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        slot = toolbox.START_SEQUENCE_NUM
        if toolbox.STOP_MSG in rows:
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, slot])
            return False
        toolbox.said.put((slot, os.getpid(), rows[0]))
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, toolbox.go[str(slot)].get()])
        return True
"""


@pytest.fixture
def fork_lab(tmp_path: Path) -> Any:
    made = Lab(tmp_path, 'fork')
    yield made
    made.close()


class Steered:
    """A job of classic workers, each of which waits in the middle of its chunk for a word of its own."""

    def __init__(self, lab: Lab, workers: int, items: int) -> None:
        self.emp = lab.mp()
        self.said = self.emp.add_queue('said')
        self.go = [self.emp.add_queue(str(slot), category='go') for slot in range(workers)]
        lab.start(self.emp, CLASSIC, NUM_ROWS=1, RESULTS_STORE=True, NUM_PROCS=workers)
        self.emp.feed(range(items))
        begun = [self.said.get(timeout=ALARM) for _ in range(workers)]
        self.pids = {slot: pid for slot, pid, _ in begun}
        self.items = {slot: item for slot, _, item in begun}

    def phases(self) -> list[str]:
        return [worker.phase for worker in self.emp.snapshot().workers]

    def next_said(self) -> int:
        """Which slot has begun its next chunk."""
        slot: int = self.said.get(timeout=ALARM)[0]
        return slot


def test_up_and_down_in_the_middle(process_lab: Lab) -> None:
    emp = process_lab.mp()
    reader = emp.results.outcomes()
    process_lab.start(emp, CHUNK, NUM_ROWS=1, WORKER_CALL='chunk', NUM_PROCS=1)
    endless = iter(lambda: 'x', '')
    emp.feed(endless)
    slots: set[int] = set()

    def read(until: set[int]) -> None:
        """Take outcomes until the last forty came from just these slots, and all of them know how many they are."""
        last: list[tuple[int, int]] = []
        deadline = time.monotonic() + ALARM
        while {slot for slot, _ in last} != until or {procs for _, procs in last} != {len(until)} or len(last) < 40:
            _, slot, procs, _ = next(reader).value
            slots.add(slot)
            last = [*last, (slot, procs)][-40:]
            assert time.monotonic() < deadline, last

    read({0})
    emp.resize(3)
    read({0, 1, 2})
    three = emp.proc_list
    assert len(three) == 3
    emp.resize(1)
    read({0})
    for process in three[1:]:
        process.join(ALARM)
        assert process.exitcode == 0, 'it has left by itself'
    wait_until(lambda: len(emp.proc_list) == 1, 'the others are gone')
    assert [worker.slot for worker in emp.snapshot().workers] == [0]
    emp.resize(2)
    read({0, 1})
    assert slots == {0, 1, 2}
    emp.stop()
    outcomes = [*reader]
    assert emp.wait(ALARM)['mp_input_q'].failed == []
    assert all(outcome.attempts == 1 for outcome in outcomes), 'nothing was done twice'
    assert not [worker.restarts for worker in emp.snapshot().workers if worker.restarts]


def test_classic_workers_finish_what_they_hold_and_read_the_end_of_their_stream(fork_lab: Lab) -> None:
    job = Steered(fork_lab, 3, 8)
    job.emp.resize(1)
    assert job.phases() == ['up', 'leaving', 'leaving']
    for queue in job.go[1:]:
        queue.put('done')  # what they need for the chunk in hand, they get
    wait_until(lambda: len(job.emp.proc_list) == 1, 'two have left')
    for _ in range(5):
        job.go[0].put('done')
        assert job.next_said() == 0
    job.go[0].put('done')
    results = job.emp.wait(ALARM)
    assert results['mp_input_q'].values() == ['done'] * 8
    assert sorted(results.closing) == [0, 1, 2], 'each has read the end of its stream'
    assert all(outcome.attempts == 1 for outcome in results['mp_input_q'])


def test_who_is_killed_while_it_is_to_leave_leaves_its_chunk_to_the_others(fork_lab: Lab) -> None:
    job = Steered(fork_lab, 3, 6)
    job.emp.resize(1)
    os.kill(job.pids[2], signal.SIGKILL)
    wait_until(lambda: len(job.phases()) == 2, 'the death is known, and is no reason for a restart')
    job.go[1].put('done')
    for _ in range(4):
        job.go[0].put('done')
        assert job.next_said() == 0
    job.go[0].put('done')
    results = job.emp.wait(ALARM)
    assert results['mp_input_q'].values() == ['done'] * 6
    attempts = [outcome.attempts for outcome in results['mp_input_q']]
    assert attempts[job.items[2]] == 2
    assert sum(attempts) == 7
    assert job.phases() == ['returned'] or job.phases() == ['gone']


def test_whoever_is_left_alone_with_the_last_chunk_has_a_successor(fork_lab: Lab) -> None:
    """Slot 0 has read the end of its stream when the surplus worker, who holds the last chunk, is killed."""
    job = Steered(fork_lab, 2, 2)
    job.emp.resize(1)
    job.go[0].put('done')
    wait_until(lambda: job.phases()[0] == 'gone', 'slot 0 has left')
    os.kill(job.pids[1], signal.SIGKILL)
    assert job.next_said() == 1
    job.go[1].put('done')
    assert job.emp.wait(ALARM)['mp_input_q'].values() == ['done'] * 2


def test_with_limits_and_deaths_under_way(fork_lab: Lab) -> None:
    """All at once: workers that are replaced after three chunks, one that dies now and then, up and down."""
    worker = """
        import os, time

        def entry(rows, toolbox):
            if rows[0] % 40 == 7 and not os.path.exists(f'{toolbox.folder}/{rows[0]}'):
                open(f'{toolbox.folder}/{rows[0]}', 'w').close()
                os._exit(3)
            time.sleep(0.002)
            return rows[0]
    """
    emp = fork_lab.mp()
    reader = emp.results.outcomes()
    settings = {'WORKER_CALL': 'chunk', 'NUM_ROWS': 1, 'MAX_CHUNKS_PER_WORKER': 5, 'folder': str(fork_lab.folder)}
    fork_lab.start(emp, worker, NUM_PROCS=2, RESTARTS=100, **settings)
    emp.feed(range(200))
    values = []
    for outcome in reader:
        values.append(outcome.value)
        if len(values) % 20 == 0 and len(values) < 160:
            emp.resize([3, 1, 2, 1][len(values) // 20 % 4])
    assert sorted(values) == list(range(200))
    emp.wait(ALARM)
    assert emp.join(ALARM)


def test_the_short_forms(tmp_path: Path) -> None:
    with eisenmp.imap(_with_pid, range(400), max_workers=1, chunksize=1, start_method='fork') as it:
        first = [next(it) for _ in range(3)]
        it.resize(2)
        rest = list(it)
    assert [item for item, _ in [*first, *rest]] == list(range(400))
    assert len({pid for _, pid in rest}) == 2

    async def run() -> list[tuple[int, int]]:
        results = []
        it = eisenmp.aimap_chunks(_first_with_pid, range(400), max_workers=1, chunksize=1, start_method='fork')
        with pytest.raises(eisenmp.SettingsError, match='has not been started'):
            it.resize(2)
        async with it:
            it.resize(2)
            async for result in it:
                results.append(result)
        with pytest.raises(eisenmp.JobOver):
            it.resize(3)
        return results

    results = asyncio.run(run())
    assert [item for item, _ in results] == list(range(400))
    assert len({pid for _, pid in results}) == 2


def _with_pid(item: int) -> tuple[int, int]:
    time.sleep(0.002)
    return item, os.getpid()


def _first_with_pid(rows: list[int]) -> tuple[int, int]:
    return _with_pid(rows[0])


def test_threads_stay_as_many_as_they_are(tmp_path: Path) -> None:
    lab = Lab(tmp_path, 'inline')
    emp = lab.mp()
    with pytest.raises(eisenmp.SettingsError, match='has not been started'):
        emp.resize(2)
    lab.start(emp, CHUNK, WORKER_CALL='chunk')
    with pytest.raises(eisenmp.SettingsError, match='inline'):
        emp.resize(2)
    lab.close()
