"""The supervisor: which slot is started again, when, and when the job is given up. The clock is a number."""

from __future__ import annotations

from eisenmp.supervisor import EndJob, Phase, Restart, Supervisor, TakeBack

BAD = 'signal SIGSEGV'


def down(
    supervisor: Supervisor, now: float, slot: int = 0, *, needed: bool = False, blamed: bool = False
) -> Restart | EndJob | TakeBack | None:
    return supervisor.down(slot, BAD, now, needed=needed, blamed=blamed)


def up(supervisor: Supervisor, now: float, slot: int = 0) -> int:
    worker = supervisor.started(slot)
    supervisor.up(slot, now)
    return worker


def test_slots_keep_their_number_and_worker_numbers_are_never_used_again() -> None:
    supervisor = Supervisor(3)
    assert [slot.number for slot in supervisor.slots] == [0, 1, 2]
    assert [slot.phase for slot in supervisor.slots] == [Phase.WAITING] * 3
    assert [supervisor.started(slot) for slot in (0, 1, 2, 1, 1, 0)] == [0, 1, 2, 3, 4, 5]
    assert [slot.worker for slot in supervisor.slots] == [5, 4, 2]


def test_a_good_life() -> None:
    supervisor = Supervisor(1)
    supervisor.started(0)
    assert supervisor.slots[0].phase == Phase.STARTING
    supervisor.up(0, 1.0)
    assert supervisor.slots[0].phase == Phase.UP
    assert not supervisor.over()
    supervisor.returned(0)
    assert supervisor.slots[0].phase == Phase.RETURNED
    assert supervisor.over()
    assert not supervisor.gone()
    assert down(supervisor, 5.0) is None
    assert supervisor.over()
    assert supervisor.gone()
    assert supervisor.slots[0].restarts == 0


def test_a_job_is_over_when_every_slot_is() -> None:
    supervisor = Supervisor(2)
    up(supervisor, 0.0, 0)
    supervisor.returned(0)
    assert not supervisor.over()
    up(supervisor, 0.0, 1)
    supervisor.returned(1)
    assert supervisor.over()


def test_a_worker_that_dies_is_replaced_at_once() -> None:
    supervisor = Supervisor(2)
    up(supervisor, 0.0, 1)
    assert down(supervisor, 50.0, 1) == Restart(1, 50.0)
    assert supervisor.slots[1].phase == Phase.WAITING
    assert (supervisor.slots[1].restarts, supervisor.slots[1].last_exit) == (1, BAD)
    assert not supervisor.over()


def test_deaths_over_tickets_are_replaced_at_once_however_many() -> None:
    supervisor = Supervisor(1)
    for now in range(100):
        up(supervisor, float(now))
        assert down(supervisor, now + 0.001, blamed=True) == Restart(0, now + 0.001)


def test_late_deaths_without_a_ticket_are_replaced_at_once_however_many() -> None:
    supervisor = Supervisor(1)
    for n in range(100):
        up(supervisor, 10.0 * n)
        assert down(supervisor, 10.0 * n + 5) == Restart(0, 10.0 * n + 5)


# ---- failed starts


def test_three_failed_starts_in_a_row_end_the_job() -> None:
    supervisor = Supervisor(1)
    supervisor.started(0)
    assert down(supervisor, 1.0) == Restart(0, 1.0)
    supervisor.started(0)
    second = down(supervisor, 2.0)
    assert isinstance(second, Restart)
    assert second.at > 2.0
    supervisor.started(0)
    end = down(supervisor, 3.0)
    assert isinstance(end, EndJob)
    assert 'slot 0' in end.reason
    assert '3 times in a row' in end.reason
    assert BAD in end.reason
    assert supervisor.slots[0].phase == Phase.GONE


def test_failed_starts_count_in_a_row_and_by_slot() -> None:
    supervisor = Supervisor(2)
    for now in range(20):
        supervisor.started(0)
        assert isinstance(down(supervisor, 10.0 * now), Restart)
        supervisor.started(1)
        assert isinstance(down(supervisor, 10.0 * now, 1), Restart)
        for slot in (0, 1):
            up(supervisor, 10.0 * now, slot)
            assert isinstance(down(supervisor, 10.0 * now + 5, slot), Restart)


# ---- deaths right after coming up


