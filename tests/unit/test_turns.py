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


# ---- a reader takes the floor


def loop(turns: Turns, woken: threading.Event, listens: threading.Event, done: threading.Event) -> threading.Thread:
    """What the dispatcher does: make way, or listen until it is woken."""

    def run() -> None:
        while not done.is_set():
            if not turns.driven():
                listens.set()
                woken.wait(5)
                woken.clear()
                listens.clear()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_reader_waits_until_the_loop_listens_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('eisenmp.turns._HANDOVER', 5.0)
    turns, woken, listens, done = Turns(), threading.Event(), threading.Event(), threading.Event()
    thread = loop(turns, woken, listens, done)
    assert listens.wait(5)
    for _ in range(200):
        assert turns.take_floor(woken.set)
        assert not listens.is_set()
        time.sleep(0.0002)
        assert not listens.is_set(), 'it came back too early'
        turns.leave_floor()
        turns.end()
    done.set()
    woken.set()
    thread.join()


def test_a_loop_that_is_busy_elsewhere_gives_no_floor() -> None:
    turns = Turns()
    assert not turns.take_floor(lambda: None)
    assert not turns.driven(), 'and does not wait for anybody afterwards'


def test_there_is_one_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('eisenmp.turns._HANDOVER', 5.0)
    turns, woken, listens, done = Turns(), threading.Event(), threading.Event(), threading.Event()
    thread = loop(turns, woken, listens, done)
    assert turns.take_floor(woken.set)
    assert not turns.take_floor(woken.set)
    turns.leave_floor()
    assert turns.take_floor(woken.set)
    turns.leave_floor()
    done.set()
    woken.set()
    thread.join()


def test_the_loop_looks_up_now_and_then_and_does_not_spin_while_a_reader_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('eisenmp.turns._PATIENCE', 0.01)
    turns = Turns()
    turns._floor = True
    turns.end()  # somebody calls the loop, which may not listen yet
    begin = time.monotonic()
    assert turns.driven()
    assert time.monotonic() - begin > 0.005
