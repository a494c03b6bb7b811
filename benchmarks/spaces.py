"""How fast slices of search spaces are, beside itertools.

``python -m benchmarks.spaces [--rounds 11] [--items 100000]``

Both sides run in turn over the same items: itertools is brought to the place outside the clock. A place beyond its
reach (marked *) is measured beside its first items, whose tuples may be cheaper to make. The loop has no body, so what
a slice costs beside itertools is seen as large as it can be.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, combinations_with_replacement, islice, permutations, product
from statistics import median
from typing import Any, NamedTuple

from eisenmp.spaces import Combinations, CombinationsWithReplacement, Permutations, Product, Space

LETTERS = "abcdefghijklmnopqrstuvwxyz"
REACH = 20_000_000  # items that itertools may pass over to come to a place


class Case(NamedTuple):
    """A space, and the same in itertools."""

    space: Space[Any]
    plain: Callable[[], Iterator[Any]]


def case(kind: Callable[..., Space[Any]], plain: Callable[..., Iterator[Any]], *given: Any, **named: Any) -> Case:
    """The same arguments for both."""
    return Case(kind(*given, **named), lambda: plain(*given, **named))


def cases() -> Iterator[Case]:
    """Ordinary ones and odd ones."""
    for pool, repeat in [(LETTERS, 5), ("01", 24), (LETTERS, 22), ("01", 40), ("01", 1000), (range(300), 3)]:
        yield case(Product, product, pool, repeat=repeat)
    for first, second in [(range(10**6), "ab"), ("ab", range(10**6))]:
        yield case(Product, product, first, second)
    for n, r in [(10, 8), (10, 10), (60, 3), (400, 2), (30, 30), (52, 52), (10**5, 2)]:
        yield case(Permutations, permutations, range(n), r)
    for n, r in [(24, 12), (50, 5), (600, 2), (200, 60), (10**6, 2)]:
        yield case(Combinations, combinations, range(n), r)
    for n, r in [(30, 5), (7, 20), (100, 60)]:
        yield case(CombinationsWithReplacement, combinations_with_replacement, range(n), r)


def seconds(items: Iterable[Any]) -> float:
    """Time of the processor to walk to the end: machines are shared."""
    begin = time.thread_time()
    for _ in items:
        pass
    return time.thread_time() - begin


def row(one: Case, items: int, rounds: int) -> str:
    """One line of the table."""
    space = one.space
    items = min(items, space.size // 2)
    at = (space.size - items) * 55 // 100
    within_reach = at <= REACH
    data = pickle.dumps(space[at : at + items])
    starts, plains, slices = [], [], []
    for _ in range(rounds):
        plain = one.plain()
        next(islice(plain, at if within_reach else 0, None))
        plains.append(seconds(islice(plain, items - 1)))
        begin = time.thread_time()
        part = iter(pickle.loads(data))
        next(part)
        starts.append(time.thread_time() - begin)
        slices.append(seconds(part))
    ratios = [a / b for a, b in zip(plains, slices, strict=True)]
    return (
        f"{space!r:48.48} {median(plains) / items * 1e9:8.1f}{' ' if within_reach else '*'} "
        f"{median(slices) / items * 1e9:8.1f} {median(ratios):6.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
        f"{median(starts) * 1e6:9.0f} {len(data):7}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Slices of search spaces beside itertools.")
    parser.add_argument("--rounds", type=int, default=11, help="pairs of runs; default: %(default)s")
    parser.add_argument("--items", type=int, default=100_000, help="length of a slice; default: %(default)s")
    arguments = parser.parse_args()
    gc.disable()
    print(f"{'a slice at 55 % of':48} {'plain ns':>8}  {'slice ns':>8} {'ratio':>6} {'(range)':11} start µs   bytes")
    for each in cases():
        print(row(each, arguments.items, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