def test_early_deaths_wait_longer_and_longer_and_end_the_job() -> None:
    supervisor = Supervisor(1, fruitless_limit=10, backoff=0.05, longest=2.0)
    now = 0.0
    waits: list[float] = []
    for _ in range(9):
        up(supervisor, now)
        decision = down(supervisor, now + 0.01)
        assert isinstance(decision, Restart)
        waits.append(round(decision.at - (now + 0.01), 9))
        now = decision.at
    assert waits[0] == 0.0
    assert waits[1] > 0.0
    assert waits == sorted(waits)
    assert max(waits) <= 2.0
    up(supervisor, now)
    end = down(supervisor, now + 0.01)
    assert isinstance(end, EndJob)
    assert '10 times in a row' in end.reason


def test_an_answer_begins_the_count_anew() -> None:
    supervisor = Supervisor(1, fruitless_limit=3)
    for n in range(50):
        up(supervisor, float(n))
        if n % 2:
            supervisor.answered(0)
        assert isinstance(down(supervisor, n + 0.01), Restart)


def test_a_death_is_early_within_a_second_of_coming_up() -> None:
    supervisor = Supervisor(1, fruitless_limit=1, early=1.0)
    up(supervisor, 10.0)
    assert isinstance(down(supervisor, 11.0), Restart)
    up(supervisor, 20.0)
    assert isinstance(down(supervisor, 20.99), EndJob)


# ---- returned, needed, stopping, retired


def test_a_worker_that_had_returned_is_replaced_only_for_what_it_left() -> None:
    supervisor = Supervisor(2)
    for slot in (0, 1):
        up(supervisor, 0.0, slot)
        supervisor.returned(slot)
    assert down(supervisor, 50.0, 0) is None
    assert down(supervisor, 50.0, 1, needed=True) == Restart(1, 50.0)
    assert [slot.phase for slot in supervisor.slots] == [Phase.GONE, Phase.WAITING]
    assert not supervisor.over()


def test_nothing_is_replaced_once_the_job_stops() -> None:
    supervisor = Supervisor(3)
    supervisor.started(0)
    up(supervisor, 0.0, 1)
    up(supervisor, 0.0, 2)
    supervisor.returned(2)
    supervisor.stop()
    assert [down(supervisor, 9.0, slot, needed=True) for slot in range(3)] == [None] * 3
    assert supervisor.gone()


def test_a_worker_that_leaves_by_agreement_is_replaced_at_once_and_nothing_counts() -> None:
    supervisor = Supervisor(1, fruitless_limit=1)
    for n in range(20):
        up(supervisor, float(n))
        assert supervisor.retire(0, float(n)) == Restart(0, float(n))
        assert supervisor.slots[0].phase == Phase.WAITING
    assert supervisor.slots[0].restarts == 0


def test_a_job_without_slots_is_over() -> None:
    assert Supervisor(0).over()
    assert Supervisor(0).gone()


def test_a_budget_makes_deaths_wait_and_then_ends_the_job() -> None:
    """Whatever is to blame: with a budget, tickets bear none."""
    supervisor = Supervisor(2, backoff=0.05, longest=0.15)
    supervisor.budget = 4
    waits = []
    for death in range(4):
        up(supervisor, 100.0 + death)
        decision = down(supervisor, 105.0 + death, blamed=True)
        assert isinstance(decision, Restart)
        waits.append(round(decision.at - 105.0 - death, 3))
    assert waits == [0.0, 0.05, 0.1, 0.15]
    up(supervisor, 110.0)
    decision = down(supervisor, 120.0, blamed=True)
    assert isinstance(decision, EndJob)
    assert 'slot 0 died 5 times within 60 s' in decision.reason
    assert 'RESTARTS=4' in decision.reason
    assert BAD in decision.reason
    up(supervisor, 120.0, 1)
    assert down(supervisor, 130.0, 1) == Restart(1, 130.0), 'each slot has its own'


def test_a_budget_forgets_what_is_longer_ago_than_a_minute() -> None:
    supervisor = Supervisor(1)
    supervisor.budget = 1
    for hour in range(10):
        up(supervisor, hour * 61.0)
        assert down(supervisor, hour * 61.0 + 30.0) == Restart(0, hour * 61.0 + 30.0)


def test_no_restart_at_all() -> None:
    supervisor = Supervisor(1)
    supervisor.budget = 0
    up(supervisor, 0.0)
    assert isinstance(down(supervisor, 50.0), EndJob)


def test_a_slot_that_only_an_earlier_run_had_asks_for_nothing() -> None:
    supervisor = Supervisor(2)
    assert supervisor.still_asks(1)
    assert not supervisor.still_asks(7)
    supervisor.told_end(1)
    assert not supervisor.still_asks(1)
    assert supervisor.somebody_asks()
