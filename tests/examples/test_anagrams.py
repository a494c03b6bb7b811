"""The anagram example against a dictionary of the word list by sorted letters."""

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

english_words = pytest.importorskip("english_words")

Load = Callable[[str], ModuleType]
MANAGER = "anagrams/manager.py"
WORKER = "anagrams/worker/find_words.py"


@pytest.fixture(scope="module")
def anagrams() -> dict[str, set[str]]:
    """All words of the list by their sorted letters."""
    by_letters = defaultdict(set)
    for word in english_words.get_english_words_set(["web2"], lower=True, alpha=True):
        by_letters["".join(sorted(word))].add(word)
    return dict(by_letters)


def hidden(anagrams: dict[str, set[str]], scrambles: Iterable[str]) -> dict[str, set[str]]:
    return {scramble: anagrams["".join(sorted(scramble))] for scramble in scrambles}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_finds_what_a_dictionary_finds(load: Load, anagrams: dict[str, set[str]], workers: int) -> None:
    manager = load(MANAGER)
    report = manager.manager_entry(workers=workers, rows=1_000, short=4, long=6)

    scrambles = [*manager.scrambled(manager.SHORT_WORDS[:4]), *manager.scrambled(manager.LONG_WORDS[:6])]
    assert {scramble: set(found) for scramble, found in report.found.items()} == hidden(anagrams, scrambles)
    names = {worker for found in report.found.values() for worker in found.values()}
    assert names <= {f"Process-{number + 1}" for number in range(workers)}

    permutations = 2 * math.factorial(7) + 2 * math.factorial(8)
    words = sum(map(len, anagrams.values()))
    assert report.items == permutations + words
    assert report.tickets == {
        "short|perms_in": (math.ceil(permutations / 1_000), 0, 0),
        "long|sift_in": (math.ceil(words / 1_000), 0, 0),
    }


def test_every_chosen_word_is_in_the_list_and_scrambled_the_same_way_each_time(
    load: Load, anagrams: dict[str, set[str]]
) -> None:
    manager = load(MANAGER)
    chosen = manager.SHORT_WORDS + manager.LONG_WORDS
    scrambles = manager.scrambled(chosen)
    assert scrambles == manager.scrambled(chosen)
    for word, scramble in zip(chosen, scrambles, strict=True):
        assert scramble != word
        assert word in anagrams["".join(sorted(scramble))]
    # Two scrambles with the same letters would share their words and spoil the counts.
    assert len({"".join(sorted(word)) for word in chosen}) == len(chosen)


def test_permutations_are_all_orders(load: Load) -> None:
    candidates = list(load(MANAGER).permutation_generator(["cat", "go"]))
    assert sorted(candidates) == ["act", "atc", "cat", "cta", "go", "og", "tac", "tca"]


@pytest.mark.parametrize(
    ("sequence_num", "order"),
    [(0, ["short", "short", "long", "long"]), (1, ["long", "long", "short", "short"])],
)
def test_worker_goes_on_with_the_other_stream(load: Load, sequence_num: int, order: list[str]) -> None:
    worker = load(WORKER)
    read: list[str] = []
    answers: list[Any] = []

    def stream(name: str, *chunks: list[str]) -> SimpleNamespace:
        chunk = itertools.chain(chunks, itertools.repeat([f"{name};", "<stop>"]))

        def get() -> list[str]:
            read.append(name)
            return next(chunk)

        return SimpleNamespace(get=get)

    toolbox = SimpleNamespace(
        open_streams=None,
        START_SEQUENCE_NUM=sequence_num,
        STOP_MSG="<stop>",
        OUTPUT_HEADER="OUT;",
        WORKER_NAME="Process-1",
        words=frozenset({"cat", "act", "dog"}),
        long_signatures=frozenset({"dgo"}),
        short={"perms_in": stream("short", ["short;_TID_0;", "tca", "cat"])},
        long={"sift_in": stream("long", ["long;_TID_0;", "act", "cat", "dog"])},
        mp_output_q=SimpleNamespace(put=answers.append),
    )
    assert [worker.worker_entrance(toolbox) for _ in range(4)] == [True, True, True, False]
    assert read == order
    assert sorted(answers) == [
        ["OUT;long;_TID_0;", ("Process-1", ["dog"])],
        ["OUT;short;_TID_0;", ("Process-1", ["cat"])],
    ]


def test_says_how_to_get_the_word_list(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "english_words", None)
    with pytest.raises(SystemExit, match=r"pip install .eisenmp\[examples\]"):
        load(MANAGER).manager_entry()


def test_as_a_program(run: Callable[..., str]) -> None:
    printed = run("anagrams", "--short", "8")
    assert "certification (Process-" in printed
    assert "creation (Process-" in printed
    assert "short|perms_in: tickets complete" in printed
    assert "long|sift_in: tickets complete" in printed
    assert "a second" in printed
