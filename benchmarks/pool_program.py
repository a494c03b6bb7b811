"""A program with a `Pool`, as its users write it: a file with a main guard, which a spawned worker imports anew.

Prints the seconds from nothing to the first result.
"""

import multiprocessing.pool  # the part that Pool would load on the clock
import sys
import time
from multiprocessing import resource_tracker

from benchmarks.work import square


def main() -> None:
    """``pool_program.py WORKERS``"""
    resource_tracker.ensure_running()  # a helper that later pools would share is up already, to be fair
    time.sleep(0.1)
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(int(sys.argv[1])) as pool:
        value = next(pool.imap_unordered(square, [3]))
        seconds = time.perf_counter() - begin
    print(seconds if value == 9 else f"the first result is {value}")


if __name__ == "__main__":
    main()
