"""The plot: how far each figure is from its goal, and below it a panel for each contest, with every round as a dot.

It is an SVG whose texts stay texts, so it is small and can be searched. Without matplotlib there is none.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import OURS, Contest, Figure
from benchmarks.table import short, verdict

__all__ = ["draw", "of_goal"]

OURS_COLOUR: Final = "#0b6e99"
PEER_COLOUR: Final = "#8a8a8a"
VERDICTS: Final = {"aim": "#2e8b57", "must": "#0b6e99", "below aim": "#8a8a8a", "SHORT": "#c0392b"}
ROW: Final = 0.26  # inches
FRAME: Final = 0.9  # inches of title and axis


def of_goal(figure: Figure, value: float) -> float:
    """A value in parts of the figure's 'must' (of its 'aim', where there is no 'must'): 1 and more reaches it."""
    limit = figure.goal.aim if figure.goal.must is None else figure.goal.must
    assert limit is not None
    if not limit:  # none at all is allowed
        return 1.0 if value <= 0 else 1 / (1 + value)
    tiny = 1e-6 * limit  # growth may be 0, or below
    return max(value, tiny) / limit if figure.goal.least else limit / max(value, tiny)


def draw(contests: Sequence[Contest], path: Path, headline: str) -> Path | None:
    """Write the plot; None: matplotlib is not there, or there is nothing to draw."""
    shown = [contest for contest in contests if contest.values]
    if importlib.util.find_spec("matplotlib") is None or not shown:
        return None
    import matplotlib

    small = {"svg.fonttype": "none", "svg.hashsalt": OURS, "font.size": 8, "font.sans-serif": ["DejaVu Sans"]}
    with matplotlib.rc_context(small):
        _draw(shown, path, headline)
    return path


def _draw(contests: Sequence[Contest], path: Path, headline: str) -> None:
    from matplotlib.figure import Figure as Canvas

    goals = [(c.name, f) for c in contests for f in c.figures if (f.goal.must, f.goal.aim) != (None, None)]
    heights = [FRAME + ROW * rows for rows in [len(goals)] * bool(goals) + [len(c.values) for c in contests]]
    canvas = Canvas(figsize=(11, sum(heights)), layout="constrained")
    canvas.suptitle(headline, fontsize=9)
    panels = canvas.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    if goals:
        _goals(panels[0], goals)
        panels = panels[1:]
    for panel, contest in zip(panels, contests, strict=True):
        _contest(panel, contest)
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _goals(panel: Any, goals: Sequence[tuple[str, Figure]]) -> None:
    for row, (_, figure) in enumerate(goals):
        colour = VERDICTS[verdict(figure)]
        values = [of_goal(figure, value) for value in figure.values]
        panel.plot([min(values), max(values)], [row, row], color=colour, linewidth=1)
        panel.plot(of_goal(figure, figure.median), row, "o", color=colour, markersize=5)
        if figure.goal.aim is not None and figure.goal.must is not None:
            panel.plot(of_goal(figure, figure.goal.aim), row, "|", color="black", markersize=9)
    panel.axvline(1.0, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.set_title("goals: 1 is the 'must' (or the 'aim', where that is all), a stroke is the 'aim'; right is better")
    _rows(panel, [f"{name}: {figure.name}  ({short(figure.median)} {figure.unit})" for name, figure in goals])


def _contest(panel: Any, contest: Contest) -> None:
    for row, (name, values) in enumerate(contest.values.items()):
        colour = OURS_COLOUR if OURS in name else PEER_COLOUR
        panel.plot(values, [row] * len(values), "o", color=colour, markersize=3, alpha=0.5)
        panel.plot(statistics.median(values), row, "|", color=colour, markersize=11, markeredgewidth=2)
    numbers = [value for values in contest.values.values() for value in values]
    if min(numbers) > 0 and max(numbers) > 20 * min(numbers):
        panel.set_xscale("log")
    else:
        panel.set_xlim(left=min(0.0, *numbers))
    panel.set_xlabel(contest.unit)
    panel.set_title(f"{contest.name}: {contest.title}")
    _rows(panel, list(contest.values))


def _rows(panel: Any, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(axis="x", linewidth=0.3)
    panel.tick_params(axis="y", left=False)
    panel.minorticks_off()
