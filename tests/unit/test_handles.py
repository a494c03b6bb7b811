"""Queues in the manager's hands: the surface of queue.Queue, without waiting."""

from __future__ import annotations

import inspect
import queue
import threading
from fractions import Fraction
from typing import Any, cast

import pytest

from eisenmp.constants import STOP_MSG
from eisenmp.errors import ClusterError, PayloadError
from eisenmp.exchange import Exchange
from eisenmp.handles import ManagerQueue
from eisenmp.ledger import State
from eisenmp.payload import dumps
from eisenmp.remote import Stored
from eisenmp.wire import Buffer
from tests.unit.fakes import add_chunk, make_exchange


def handle(maxsize: int = 0) -> tuple[ManagerQueue, Exchange]:
    exchange, (row,) = make_exchange((None, 'q', maxsize))
    return ManagerQueue(exchange, row), exchange


@pytest.mark.parametrize('name', ['put', 'get', 'put_nowait', 'get_nowait', 'qsize', 'empty', 'full'])
def test_the_surface_is_that_of_queue_queue(name: str) -> None:
    ours = inspect.signature(getattr(ManagerQueue, name)).parameters.values()
    theirs = inspect.signature(getattr(queue.Queue, name)).parameters.values()
    if name.startswith('put'):
        assert len(ours) == len(theirs)
        ours, theirs = list(ours)[2:], list(theirs)[2:]  # type: ignore[assignment]
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_first_in_first_out() -> None:
    q, _ = handle()
    for item in ('a', None, [1]):
        q.put(item)
    assert (q.qsize(), q.empty(), q.full()) == (3, False, False)
    assert [q.get(), q.get_nowait(), q.get(timeout=0)] == ['a', None, [1]]
    assert (q.qsize(), q.empty()) == (0, True)


def test_a_bound() -> None:
    q, _ = handle(2)
    q.put(1)
    assert not q.full()
    q.put_nowait(2)
    assert q.full()
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(queue.Full):
        q.put(3, timeout=0)
    assert q.get() == 1
    q.put(4)
    assert [q.get(), q.get()] == [2, 4]


def test_nothing_there() -> None:
    q, _ = handle()
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(timeout=0)


def test_looking_in_vain_leaves_nothing_behind() -> None:
    q, exchange = handle(1)
    row = exchange.table[q.number]
    for _ in range(100):
        with pytest.raises(queue.Empty):
            q.get_nowait()
    q.put('in')
    for n in range(100):
        with pytest.raises(queue.Full):
            q.put_nowait(n)
    assert (len(row.getters), len(row.putters)) == (0, 0)
    assert q.get() == 'in'
    assert q.empty()


@pytest.mark.parametrize('item', ['message', 'chunk', 'nothing'])
def test_a_ctrl_c_while_it_waits_loses_nothing(monkeypatch: pytest.MonkeyPatch, item: str) -> None:
    """It hits when the entry has just been handed over, or before there is one."""
    q, exchange = handle()
    if item == 'message':
        q.put('first')
        q.put('second')
    elif item == 'chunk':
        add_chunk(exchange, exchange.table[q.number], 2)
        add_chunk(exchange, exchange.table[q.number], 3)

    def hit(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, 'wait_for', hit)
        with pytest.raises(KeyboardInterrupt):
            q.get()
    q.put('late')
    left = [q.get(timeout=0) for _ in range(q.qsize())]
    rows = [entry[1:] if isinstance(entry, list) else entry for entry in left]
    first: dict[str, list[Any]] = {'message': ['first', 'second'], 'chunk': [[0, 1], [0, 1, 2]]}
    assert rows == [*first.get(item, []), 'late']


def test_a_ctrl_c_while_there_is_no_room_puts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, _ = handle(1)
    q.put('first')

    def hit(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, 'wait_for', hit)
        with pytest.raises(KeyboardInterrupt):
            q.put('second')
    assert q.get() == 'first'
    assert q.empty()


def test_negative_timeouts_are_refused_as_queue_queue_does() -> None:
    q, _ = handle()
    with pytest.raises(ValueError, match='non-negative'):
        q.get(timeout=-1)
    with pytest.raises(queue.Empty):
        q.get(block=False, timeout=-1)
    bounded, _ = handle(1)
    with pytest.raises(ValueError, match='non-negative'):
        bounded.put(1, timeout=-1)
    bounded.put(1, block=False, timeout=-1)


def test_what_is_put_is_pickled_here_and_now() -> None:
    q, _ = handle()
    items = [1]
    q.put(items)
    items.append(2)
    assert q.get() == [1]
    with pytest.raises(PayloadError):
        q.put(n for n in 'abc')
    assert q.empty()


def test_a_chunk_is_taken_as_a_worker_takes_it_and_answered_at_once() -> None:
    q, exchange = handle()
    row = exchange.table[q.number]
    told: list[tuple[int, int]] = []
    exchange.on_manager_read = lambda *ticket: told.append(ticket)
    exchange.feeder_begins(row)
    add_chunk(exchange, row, items=3)
    exchange.feeder_ends(row)
    assert q.get() == ['q;_TID_0;', 0, 1, 2]
    track = exchange.ledger.tracks[row.number]
    assert (list(track.states), track.slots[0]) == ([State.DONE], -1)
    assert told == [(row.number, 0)]
    closing: Any = q.get()
    assert closing[1] == STOP_MSG
    assert '_TID_' not in closing[0]
    assert q.get() == closing


@pytest.mark.parametrize('nested', [False, True])
def test_tickets_of_a_batch_are_taken_one_by_one(nested: bool) -> None:
    q, exchange = handle()
    items = [[Fraction(1), Fraction(2)], [Fraction(3), Fraction(4)], [Fraction(5)]]
    payload = dumps([bytes(dumps(rows)[0]) for rows in items] if nested else [item for rows in items for item in rows])
    chunk = exchange.ledger.add(5, 5, payload, 100, 3, 2)
    chunk.nested = nested
    exchange.add_chunk(exchange.table[5], chunk)
    assert q.qsize() == 3
    for serial, rows in enumerate(items):
        assert q.get_nowait() == [f'q;_TID_{serial};', *rows]
        assert q.qsize() == 2 - serial
    assert list(exchange.ledger.track(5).states) == [State.DONE] * 3
    with pytest.raises(queue.Empty):
        q.get_nowait()


def test_a_chunk_whose_large_items_are_lost_says_so() -> None:
    def gone(_: object) -> Any:
        raise OSError('the cluster is gone')

    q, exchange = handle()
    row = exchange.table[q.number]
    exchange.feeder_begins(row)
    payload = dumps([0])[0], cast(Buffer, Stored(8, None, gone))
    exchange.add_chunk(row, exchange.ledger.add(row.number, 1, payload, 8))
    with pytest.raises(ClusterError, match='_TID_0 of queue .* cannot be had any more: .*the cluster is gone'):
        q.get_nowait()


def test_something_else_may_take_what_is_put() -> None:
    q, _ = handle()
    seen: list[Any] = []

    def on_put(obj: Any) -> bool:
        seen.append(obj)
        return bool(obj == 'mine')

    q.on_put = on_put
    q.put('mine')
    q.put('yours')
    assert seen == ['mine', 'yours']
    assert q.get() == 'yours'
    assert q.empty()


def test_how_it_looks() -> None:
    q, _ = handle(3)
    q.put(1)
    assert repr(q) == "<queue 'q' maxsize=3 qsize=1>"
    assert (q.name, q.maxsize, q.number) == ('q', 3, 5)
