"""Chunks that lie in a worker: kept, taken, opened, and given back when they have lain too long.

The helping thread sleeps on a clock of the test's: one tick is one look at what lies there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from eisenmp.payload import dumps
from eisenmp.wire import ANY_QUEUE, LISTED, Buffer, Frame, Kind, encode
from eisenmp.worker import stock as module
from eisenmp.worker.batch import Batch
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.inbox import Inbox, Lease
from eisenmp.worker.loop import call_until_done
from eisenmp.worker.stock import Stock
from tests.support import ALARM, wait_until
from tests.unit.fakes import frames_of

Q = 5


class Ticks:
    """Stands for the module's `time`: who sleeps waits for the next tick."""

    def __init__(self) -> None:
        self._cond = threading.Condition()
        self._given = 0
        self._slept = 0
        self._asleep = False
        self.slept_for: list[float] = []

    def sleep(self, seconds: float) -> None:
        with self._cond:
            self.slept_for.append(seconds)
            self._asleep = True
            self._cond.notify_all()
            assert self._cond.wait_for(lambda: self._given > self._slept, ALARM)
            self._slept += 1
            self._asleep = False

    def tick(self, count: int = 1) -> None:
        """Let it look so often, and wait until it sleeps again."""
        for _ in range(count):
            with self._cond:
                assert self._cond.wait_for(lambda: self._asleep, ALARM), 'nobody sleeps'
                self._given += 1
                self._asleep = False
                self._cond.notify_all()
                assert self._cond.wait_for(lambda: self._asleep, ALARM), 'it does not come back'

    def last(self) -> None:
        """Let it look once more; it need not come back."""
        with self._cond:
            assert self._cond.wait_for(lambda: self._asleep, ALARM)
            self._given += 1
            self._cond.notify_all()


class Channel:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.cond = threading.Condition()
        self.sent: list[Frame] = []
        self.sends = 0

    def send(self, *messages: list[Buffer]) -> None:
        self.sends += 1
        self.sent += [frame for pieces in messages for frame in frames_of(pieces)]

    def said(self) -> list[tuple[int, int, int, int]]:
        """What was sent since the last call: (kind, queue, serial, tickets)."""
        sent, self.sent = self.sent, []
        return [(frame.kind, frame.queue, frame.serial, frame.tickets) for frame in sent]


class Bench:
    def __init__(self, ticks: Ticks, *, plain: bool = False) -> None:
        self.ticks = ticks
        self.noted: Lease | None = None
        self.channel = Channel()
        self.stock = Stock(plain=plain, noted=lambda: self.noted)
        self.stock.channel = self.channel  # type: ignore[assignment]

    def keep(self, *frames: Frame) -> None:
        with self.channel.cond:
            for frame in frames:
                self.stock.keep(frame)

    def open(self, serial: int, tickets: int, queue: int = Q) -> Batch:
        batch = Batch(chunk(serial, tickets, queue))
        self.stock.open(batch)
        return batch

    def close(self) -> None:
        threads = helpers()
        self.stock.close()
        if threads:
            self.ticks.last()
        for thread in threads:
            thread.join(ALARM)
            assert not thread.is_alive()


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == 'eisenmp-give-back']


def chunk(serial: int, tickets: int = 1, queue: int = Q) -> Frame:
    payload = dumps(list(range(serial, serial + tickets)))
    fields = {'queue': queue, 'serial': serial, 'tickets': tickets, 'rows': 1, 'flags': LISTED}
    (frame,) = frames_of(encode(Kind.CHUNK, payload, **fields))
    return frame


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    made = Ticks()
    monkeypatch.setattr(module, 'time', made)
    return made


@pytest.fixture
def make(ticks: Ticks) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def begin(*, plain: bool = False) -> Bench:
        made.append(Bench(ticks, plain=plain))
        return made[-1]

    yield begin
    for bench in made:
        bench.close()


Make = Callable[..., Bench]


# ---- what was handed out ahead


def test_nothing_lies_there_at_first(make: Make) -> None:
    stock = make().stock
    assert stock.take(Q) is None
    assert stock.next_opened(Q) is None
    assert stock.count(Q) == 0
    assert helpers() == []  # and nobody watches it


def test_what_is_kept_is_taken_oldest_first(make: Make) -> None:
    bench = make()
    one, two, other = chunk(0), chunk(1, 4), chunk(0, queue=6)
    bench.keep(one, two, other)
    assert (bench.stock.count(Q), bench.stock.count(6), bench.stock.count(7)) == (5, 1, 0)
    assert bench.stock.take(Q) is one
    assert bench.stock.take(Q) is two
    assert bench.stock.take(Q) is None
    assert bench.stock.take(6) is other
    assert bench.channel.said() == []


def test_of_a_plain_worker_all_lie_in_one_heap(make: Make) -> None:
    bench = make(plain=True)
    frames = [chunk(0), chunk(0, queue=6), chunk(1)]
    bench.keep(*frames)
    assert [bench.stock.take(ANY_QUEUE) for _ in range(4)] == [*frames, None]


