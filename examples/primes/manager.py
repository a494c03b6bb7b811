"""The primes among 10,000 numbers from a trillion on, by trial division on all cores."""

import argparse
import os
import time
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

FIRST_NUMBER = 10**12
HOW_MANY = 10_000


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "trial_division.py"),
        "WORKER_REF": "worker_entrance",
    }

    def __init__(self, workers: int | None, rows: int | None) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers  # None: one for each core
        self.NUM_ROWS = rows or 100  # a prime costs some ten milliseconds: small chunks keep all cores busy to the end
        self.RESULTS_STORE = True


class Report(NamedTuple):
    """What a run found, in ascending order, and what became of its chunks."""

    primes: list[int]
    done: int
    failed: int
    missing: int
    items: int
    seconds: float


def number_generator(first: int, count: int) -> Iterator[int]:
    """The numbers to test."""
    yield from range(first, first + count)


def manager_entry(
    workers: int | None = None,
    rows: int | None = None,
    first: int = FIRST_NUMBER,
    count: int = HOW_MANY,
) -> Report:
    """Test `count` numbers from `first` on and return the primes among them."""
    mod_conf = ModuleConfiguration(workers, rows)

    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        emp.queue_cust_dict_std_create("numbers_in", 8)
        emp.start(**mod_conf.__dict__)
        emp.run_q_feeder(
            generator=number_generator(first, count),
            input_q=emp.queue_cust_dict_std["numbers_in"],
            total=count,
        )
        emp.wait()
        seconds = time.perf_counter() - begin

        # Outcomes stand in ticket order, whichever worker was first: the primes come out ascending without sorting.
        outcomes = emp.results["numbers_in"]
        primes = [prime for outcome in outcomes for prime in outcome.value or []]  # a failed ticket has no value
        lost = len(outcomes.failed) + len(outcomes.set_aside)
        return Report(primes, len(outcomes.done), lost, len(outcomes.missing), count, seconds)


def show(report: Report) -> None:
    """Print the report for people."""
    print(f"{len(report.primes)} primes among {report.items:,} numbers")
    if len(report.primes) > 6:
        print(*report.primes[:3], "...", *report.primes[-3:])
    else:
        print(*report.primes)
    complete = "complete" if not report.failed and not report.missing else "INCOMPLETE"
    print(f"tickets {complete}: {report.done} done, {report.failed} failed, {report.missing} missing")
    print(f"{report.items:,} numbers in {report.seconds:.1f} s: {report.items / report.seconds:,.0f} a second")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Find primes by trial division.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--rows", type=int, help="numbers in a chunk; default: 100")
    parser.add_argument("--first", type=int, default=FIRST_NUMBER, help="first number to test; default: %(default)s")
    parser.add_argument("--count", type=int, default=HOW_MANY, help="how many numbers to test; default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    show(manager_entry(**vars(parse_arguments())))
