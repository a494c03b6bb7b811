"""The exchange: who gets which entry, who waits, when a stream ends. The clock is a number given by the test."""

from __future__ import annotations

from functools import partial
from typing import Any

from eisenmp.exchange import Exchange
from eisenmp.ledger import Chunk, Ledger, State
from eisenmp.queues import Getter, NamedQueue, QueueTable
from tests.unit.fakes import Reader, Writer, add_chunk, make_exchange, message

END = Reader.END


def one_queue(maxsize: int = 0, *, fed: bool = True) -> tuple[Exchange, NamedQueue]:
    exchange, (queue,) = make_exchange((None, 'q', maxsize))
    if fed:
        exchange.feeder_begins(queue)
    return exchange, queue


def ask(exchange: Exchange, queue: NamedQueue | None, worker: int | None = 1) -> Reader:
    reader = Reader(worker)
    exchange.get(queue, reader.getter)
    return reader


def put(exchange: Exchange, queue: NamedQueue, text: str = 'x') -> Writer:
    writer = Writer(text)
    exchange.put(queue, writer.putter)
    return writer


def serials(entries: Any) -> list[int]:
    return [entry.serial for entry in entries if isinstance(entry, Chunk)]


def lease(exchange: Exchange, reader: Reader, worker: int = 1) -> Chunk:
    (chunk,) = reader.got
    exchange.ledger.lease(chunk, worker, 0.0, begun=True)
    return chunk  # type: ignore[no-any-return]


# ---- first in, first out


def test_entries_come_out_in_their_order_chunks_and_messages_alike() -> None:
    exchange, queue = one_queue()
    first = add_chunk(exchange, queue)
    by_hand = message()
    exchange.add_message(queue, by_hand)
    last = add_chunk(exchange, queue)
    assert [ask(exchange, queue).got for _ in range(3)] == [[first], [by_hand], [last]]


def test_readers_are_served_in_their_order() -> None:
    exchange, queue = one_queue()
    readers = [ask(exchange, queue) for _ in range(3)]
    chunks = [add_chunk(exchange, queue) for _ in range(2)]
    assert [reader.got for reader in readers] == [[chunks[0]], [chunks[1]], []]
    assert [reader.live for reader in readers] == [False, False, True]


def test_queues_are_apart() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), ('c', 'b', 0))
    waits = ask(exchange, a)
    chunk = add_chunk(exchange, b)
    assert waits.got == []
    assert ask(exchange, b).got == [chunk]


def test_a_reader_that_waits_no_more_is_skipped() -> None:
    exchange, queue = one_queue()
    dead, alive = ask(exchange, queue), ask(exchange, queue)
    dead.getter.live = False
    chunk = add_chunk(exchange, queue)
    assert (dead.got, alive.got) == ([], [chunk])


def test_withdrawn_readers_leave_nothing_behind() -> None:
    exchange, queue = one_queue()
    keeps_waiting = ask(exchange, queue)
    for _ in range(100):
        reader = ask(exchange, queue)
        exchange.withdraw(queue, reader.getter)
        anyone = ask(exchange, None)
        exchange.withdraw(None, anyone.getter)
    assert len(queue.getters) == 1
    assert len(exchange.any_getters) == 0
    chunk = add_chunk(exchange, queue)
    assert keeps_waiting.got == [chunk]


def test_withdrawn_putters_leave_nothing_behind() -> None:
    exchange, queue = one_queue(1, fed=False)
    put(exchange, queue, 'in')
    patient = put(exchange, queue, 'patient')
    for _ in range(100):
        exchange.withdraw(queue, put(exchange, queue, 'impatient').putter)
    assert len(queue.putters) == 1
    ask(exchange, queue)
    assert patient.accepted


def test_withdrawing_twice_or_too_late_does_no_harm() -> None:
    exchange, queue = one_queue()
    reader = ask(exchange, queue)
    add_chunk(exchange, queue)
    exchange.withdraw(queue, reader.getter)
    exchange.withdraw(None, reader.getter)
    writer = put(exchange, queue)
    exchange.withdraw(queue, writer.putter)
    assert writer.accepted


# ---- bounds


def test_a_bound_holds_putters_back_in_their_order() -> None:
    exchange, queue = one_queue(2, fed=False)
    writers = [put(exchange, queue, str(n)) for n in range(4)]
    assert [writer.accepted for writer in writers] == [True, True, False, False]
    assert len(queue.entries) == 2
    assert ask(exchange, queue).got == [writers[0].message]
    assert [writer.accepted for writer in writers] == [True, True, True, False]
    assert [ask(exchange, queue).got for _ in range(3)] == [[writer.message] for writer in writers[1:]]
    assert all(writer.accepted for writer in writers)


