"""The ledger: one outcome a ticket, whatever its workers do."""

from __future__ import annotations

from typing import Any

import pytest

from eisenmp.ledger import Chunk, Ledger, State, Track

Q = 5
ENDED = [State.DONE, State.FAILED, State.SET_ASIDE, State.UNREAD]


def ledger_with(tickets: int = 1, *, retries: int = 0, crash_retries: int = 2) -> tuple[Ledger, list[Chunk]]:
    ledger = Ledger(retries, crash_retries)
    return ledger, [ledger.add(Q, 10, (b'x' * 100,), 100) for _ in range(tickets)]


def lease(ledger: Ledger, chunk: Chunk, worker: int = 1, *, begun: bool = True, now: float = 0.0) -> None:
    ledger.lease(chunk, worker, now, begun=begun)


def states(ledger: Ledger) -> list[int]:
    return list(ledger.tracks[Q].states)


def check(track: Track, ledger: Ledger) -> None:
    """What must hold at any time."""
    assert track.counts == [list(track.states).count(n) for n in range(len(State.NAMES))]
    live = [n for chunk in track.live.values() for n in range(chunk.serial, chunk.end)]
    assert sorted(live) == [n for n, state in enumerate(track.states) if state in (State.QUEUED, State.LEASED)]
    assert track.live_tickets == len(live)
    assert all(serial == chunk.serial for serial, chunk in track.live.items())
    assert track.live_bytes == sum(chunk.nbytes for chunk in track.live.values())
    held = [chunk for chunk in ledger.leased() if chunk.queue == track.queue]
    assert sum(chunk.tickets for chunk in held) == track.counts[State.LEASED]
    assert track.ahead == sum(chunk.waiting for chunk in held)


def test_serial_numbers_run_from_0_in_each_queue() -> None:
    ledger = Ledger()
    assert [ledger.add(queue, 1, (), 0).serial for queue in (5, 5, 6, 5, 6)] == [0, 1, 0, 2, 1]
    assert (len(ledger.track(5)), len(ledger.track(6)), len(ledger.track(7))) == (3, 2, 0)


def test_a_good_life() -> None:
    ledger, (chunk,) = ledger_with()
    track = ledger.tracks[Q]
    assert (states(ledger), track.live_bytes, track.items_made, track.items_done) == ([State.QUEUED], 100, 10, 0)
    lease(ledger, chunk, worker=4, now=7.0)
    assert (states(ledger), chunk.owner, chunk.begun, chunk.since) == ([State.LEASED], 4, True, 7.0)
    assert ledger.holding(4, Q, 0) is chunk
    check(track, ledger)
    assert ledger.done(4, Q, 0, 2, 0.25) is chunk
    assert (states(ledger), track.seconds[0], track.slots[0]) == ([State.DONE], 0.25, 2)
    assert (track.live, track.live_bytes, track.items_done, track.attempts) == ({}, 0, 10, {})
    assert not ledger.held
    check(track, ledger)


def test_only_the_holder_of_the_lease_is_heard() -> None:
    ledger, (chunk, other) = ledger_with(2)
    lease(ledger, chunk, worker=1)
    for worker, queue, serial in ((2, Q, 0), (1, Q, 1), (1, 6, 0), (1, Q, 99)):
        assert ledger.done(worker, queue, serial, 0, 0.0) is None
        assert ledger.failed(worker, queue, serial, 0, 0.0) is None
        assert ledger.given_back(worker, queue, serial) is None
    assert states(ledger) == [State.LEASED, State.QUEUED]
    assert other.owner is None


def test_a_second_answer_does_not_count() -> None:
    ledger, (chunk,) = ledger_with()
    lease(ledger, chunk)
    assert ledger.done(1, Q, 0, 0, 0.5) is chunk
    assert ledger.done(1, Q, 0, 0, 9.0) is None
    assert ledger.failed(1, Q, 0, 0, 9.0) is None
    assert (states(ledger), ledger.tracks[Q].seconds[0]) == ([State.DONE], 0.5)
    assert ledger.tracks[Q].items_done == 10


