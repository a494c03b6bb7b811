"""``CPU_AFFINITY``: which worker slot runs on which cores. Pure, but for asking which cores there are."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from eisenmp.errors import SettingsError

__all__ = ["ALLOWED", "Cores", "cores_by_slot", "fits", "usable", "why_not"]

Cores = tuple[int, ...]  # core numbers, ascending
ALLOWED: Final = (
    "None, 'spread', a list of cores (slot n gets the n-th, and so on around), or a dict from slot to core; "
    "a list of cores may stand for a core"
)


def usable() -> Cores | None:
    """The cores that this process may use; None: this system nails no process to a core."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_setaffinity") else None


def why_not(value: Any, *, engine: str) -> str:
    """Why the setting does nothing here; empty where it does, or where nothing is wanted."""
    if value is None:
        return ""
    if engine == "inline":
        return "CPU_AFFINITY does nothing with ENGINE='inline': workers are threads of this process"
    if engine == "ray":
        return "CPU_AFFINITY does nothing with ENGINE='ray': the cores are those of other machines"
    return "" if usable() else "CPU_AFFINITY does nothing: this system cannot nail a process to a core"


def fits(value: Any) -> bool:
    """Whether the value has one of the shapes that are allowed; which cores there are is another question."""
    if value is None or (isinstance(value, str) and value == "spread"):
        return True
    if isinstance(value, Mapping):
        return bool(value) and all(_is_number(slot) and _is_place(place) for slot, place in value.items())
    return isinstance(value, list | tuple | range) and bool(value) and all(map(_is_place, value))


def cores_by_slot(value: Any, slots: int, there_are: Collection[int]) -> list[Cores | None]:
    """The cores of each slot; None: any.

    Args:
        value: the setting, which :func:`fits`.
        slots: how many.
        there_are: cores that may be used.

    Raises:
        SettingsError: a core that may not be used, a slot that is not there.
    """
    if value is None:
        return [None] * slots
    if isinstance(value, str):
        spread = sorted(there_are)
        return [(spread[slot % len(spread)],) for slot in range(slots)]
    if isinstance(value, Mapping):
        for slot in value:
            if slot >= slots:
                raise SettingsError(
                    f"CPU_AFFINITY={value!r} speaks of slot {slot}; allowed: 0 to {slots - 1} with NUM_PROCS={slots}"
                )
        wanted = [_cores(value[slot]) if slot in value else None for slot in range(slots)]
    else:
        wanted = [_cores(value[slot % len(value)]) for slot in range(slots)]
    places = value.values() if isinstance(value, Mapping) else value
    asked = {core for place in places for core in _cores(place)}
    if strangers := sorted(asked - set(there_are)):
        raise SettingsError(
            f"CPU_AFFINITY={value!r}: core {strangers[0]} is none that this process may use; "
            f"allowed: {', '.join(map(str, sorted(there_are)))}"
        )
    return wanted


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_place(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset | range):
        return bool(value) and all(map(_is_number, value))
    return _is_number(value)


def _cores(place: int | Sequence[int]) -> Cores:
    return (place,) if isinstance(place, int) else tuple(sorted(set(place)))