def test_a_putter_passes_its_message_straight_to_a_waiting_reader() -> None:
    exchange, queue = one_queue(1, fed=False)
    reader = ask(exchange, queue)
    writer = put(exchange, queue)
    assert writer.accepted
    assert reader.got == [writer.message]
    assert not queue.entries


def test_a_putter_that_waits_no_more_is_never_let_in() -> None:
    exchange, queue = one_queue(1, fed=False)
    first, late, last = (put(exchange, queue, text) for text in ('first', 'late', 'last'))
    late.putter.live = False
    assert [ask(exchange, queue).got for _ in range(2)] == [[first.message], [last.message]]
    assert not late.accepted


def test_forwarded_messages_are_not_held_back() -> None:
    exchange, queue = one_queue(1, fed=False)
    for _ in range(3):
        exchange.add_message(queue, message())
    assert len(queue.entries) == 3
    assert queue.touched


def test_room_is_told_whenever_an_entry_leaves() -> None:
    exchange, queue = one_queue()
    told: list[str] = []
    exchange.on_room = lambda q: told.append(q.name)
    add_chunk(exchange, queue)
    assert told == []
    ask(exchange, queue)
    assert told == ['q']
    add_chunk(exchange, queue)
    assert exchange.next_chunk(queue, 1) is not None
    assert told == ['q', 'q']
    add_chunk(exchange, queue)
    exchange.end_feeding()
    assert told == ['q', 'q', 'q']


def test_next_chunk_takes_chunks_only_and_lets_putters_in() -> None:
    exchange, queue = one_queue(1)
    chunk = add_chunk(exchange, queue)
    writer = put(exchange, queue)
    assert exchange.next_chunk(queue, 1) is chunk
    assert writer.accepted
    assert exchange.next_chunk(queue, 1) is None  # a message now
    assert len(queue.entries) == 1
    ask(exchange, queue)
    assert exchange.next_chunk(queue, 1) is None


# ---- readers of any queue


def test_anyone_takes_from_whatever_is_fed() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    exchange.feeder_begins(a)
    exchange.feeder_begins(b)
    of_b = add_chunk(exchange, b)
    assert ask(exchange, None).got == [of_b]
    waits = ask(exchange, None)
    assert waits.got == []
    of_a = add_chunk(exchange, a)
    assert waits.got == [of_a]


def test_anyone_takes_nothing_from_a_queue_that_nobody_feeds() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    exchange.feeder_begins(a)
    exchange.add_message(b, message())
    reader = ask(exchange, None)
    exchange.add_message(b, message())
    assert reader.got == []
    assert len(b.entries) == 2


def test_who_waited_longest_is_first_whether_for_this_queue_or_for_any() -> None:
    exchange, queue = one_queue()
    readers = [ask(exchange, None), ask(exchange, queue), ask(exchange, None), ask(exchange, queue)]
    chunks = [add_chunk(exchange, queue) for _ in range(4)]
    assert [reader.got for reader in readers] == [[chunk] for chunk in chunks]


def test_a_reader_of_any_queue_that_waits_no_more_is_skipped() -> None:
    exchange, queue = one_queue()
    dead, alive = ask(exchange, None), ask(exchange, None)
    dead.getter.live = False
    chunk = add_chunk(exchange, queue)
    assert (dead.got, alive.got) == ([], [chunk])


def test_a_reader_of_chunks_is_given_no_message() -> None:
    """A plain function takes items: a message put into its queue by hand is for those who ask that very queue."""
    exchange, queue = one_queue()
    anyone = ask(exchange, None)
    by_hand = message()
    exchange.add_message(queue, by_hand)
    assert anyone.got == []
    chunk = add_chunk(exchange, queue)
    assert anyone.got == [chunk]
    late = ask(exchange, None)
    exchange.feeder_ends(queue)
    assert late.got == [END]  # nor is it kept waiting by one
    assert ask(exchange, None).got == [END]
    assert ask(exchange, queue).got == [by_hand]


# ---- the end of a stream


def test_a_stream_ends_when_its_feeders_are_done_and_nothing_is_queued() -> None:
    exchange, queue = one_queue()
    exchange.feeder_begins(queue)
    chunk = add_chunk(exchange, queue)
    exchange.feeder_ends(queue)
    assert ask(exchange, queue).got == [chunk]
    waits = ask(exchange, queue)
    assert waits.got == []  # one feeder is still at work
    exchange.feeder_ends(queue)
    assert waits.got == [END]
    assert ask(exchange, queue).got == [END]
    assert ask(exchange, queue).got == [END]


