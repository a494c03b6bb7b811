"""The raw numbers as JSON: of each contest, contender and round; and where they come from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import Contest
from benchmarks.table import verdict

__all__ = ["environment", "write"]

LIBRARIES: Final = ("eisenmp", "joblib", "mpire", "pebble", "faster-fifo", "numpy", "ray")


def environment(rounds: int) -> dict[str, Any]:
    """What the numbers were measured with."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "rounds": rounds,
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
    }


def write(path: Path, contests: Iterable[Contest], measured_with: dict[str, Any]) -> None:
    """All contests so far. The file is whole at any time."""
    told = [_plain(contest) for contest in contests]
    text = json.dumps({"measured_with": measured_with, "contests": told}, indent=1, ensure_ascii=False)
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)


def _plain(contest: Contest) -> dict[str, Any]:
    told = asdict(contest)
    for figure, row in zip(contest.figures, told["figures"], strict=True):
        row |= {"median": figure.median, "reached": verdict(figure)}
    return told


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
