"""The window that holds feeders back: where it ends, and when they are told to go on. Nobody waits here."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from eisenmp.credit import History
from eisenmp.errors import PayloadError
from eisenmp.feeder import Cut, Feeder
from eisenmp.intake import Intake
from eisenmp.job import Job
from eisenmp.ledger import Chunk, State
from eisenmp.payload import dumps
from eisenmp.results import Record
from eisenmp.sources import source_of
from tests.unit.fakes import make_job, message


class Desk:
    """An intake, one feeder of the default queue, and the rest of the job in the test's hands."""

    def __init__(self, **settings: Any) -> None:
        self.job: Job
        self.job, self.engine, _, _ = make_job(**settings)
        self.intake = Intake(self.job)
        self.queue = self.job.table[0]
        self.feeder = Feeder(source_of(()), 0, None)
        self.job.exchange.feeder_begins(self.queue)

    def add(self, size: int = 1) -> bool:
        return self.intake.add_chunk(self.feeder, 1, (bytes(size),), Cut())

    def has_room(self) -> bool:
        with self.job.lock:
            return self.intake._has_room(self.queue)

    def has_bytes(self, size: int) -> bool:
        with self.job.lock:
            return self.intake._has_bytes(self.queue, size)

    def take(self, worker: int = 0, *, begun: bool = True) -> Chunk:
        with self.job.lock:
            chunk = self.job.exchange.next_chunk(self.queue, 1)
            assert chunk is not None
            self.job.ledger.lease(chunk, worker, 0.0, begun=begun)
        return chunk

    def answer(self, chunk: Chunk) -> None:
        with self.job.lock:
            assert chunk.owner is not None
            self.job.ledger.done(chunk.owner, 0, chunk.serial, 0, 0.0)
            self.job.results.record(Record(0, chunk.serial))
            self.job.room_made(self.queue)

    def states(self) -> list[int]:
        return list(self.job.ledger.track(0).states)


def test_the_window_counts_what_is_queued_and_what_is_running() -> None:
    desk = Desk(BUFFER_CHUNKS=3)
    assert desk.intake.wait_for_room(desk.feeder)
    assert desk.add()
    assert desk.add()
    assert desk.has_room()
    assert desk.add()
    assert not desk.has_room()
    running = desk.take()
    assert not desk.has_room()
    desk.answer(running)
    assert desk.has_room()


def test_the_default_is_four_chunks_a_worker() -> None:
    desk = Desk(NUM_PROCS=3)
    for _ in range(12):
        assert desk.has_room()
        desk.add()
    assert not desk.has_room()


def test_the_window_counts_what_is_finished_and_not_read_yet() -> None:
    desk = Desk(BUFFER_CHUNKS=2)
    with desk.job.results.outcomes() as reader:
        for _ in range(2):
            desk.add()
            desk.answer(desk.take())
        assert not desk.has_room()
        next(reader)
        assert desk.has_room()
    assert desk.has_room()


def test_without_a_reader_finished_chunks_do_not_count() -> None:
    desk = Desk(BUFFER_CHUNKS=2)
    for _ in range(20):
        desk.add()
        desk.answer(desk.take())
    assert desk.has_room()


def test_the_window_in_bytes() -> None:
    desk = Desk(BUFFER_BYTES=100)
    assert desk.has_bytes(10**9)  # one chunk goes always, however large
    desk.add(60)
    assert desk.has_bytes(40)
    assert not desk.has_bytes(41)
    chunk = desk.take()
    assert not desk.has_bytes(41)
    desk.answer(chunk)
    assert desk.has_bytes(101)


def test_results_that_nobody_has_read_yet_count_in_bytes_too() -> None:
    desk = Desk(BUFFER_BYTES=1000)
    with desk.job.results.outcomes() as reader:
        desk.add(10)
        chunk = desk.take()
        with desk.job.lock:
            desk.job.ledger.done(0, 0, chunk.serial, 0, 0.0)
            desk.job.results.record(Record(0, chunk.serial, value=dumps(b'x' * 2000)))
        assert not (desk.has_room() and desk.has_bytes(10))
        next(reader)
        assert desk.has_room()
        assert desk.has_bytes(10)


def test_the_bound_of_the_queue_holds_feeders_back_too() -> None:
    desk = Desk(BUFFER_CHUNKS=100)
    (queue,) = desk.job.table.create([(None, 'q', 2)])
    desk.queue, desk.feeder = queue, Feeder(source_of(()), queue.number, None)
    desk.job.exchange.feeder_begins(queue)
    desk.add()
    assert desk.has_room()
    desk.add()
    assert not desk.has_room()
    desk.take(begun=False)  # what lies ahead in a worker is as good as queued
    assert not desk.has_room()
    desk.take(worker=1)
    assert desk.has_room()
    desk.job.exchange.add_message(queue, message())
    assert not desk.has_room()