def test_a_late_answer_of_a_dead_worker_does_not_count() -> None:
    ledger, (chunk,) = ledger_with()
    lease(ledger, chunk, worker=1)
    assert ledger.died(1, 0, 'signal SIGKILL') == ([chunk], [])
    assert ledger.done(1, Q, 0, 0, 0.0) is None
    lease(ledger, chunk, worker=2)
    assert ledger.failed(1, Q, 0, 0, 0.0) is None
    assert ledger.done(2, Q, 0, 1, 0.0) is chunk
    assert ledger.tracks[Q].attempts == {0: 2}


# ---- exceptions


def test_without_retries_an_exception_ends_the_ticket() -> None:
    ledger, (chunk,) = ledger_with()
    lease(ledger, chunk)
    assert ledger.failed(1, Q, 0, 0, 0.1) == (chunk, False)
    assert states(ledger) == [State.FAILED]


def test_retries_come_before_the_failure() -> None:
    ledger, (chunk,) = ledger_with(retries=2)
    for worker in (1, 2):
        lease(ledger, chunk, worker)
        assert ledger.failed(worker, Q, 0, 0, 0.1) == (chunk, True)
        assert (states(ledger), chunk.owner) == ([State.QUEUED], None)
        check(ledger.tracks[Q], ledger)
    lease(ledger, chunk, 3)
    assert ledger.failed(3, Q, 0, 1, 0.1) == (chunk, False)
    assert states(ledger) == [State.FAILED]
    assert ledger.tracks[Q].attempts == {0: 3}
    assert ledger.tracks[Q].slots[0] == 1


def test_deaths_and_exceptions_are_counted_apart() -> None:
    ledger, (chunk,) = ledger_with(retries=1, crash_retries=1)
    lease(ledger, chunk, 1)
    ledger.died(1, 0, 'x')
    lease(ledger, chunk, 2)
    assert ledger.failed(2, Q, 0, 0, 0.0) == (chunk, True)
    lease(ledger, chunk, 3)
    assert ledger.done(3, Q, 0, 0, 0.0) is chunk
    assert (states(ledger), ledger.tracks[Q].attempts) == ([State.DONE], {0: 3})


def test_a_chunk_that_cannot_be_sent_has_failed_without_a_worker() -> None:
    ledger, (chunk,) = ledger_with()
    ledger.spoiled(chunk)
    assert (states(ledger), ledger.tracks[Q].slots[0]) == ([State.FAILED], -1)
    check(ledger.tracks[Q], ledger)


# ---- deaths


@pytest.mark.parametrize('crash_retries', [0, 1, 2, 5])
def test_a_ticket_is_set_aside_after_its_retries(crash_retries: int) -> None:
    ledger, (chunk,) = ledger_with(crash_retries=crash_retries)
    for worker in range(crash_retries):
        lease(ledger, chunk, worker)
        assert ledger.died(worker, 0, f'exit code {worker}') == ([chunk], [])
        assert states(ledger) == [State.QUEUED]
    lease(ledger, chunk, 99)
    assert ledger.died(99, 1, 'signal SIGSEGV') == ([], [chunk])
    assert states(ledger) == [State.SET_ASIDE]
    assert chunk.exits == [*(f'exit code {n}' for n in range(crash_retries)), 'signal SIGSEGV']
    assert ledger.tracks[Q].slots[0] == 1
    check(ledger.tracks[Q], ledger)


def test_the_death_of_an_idle_worker_harms_nobody() -> None:
    ledger, (chunk,) = ledger_with()
    assert ledger.died(1, 0, 'x') == ([], [])
    lease(ledger, chunk, 2)
    assert ledger.died(3, 1, 'x') == ([], [])
    assert ledger.holding(2, Q, 0) is chunk


