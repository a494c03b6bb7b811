"""Jobs of many tiny chunks, which travel several in a message: nothing of that shows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

import eisenmp
from eisenmp import PayloadError
from tests.contract import things
from tests.support import ALARM, Lab, wait_until

TICKETS = 2000

# Every style, around the same `work(item, toolbox)`; chunks have one item, or two.
STYLES = {
    'toolbox': """
def entry(toolbox):
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], [work(item, toolbox) for item in chunk[1:]]])
    return True
""",
    'loop': """
def entry(toolbox):
    while True:
        chunk = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in chunk:
            return False
        toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], [work(item, toolbox) for item in chunk[1:]]])
""",
    'chunk': """
def entry(rows, toolbox):
    return [work(item, toolbox) for item in rows]
""",
    'item': """
def entry(item, toolbox):
    return work(item, toolbox)
""",
}


@pytest.fixture(params=list(STYLES))
def style(request: pytest.FixtureRequest) -> str:
    """How a worker is written."""
    return str(request.param)


def begin(lab: Lab, style: str, work: str, items: Any, **settings: Any) -> eisenmp.Mp:
    emp = lab.mp()
    call = 'toolbox' if style == 'loop' else style
    known = {'WORKER_CALL': call, 'NUM_PROCS': 2, 'NUM_ROWS': 1, 'RESULTS_STORE': True, **settings}
    lab.start(emp, work + STYLES[style], **known)
    emp.feed(items)
    return emp


def batches_of(emp: eisenmp.Mp) -> list[int]:
    """How many tickets each record of results has: more than one only where tickets were answered together."""
    records = emp.results.records[0].values()
    return [record.tickets for record in dict.fromkeys(records)]


@pytest.mark.parametrize('rows', [1, 2])
@pytest.mark.parametrize('kind', ['plain', 'foreign items', 'foreign results'])
def test_every_ticket_has_its_own_result(swift_lab: Lab, style: str, kind: str, rows: int) -> None:
    work = {
        'plain': 'def work(item, toolbox): return -item\n',
        'foreign items': 'def work(item, toolbox): return int(-item)\n',
        'foreign results': 'from fractions import Fraction\ndef work(item, toolbox): return Fraction(-item)\n',
    }[kind]
    items = (Fraction(n) if kind == 'foreign items' else n for n in range(TICKETS * rows - 1))
    emp = begin(swift_lab, style, work, items, NUM_ROWS=rows)
    expected = [[-n for n in range(at, at + rows) if n < TICKETS * rows - 1] for at in range(0, TICKETS * rows, rows)]
    if rows == 1:
        del expected[-1]
    of_input = emp.wait(ALARM)['mp_input_q']
    assert of_input.values() == expected
    assert {outcome.attempts for outcome in of_input} == {1}
    assert sum(outcome.items for outcome in of_input) == TICKETS * rows - 1
    kinds = {type(value) for values in of_input.values() for value in values}
    assert kinds == {Fraction if kind == 'foreign results' else int}
    if kind != 'foreign results' or style in ('toolbox', 'loop'):
        assert max(batches_of(emp)) > 1, 'nothing has travelled together, and nothing was tested'


FAILING = """
def work(item, toolbox):
    if item % 10 == 7:
        raise ValueError(item)
    return item
"""


def test_exceptions_fail_their_own_tickets(swift_lab: Lab, style: str) -> None:
    results = begin(swift_lab, style, FAILING, range(TICKETS), ON_ERROR='skip').wait(ALARM)['mp_input_q']
    bad = list(range(7, TICKETS, 10))
    assert results.failed == bad
    for outcome in results:
        if outcome.ticket in bad:
            assert isinstance(outcome.error, ValueError)
            assert outcome.error.args == (outcome.ticket,)
        else:
            assert outcome.value == [outcome.ticket]


def test_an_exception_names_its_own_ticket(swift_lab: Lab, style: str) -> None:
    work = FAILING.replace('item % 10 == 7', 'item == 1234')
    emp = begin(swift_lab, style, work, range(TICKETS))
    with pytest.raises(ValueError, match='1234') as caught:
        emp.wait(ALARM)
    assert '_TID_1234' in ''.join(caught.value.__notes__)


def test_failing_tickets_are_tried_again(swift_lab: Lab, style: str) -> None:
    work = """