def test_once_the_feeding_is_over_a_chunk_is_unread() -> None:
    desk = Desk()
    desk.add()
    with desk.job.lock:
        desk.job.stop()
    assert not desk.intake.wait_for_room(desk.feeder)
    assert not desk.add()
    assert desk.states() == [State.UNREAD, State.UNREAD]


def test_a_full_window_does_not_keep_a_feeder_when_the_feeding_is_over() -> None:
    desk = Desk(BUFFER_CHUNKS=1)
    desk.add()
    with desk.job.lock:
        desk.job.exchange.end_feeding()
    assert not desk.intake.wait_for_room(desk.feeder)
    assert not desk.add()


# ---- how much is cut at a time


def test_without_a_history_chunks_are_cut_one_by_one() -> None:
    desk = Desk()
    assert desk.intake.wait_for_room(desk.feeder) == 1


def test_short_chunks_are_cut_many_at_a_time() -> None:
    desk = Desk(BUFFER_CHUNKS=800)
    desk.job.paces[0] = History(10, 0.000_02)  # 50 of them are a millisecond
    assert desk.intake.wait_for_room(desk.feeder) == 50
    for _ in range(770):
        desk.add()
    assert desk.intake.wait_for_room(desk.feeder) == 30  # and no more than there is room for
    for _ in range(29):
        desk.add()
    assert desk.intake.wait_for_room(desk.feeder) == 1


def test_chunks_of_a_bounded_queue_are_cut_one_by_one() -> None:
    desk = Desk(BUFFER_CHUNKS=800)
    (queue,) = desk.job.table.create([(None, 'q', 500)])
    desk.queue, desk.feeder = queue, Feeder(source_of(()), queue.number, None)
    desk.job.paces[queue.number] = History(10, 0.000_02)
    assert desk.intake.wait_for_room(desk.feeder) == 1


def test_a_batch_counts_by_its_tickets() -> None:
    desk = Desk(BUFFER_CHUNKS=10)
    assert desk.intake.add_chunk(desk.feeder, 19, (b'x' * 100,), Cut(7, 3))
    assert desk.states() == [State.QUEUED] * 7
    assert list(desk.job.ledger.track(0).items) == [3] * 6 + [1]
    assert desk.has_room()
    desk.intake.add_chunk(desk.feeder, 6, (b'x' * 100,), Cut(3, 2, nested=True))
    assert not desk.has_room()
    assert [entry.nested for entry in desk.queue.entries if isinstance(entry, Chunk)] == [False, True]


def test_chunks_of_automatic_size_begin_with_one_item_and_follow_the_pace() -> None:
    desk = Desk(NUM_ROWS='auto', BUFFER_CHUNKS=100)
    desk.feeder.auto, desk.feeder.rows = True, 1
    assert (desk.intake.wait_for_room(desk.feeder), desk.feeder.rows) == (1, 1)
    desk.job.paces[0] = History(10, 0.000_02)  # of chunks: does not matter
    desk.job.item_paces[0] = History(10, 0.000_05)  # 100 items are five milliseconds
    sizes = []
    for _ in range(4):
        assert desk.intake.wait_for_room(desk.feeder) == 1
        sizes.append(desk.feeder.rows)
    assert sizes == [8, 64, 100, 100]
    desk.job.item_paces[0] = History(10, 0.001)
    desk.intake.wait_for_room(desk.feeder)
    assert desk.feeder.rows == 5
    desk.job.item_paces[0] = History(10, 1.0)
    desk.intake.wait_for_room(desk.feeder)
    assert desk.feeder.rows == 1


def test_several_feeders_of_a_queue_share_its_automatic_size() -> None:
    desk = Desk(NUM_ROWS='auto', BUFFER_CHUNKS=100)
    desk.job.item_paces[0] = History(10, 0.000_05)
    other = Feeder(source_of(()), 0, None)
    desk.feeder.auto = other.auto = True
    desk.intake.wait_for_room(desk.feeder)
    desk.intake.wait_for_room(other)
    assert (desk.feeder.rows, other.rows) == (8, 64)


def test_large_items_make_chunks_of_automatic_size_short() -> None:
    desk = Desk(NUM_ROWS='auto', BUFFER_CHUNKS=100)
    desk.job.item_paces[0] = History(10, 0.000_001)
    desk.feeder.auto, desk.feeder.rows, desk.feeder.item_bytes = True, 1, 300_000
    for _ in range(4):
        desk.intake.wait_for_room(desk.feeder)
    assert desk.feeder.rows == 3


# ---- chunks that cannot be sent


