"""MAX_CHUNKS_PER_WORKER and MAX_WORKER_MEMORY: a worker that has done enough makes room for a fresh one."""

from __future__ import annotations

from collections import Counter

import pytest

import eisenmp
from tests.support import ALARM, Lab

# a life: counts the calls of one worker from its start on
LIFE = """
    import threading

    mine = threading.local()

    def life():
        mine.calls = getattr(mine, 'calls', 0) + 1
        return mine.calls
"""


@pytest.mark.parametrize('limit', [1, 3, 7])
def test_no_worker_does_more_chunks_than_it_may(lab: Lab, limit: int) -> None:
    worker = LIFE + '\n    def entry(rows): return rows, life()\n'
    results = lab.run(worker, range(60), NUM_ROWS=2, WORKER_CALL='chunk', NUM_PROCS=2, MAX_CHUNKS_PER_WORKER=limit)
    values = results['mp_input_q'].values()
    assert [item for rows, _ in values for item in rows] == list(range(60))
    calls = Counter(call for _, call in values)
    assert max(calls) <= limit
    assert calls[1] >= 30 // limit
    assert all(outcome.attempts == 1 for outcome in results['mp_input_q'])


def test_a_classic_worker_gets_the_end_of_the_stream_and_leaves(lab: Lab) -> None:
    worker = (
        LIFE
        + """
    def entry(toolbox):
        header, *rows = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in rows:
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, 'left'])
            return False
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, (rows, life())])
        return True
"""
    )
    results = lab.run(worker, range(40), NUM_ROWS=2, NUM_PROCS=2, MAX_CHUNKS_PER_WORKER=4)
    values = results['mp_input_q'].values()
    assert [item for rows, _ in values for item in rows] == list(range(40))
    assert max(call for _, call in values) <= 4
    assert len(results.closing.all) >= 5


def test_many_tiny_chunks_keep_to_it_as_well(lab: Lab) -> None:
    worker = LIFE + '\n    def entry(item): return life()\n'
    results = lab.run(worker, range(300), NUM_ROWS=1, WORKER_CALL='item', NUM_PROCS=2, MAX_CHUNKS_PER_WORKER=50)
    calls = [call for (call,) in results['mp_input_q'].values()]
    assert len(calls) == 300
    assert max(calls) <= 50


def test_a_worker_that_leaks_is_replaced(process_lab: Lab) -> None:
    worker = """
        import os
        kept = []

        def entry(rows):
            kept.append(bytearray(os.urandom(1000)) * 10_000)
            return os.getpid()
    """
    results = process_lab.run(
        worker, range(60), NUM_ROWS=1, WORKER_CALL='chunk', NUM_PROCS=2, MAX_WORKER_MEMORY=150_000_000
    )
    counts = Counter(results['mp_input_q'].values())
    assert sum(counts.values()) == 60
    assert len(counts) > 2
    assert max(counts.values()) < 30


def test_what_it_is_told_is_all_that_happens(lab: Lab) -> None:
    """No process is started for work that is not there any more, and nothing of it counts as a death."""
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return rows[0]\n', WORKER_CALL='chunk', NUM_PROCS=1, NUM_ROWS=1,
              MAX_CHUNKS_PER_WORKER=5, RESULTS_STORE=True)  # fmt: skip
    emp.feed(range(10))
    assert emp.wait(ALARM)['mp_input_q'].values() == list(range(10))
    assert emp.snapshot().workers[0].restarts == 0


def test_the_short_form_calls_it_maxtasksperchild() -> None:
    calls: list[int] = []

    def count(item: int) -> int:
        calls.append(item)  # the function is pickled by value, and with it an empty list, anew in each process
        return len(calls)

    seen = list(eisenmp.imap(count, range(30), chunksize=1, max_workers=2, maxtasksperchild=4))
    assert len(seen) == 30
    assert max(seen) == 4
    assert calls == []