def test_neighbours_handed_out_ahead_are_not_blamed() -> None:
    ledger, chunks = ledger_with(3, crash_retries=0)
    lease(ledger, chunks[0])
    for chunk in chunks[1:]:
        lease(ledger, chunk, begun=False)
    check(ledger.tracks[Q], ledger)
    assert ledger.died(1, 0, 'signal SIGKILL') == (chunks[1:], [chunks[0]])
    assert [chunk.exits for chunk in chunks[1:]] == [[], []]
    assert [chunk.attempts for chunk in chunks[1:]] == [0, 0]
    check(ledger.tracks[Q], ledger)


def test_an_innocent_ticket_survives_any_number_of_deaths() -> None:
    ledger, (chunk,) = ledger_with(crash_retries=0)
    for worker in range(50):
        lease(ledger, chunk, worker, begun=False)
        assert ledger.died(worker, 0, 'x') == ([chunk], [])
    lease(ledger, chunk, 99)
    assert ledger.done(99, Q, 0, 0, 0.0) is chunk
    assert ledger.tracks[Q].attempts == {}  # begun once


def test_all_that_was_begun_is_blamed_in_whatever_queue() -> None:
    ledger = Ledger(crash_retries=0)
    a, b = ledger.add(5, 1, (), 0), ledger.add(6, 1, (), 0)
    lease(ledger, a)
    lease(ledger, b)
    assert ledger.died(1, 0, 'x') == ([], [a, b])


def test_what_goes_back_comes_oldest_first() -> None:
    ledger, chunks = ledger_with(4)
    for chunk in chunks:
        lease(ledger, chunk, begun=chunk.serial == 0)
    assert ledger.died(1, 0, 'x')[0] == chunks


# ---- handed out ahead


def test_a_chunk_handed_out_ahead_is_begun_when_its_worker_gets_to_it() -> None:
    ledger, chunks = ledger_with(2)
    lease(ledger, chunks[0], now=1.0)
    lease(ledger, chunks[1], begun=False, now=1.0)
    assert ledger.has_ahead(1, Q)
    assert ledger.has_ahead(1, None)
    assert not ledger.has_ahead(1, 6)
    assert not ledger.has_ahead(2, None)
    assert ledger.in_hand(1, Q) == (2, True)
    ledger.done(1, Q, 0, 0, 0.0)
    assert ledger.in_hand(1, Q) == (1, False)
    ledger.begin(1, Q, 1, 3.5)
    assert (chunks[1].begun, chunks[1].attempts, chunks[1].since) == (True, 1, 3.5)
    assert not ledger.has_ahead(1, Q)
    assert ledger.in_hand(1, Q) == (1, True)
    check(ledger.tracks[Q], ledger)


def test_beginning_twice_or_without_a_lease_changes_nothing() -> None:
    ledger, (chunk,) = ledger_with()
    ledger.begin(1, Q, 0, 1.0)
    assert not chunk.begun
    lease(ledger, chunk, begun=False)
    ledger.begin(2, Q, 0, 1.0)
    assert not chunk.begun
    ledger.begin(1, Q, 0, 1.0)
    ledger.begin(1, Q, 0, 2.0)
    assert (chunk.attempts, chunk.since) == (1, 1.0)
    check(ledger.tracks[Q], ledger)


def test_what_is_given_back_is_queued_again_and_nothing_counts_against_it() -> None:
    ledger, (chunk,) = ledger_with()
    lease(ledger, chunk, begun=False)
    assert ledger.given_back(1, Q, 0) is chunk
    assert (states(ledger), chunk.owner, chunk.exits, chunk.failures, chunk.attempts) == (
        [State.QUEUED],
        None,
        [],
        0,
        0,
    )
    assert not ledger.held
    assert ledger.given_back(1, Q, 0) is None
    check(ledger.tracks[Q], ledger)


def test_a_worker_that_returns_keeps_what_it_has_begun() -> None:
    ledger, chunks = ledger_with(4)
    for chunk in chunks:
        lease(ledger, chunk, begun=chunk.serial == 1)
    assert ledger.returned(1) == [chunks[0], chunks[2], chunks[3]]
    assert states(ledger) == [State.QUEUED, State.LEASED, State.QUEUED, State.QUEUED]
    assert ledger.holding(1, Q, 1) is chunks[1]
    assert ledger.returned(1) == []
    assert ledger.returned(2) == []
    check(ledger.tracks[Q], ledger)


