"""A long run that survives: each of the 336,776 flights is scored, and the program that does it is killed twice.

This file is two programs. Without ``--job`` it starts the other one, kills it by SIGKILL when a third is done, starts
it again, kills it when two thirds are done, and starts it once more. Then it exports the job file to Parquet, and has
two readers look whether every flight is in there, once, with the score that a plain loop comes to.
"""

import argparse
import importlib.util
import itertools
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))
score_path = os.path.join(dir_name, "worker", "score.py")

FLIGHTS = 336_776


class Report(NamedTuple):
    """What was found."""

    flights: int
    killed_at: list[int]  # flights that were done when the program was killed
    tickets: list[int]  # that each start of the program has put into the file
    sums: dict[str, tuple[int, int, int]]  # reader -> flights, different ones, sum of their scores
    plain: int  # the sum of a plain loop
    seconds: float


# ---- the program that is killed


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module = {"WORKER_PATH": score_path, "WORKER_REF": "score"}

    def __init__(self, job: str, workers: int | None, rows: int | None, columns: list[str]) -> None:
        self.worker_modules = [self.template_module]

        self.JOB = job  # all that makes it survive
        self.NUM_PROCS = workers  # None: one for each core
        self.NUM_ROWS = rows or 200
        self.WORKER_CALL = "item"

        # For the worker module only.
        self.columns = columns


def table() -> Iterator[str]:
    """The lines of the table, the header first, as the flights example reads them."""
    lines: Iterator[str] = runpy.run_path(os.path.join(dir_name, "..", "flights", "manager.py"))["line_generator"]()
    return lines


def score_all(job: str, workers: int | None, rows: int | None, flights: int) -> None:
    """Score the flights; where the job file has some of them already, the others."""
    lines = table()
    columns = next(lines).strip().split(",")
    with eisenmp.Mp() as emp:
        emp.start(**ModuleConfiguration(job, workers, rows, columns).__dict__)
        emp.run_q_feeder(generator=itertools.islice(lines, flights), total=flights)
        emp.wait()


# ---- the one that kills it


def manager_entry(workers: int | None = None, rows: int | None = None, flights: int = FLIGHTS) -> Report:
    """Score the first `flights` rows of the table, in three starts."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="longrun-") as folder:
        job, parquet = os.path.join(folder, "flights.db"), os.path.join(folder, "flights.parquet")
        call = [sys.executable, os.path.abspath(__file__), "--job", job, "--flights", str(flights)]
        call += [f"--workers={workers}"] if workers else []
        call += [f"--rows={rows}"] if rows else []

        killed_at = [kill_at(call, job, flights * part // 3) for part in (1, 2)]
        subprocess.run(call, check=True)
        eisenmp.export_results(job, parquet)

        sums = {name: reader(parquet) for name, reader in (("pyarrow", by_pyarrow), ("DuckDB", by_duckdb))}
        return Report(
            flights,
            killed_at,
            tickets_of_runs(job),
            {name: found for name, found in sums.items() if found is not None},
            plain_sum(flights),
            time.perf_counter() - begin,
        )


def kill_at(call: list[str], job: str, flights: int) -> int:
    """Start the program, and kill it as soon as so many flights are done: how many are."""
    with subprocess.Popen(call) as process:
        while (status := status_of(job)) is None or status.done < flights or status.state != "running":
            if process.poll() is not None:
                raise SystemExit("The program has ended before it was killed: take more flights.")
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    status = eisenmp.job_status(job)
    print(f"killed:  {status.done:>7,} of {status.total:,} flights are done; the job is {status.state}", flush=True)
    return status.done


def status_of(job: str) -> eisenmp.JobStatus | None:
    """How the job gets on, as `eisenmp status` tells it; None: there is no file yet."""
    try:
        return eisenmp.job_status(job)
    except eisenmp.JobFileError:
        return None


def tickets_of_runs(job: str) -> list[int]:
    """A job file is an SQLite database: docs/job-file.md tells what is in it."""
    with closing(sqlite3.connect(job)) as db:
        return [tickets for (tickets,) in db.execute("SELECT tickets FROM run ORDER BY run")]


def by_pyarrow(parquet: str) -> tuple[int, int, int]:
    """Flights, different ones, sum of their scores."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = pq.read_table(parquet, columns=["first_item", "entry", "score"])
    places = pc.add(found["first_item"], found["entry"])
    return found.num_rows, pc.count_distinct(places).as_py(), pc.sum(found["score"]).as_py()


def by_duckdb(parquet: str) -> tuple[int, int, int] | None:
    """The same by a reader that has nothing to do with the writer; None where it is not installed."""
    if importlib.util.find_spec("duckdb") is None:
        return None
    import duckdb

    question = "SELECT count(*), count(DISTINCT first_item + entry), sum(score) FROM read_parquet(?)"
    flights, different, total = duckdb.execute(question, [parquet]).fetchone()
    return int(flights), int(different), int(total)


def plain_sum(flights: int) -> int:
    """The sum of the scores, by a loop in this process."""
    score: Any = runpy.run_path(score_path)["score"]
    lines = table()
    toolbox = SimpleNamespace(columns=next(lines).strip().split(","))
    return sum(score(line, toolbox)["score"] for line in itertools.islice(lines, flights))


def show(report: Report) -> None:
    """Print the report for people."""
    tickets = " + ".join(f"{count:,}" for count in report.tickets)
    print(f"started: {len(report.tickets)} times; chunks in the file: {tickets}")
    for reader, (flights, different, total) in report.sums.items():
        print(f"{reader + ':':<8} {flights:>7,} flights, {different:,} different ones, scores {total:,}")
    print(f"loop:    {report.flights:>7,} flights, scores {report.plain:,}")
    right = all(found == (report.flights, report.flights, report.plain) for found in report.sums.values())
    print(f"{'each flight is there, once' if right else 'THIS IS WRONG'}; {report.seconds:.1f} s in all")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Score flights in a program that is killed twice and goes on.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--rows", type=int, help="flights in a chunk; default: 200")
    parser.add_argument("--flights", type=int, default=FLIGHTS, help="how many flights to read; default: all")
    parser.add_argument("--job", help="be the program that is killed: score into this job file")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = vars(parse_arguments())
    job_file = arguments.pop("job")
    if job_file is None:
        show(manager_entry(**arguments))
    else:
        score_all(job_file, **arguments)
