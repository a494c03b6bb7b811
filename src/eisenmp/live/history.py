"""What someone is told who comes late: the past of a job in a room that does not grow. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from eisenmp.live.lanes import Bar, thinned
from eisenmp.live.series import Key, Series

__all__ = ["History"]

_FAILURES: Final = 200
_LOGS: Final = 500
_BARS: Final = 2000


class History:
    """The states so far, as far as they are kept.

    Args:
        bars: of lanes, at most. When there are more, the older half of them is thinned, again and again: the newest are
            kept as they were, and the whole job is there.
    """

    def __init__(self, bars: int = _BARS) -> None:
        self._series = Series()
        self._limit = bars
        self._bars: dict[tuple[int, float, str], Bar] = {}
        self._failures: deque[dict[str, Any]] = deque(maxlen=_FAILURES)
        self._logs: deque[dict[str, Any]] = deque(maxlen=_LOGS)
        self.state: dict[str, Any] | None = None

    def add(self, state: dict[str, Any], bars: Iterable[Bar]) -> None:
        """One more state, and the bars of its lanes."""
        self.state = state
        self._series.add(state["seconds"], _figures(state))
        self._failures.extend(state["failures"])
        self._logs.extend(state["logs"])
        for bar in bars:
            self._bars[bar.slot, bar.start, bar.kind] = bar
        if len(self._bars) > self._limit:
            self._thin()

    def _thin(self) -> None:
        bars = sorted(self._bars.values(), key=lambda bar: bar.start)
        half = len(bars) // 2
        old, new = bars[:half], bars[half:]
        slots = len({bar.slot for bar in old})
        width = max(1e-3, (old[-1].start - old[0].start) / max(1, self._limit // 4 // slots - 1))
        old = thinned(old, width)
        spare = len(old) - self._limit // 4
        kept = [*old[max(0, spare) :], *new] if spare > 0 else [*old, *new]
        self._bars = {(bar.slot, bar.start, bar.kind): bar for bar in kept}

    def as_dict(self) -> dict[str, Any]:
        """As it is sent. Of the last state, what is told here already is left out."""
        last = None if self.state is None else {**self.state, "lanes": [], "failures": [], "logs": []}
        return {
            "kind": "history",
            "series": self._series.as_dict(),
            "lanes": [bar.row() for bar in self._bars.values()],
            "failures": list(self._failures),
            "logs": list(self._logs),
            "state": last,
        }


def _figures(state: Mapping[str, Any]) -> dict[Key, float | None]:
    streams = state["streams"]
    whole = state["all"]
    figures: dict[Key, float | None] = {
        ("rate", ""): whole["rate"] if whole is not None else sum(stream["rate"] for stream in streams),
        ("p50", ""): state["latency"]["p50"],
        ("p95", ""): state["latency"]["p95"],
    }
    for queue in state["queues"]:
        figures["queues", queue["name"]] = queue["fill"]
    for worker in state["workers"]:
        figures["cpu", str(worker["slot"])] = worker["cpu"]
        figures["memory", str(worker["slot"])] = worker["memory"]
    return figures
