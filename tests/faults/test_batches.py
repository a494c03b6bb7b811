"""Workers die while tiny chunks travel many in a message: every ticket has one outcome, only the guilty is blamed."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import eisenmp
from tests.support import ALARM, FORKS, Lab, wait_until

POISON: Final = 777
TICKETS: Final = 3000

WORK: Final = """
import os, time

def work(item, toolbox):
    if item == 777 and toolbox.poison == 'exit':
        os._exit(3)
    if item == 777 and toolbox.poison == 'hang':
        time.sleep(60)
    toolbox.forward(toolbox.copies, int(item))
    return -item
"""

STYLES: Final = {
    'toolbox': """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], [work(chunk[1], toolbox)]])
    return True
""",
    'chunk': """
def entry(rows, toolbox):
    return [work(rows[0], toolbox)]
""",
    'item': """
def entry(item, toolbox):
    return work(item, toolbox)
""",
}

Start = Callable[..., eisenmp.Mp]

pytestmark = FORKS


@pytest.fixture(params=['spawn', 'fork'])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture(params=list(STYLES))
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begin(lab: Lab, style: str, **settings: Any) -> eisenmp.Mp:
    emp = lab.mp()
    emp.add_queue('copies')
    known = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'RESULTS_STORE': True, 'poison': '', 'WORKER_CALL': style, **settings}
    lab.start(emp, WORK + STYLES[style], **known)
    return emp


def copies_of(emp: eisenmp.Mp) -> Counter[int]:
    """What was forwarded, which must be there once for each ticket that is done."""
    copies = emp.queues['copies']
    return Counter(copies.get_nowait() for _ in range(copies.qsize()))


class Steady:
    """Items until it is told to stop."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.made = 0
        self.stop = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        while not self.stop.is_set():
            yield self.kind(self.made)
            self.made += 1


def is_up(emp: eisenmp.Mp, slot: int) -> bool:
    return emp.snapshot().workers[slot].phase == 'up'


def has_done(emp: eisenmp.Mp, slot: int, pid: int, before: int) -> bool:
    """The process has done something since, or has gone."""
    counts = emp.results['mp_input_q']._track.counts
    return sum(counts[2:]) > before or emp.proc_list[slot].pid != pid


@pytest.mark.parametrize('kind', [int, Fraction])
def test_killed_again_and_again_while_batches_flow(lab: Lab, style: str, kind: type) -> None:
    emp = begin(lab, style, CRASH_RETRIES=100)
    items = Steady(kind)
    emp.feed(items)
    for kill in range(8):
        slot = kill % 2
        wait_until(partial(is_up, emp, slot))
        handle = emp.proc_list[slot]
        track = emp.results['mp_input_q']._track
        before = sum(track.counts[2:])
        # at another place each time: some answers after the last death
        wait_until(partial(has_done, emp, slot, handle.pid, before + 97 * kill))
        handle.kill()
        handle.join(ALARM)
    items.stop.set()
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [[-n] for n in range(items.made)]
    assert copies_of(emp) == Counter(range(items.made))
    assert sum(worker.restarts for worker in emp.snapshot().workers) == 8
    assert items.made > 1000


@pytest.mark.parametrize('kind', [int, Fraction])
def test_a_ticket_that_kills_among_tiny_ones_is_set_aside_alone(lab: Lab, style: str, kind: type) -> None:
    emp = begin(lab, style, CRASH_RETRIES=1, poison='exit')
    emp.feed(kind(n) for n in range(TICKETS))
    results = emp.wait(ALARM)['mp_input_q']
    assert results.set_aside == [POISON]
    error = results[POISON].error
    assert isinstance(error, eisenmp.CrashError)
    assert error.exits == ['exit code 3', 'exit code 3']
    rest = [n for n in range(TICKETS) if n != POISON]
    assert results.done == rest
    assert [outcome.value for outcome in results if outcome.ticket != POISON] == [[-n] for n in rest]
    assert copies_of(emp) == Counter(rest)
    assert 2 <= sum(worker.restarts for worker in emp.snapshot().workers) <= 3  # once nobody knew which it was


def test_a_ticket_that_hangs_among_tiny_ones_is_set_aside_alone(lab: Lab, style: str) -> None:
    emp = begin(lab, style, CRASH_RETRIES=1, CHUNK_TIMEOUT=0.2, poison='hang')
    emp.feed(range(TICKETS))
    results = emp.wait(ALARM)['mp_input_q']
    assert results.set_aside == [POISON]
    error = results[POISON].error
    assert isinstance(error, eisenmp.CrashError)
    assert error.exits == ['CHUNK_TIMEOUT of 0.2 s'] * 2
    rest = [n for n in range(TICKETS) if n != POISON]
    assert [outcome.value for outcome in results if outcome.ticket != POISON] == [[-n] for n in rest]
    assert copies_of(emp) == Counter(rest)


def test_all_workers_killed_at_once_in_the_middle_of_batches(lab: Lab, style: str) -> None:
    emp = begin(lab, style)
    items = Steady(int)
    emp.feed(items)
    wait_until(lambda: len(emp.results['mp_input_q'].done) > 500)
    handles = emp.proc_list
    for handle in handles:
        handle.kill()
    for handle in handles:
        handle.join(ALARM)
    made = items.made
    wait_until(lambda: len(emp.results['mp_input_q'].done) > made + 500)
    items.stop.set()
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [[-n] for n in range(items.made)]
    assert copies_of(emp) == Counter(range(items.made))


@pytest.mark.parametrize('ordered', [True, False])
def test_imap_loses_nothing_while_workers_are_killed(lab: Lab, ordered: bool) -> None:
    items = Steady(int)
    it = eisenmp.imap(
        lambda n: -n, items, chunksize=1, max_workers=2, ordered=ordered, start_method=lab.name, crash_retries=100
    )
    pids: set[Any] = set()
    got: list[int] = []
    with it:
        for value in it:
            got.append(value)
            if len(got) % 400 == 0 and len(pids) < 5:
                emp, slot = it._course.emp, len(pids) % 2
                if is_up(emp, slot):  # or three failed starts in a row would end the job
                    pids.add(emp.proc_list[slot].pid)
                    emp.proc_list[slot].kill()
            elif len(pids) == 5 and len(got) > 4000:
                items.stop.set()
    assert (got if ordered else sorted(got, reverse=True)) == [-n for n in range(items.made)]
    assert it.failures == []
    assert len(pids) == 5