def test_the_end_waits_for_no_lease_of_others() -> None:
    exchange, queue = one_queue()
    add_chunk(exchange, queue)
    exchange.feeder_ends(queue)
    lease(exchange, ask(exchange, queue, 1), 1)  # a server, which holds it for life
    assert ask(exchange, queue, 2).got == [END]


def test_what_lies_ahead_in_a_worker_is_as_good_as_queued() -> None:
    exchange, queue = one_queue()
    chunk = add_chunk(exchange, queue)
    exchange.feeder_ends(queue)
    assert exchange.next_chunk(queue, 1) is chunk
    exchange.ledger.lease(chunk, 1, 0.0, begun=False)
    waits, anyone = ask(exchange, queue, 2), ask(exchange, None, 3)
    assert (waits.got, anyone.got) == ([], [])
    exchange.ledger.begin(1, queue.number, chunk.serial, 0.0)
    exchange.serve(queue)
    assert (waits.got, anyone.got) == ([END], [END])


def test_a_queue_without_a_feeder_never_ends_by_itself() -> None:
    exchange, queue = one_queue(fed=False)
    reader = ask(exchange, queue)
    exchange.serve(queue)
    assert reader.got == []


def test_a_message_that_waits_for_room_is_part_of_the_stream() -> None:
    exchange, queue = one_queue(1)
    first, second = put(exchange, queue, '1'), put(exchange, queue, '2')
    exchange.feeder_ends(queue)
    assert [ask(exchange, queue).got for _ in range(3)] == [[first.message], [second.message], [END]]


def test_anyone_reaches_the_end_when_every_fed_queue_has() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    waits = ask(exchange, None)
    assert waits.got == []  # nobody has fed anything yet
    exchange.feeder_begins(a)
    exchange.feeder_begins(b)
    exchange.feeder_ends(a)
    assert waits.got == []
    exchange.feeder_ends(b)
    assert waits.got == [END]
    assert ask(exchange, None).got == [END]


def test_readers_that_wait_no_more_are_not_told_of_the_end() -> None:
    exchange, queue = one_queue()
    dead, dead_anyone, alive = ask(exchange, queue), ask(exchange, None), ask(exchange, queue)
    dead.getter.live = dead_anyone.getter.live = False
    exchange.feeder_ends(queue)
    assert (dead.got, dead_anyone.got, alive.got) == ([], [], [END])


# ---- ending early


def test_end_feeding_gives_up_chunks_and_keeps_messages() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    exchange.feeder_begins(a)
    by_hand = message()
    chunks = [add_chunk(exchange, a), add_chunk(exchange, b)]
    exchange.add_message(a, by_hand)
    chunks.insert(1, add_chunk(exchange, a))
    assert exchange.end_feeding() == chunks
    assert exchange.feeding_over
    states = exchange.ledger.tracks[a.number].states + exchange.ledger.tracks[b.number].states
    assert list(states) == [State.UNREAD] * 3
    assert ask(exchange, a).got == [by_hand]
    assert exchange.end_feeding() == []


def test_after_the_feeding_no_chunk_is_handed_out_any_more() -> None:
    exchange, queue = one_queue()
    for _ in range(2):
        add_chunk(exchange, queue)
    back, away = (lease(exchange, ask(exchange, queue, n), n) for n in (1, 2))
    exchange.end_feeding()
    again, _ = exchange.ledger.died(1, 0, 'signal SIGKILL')
    reader = ask(exchange, queue, 3)
    exchange.put_back(again)
    assert reader.got == []
    assert exchange.next_chunk(queue, 1) is None
    assert exchange.ledger.tracks[queue.number].states[back.serial] == State.UNREAD
    assert exchange.ledger.tracks[queue.number].states[away.serial] == State.LEASED


def test_stop_ends_every_stream_fed_or_not() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    exchange.feeder_begins(a)
    add_chunk(exchange, a)
    waits_b, anyone = ask(exchange, b), ask(exchange, None)
    assert len(anyone.got) == 1
    waits_any = ask(exchange, None)
    exchange.stop()
    assert exchange.stopping
    assert waits_b.got == [END]
    assert waits_any.got == [END]
    assert [ask(exchange, queue).got for queue in (a, b, None)] == [[END]] * 3