# ---- the end


def test_what_nobody_took_is_unread() -> None:
    ledger, (chunk,) = ledger_with()
    ledger.unread(chunk)
    assert states(ledger) == [State.UNREAD]
    assert ledger.tracks[Q].items_done == 0
    check(ledger.tracks[Q], ledger)


def test_ended_tickets_cost_little() -> None:
    ledger = Ledger()
    for _ in range(1000):
        chunk = ledger.add(Q, 10, (b'x' * 10_000,), 10_000)
        lease(ledger, chunk)
        ledger.done(1, Q, chunk.serial, 0, 0.1)
    track = ledger.tracks[Q]
    assert not track.live
    assert not track.attempts
    assert not ledger.held
    assert len(track.states) + track.seconds.itemsize * 1000 + track.slots.itemsize * 1000 <= 8000


def test_every_state_has_a_name() -> None:
    numbers = {name: value for name, value in vars(State).items() if name.isupper() and name != 'NAMES'}
    assert sorted(numbers.values()) == list(range(len(State.NAMES)))
    assert all(State.NAMES[value] == name.lower().replace('_', ' ') for name, value in numbers.items())
    assert all(state in numbers.values() for state in ENDED)


def test_items_with_an_outcome_are_counted_whatever_it_is() -> None:
    """The progress display goes by this: a job with a failed chunk is at 100 % when nothing is left to do."""
    ledger, (good, bad, poison) = ledger_with(3, crash_retries=0)
    for chunk in (good, bad, poison):
        lease(ledger, chunk, worker=chunk.serial)
    ledger.done(0, Q, 0, 0, 0.0)
    ledger.failed(1, Q, 1, 0, 0.0)
    ledger.died(2, 0, 'x')
    assert ledger.tracks[Q].items_done == 30


# ---- batches


def batch_of(tickets: int, rows: int = 10, last: int = 10, **given: Any) -> tuple[Ledger, Chunk]:
    ledger = Ledger(**given)
    return ledger, ledger.add(Q, (tickets - 1) * rows + last, (b'x',), 100 * tickets, tickets, rows)


def spans(chunks: list[Chunk]) -> list[tuple[int, int, int, int]]:
    return [(chunk.serial, chunk.tickets, chunk.skip, chunk.items) for chunk in chunks]


def test_a_batch_is_many_tickets() -> None:
    ledger, batch = batch_of(4, last=3)
    track = ledger.tracks[Q]
    assert (states(ledger), track.items_made, track.live_bytes) == ([State.QUEUED] * 4, 33, 400)
    lease(ledger, batch, worker=1, now=2.0)
    assert (track.ahead, batch.waiting, ledger.in_hand(1, Q)) == (3, 3, (4, True))
    check(track, ledger)
    assert ledger.done(1, Q, 0, 7, 2.0, 4) is batch
    assert (states(ledger), list(track.seconds), list(track.slots)) == ([State.DONE] * 4, [0.5] * 4, [7] * 4)
    assert (track.items_done, track.live, track.attempts, ledger.held) == (33, {}, {}, {})
    check(track, ledger)


def test_the_serial_numbers_go_on_after_it() -> None:
    ledger, _ = batch_of(4)
    assert ledger.add(Q, 1, (), 0).serial == 4


def test_a_queued_batch_is_cut_from_the_front() -> None:
    ledger, batch = batch_of(4, last=3)
    front = ledger.cut(batch, 3)
    assert spans([front, batch]) == [(0, 3, 0, 30), (3, 1, 3, 3)]
    assert ledger.cut(batch, 5) is batch
    check(ledger.tracks[Q], ledger)


