"""Worker of the anagram example: tries orders of letters, or sifts the word list, whichever stream has work."""

from collections.abc import Iterable
from typing import Any

PERMUTATIONS = ("short", "perms_in")
SIFTING = ("long", "sift_in")


def worker_entrance(toolbox: Any) -> bool:
    """Do one chunk of the stream in hand; eisenmp calls again until the answer is False."""
    if toolbox.open_streams is None:
        toolbox.open_streams = stream_order(toolbox.START_SEQUENCE_NUM)
    category, name = stream = toolbox.open_streams[0]
    header, *rows = getattr(toolbox, category)[name].get()

    if toolbox.STOP_MSG in rows:
        # Only this stream has ended. Leaving now would idle a core while the other one still has work.
        toolbox.open_streams.pop(0)
        return bool(toolbox.open_streams)

    if stream == PERMUTATIONS:
        found = real_words(rows, toolbox.words)
    else:
        found = words_with_letters(rows, toolbox.long_signatures)
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, (toolbox.WORKER_NAME, found)])
    return True


def stream_order(sequence_num: int) -> list[tuple[str, str]]:
    """Even workers begin with the permutations, odd ones with the list, so that both streams flow from the start."""
    return [SIFTING, PERMUTATIONS] if sequence_num % 2 else [PERMUTATIONS, SIFTING]


def real_words(candidates: Iterable[str], words: frozenset[str]) -> list[str]:
    """Which candidates are words. The intersection loops in C over the candidates, not over the much longer list."""
    return sorted(words.intersection(candidates))


def words_with_letters(words: Iterable[str], signatures: frozenset[str]) -> list[str]:
    """Which words consist of exactly the letters of some scramble: sorted letters are the same for all anagrams."""
    return sorted(word for word in words if "".join(sorted(word)) in signatures)
