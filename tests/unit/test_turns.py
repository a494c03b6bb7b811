"""Who drives the loop."""

from __future__ import annotations

import threading
import time

import pytest

from eisenmp.turns import Turns


def test_nobody_drives_until_feeders_come_often() -> None:
    turns = Turns()
    assert not turns.driven()
    turns.begin()
    assert not turns.driven()


def test_the_loop_keeps_away_as_long_as_they_come() -> None:
    turns = Turns()
    for _ in range(3):
        turns.begin()
        turns.begin()
        assert turns.driven()
    assert not turns.driven(), 'none came meanwhile'


def test_it_goes_on_at_once_when_the_feeder_waits() -> None:
    turns = Turns()
    turns.begin()
    turns.begin()
    turns.end()
    assert not turns.driven()


def test_a_feeder_that_waits_meanwhile_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('eisenmp.turns._PATIENCE', 60.0)
    turns = Turns()
    turns.begin()
    turns.begin()
    ends = threading.Timer(0.1, turns.end)
    ends.start()
    began = time.monotonic()
    assert turns.driven()
    assert time.monotonic() - began < 30
    ends.join()


def test_a_feeder_that_says_nothing_delays_it_by_milliseconds() -> None:
    turns = Turns()
    turns.begin()
    turns.begin()
    began = time.monotonic()
    assert turns.driven()
    assert time.monotonic() - began >= 0.002
