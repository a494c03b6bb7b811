"""Two searches through spaces of candidates that nobody writes down: any hit, and the smallest one."""

import argparse
import os
import time
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import eisenmp
from eisenmp.spaces import Permutations, Product

dir_name = os.path.dirname(os.path.abspath(__file__))

PREFIX = "c0ffee"
DIGITS = 8


class PuzzleConfiguration:
    """SEND + MORE = MONEY: the digits of eight letters. The worker that finds the solution ends the job."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "puzzle.py"),
        "WORKER_REF": "try_digits",
    }

    def __init__(self, workers: int | None, rows: int | None) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers  # None: one for each core
        self.NUM_ROWS = rows or 5_000
        self.WORKER_CALL = "chunk"  # the plain style: the function takes the rows and returns the result
        self.RESULTS_STORE = True


class ChecksumConfiguration:
    """The smallest number whose checksum begins as wanted. Workers only report hits, the manager decides."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "checksum.py"),
        "WORKER_REF": "first_hit",
    }

    def __init__(self, workers: int | None, rows: int | None, prefix: str) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers
        self.NUM_ROWS = rows or 5_000
        self.WORKER_CALL = "chunk"

        # For the worker module only.
        self.prefix = prefix


class Report(NamedTuple):
    """What a search found, and what it took."""

    answer: tuple[int, int, int] | str | None
    first_hit: float | None  # seconds until the first hit, which need not be the answer
    sure: float | None  # seconds until the answer was known to be the answer
    done: int  # tickets
    lost: int  # tickets that failed
    tried: int  # candidates, those of the chunk that ended the search left out
    size: int  # candidates there are
    seconds: float


def solve_puzzle(workers: int | None = None, rows: int | None = None) -> Report:
    """There is one solution, so any hit is the answer: it ends the job wherever the others are."""
    mod_conf = PuzzleConfiguration(workers, rows)
    space = Permutations(range(10), 8)

    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        emp.start(**mod_conf.__dict__)
        emp.feed(space)
        results = emp.wait()
        seconds = time.perf_counter() - begin

        tickets = results["mp_input_q"]
        tried = sum(tickets[number].value or 0 for number in tickets.done)  # the one that ended the job has no value
        found = seconds if results.answer else None
        lost = len(tickets.failed) + len(tickets.set_aside)
        return Report(results.answer, found, found, len(tickets.done), lost, tried, space.size, seconds)


class Lowest:
    """The hit with the lowest ticket, which is sure when all tickets before it are done.

    Tickets are numbered in the order of the space, and end in any order.
    """

    def __init__(self) -> None:
        self.hit: str | None = None
        self.sure = False
        self._ticket = 0  # of the hit
        self._upto = 0  # all tickets before this one are done
        self._ahead: set[int] = set()  # done, while one before them is not

    def add(self, ticket: int, hit: str | None) -> None:
        """One more ticket is done."""
        if hit is not None and (self.hit is None or ticket < self._ticket):
            self.hit, self._ticket = hit, ticket
        self._ahead.add(ticket)
        while self._upto in self._ahead:
            self._ahead.remove(self._upto)
            self._upto += 1
        self.sure = self.hit is not None and self._ticket < self._upto


def find_smallest(
    workers: int | None = None, rows: int | None = None, prefix: str = PREFIX, digits: int = DIGITS
) -> Report:
    """The first hit that comes in need not be the smallest: chunks before it may still be under way."""
    mod_conf = ChecksumConfiguration(workers, rows, prefix)
    space = Product("0123456789", repeat=digits)
    lowest = Lowest()
    first = sure = None
    tried = 0

    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        with emp.results.outcomes() as reader:
            emp.start(**mod_conf.__dict__)
            emp.feed(space)
            for outcome in reader:
                if outcome.state != "done":
                    continue  # such a hole makes nothing sure that comes behind it
                count, hit = outcome.value
                tried += count
                lowest.add(outcome.ticket, hit)
                if hit and first is None:
                    first = time.perf_counter() - begin
                if lowest.sure:
                    sure = time.perf_counter() - begin
                    emp.stop()  # nothing behind the answer can be smaller
                    break
        results = emp.wait()
        seconds = time.perf_counter() - begin
        tickets = results["mp_input_q"]
        lost = len(tickets.failed) + len(tickets.set_aside)
        return Report(lowest.hit, first, sure, len(tickets.done), lost, tried, space.size, seconds)


def manager_entry(
    workers: int | None = None, rows: int | None = None, prefix: str = PREFIX, digits: int = DIGITS
) -> Iterator[tuple[str, Report]]:
    """Both searches, one after the other, each with its name."""
    yield "SEND + MORE = MONEY", solve_puzzle(workers, rows)
    yield f"smallest number of {digits} digits with MD5 {prefix}…", find_smallest(workers, rows, prefix, digits)


def show(name: str, report: Report) -> None:
    """Print a report for people."""
    answer = report.answer
    if isinstance(answer, tuple):
        answer = "{} + {} = {}".format(*answer)
    print(f"{name}: {answer or 'there is none'}")
    if report.first_hit is not None:
        print(f"  first hit after {report.first_hit:.2f} s", end="")
        print(", NOT SURE" if report.sure is None else f", sure after {report.sure:.2f} s")
    if report.lost:
        print(f"  INCOMPLETE: {report.lost} chunks failed")
    rate = report.tried / report.seconds
    print(
        f"  {report.done} tickets done, {report.tried:,} of {report.size:,} candidates tried "
        f"in {report.seconds:.1f} s: {rate:,.0f} a second"
    )


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Search spaces of candidates: a puzzle, and a checksum.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--rows", type=int, help="candidates in a chunk; default: 5000")
    parser.add_argument("--prefix", default=PREFIX, help="how the checksum begins, in hex; default: %(default)s")
    parser.add_argument("--digits", type=int, default=DIGITS, help="digits of the number; default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    for each in manager_entry(**vars(parse_arguments())):
        show(*each)
