"""Running totals of time: meters, durations of items, hours of workers."""

from __future__ import annotations

import pytest

from eisenmp.measure import Durations, Hours, Meter
from eisenmp.worker.inbox import Inbox
from tests.unit.fakes import Clock


def test_a_meter_adds_up_what_lasted_and_what_lasts() -> None:
    clock = Clock()
    meter = Meter(clock)
    assert meter.seconds() == 0
    meter.end()  # it has not begun
    meter.begin()
    clock.now += 2
    meter.begin()  # it has begun already
    clock.now += 1
    assert (meter.seconds(), meter.seconds(clock.now - 1)) == (3, 2)
    meter.end()
    clock.now += 5
    assert meter.seconds() == 3
    meter.begin()
    clock.now += 4
    assert meter.seconds() == 7


def test_durations_of_nothing() -> None:
    durations = Durations()
    durations.add(0, 0, 0, 1.0)  # an empty chunk
    assert (durations.items, durations.mean(), durations.quantile(0.5), durations.slowest) == (0, None, None, [])


def test_the_slowest_five_are_kept_with_what_was_timed_with_them() -> None:
    durations = Durations()
    for serial in range(100):
        durations.add(0, serial, 10, float(serial * 7 % 100))
    slowest = sorted(durations.slowest, reverse=True)
    assert [(timed.seconds, timed.items) for timed in slowest] == [(n / 10, 10) for n in (99, 98, 97, 96, 95)]
    assert [timed.serial * 7 % 100 for timed in slowest] == [99, 98, 97, 96, 95]
    assert durations.mean() == pytest.approx(4.95 / 10 * 10)


def test_items_that_take_no_time_at_all() -> None:
    durations = Durations()
    durations.add(0, 0, 5, 0.0)
    assert (durations.mean(), durations.quantile(0.5), durations.quantile(0.99)) == (0, 0, 0)


def test_hours_of_a_worker() -> None:
    hours = Hours()
    assert hours.shares(5.0) == (0, 0, 0, 0, 0)
    hours.start(10.0)
    assert hours.shares(12.0) == (2, 1, 0, 0, 0)  # it starts up
    hours.up(12.0)
    hours.worked(15.0, 2.0)
    hours.sending += 1.0
    assert hours.shares(20.0) == (10, 0.2, 0.5, 0.2, 0.1)
    assert hours.shares(20.0, since=18.0) == (10, 0.2, 0.3, 0.4, 0.1)  # it is at something now
    assert hours.shares(20.0, since=13.0)[3] == pytest.approx(0.7)  # what it has told of is not counted twice
    hours.leave(20.0, since=18.0)
    hours.start(25.0)  # the next process of the slot
    hours.up(26.0)
    total, starting, waiting, working, sending = hours.shares(30.0)
    assert total == 15
    assert (starting, working, sending) == pytest.approx((3 / 15, 4 / 15, 1 / 15))
    assert starting + waiting + working + sending == pytest.approx(1)


def test_hours_never_add_up_to_more_than_there_were() -> None:
    hours = Hours()
    hours.start(0.0)
    hours.up(1.0)
    hours.worked(2.0, 50.0)  # threads of one worker at many tickets at once
    hours.sending += 7.0
    assert hours.shares(3.0) == pytest.approx((3, 1 / 3, 0, 2 / 3, 0))


def test_a_process_that_dies_while_it_starts() -> None:
    hours = Hours()
    hours.start(0.0)
    hours.start(2.0)
    hours.up(3.0)
    assert hours.shares(4.0) == (4, 0.75, 0.25, 0, 0)


def test_what_a_worker_tells_of_its_sending_is_told_once() -> None:
    inbox = Inbox(None, plain=True)
    inbox._sending = 0.0025
    assert [inbox._told(), inbox._told()] == [2500, 0]
    inbox._sending = -0.1  # two threads have told the same
    assert inbox._told() == 0
    inbox._sending = 1e9
    assert inbox._told() == 0xFFFF_FFFF
