"""Spreads the ways to start workers over the Pythons: each case runs on each Python, but not in each way on each.

A test of three cases in all three ways is 3 × 3 × 3 runs with the three Pythons, and most of what CI does is starting
processes. So each Python runs each case in one of the ways, the next Python in the next: together they run them all. On
each Python every case has its turn, and so has every way of each test. Threads (``inline``) cost nothing and always
run. ``--every-way`` runs the whole product, and so does naming a test: ``tests/….py::test_…``.

``--share`` is for the second and the third Python of a run of CI, where the first one has run all: of a test with many
cases, each tenth, and of fewer than ten, one; of tests with a single one, each second. Of those that take long (whole
programs, pages, faults, searches for counterexamples) with many cases, each third, and of the others each tenth.
"""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

__all__ = ['SHARES', 'WAYS', 'Case', 'has_turn', 'leave_out', 'numbered', 'selected']

SHARES: Final = 10
_ALIKE: Final = ('browser/', 'cli/', 'examples/', 'faults/', 'integration/', 'property/')
WAYS: Final = ('spawn', 'forkserver', 'fork')  # in the order in which they take turns


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a test: its parameters' values, and the place of each among all that its parameter takes."""

    values: Mapping[str, Any]
    places: Mapping[str, int]

    def way_of(self, name: str) -> str | None:
        """The value of that parameter, when it is a way to start processes."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value in WAYS else None

    def others(self, name: str) -> tuple[tuple[str, int], ...]:
        """The places of the other parameters."""
        return tuple(sorted((other, place) for other, place in self.places.items() if other != name))


def numbered(runs: Sequence[Mapping[str, Any]]) -> list[Case]:
    """The runs of one test as cases. (The indices that pytest has count the runs of a product, not the values.)"""
    seen: dict[str, dict[int, int]] = defaultdict(dict)
    return [
        Case(run, {name: seen[name].setdefault(id(value), len(seen[name])) for name, value in run.items()})
        for run in runs
    ]


def selected(cases: Sequence[Case], turn: int) -> list[bool]:
    """Which runs of one test have their turn; every `turn` of three in a row has others, and the three have all.

    Args:
        cases: all runs of the test.
        turn: of the Python, any number.
    """
    name = _axis(cases)
    if name is None or len({case.others(name) for case in cases}) < len(WAYS):
        return [True] * len(cases)
    chosen = []
    for case in cases:
        way = case.way_of(name)
        # the sum, so that no value of another parameter always comes with the same way
        at = sum(place for _, place in case.others(name)) + turn
        chosen.append(way is None or WAYS[at % len(WAYS)] == way)
    return chosen


def _axis(cases: Iterable[Case]) -> str | None:
    """The parameter that takes all the ways, with each case of the others, if there is just one."""
    ways: dict[str, set[str]] = defaultdict(set)
    by_case: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for case in cases:
        for name in case.values:
            if way := case.way_of(name):
                ways[name].add(way)
                by_case[name, case.others(name)].add(way)
    whole = [name for name, found in ways.items() if len(found) == len(WAYS)]
    if len(whole) != 1 or any(len(found) < len(WAYS) for (name, _), found in by_case.items() if name == whole[0]):
        return None
    return whole[0]


def has_turn(name: str, path: str, runs: int, turn: int) -> list[bool]:
    """Which runs of one test are in the share of a Python; of ten in a row, each run has its turn on one.

    Args:
        name: of the test.
        path: of its file, from the folder of the tests on.
        runs: how many there are.
        turn: of the Python, any number.
    """
    first = zlib.crc32(name.encode()) + turn
    if runs == 1:
        return [first % (SHARES if path.startswith(_ALIKE) else 2) == 0]
    if path.startswith((*_ALIKE, 'contract/')) and zlib.crc32(path.encode() + name.encode()) % 3 != turn % 3:
        return [False] * runs
    return [(first + at) % min(runs, SHARES) == 0 for at in range(runs)]


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out of the collected tests what has its turn on another Python."""
    if config.getoption('--every-way') or any('::' in argument for argument in config.args):
        return
    tests: dict[Hashable, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, 'callspec'):
            tests[item.nodeid.partition('[')[0]].append(item)
    left_out: set[pytest.Item] = set()
    turn = sys.version_info.minor
    for runs in tests.values():
        cases = numbered([run.callspec.params for run in runs])
        left_out.update(run for run, has in zip(runs, selected(cases, turn), strict=True) if not has)
    if config.getoption('--share'):
        left_out.update(_not_shared([item for item in items if item not in left_out], turn))
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _not_shared(items: Iterable[pytest.Item], turn: int) -> list[pytest.Item]:
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition('[')[0]].append(item)
    return [
        run
        for name, runs in tests.items()
        for run, has in zip(runs, has_turn(name, name.removeprefix('tests/'), len(runs), turn), strict=True)
        if not has
    ]