def test_stop_with_nothing_ever_fed_ends_those_who_wait_for_anything() -> None:
    exchange, _ = one_queue(fed=False)
    anyone = ask(exchange, None)
    exchange.stop()
    assert anyone.got == [END]


def test_messages_may_still_be_read_after_a_stop() -> None:
    exchange, queue = one_queue()
    by_hand = message()
    exchange.add_message(queue, by_hand)
    exchange.stop()
    assert [ask(exchange, queue).got for _ in range(2)] == [[by_hand], [END]]


def test_stop_lets_in_whoever_waits_for_room() -> None:
    exchange, queue = one_queue(1, fed=False)
    writers = [put(exchange, queue, str(n)) for n in range(3)]
    exchange.stop()
    assert all(writer.accepted for writer in writers)
    assert put(exchange, queue).accepted


def test_the_manager_may_read_what_running_workers_still_put() -> None:
    exchange, queue = one_queue(fed=False)
    in_manager, in_worker = ask(exchange, queue, None), ask(exchange, queue, 1)
    exchange.stop()
    assert (in_manager.got, in_worker.got) == ([], [END])
    by_hand = message()
    exchange.add_message(queue, by_hand)
    assert in_manager.got == [by_hand]
    waits = ask(exchange, queue, None)
    assert waits.got == []
    exchange.close()
    assert waits.got == [END]


# ---- coming back


def test_what_comes_back_goes_ahead_of_the_queue_in_ticket_order() -> None:
    exchange, queue = one_queue()
    chunks = [add_chunk(exchange, queue) for _ in range(6)]
    held = [lease(exchange, ask(exchange, queue, n), n) for n in (1, 1, 2, 2)]
    first_back = exchange.ledger.died(2, 1, 'x')[0]
    exchange.put_back(first_back)
    assert serials(queue.entries) == [2, 3, 4, 5]
    exchange.put_back(exchange.ledger.died(1, 0, 'x')[0])
    assert list(queue.entries) == chunks
    assert held == chunks[:4]


def test_what_comes_back_goes_ahead_of_messages_too() -> None:
    exchange, queue = one_queue()
    add_chunk(exchange, queue)
    chunk = lease(exchange, ask(exchange, queue))
    by_hand = message()
    exchange.add_message(queue, by_hand)
    exchange.put_back(exchange.ledger.died(1, 0, 'x')[0])
    assert list(queue.entries) == [chunk, by_hand]


def test_what_comes_back_is_handed_to_whoever_waits() -> None:
    exchange, (a, b) = make_exchange((None, 'a', 0), (None, 'b', 0))
    for queue in (a, b):
        exchange.feeder_begins(queue)
        add_chunk(exchange, queue)
        lease(exchange, ask(exchange, queue))
    waits_a, anyone = ask(exchange, a, 2), ask(exchange, None, 3)
    again, _ = exchange.ledger.died(1, 0, 'x')
    exchange.put_back(again)
    assert waits_a.got == [again[0]]
    assert anyone.got == [again[1]]


def test_a_bound_does_not_keep_out_what_comes_back() -> None:
    exchange, queue = one_queue(1)
    add_chunk(exchange, queue)
    chunk = lease(exchange, ask(exchange, queue))
    writer = put(exchange, queue)
    waits = put(exchange, queue)
    exchange.put_back(exchange.ledger.died(1, 0, 'x')[0])
    assert list(queue.entries) == [chunk, writer.message]
    ask(exchange, queue)
    assert not waits.accepted  # still full
    ask(exchange, queue)
    assert waits.accepted


# ---- time


def test_calls_are_made_when_their_time_has_come_in_its_order() -> None:
    exchange, _ = one_queue()
    made: list[str] = []
    for when, name in ((3.0, 'c'), (1.0, 'a'), (2.0, 'b'), (1.0, 'a2')):
        exchange.at(when, None, partial(made.append, name))
    assert exchange.next_deadline() == 1.0
    exchange.due(0.99)
    assert made == []
    exchange.due(2.0)
    assert made == ['a', 'a2', 'b']
    assert exchange.next_deadline() == 3.0
    exchange.due(100.0)
    assert made == ['a', 'a2', 'b', 'c']
    assert exchange.next_deadline() is None


def test_a_call_about_somebody_who_waits_no_more_is_not_made() -> None:
    exchange, queue = one_queue()
    made: list[str] = []
    served, waits = ask(exchange, queue), ask(exchange, queue)
    exchange.at(1.0, served.getter, lambda: made.append('served'))
    exchange.at(2.0, waits.getter, lambda: made.append('waits'))
    add_chunk(exchange, queue)
    assert exchange.next_deadline() == 2.0  # nobody is woken for what is settled
    exchange.due(5.0)
    assert made == ['waits']


