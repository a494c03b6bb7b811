"""What `make bench` has measured, as Markdown: the file figures.json becomes tables, and figures.svg stands below."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["measured_text", "tables"]

_NOTHING = """\
Nothing is written down for this version yet. `make bench ARGS=--publish` measures everything and puts the numbers here;
until then: run it, it prints the same tables.
"""


def measured_text(folder: Path) -> str:
    """The tables and the plot of what lies in `folder`; a sentence where nothing does."""
    try:
        told = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _NOTHING
    text = "\n".join(tables(told))
    if (folder / "figures.svg").exists():
        text += "\n\n## The plot\n\n![How far each figure is from its goal, and every round](measured/figures.svg)\n"
    return text


def tables(told: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown: with what was measured, a table of all goals, and one for each contest."""
    yield f"{_headline(told['measured_with'])}\n"
    goals = [(contest["name"], figure) for contest in told["contests"] for figure in contest["figures"]]
    if goals:
        yield "## Goals\n"
        yield from _table(
            ["contest", "figure", "median", "must", "aim", "reached"],
            [[name, *_goal(figure)] for name, figure in goals],
        )
    yield "\n## Contests"
    for contest in told["contests"]:
        yield f"\n### {contest['name']}: {_cell(contest['title'])}\n"
        rows = [
            [name, _short(statistics.median(values)), _spread(values)] for name, values in contest["values"].items()
        ]
        rows += [[name, words, ""] for name, words in contest["said"].items()]
        if rows:
            yield from _table(["contender", f"median {contest['unit']}", "min … max"], rows)
        for note in contest["notes"]:
            yield f"\n{_cell(note)}"


def _headline(measured_with: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in measured_with["libraries"].items())
    head = "Python {python}, {system}, {cores} cores, {rounds} rounds".format_map(measured_with)
    return f"{head}; {libraries}."


def _goal(figure: dict[str, Any]) -> list[str]:
    goal = figure["goal"]
    sign = "≥" if goal["least"] else "≤"
    limits = [f"{sign}\N{NO-BREAK SPACE}{goal[name]:g}" if goal[name] is not None else "" for name in ("must", "aim")]
    return [figure["name"], f"{_short(figure['median'])}\N{NO-BREAK SPACE}{figure['unit']}", *limits, figure["reached"]]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in [head, ["---"] * len(head), *rows]:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    for letter in "\\|<*_`[":
        text = text.replace(letter, "\\" + letter)
    return text


def _spread(values: Sequence[float]) -> str:
    return f"{_short(min(values))} … {_short(max(values))}" if len(values) > 1 else ""


def _short(value: float) -> str:
    size = abs(value)
    places = 4 if 0 < size < 0.095 else 2 if size < 9.95 else 1 if size < 99.5 else 0
    return f"{value:.{places}f}"
