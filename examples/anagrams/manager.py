"""Find every English word that hides in scrambled letters, by brute force and by sifting, on all cores.

A word hides in a scramble if it uses exactly the scramble's letters. For short scrambles the workers try all orders of
the letters against the word list. From eleven letters on that is hopeless (11! is 40 million, 16! is 21 trillion), so
there the list is sifted instead, once for all long scrambles.
"""

import argparse
import importlib
import itertools
import math
import os
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

# The scrambles are these words, shuffled with this seed: every run, everywhere, works on the same letters.
SEED = 13
SHORT_WORDS = (
    'granite', 'teacher',
    'creation', 'listener', 'raincoat', 'comedian',
    'terminate', 'sectorial', 'carnation', 'anchorite', 'ascertain', 'germinate', 'interlace', 'repletion', 'restraint',
    'stainless', 'courtesan', 'armistice', 'emanation', 'anarchist',
    'unreserved', 'separation', 'decoration', 'percussion', 'egocentric', 'centimeter', 'astonisher', 'credential',
)  # fmt: skip
LONG_WORDS = (
    'creationism', 'gramophonic', 'partitioned', 'theological', 'geomagnetic', 'temporarily',
    'alterability', 'iridescently', 'previousness', 'misquotation', 'parochialism',
    'certification', 'impersonation', 'petrochemical', 'attentiveness',
    'conversational', 'electrodynamic', 'latitudinarian',
    'electromagnetic', 'misunderstander', 'conservationist',
    'technopsychology',
)  # fmt: skip

SHORT_QUEUE = ("short", "perms_in", 8)  # category, name, most chunks waiting
LONG_QUEUE = ("long", "sift_in", 8)


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "find_words.py"),
        "WORKER_REF": "worker_entrance",
    }

    def __init__(self, workers: int | None, rows: int | None, total: int, long_scrambles: Iterable[str]) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers  # None: one for each core
        self.NUM_ROWS = rows or 5_000  # a permutation costs less than a microsecond, so chunks are large
        self.RESULTS_STORE = True  # a chunk's result is a handful of words; keep them all
        self.INFO_ENABLE = True
        self.INFO_THREAD_MAX = total

        # For the worker module only.
        self.long_signatures = frozenset(signature(scramble) for scramble in long_scrambles)
        self.open_streams: list[tuple[str, str]] | None = None  # each worker fills in its own


class Tickets(NamedTuple):
    """What became of one queue's chunks."""

    done: int
    failed: int
    missing: int


class Report(NamedTuple):
    """What a run found: for each scramble its words, for each word the worker that met it first."""

    found: dict[str, dict[str, str]]
    tickets: dict[str, Tickets]
    items: int
    seconds: float


def load_words() -> frozenset[str]:
    """The list 'web2' in lower-case letters: 234,450 words."""
    try:
        english_words: Any = importlib.import_module("english_words")
    except ImportError as error:
        raise SystemExit("The word list is not installed: pip install 'eisenmp[examples]'") from error
    return frozenset(english_words.get_english_words_set(["web2"], lower=True, alpha=True))


def signature(letters: str) -> str:
    """The same text for all orders of the same letters."""
    return "".join(sorted(letters))


def scrambled(words: Iterable[str]) -> list[str]:
    """The words with their letters shuffled, the same way on every run."""
    dice = random.Random(SEED)
    return ["".join(dice.sample(word, len(word))) for word in words]


def permutation_generator(scrambles: Iterable[str]) -> Iterator[str]:
    """All orders of each scramble's letters. Repeated letters give some orders twice, which costs time, not truth."""
    for scramble in scrambles:
        yield from map("".join, itertools.permutations(scramble))


def word_generator(words: Iterable[str]) -> Iterator[str]:
    """The word list, in an order that does not depend on the run's string hashes, so that tickets are comparable."""
    yield from sorted(words)


def manager_entry(
    workers: int | None = None,
    rows: int | None = None,
    short: int | None = None,
    long: int | None = None,
) -> Report:
    """Run the job with the first `short` and `long` scrambles (None: all of them) and tell what was found."""
    words = load_words()
    short_scrambles = scrambled(SHORT_WORDS[:short])
    long_scrambles = scrambled(LONG_WORDS[:long])
    permutations_total = sum(math.factorial(len(scramble)) for scramble in short_scrambles)
    total = permutations_total + len(words)
    mod_conf = ModuleConfiguration(workers, rows, total, long_scrambles)

    begin = time.perf_counter()
    with eisenmp.Mp() as emp:
        emp.queue_cust_dict_category_create(SHORT_QUEUE, LONG_QUEUE)
        emp.share("words", words)  # sent to each worker once, not with each chunk
        emp.start(**mod_conf.__dict__)
        emp.run_q_feeder(
            generator=permutation_generator(short_scrambles),
            input_q=emp.queue_cust_dict_cat["short"]["perms_in"],
            total=permutations_total,
        )
        emp.run_q_feeder(
            generator=word_generator(words),
            input_q=emp.queue_cust_dict_cat["long"]["sift_in"],
            total=len(words),
        )
        emp.wait()
        seconds = time.perf_counter() - begin

        tickets = {}
        met: list[tuple[str, str]] = []
        for category, name, _ in (SHORT_QUEUE, LONG_QUEUE):
            outcomes = emp.results[f"{category}|{name}"]
            lost = len(outcomes.failed) + len(outcomes.set_aside)
            tickets[f"{category}|{name}"] = Tickets(len(outcomes.done), lost, len(outcomes.missing))
            for outcome in outcomes:
                worker, found = outcome.value or ("nobody", [])  # a ticket that failed has no value
                met += [(word, worker) for word in found]
    return Report(by_scramble(short_scrambles + long_scrambles, met), tickets, total, seconds)


def by_scramble(scrambles: Sequence[str], met: Iterable[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Sort the words met under the scramble they hide in."""
    words_of: dict[str, dict[str, str]] = {signature(scramble): {} for scramble in scrambles}
    for word, worker in met:
        # A scramble with a repeated letter meets its words more than once.
        words_of[signature(word)].setdefault(word, worker)
    return {scramble: words_of[signature(scramble)] for scramble in scrambles}


def show(report: Report) -> None:
    """Print the report for people."""
    for scramble, found in report.found.items():
        print(f"{scramble:>16}:", ", ".join(f"{word} ({worker})" for word, worker in sorted(found.items())))
    print()
    for name, tickets in report.tickets.items():
        complete = "complete" if not tickets.failed and not tickets.missing else "INCOMPLETE"
        print(f"{name}: tickets {complete}: {tickets.done} done, {tickets.failed} failed, {tickets.missing} missing")
    print(f"{sum(map(len, report.found.values()))} words in {len(report.found)} scrambles")
    print(f"{report.items:,} items in {report.seconds:.1f} s: {report.items / report.seconds:,.0f} a second")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Find the English words that hide in scrambled letters.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--rows", type=int, help="items in a chunk; default: 5000")
    parser.add_argument("--short", type=int, help=f"scrambles to permute, up to {len(SHORT_WORDS)}; default: all")
    parser.add_argument("--long", type=int, help=f"scrambles to sift for, up to {len(LONG_WORDS)}; default: all")
    return parser.parse_args()


if __name__ == "__main__":
    show(manager_entry(**vars(parse_arguments())))