# ---- what was opened


def test_tickets_of_a_batch_are_taken_one_by_one(make: Make) -> None:
    bench = make()
    batch, other = bench.open(7, 3), bench.open(10, 2)
    assert bench.stock.count(Q) == 5
    taken = [bench.stock.next_opened(Q) for _ in range(6)]
    assert taken == [(batch, 0), (batch, 1), (batch, 2), (other, 0), (other, 1), None]
    assert bench.stock.next_opened(6) is None


def test_a_single_ticket_needs_no_watching(make: Make) -> None:
    bench = make()
    batch = bench.open(7, 1)
    assert helpers() == []
    assert bench.stock.next_opened(Q) == (batch, 0)


# ---- giving back


def test_what_has_lain_too_long_is_given_back(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(3, 5), chunk(8), chunk(0, 2, queue=6))
    ticks.tick()  # seen once
    assert bench.channel.said() == []
    ticks.tick()  # seen twice: it lay there all the time between
    assert bench.channel.said() == [
        (Kind.GIVE_BACK, Q, 3, 5),
        (Kind.GIVE_BACK, Q, 8, 1),
        (Kind.GIVE_BACK, 6, 0, 2),
    ]
    assert bench.stock.take(Q) is None
    assert bench.stock.count(Q) == bench.stock.count(6) == 0
    ticks.tick(3)
    assert bench.channel.said() == []
    assert set(ticks.slept_for) == {0.02}


