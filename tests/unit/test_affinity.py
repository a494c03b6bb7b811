"""CPU_AFFINITY: who gets which cores."""

from __future__ import annotations

from typing import Any

import pytest

from eisenmp import affinity
from eisenmp.affinity import cores_by_slot, fits
from eisenmp.equipment import Equipment
from eisenmp.errors import SettingsError
from eisenmp.queues import QueueTable
from eisenmp.settings import Settings

CORES = (2, 3, 5)


@pytest.mark.parametrize(
    ('value', 'slots', 'expected'),
    [
        (None, 2, [None, None]),
        ('spread', 5, [(2,), (3,), (5,), (2,), (3,)]),
        ([5, 2], 3, [(5,), (2,), (5,)]),
        ((5,), 2, [(5,), (5,)]),
        ([[5, 2], 3], 2, [(2, 5), (3,)]),
        (range(2, 4), 2, [(2,), (3,)]),
        ({1: 3}, 3, [None, (3,), None]),
        ({0: [3, 2, 3], 2: {5}}, 3, [(2, 3), None, (5,)]),
    ],
)
def test_cores_by_slot(value: Any, slots: int, expected: list[Any]) -> None:
    assert fits(value)
    assert cores_by_slot(value, slots, CORES) == expected


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        ([2, 4], 'core 4 is none that this process may use; allowed: 2, 3, 5'),
        ({0: [2, 9]}, 'core 9 is none'),
        ({3: 2}, 'speaks of slot 3; allowed: 0 to 2 with NUM_PROCS=3'),
    ],
)
def test_what_is_not_there_is_named(value: Any, words: str) -> None:
    assert fits(value)
    with pytest.raises(SettingsError, match=words):
        cores_by_slot(value, 3, CORES)


def test_a_list_is_checked_whole_even_where_slots_do_not_reach_it() -> None:
    """No error that shows only on a machine with more cores, or with another NUM_PROCS."""
    with pytest.raises(SettingsError, match='core 7'):
        cores_by_slot([2, 7], 1, CORES)


def test_a_system_that_nails_nobody_to_a_core_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, 'usable', lambda: None)
    settings = Settings(NUM_PROCS=2, CPU_AFFINITY='spread')
    equipment = Equipment()
    equipment.prepare(settings, [], {}, QueueTable())
    assert equipment.cores == []
    assert 'cannot' in affinity.why_not(settings.CPU_AFFINITY, engine='local')


def test_threads_of_the_manager_stay_where_they_are() -> None:
    assert "ENGINE='inline'" in affinity.why_not('spread', engine='inline')
    assert affinity.why_not(None, engine='inline') == ''
    assert affinity.why_not('spread', engine='local') == ''
