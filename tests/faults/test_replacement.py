"""Workers that have done enough, or take too long, are replaced under full load: nothing is lost, nothing stalls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from tests.support import ALARM, FORKS, Lab

pytestmark = [FORKS, pytest.mark.timeout(60, method='signal')]

CHUNKS = {'spawn': 16, 'forkserver': 100, 'fork': 50}  # a process each
WORKER = {
    'toolbox': """
        import os

        def entry(toolbox):
            header, *rows = toolbox.mp_input_q.get()
            if toolbox.STOP_MSG in rows:
                return False
            toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, (rows[0], os.getpid())])
            return True
    """,
    'chunk': """
        import os

        def entry(rows):
            return rows[0], os.getpid()
    """,
}


@pytest.fixture(params=list(CHUNKS))
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


def _no_more_than(most: int, values: list[Any], items: int) -> None:
    """Every item once, and no process more than so many of them."""
    assert sorted(item for item, _ in values) == list(range(items))
    pids = [pid for _, pid in values]
    assert max(map(pids.count, set(pids))) <= most


@pytest.mark.parametrize('call', WORKER)
@pytest.mark.parametrize('limit', [1, 7])
def test_after_so_many_chunks(lab: Lab, call: str, limit: int) -> None:
    items = CHUNKS[lab.name] * min(limit, 3)
    settings = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'WORKER_CALL': call, 'MAX_CHUNKS_PER_WORKER': limit}
    results = lab.run(WORKER[call], range(items), **settings)['mp_input_q']
    _no_more_than(limit, results.values(), items)
    assert all(outcome.attempts == 1 for outcome in results), 'it leaves between chunks'


@pytest.mark.parametrize('call', WORKER)
def test_with_a_full_window_and_a_slow_reader(lab: Lab, call: str) -> None:
    """The generator is endless, the window always full; the reader takes one outcome now and then."""
    emp = lab.mp()
    reader = emp.results.outcomes()
    settings = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'WORKER_CALL': call, 'MAX_CHUNKS_PER_WORKER': 1, 'BUFFER_CHUNKS': 3}
    lab.start(emp, WORKER[call], **settings)
    emp.feed(count())
    values = []
    for outcome in islice(reader, CHUNKS[lab.name]):
        values.append(outcome.value)
        if outcome.ticket % 10 == 0:
            time.sleep(0.01)
    pids = [pid for _, pid in values]
    assert len(set(pids)) == len(pids)
    reader.close()
    emp.stop()
    emp.wait(ALARM)


@pytest.mark.parametrize('ordered', [True, False])
def test_in_the_short_form(lab: Lab, ordered: bool) -> None:
    import os

    items = CHUNKS[lab.name]
    with eisenmp.imap(
        lambda item: (item, os.getpid()),
        range(items),
        max_workers=2,
        chunksize=1,
        maxtasksperchild=1,
        ordered=ordered,
        start_method=lab.name,
    ) as results:
        _no_more_than(1, list(results), items)


@pytest.mark.parametrize('call', WORKER)
def test_when_it_has_too_much_memory(lab: Lab, call: str) -> None:
    """One byte is always too much: a worker leaves whenever it is looked at, every 50 ms."""
    slow = WORKER[call].replace('os.getpid()', 'os.getpid(), __import__("time").sleep(0.01)')
    settings = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'WORKER_CALL': call, 'MAX_WORKER_MEMORY': 1}
    results = lab.run(slow, range(24), **settings)['mp_input_q']
    assert [item for item, *_ in results.values()] == list(range(24))
    assert len({pid for _, pid, _ in results.values()}) > 2
    assert all(outcome.attempts == 1 for outcome in results)


@pytest.mark.parametrize('procs', [1, 2])
def test_a_chunk_that_takes_too_long_runs_elsewhere_in_time(lab: Lab, procs: int) -> None:
    """One clock for all processes tells when each try began."""
    worker = """
        import os, time

        def entry(rows, toolbox):
            if rows[0] != 3:
                return rows[0]
            toolbox.tries.put(time.monotonic())
            if toolbox.tries.qsize() == 1:
                time.sleep(60)
            return rows[0]
    """
    emp = lab.mp()
    tries = emp.add_queue('tries')
    settings = {'NUM_PROCS': procs, 'NUM_ROWS': 1, 'WORKER_CALL': 'chunk', 'CHUNK_TIMEOUT': 0.3, 'RESULTS_STORE': True}
    lab.start(emp, worker, **settings)
    emp.feed(range(20))
    assert emp.wait(ALARM)['mp_input_q'].values() == list(range(20))
    first, second = tries.get(), tries.get()
    assert (
        0.25 < second - first < 3
    )  # 0.4 on a machine that has time, and the start of a process where it is the only one