def test_what_moves_on_is_not(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(*[chunk(serial) for serial in range(4)])
    for serial in range(4):
        ticks.tick()
        taken = bench.stock.take(Q)
        assert taken is not None
        assert taken.serial == serial
    assert bench.channel.said() == []


def test_one_queue_moves_and_the_other_does_not(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(0), chunk(1), chunk(0, queue=6), chunk(1, queue=6))
    ticks.tick()
    bench.stock.take(Q)
    ticks.tick()
    assert bench.channel.said() == [(Kind.GIVE_BACK, 6, 0, 1), (Kind.GIVE_BACK, 6, 1, 1)]


def test_opened_tickets_go_back_too_but_for_those_that_were_taken(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.open(7, 4)
    bench.stock.next_opened(Q)  # at work on it
    bench.keep(chunk(11, 2))
    ticks.tick(2)
    said = bench.channel.said()
    assert sorted(said) == [
        (Kind.GIVE_BACK, Q, 8, 0),
        (Kind.GIVE_BACK, Q, 9, 0),
        (Kind.GIVE_BACK, Q, 10, 0),
        (
            Kind.GIVE_BACK,
            Q,
            11,
            2,
        ),
    ]
    assert bench.stock.next_opened(Q) is None
    assert bench.stock.count(Q) == 0


def test_opened_tickets_that_are_taken_one_after_the_other_stay(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.open(0, 5)
    for _ in range(5):
        assert bench.stock.next_opened(Q) is not None
        ticks.tick()
    assert bench.channel.said() == []


@pytest.mark.parametrize('what', ['ahead', 'opened'])
def test_after_giving_back_no_more_is_kept_until_it_asks(make: Make, ticks: Ticks, what: str) -> None:
    """What crosses the giving back on its way comes behind what was given back."""
    bench = make()
    if what == 'ahead':
        bench.keep(chunk(0))
    else:
        bench.open(0, 2)
    ticks.tick(2)
    bench.channel.said()
    bench.keep(chunk(2, 3))
    assert bench.channel.said() == [(Kind.GIVE_BACK, Q, 2, 3)]
    assert bench.stock.take(Q) is None
    bench.keep(chunk(0, queue=6))  # another queue's
    assert bench.channel.said() == []
    bench.stock.asked(Q)
    bench.keep(chunk(5))
    assert bench.channel.said() == []
    assert bench.stock.take(Q) is not None


def test_a_plain_worker_refuses_chunks_of_every_queue(make: Make, ticks: Ticks) -> None:
    bench = make(plain=True)
    bench.keep(chunk(0))
    ticks.tick(2)
    bench.channel.said()
    bench.keep(chunk(0, queue=6))
    assert bench.channel.said() == [(Kind.GIVE_BACK, 6, 0, 1)]
    bench.stock.asked(ANY_QUEUE)
    bench.keep(chunk(0, queue=6))
    assert bench.channel.said() == []


# ---- what is at work


class Long:
    """A run that is hurried: says so once."""

    def __init__(self) -> None:
        self.hurried = 0

    def hurry(self) -> list[list[Buffer]]:
        self.hurried += 1
        return [encode(Kind.TAKEN, queue=Q, serial=9, tickets=1)]


def test_what_is_at_work_for_long_is_asked_to_part_with_what_it_has_once(make: Make, ticks: Ticks) -> None:
    bench = make()
    run = Long()
    bench.stock.begin(run, 10)
    ticks.tick()
    assert run.hurried == 0
    ticks.tick(3)
    assert run.hurried == 1
    assert bench.channel.said() == [(Kind.TAKEN, Q, 9, 1)]


def test_runs_that_end_in_time_are_not(make: Make, ticks: Ticks) -> None:
    bench = make()
    runs = [Long() for _ in range(4)]
    for run in runs:
        bench.stock.begin(run, 10)
        ticks.tick()
        bench.stock.at_work = None
    assert [run.hurried for run in runs] == [0] * 4


def test_a_run_of_one_ticket_has_nothing_to_part_with(make: Make) -> None:
    bench = make()
    bench.stock.begin(Long(), 1)
    assert helpers() == []


def test_an_answer_that_waits_for_company_goes_after_a_while(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.open(0, 2)
    while bench.stock.next_opened(Q):
        pass
    bench.noted = Lease(Q, 0)
    ticks.tick()
    assert bench.channel.sends == 0
    ticks.tick()
    assert bench.channel.sends == 1  # whatever is sent takes along what was noted


def test_an_answer_that_comes_when_the_helper_sleeps_for_good_wakes_it(make: Make, ticks: Ticks) -> None:
    """A function may return, and then do something else for an hour before it asks again."""
    bench = make()
    bench.open(0, 2)
    while bench.stock.next_opened(Q):
        pass
    ticks.tick(50)
    ticks.last()
    wait_until(lambda: not bench.stock._parked.is_set())
    bench.noted = Lease(Q, 1)
    bench.stock.noted()
    ticks.tick(2)
    assert bench.channel.sends == 1


@pytest.mark.parametrize('in_batch', [True, False])
def test_a_classic_function_that_has_returned_leaves_no_answer_lying(make: Make, in_batch: bool) -> None:
    """Whoever does not send the answer at once has it sent by the helper."""
    inbox = Inbox(None, plain=False)
    bench = make()
    inbox.connect(bench.channel)  # type: ignore[arg-type]
    seen: list[tuple[int, bool]] = []

    def entry(toolbox: object) -> bool:
        if not seen:
            inbox.hold(Q, 0, object() if in_batch else None)
        seen.append((bench.channel.sends, bool(helpers())))
        return len(seen) < 2

    call_until_done(inbox, None, entry)  # type: ignore[arg-type]
    sends, helped = seen[1]
    assert sends or helped
    inbox.close()


def test_when_the_function_has_returned_for_good_all_goes_back_at_once(make: Make) -> None:
    bench = make()
    bench.open(3, 3)
    bench.stock.next_opened(Q)
    bench.keep(chunk(6, 4), chunk(0, queue=6))
    bench.stock.give_all_back()
    back = [(Kind.GIVE_BACK, Q, 4, 0), (Kind.GIVE_BACK, Q, 5, 0), (Kind.GIVE_BACK, Q, 6, 4), (Kind.GIVE_BACK, 6, 0, 1)]
    assert bench.channel.said() == back
    assert bench.stock.count(Q) == bench.stock.count(6) == 0
    bench.keep(chunk(10))
    assert bench.channel.said() == [(Kind.GIVE_BACK, Q, 10, 1)]


# ---- the thread


def test_one_thread_watches_all(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(0), chunk(1))
    bench.open(2, 3)
    bench.stock.begin(Long(), 5)
    assert len(helpers()) == 1


def test_it_sleeps_for_good_while_there_is_nothing(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(0))
    bench.stock.take(Q)
    ticks.tick(50)
    ticks.last()
    wait_until(lambda: not bench.stock._parked.is_set())
    looks = len(ticks.slept_for)
    bench.keep(chunk(1))  # and wakes for the next one
    ticks.tick(2)
    assert bench.channel.said() == [(Kind.GIVE_BACK, Q, 1, 1)]
    assert len(ticks.slept_for) == looks + 3


def test_it_ends_without_a_word_when_the_manager_is_gone(
    make: Make, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    bench.keep(chunk(0))
    (thread,) = helpers()

    def send(*messages: list[Buffer]) -> None:
        raise Disconnected

    monkeypatch.setattr(bench.channel, 'send', send)
    ticks.tick()
    ticks.last()
    thread.join(ALARM)
    assert not thread.is_alive()  # and pytest would tell of an exception that nobody caught


def test_closing_ends_it(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(0))
    (thread,) = helpers()
    bench.stock.close()
    ticks.last()
    thread.join(ALARM)
    assert not thread.is_alive()


def test_closing_ends_it_when_it_sleeps_for_good(make: Make, ticks: Ticks) -> None:
    bench = make()
    bench.keep(chunk(0))
    bench.stock.take(Q)
    ticks.tick(50)
    ticks.last()
    wait_until(lambda: not bench.stock._parked.is_set())
    (thread,) = helpers()
    bench.stock.close()
    thread.join(ALARM)
    assert not thread.is_alive()