import os
def work(item, toolbox):
    mark = os.path.join(toolbox.marks, str(item))
    if item % 200 == 7 and not os.path.exists(mark):
        open(mark, 'x').close()
        raise ValueError(item)
    return item
"""
    emp = begin(swift_lab, style, work, range(TICKETS), RETRIES=1, marks=str(swift_lab.folder))
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [[n] for n in range(TICKETS)]
    assert [outcome.ticket for outcome in results if outcome.attempts == 2] == list(range(7, TICKETS, 200))


@pytest.mark.parametrize('bad', ['unpicklable', 'bomb'])
def test_an_item_that_does_not_travel_fails_its_own_ticket(swift_lab: Lab, style: str, bad: str) -> None:
    thing = things.Unpicklable() if bad == 'unpicklable' else things.Bomb()
    items = [thing if n == 777 else Fraction(n) if n > 500 else n for n in range(1000)]
    work = 'def work(item, toolbox): return int(item)\n'
    results = begin(swift_lab, style, work, iter(items), ON_ERROR='skip').wait(ALARM)['mp_input_q']
    assert results.failed == [777]
    assert isinstance(results[777].error, PayloadError)
    assert [outcome.value for outcome in results if outcome.ticket != 777] == [[n] for n in range(1000) if n != 777]


def test_a_result_that_cannot_be_pickled_fails_its_own_ticket(swift_lab: Lab, style: str) -> None:
    work = """
from tests.contract.things import Unpicklable
def work(item, toolbox):
    return Unpicklable() if item == 777 else item
"""
    results = begin(swift_lab, style, work, range(1000), ON_ERROR='skip').wait(ALARM)['mp_input_q']
    assert results.failed == [777]
    assert 'stays at home' in str(results[777].error)
    assert [outcome.value for outcome in results if outcome.ticket != 777] == [[n] for n in range(1000) if n != 777]


# ---- what goes with a ticket


def test_what_is_forwarded_belongs_to_the_ticket_at_work(lab: Lab, style: str) -> None:
    """A ticket that fails after it has forwarded takes nothing of its neighbours' along, and leaves nothing."""
    work = """
def work(item, toolbox):
    toolbox.forward(toolbox.copies, item)
    if item % 10 == 7:
        raise ValueError(item)
    return item
"""
    emp = lab.mp()
    copies = emp.add_queue('copies')
    call = 'toolbox' if style == 'loop' else style
    lab.start(emp, work + STYLES[style], WORKER_CALL=call, NUM_PROCS=2, NUM_ROWS=1, ON_ERROR='skip')
    emp.feed(range(TICKETS))
    emp.wait(ALARM)
    came = Counter(copies.get_nowait() for _ in range(copies.qsize()))
    assert came == Counter(n for n in range(TICKETS) if n % 10 != 7)


@pytest.mark.parametrize('how', ['stop_job', 'StopJob'])
def test_the_first_hit_among_tiny_chunks(swift_lab: Lab, style: str, how: str) -> None:
    hit = "toolbox.stop_job('hit')" if how == 'stop_job' else "raise eisenmp.StopJob('hit')"
    work = f"""
import eisenmp
def work(item, toolbox):
    if item == 1234:
        {hit}
    return item
"""
    emp = begin(swift_lab, style, work, range(10**6))
    results = emp.wait(ALARM)
    of_input = results['mp_input_q']
    assert results.answer == 'hit'
    assert of_input.failed == []
    assert 1234 in of_input.done
    for outcome in of_input:
        if outcome.state == 'done' and outcome.ticket != 1234:
            assert outcome.value == [outcome.ticket], 'done, and never worked on'
        elif outcome.ticket != 1234:
            assert outcome.state == 'unread'
    assert len(of_input) < 10**6


# ---- who does not go on


@pytest.mark.parametrize('how', ['toolbox', 'loop'])
def test_a_worker_that_returns_leaves_the_rest_to_the_others(lab: Lab, how: str) -> None:
    """It has tickets in hand that it has not begun: those are nobody's yet."""
    work = """
seen = []
def work(item, toolbox):
    seen.append(item)
    return item
"""
    style = STYLES[how].replace('    return True', '    return len(seen) < 500 or toolbox.START_SEQUENCE_NUM == 1')
    if how == 'loop':
        style += '        if len(seen) >= 500 and toolbox.START_SEQUENCE_NUM == 0: return False\n'
    emp = lab.mp()
    # a module of each worker: the threads of engine inline must not share the list
    lab.start(emp, work + style, NUM_PROCS=2, NUM_ROWS=1, RESULTS_STORE=True)
    emp.feed(range(5000))
    results = emp.wait(ALARM)['mp_input_q']
    assert results.values() == [[n] for n in range(5000)]
    by_slot = Counter(outcome.slot for outcome in results)
    assert by_slot[1] > 0