def test_a_call_that_is_due_at_once_with_others_is_not_made_when_settled_by_them() -> None:
    exchange, queue = one_queue()
    made: list[str] = []
    waits = ask(exchange, queue)
    exchange.at(1.0, None, lambda: exchange.withdraw(queue, waits.getter))
    exchange.at(1.0, waits.getter, lambda: made.append('too late'))
    exchange.due(1.0)
    assert made == []


def test_a_call_may_ask_for_the_next_one() -> None:
    exchange, _ = one_queue()
    made: list[float] = []

    def again() -> None:
        made.append(len(made))
        exchange.at(len(made) + 1.0, None, again)

    exchange.at(1.0, None, again)
    for now in (1.0, 2.0, 3.0):
        exchange.due(now)
    assert len(made) == 3


def test_the_end_is_told_when_the_last_chunk_ahead_comes_back_after_the_stop() -> None:
    exchange = Exchange(QueueTable(), Ledger())
    queue = exchange.table[0]
    exchange.feeder_begins(queue)
    chunk = exchange.ledger.add(0, 1, (b'',), 0)
    exchange.ledger.lease(chunk, 7, 0.0, begun=False)  # handed out ahead to somebody who is busy
    told: list[object] = []
    exchange.get(queue, Getter(8, lambda _, entry: told.append(entry)))
    exchange.stop()
    assert told == []  # it may come back
    assert exchange.ledger.given_back(7, 0, chunk.serial) is chunk
    exchange.put_back([chunk])
    assert told == [None]
    assert exchange.ledger.track(0).states[0] == State.UNREAD


def test_what_a_process_held_goes_to_the_next_one_of_its_slot() -> None:
    exchange, (queue,) = make_exchange((None, 'ports', 0))
    chunks = [add_chunk(exchange, queue) for _ in range(4)]
    held = [exchange.next_chunk(queue, 1) for _ in range(2)]
    for worker, chunk in enumerate(held):
        assert chunk is not None
        exchange.ledger.lease(chunk, worker, 0.0, begun=True)
    for worker in (0, 1):
        exchange.put_back(exchange.ledger.died(worker, worker, 'signal SIGKILL')[0])
    readers = {slot: Reader(worker=10 + slot) for slot in (1, 0, 2)}
    for slot, reader in readers.items():
        reader.getter.slot = slot
        exchange.get(queue, reader.getter)
    assert [readers[slot].got for slot in range(3)] == [[chunks[0]], [chunks[1]], [chunks[2]]]


# ---- little under way


def test_all_workers_wait_and_nothing_is_queued() -> None:
    exchange, queue = one_queue(fed=False)
    ask(exchange, queue, 1)
    ask(exchange, queue, 2)
    assert exchange.is_quiet(0, 2)
    assert not exchange.is_quiet(0, 3), 'one is at work'
    assert exchange.is_quiet(1, 3)


def test_what_is_queued_counts_like_what_is_at_work() -> None:
    exchange, queue = one_queue(fed=False)
    exchange.add_message(queue, message())
    assert exchange.is_quiet(2, 1)
    exchange.add_message(queue, message())
    assert not exchange.is_quiet(2, 1)


def test_a_feeder_or_somebody_who_waits_for_room_makes_it_loud() -> None:
    exchange, queue = one_queue()
    ask(exchange, queue, 1)
    assert not exchange.is_quiet(9, 1)
    exchange, queue = one_queue(maxsize=1, fed=False)
    put(exchange, queue, 'queued')
    assert exchange.is_quiet(9, 1)
    put(exchange, queue, 'waits')
    assert not exchange.is_quiet(9, 1)


def test_another_thread_of_the_manager_that_waits_does_too() -> None:
    exchange, queue = one_queue(fed=False)
    mine = ask(exchange, queue, None)
    assert exchange.is_quiet(1, 1, mine.getter)
    assert not exchange.is_quiet(1, 1)
    ask(exchange, queue, None)
    assert not exchange.is_quiet(1, 1, mine.getter)


def test_a_worker_that_waits_at_two_queues_is_one() -> None:
    exchange, (first, second) = make_exchange((None, 'q', 0), (None, 'r', 0))
    ask(exchange, first, 1)
    ask(exchange, second, 1)
    assert not exchange.is_quiet(0, 2)