def test_a_spoiled_chunk_fails_its_ticket_and_ends_the_job() -> None:
    desk = Desk()
    error = PayloadError('item 3 of the chunk, a lock: …')
    assert not desk.intake.add_spoiled(desk.feeder, 10, error)
    assert desk.states() == [State.FAILED]
    assert desk.job.error is error
    assert '_TID_0' in ''.join(error.__notes__)
    outcome = desk.job.results['mp_input_q'][0]
    assert (outcome.error, outcome.slot, outcome.state) == (error, -1, 'failed')
    assert desk.job.exchange.stopping


def test_a_spoiled_chunk_is_only_recorded_with_skip() -> None:
    desk = Desk(ON_ERROR='skip')
    assert desk.intake.add_spoiled(desk.feeder, 10, PayloadError('bad'))
    assert desk.add()
    assert desk.states() == [State.FAILED, State.QUEUED]
    assert desk.job.error is None
    assert desk.job.results['mp_input_q'].failed == [0]


def test_spoiled_chunks_that_nobody_reads_hold_the_feeder_back() -> None:
    desk = Desk(ON_ERROR='skip', BUFFER_CHUNKS=3)
    with desk.job.results.outcomes() as reader:
        for n in range(3):
            assert desk.has_room()
            desk.intake.add_spoiled(desk.feeder, 1, PayloadError(str(n)))
        assert not desk.has_room()
        next(reader)
        assert desk.has_room()


# ---- the end of a feeder


def test_an_error_of_the_iterable_spoils_the_job_and_what_was_made_is_finished() -> None:
    desk = Desk()
    desk.add()
    error = OSError('the disk is gone')
    desk.intake.feeder_done(desk.feeder, error)
    assert desk.job.error is error
    assert not desk.job.exchange.stopping
    assert desk.states() == [State.QUEUED]
    assert desk.queue.feeders_open == 0


def test_a_short_form_is_not_settled_before_the_error_of_its_iterable_is_known() -> None:
    """The feeder says that it is done before it tells of its error; the last answer may come in between."""
    desk = Desk()
    desk.job.single = True
    desk.job.feeders.append(desk.feeder)
    desk.add()
    desk.feeder.done = True
    desk.answer(desk.take())
    with desk.job.lock:
        desk.job.look_if_settled()
    assert not desk.job.later
    error = OSError('the disk is gone')
    desk.intake.feeder_done(desk.feeder, error)
    for call in desk.job.later:
        call()
    assert desk.job.results.over
    assert desk.job.results.error is error


def test_the_first_error_counts() -> None:
    desk = Desk()
    first = OSError('first')
    desk.intake.feeder_done(desk.feeder, first)
    desk.job.exchange.feeder_begins(desk.queue)
    desk.intake.feeder_done(desk.feeder, OSError('second'))
    assert desk.job.error is first


# ---- waiting for real, in one thread that the test wakes


@pytest.mark.parametrize('how', ['answer', 'reader', 'stop', 'closed reader'])
def test_a_feeder_that_waits_goes_on_when_there_is_room(how: str) -> None:
    desk = Desk(BUFFER_CHUNKS=1)
    reader = desk.job.results.outcomes()
    desk.add()
    chunk = desk.take()
    if how != 'answer':
        desk.answer(chunk)
    else:
        reader.close()
    waiting, outcome = threading.Event(), list[int]()
    room = desk.job.room(desk.queue)
    real_wait = room.wait

    def wait(timeout: float | None = None) -> bool:
        waiting.set()
        return real_wait(timeout)

    room.wait = wait  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: outcome.append(desk.intake.wait_for_room(desk.feeder)))
    thread.start()
    assert waiting.wait(10)
    with desk.job.lock:  # it has let go of the lock: it waits
        assert desk.job.feeders_waiting == 1
    if how == 'answer':
        desk.answer(chunk)
    elif how == 'reader':
        next(reader)
    elif how == 'closed reader':
        reader.close()
    else:
        with desk.job.lock:
            desk.job.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert outcome == [how != 'stop']
    assert desk.job.feeders_waiting == 0
    reader.close()


def test_many_chunks_free_at_once_wake_the_feeder_early_enough() -> None:
    """It is woken when a quarter of the window is free: never later, or the workers would run dry."""
    desk = Desk(BUFFER_CHUNKS=8)
    told: list[int] = []
    desk.job.feeders_waiting = 1
    room = desk.job.room(desk.queue)
    room.notify_all = lambda: told.append(desk.job.fill(desk.queue))  # type: ignore[method-assign]
    for _ in range(8):
        desk.add()
    while desk.queue.entries:
        desk.answer(desk.take())
        if desk.job.fill(desk.queue) <= 6:
            assert told
    desk.job.feeders_waiting = 0