@pytest.mark.parametrize('where', ['first', 'middle'])
def test_a_ticket_that_takes_long_does_not_keep_its_neighbours(swift_lab: Lab, style: str, where: str) -> None:
    work = """
def work(item, toolbox):
    if item == 'long':
        toolbox.say.put('long')
        return toolbox.gate.get()
    return item
"""
    emp = swift_lab.mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    call = 'toolbox' if style == 'loop' else style
    at = 500 if where == 'middle' else 0
    swift_lab.start(emp, work + STYLES[style], WORKER_CALL=call, NUM_PROCS=2, NUM_ROWS=1, BUFFER_CHUNKS=2500)
    reader = emp.results.outcomes()
    emp.feed([*range(at), 'long', *range(1500)])
    assert say.get(timeout=ALARM) == 'long'
    got = [next(reader).ticket for _ in range(at + 1500)]
    assert sorted(got) == [n for n in range(at + 1501) if n != at]
    gate.put('done')
    assert next(reader).value == ['done']
    assert emp.wait(ALARM).complete


def test_answers_do_not_wait_for_a_classic_worker_that_does_something_else(swift_lab: Lab) -> None:
    """It has returned from a ticket of a batch, and asks for the next one only when the manager lets it."""
    worker = """
import os, time

def entry(toolbox):
    wait = os.path.join(toolbox.folder, 'wait')
    while os.path.exists(wait):
        time.sleep(0.002)
    chunk = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in chunk:
        return False
    if chunk[1] == 900:
        open(wait, 'x').close()
        time.sleep(1.6)  # so long that the thread which helps has gone to sleep
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], chunk[1]])
    return True
"""
    emp = swift_lab.mp()
    swift_lab.start(emp, worker, NUM_PROCS=1, NUM_ROWS=1, folder=str(swift_lab.folder))
    reader = emp.results.outcomes()
    emp.feed(range(1000))
    try:
        values: list[Any] = []
        thread = threading.Thread(target=lambda: values.extend(next(reader).value for _ in range(901)))
        thread.start()
        thread.join(ALARM / 2)
        assert values == list(range(901))
    finally:
        wait_until((swift_lab.folder / 'wait').exists)
        (swift_lab.folder / 'wait').unlink()
        thread.join(ALARM)
    assert emp.wait(ALARM).complete


# ---- the manager among the readers


def test_the_manager_takes_tickets_one_by_one_among_the_workers(lab: Lab) -> None:
    hold = threading.Event()

    def items() -> Iterator[Fraction]:
        for n in range(TICKETS):
            if n == TICKETS // 2:
                assert hold.wait(ALARM)
            yield Fraction(n)

    emp = begin(lab, 'chunk', 'def work(item, toolbox): return int(item)\n', items())
    emp_takes: list[Any] = []
    wait_until(lambda: len(emp.results['mp_input_q'].done) > 200)
    hold.set()
    while True:
        rows = emp.mp_input_q.get(timeout=ALARM)
        if len(rows) == 2 and not isinstance(rows[1], Fraction):
            break
        emp_takes.append(rows)
    results = emp.wait(ALARM)['mp_input_q']
    assert results.complete
    mine = {int(rows[1]) for rows in emp_takes}
    assert all(rows == [f'mp_input_q (default);_TID_{int(rows[1])};', rows[1]] for rows in emp_takes)
    assert {outcome.ticket for outcome in results if outcome.slot == -1} == mine
    assert all(outcome.value == [outcome.ticket] for outcome in results if outcome.ticket not in mine)


def test_sizes_of_chunks_follow_the_work(lab: Lab) -> None:
    work = 'def work(item, toolbox): return item\n'
    results = begin(lab, 'item', work, iter(range(30_000)), NUM_ROWS='auto').wait(ALARM)['mp_input_q']
    assert [value for values in results.values() for value in values] == list(range(30_000))
    sizes = [outcome.items for outcome in results]
    assert sizes[0] == 1
    assert max(sizes) > 100