@pytest.mark.parametrize(('serial', 'tickets'), [(0, 1), (0, 3), (2, 1), (2, 2), (4, 1), (1, 4), (0, 5)])
def test_any_part_of_a_batch_can_be_answered(serial: int, tickets: int) -> None:
    ledger, batch = batch_of(5)
    lease(ledger, batch, worker=1)
    done = ledger.done(1, Q, serial, 0, 1.0, tickets)
    assert done is not None
    assert spans([done]) == [(serial, tickets, serial, 10 * tickets)]
    assert [n for n, state in enumerate(states(ledger)) if state == State.DONE] == [*range(serial, serial + tickets)]
    check(ledger.tracks[Q], ledger)
    assert ledger.done(1, Q, serial, 0, 1.0, tickets) is None
    rest = [n for n in range(5) if not serial <= n < serial + tickets]
    for n in rest:
        assert ledger.failed(1, Q, n, 0, 0.1) is not None
        check(ledger.tracks[Q], ledger)
    assert ledger.held == {}


def test_more_than_the_worker_holds_is_not_answered() -> None:
    ledger, batch = batch_of(3)
    other = ledger.add(Q, 1, (), 0)
    lease(ledger, batch)
    lease(ledger, other)
    assert ledger.done(1, Q, 2, 0, 1.0, 2) is None
    assert ledger.done(1, Q, 0, 0, 1.0, 9) is None
    assert states(ledger) == [State.LEASED] * 4


def test_the_unbegun_part_of_a_batch_goes_back_uncounted() -> None:
    ledger, batch = batch_of(5)
    lease(ledger, batch, worker=1)
    back = ledger.given_back(1, Q, 2, 3)
    assert back is not None
    assert (spans([back]), back.attempts, back.begun) == ([(2, 3, 2, 30)], 0, False)
    assert states(ledger) == [State.LEASED] * 2 + [State.QUEUED] * 3
    check(ledger.tracks[Q], ledger)


def test_who_tells_which_ticket_it_is_at_is_blamed_for_that_alone() -> None:
    ledger, batch = batch_of(3, crash_retries=0)
    lease(ledger, batch, worker=1, now=1.0)
    ledger.begin(1, Q, 1, 5.0)
    check(ledger.tracks[Q], ledger)
    again, aside = ledger.died(1, 0, 'signal SIGKILL')
    assert spans(aside) == [(1, 1, 1, 10)]
    assert sorted(spans(again)) == [(0, 1, 0, 10), (2, 1, 2, 10)]
    check(ledger.tracks[Q], ledger)


def test_of_a_batch_that_killed_its_worker_each_ticket_goes_on_alone_and_none_is_blamed() -> None:
    ledger, batch = batch_of(4, last=1, crash_retries=0)
    lease(ledger, batch, worker=1)
    again, aside = ledger.died(1, 0, 'signal SIGKILL')
    assert aside == []
    assert spans(again) == [(0, 1, 0, 10), (1, 1, 1, 10), (2, 1, 2, 10), (3, 1, 3, 1)]
    assert [chunk.exits for chunk in again] == [[]] * 4
    check(ledger.tracks[Q], ledger)


def test_a_batch_handed_out_ahead_comes_back_whole() -> None:
    ledger, batch = batch_of(4)
    lease(ledger, batch, begun=False)
    assert ledger.tracks[Q].ahead == 4
    assert ledger.died(1, 0, 'x') == ([batch], [])
    assert (batch.attempts, ledger.tracks[Q].ahead) == (0, 0)


def test_a_process_that_was_to_end_is_no_fault_of_its_tickets() -> None:
    ledger, (begun, ahead) = ledger_with(2, crash_retries=0)
    for _ in range(3):
        lease(ledger, begun)
        lease(ledger, ahead, begun=False)
        assert ledger.died(1, 4, 'signal SIGTERM', blame=False) == ([begun, ahead], [])
    assert begun.exits == []
    assert (begun.home, ahead.home) == (4, -1)
    check(ledger.tracks[Q], ledger)


def test_where_deaths_are_forgiven_a_ticket_is_handed_out_for_ever() -> None:
    ledger, (chunk,) = ledger_with(crash_retries=0)
    ledger.forgives = True
    for _ in range(10):
        lease(ledger, chunk)
        assert ledger.died(1, 0, 'signal SIGKILL') == ([chunk], [])
    assert chunk.attempts == 10
