"""``python -m benchmarks [name …] [--rounds N] [--peers P,…] [--check] [--out FOLDER]``"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import plot, record
from benchmarks.contenders import Plan
from benchmarks.rounds import Contest
from benchmarks.table import contest_table, goal_table

PUBLISHED: Final = Path(__file__).resolve().parents[1] / "docs" / "measured"
# A new workload is a module with a `run(plan)` that yields contests, and a line here.
SUITE: Final = (
    "stream",
    "big",
    "latency",
    "startup",
    "share",
    "search",
    "command",
    "makespan",
    "tickets",
    "jobfile",
    "crowd",
    "waiting",
    "memory",
    "faults",
    "display",
    "page",
    "looks",
    "servers",
    "ray",
    "thousands",
)


def main() -> int:
    """Run what was named, or all; print a table of each contest, and one of all goals."""
    arguments = _arguments()
    # Workers inherit it: an environment that forbids bytecode would measure the compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    peers = tuple(arguments.peers.split(",")) if arguments.peers is not None else None
    plan = Plan(arguments.rounds, peers)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    measured_with = record.environment(plan.rounds)
    print(_headline(measured_with), flush=True)
    contests: list[Contest] = []
    begin = time.monotonic()
    for name in arguments.names or SUITE:
        for contest in _contests(name, plan):
            contests.append(contest)
            print(f"\n{contest_table(contest)}", flush=True)
            record.write(out / "figures.json", contests, measured_with)
    print(f"\n{goal_table(contests)}\n\n{time.monotonic() - begin:.0f} s; numbers: {out / 'figures.json'}", end="")
    drawn = plot.draw(contests, out / "figures.svg", _headline(measured_with))
    print(f"; plot: {drawn}" if drawn else "; no plot: matplotlib is not installed")
    if arguments.publish:
        _publish(out)
    return int(arguments.check and any(contest.short for contest in contests))


def _contests(name: str, plan: Plan) -> Iterator[Contest]:
    """Those of one module; with the dots that contenders print meanwhile on a line of their own."""
    run: Callable[[Plan], Iterator[Contest]] = importlib.import_module(f"benchmarks.{name}").run
    print(f"{name} ", end="", file=sys.stderr, flush=True)
    for contest in run(plan):
        print(file=sys.stderr, flush=True)
        yield contest


def _publish(out: Path) -> None:
    """Put numbers and plot where the documentation shows them."""
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    for name in ("figures.json", "figures.svg"):
        if (out / name).exists():
            shutil.copyfile(out / name, PUBLISHED / name)
    print(f"published in {PUBLISHED}")


def _headline(measured_with: dict[str, object]) -> str:
    return "Python {python}, {system}, {cores} cores, {rounds} rounds".format_map(measured_with)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside other libraries.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SUITE)}; all without one")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="counted rounds (default: 7)")
    parser.add_argument("--peers", metavar="P,…", help="only these peers, such as Pool,joblib; ours run always")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a 'must' is missed or one of ours fails")
    parser.add_argument("--publish", action="store_true", help="show them in the documentation (docs/measured)")
    parser.add_argument("--out", default="build/benchmarks", metavar="FOLDER", help="where numbers and plot go")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in SUITE:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(SUITE)}")
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: at least one is needed")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
