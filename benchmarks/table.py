"""The text that a run prints: a table for each contest, and one of all figures with their goals at the end."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.rounds import Contest, Figure, ratio

__all__ = ["contest_table", "goal_table", "short", "verdict"]


def contest_table(contest: Contest) -> str:
    """One contest: everybody's median, spread, and paired ratio to the first."""
    lines = [f"{contest.name}: {contest.title}"]
    if contest.values or contest.said:
        first, first_values = next(iter(contest.values.items()), ("", []))
        rows = [("contender", f"median {contest.unit}", "min … max", f"x {first}")]
        for name, values in contest.values.items():
            rows.append((name, short(statistics.median(values)), _spread(values), _beside(values, first_values)))
        rows += [(name, words, "", "") for name, words in contest.said.items()]
        lines += _aligned(rows)
    if contest.figures:
        lines += ["", *_aligned([_HEAD, *map(_goal_row, contest.figures)])]
    return "\n".join([*lines, *(f"note: {note}" for note in contest.notes)])


def goal_table(contests: Iterable[Contest]) -> str:
    """The figures of all contests."""
    rows: list[tuple[str, ...]] = [("contest", *_HEAD)]
    for contest in contests:
        rows += [(contest.name, *_goal_row(figure)) for figure in contest.figures]
    return "\n".join(_aligned(rows)) if len(rows) > 1 else "no figures"


def verdict(figure: Figure) -> str:
    """``aim``, ``must``, ``SHORT`` of the must, ``below aim`` where nothing was promised; empty without a goal."""
    if figure.met is False:
        return "SHORT"
    if figure.aimed:
        return "aim"
    if figure.met:
        return "must"
    return "" if figure.aimed is None else "below aim"


def short(value: float) -> str:
    """Three digits or so: 0.0042, 1.07, 18.3, 134."""
    size = abs(value)
    places = 4 if 0 < size < 0.095 else 2 if size < 9.95 else 1 if size < 99.5 else 0
    return f"{value:.{places}f}"


_HEAD = ("figure", "median", "min … max", "must", "aim", "reached")


def _goal_row(figure: Figure) -> tuple[str, ...]:
    sign = "≥" if figure.goal.least else "≤"
    must, aim = (f"{sign} {limit:g}" if limit is not None else "" for limit in (figure.goal.must, figure.goal.aim))
    middle = f"{short(figure.median)} {figure.unit}"
    return figure.name, middle, _spread(figure.values), must, aim, verdict(figure)


def _spread(values: Sequence[float]) -> str:
    return f"{short(min(values))} … {short(max(values))}" if len(values) > 1 else ""


def _beside(values: Sequence[float], first: Sequence[float]) -> str:
    if not all(first) or len(values) != len(first):
        return ""
    return short(statistics.median(ratio(values, first)))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
