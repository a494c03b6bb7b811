"""What workers of the benchmarks run, ours and the peers' alike. A worker imports nothing else of this package."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = [
    "STAMP",
    "adopt",
    "chunk_length",
    "chunk_sum",
    "classic_sum",
    "classic_use",
    "count_md5",
    "echo",
    "identity",
    "meet",
    "modules",
    "note",
    "note_and_wait",
    "numbers",
    "occupied",
    "post",
    "posted",
    "rest",
    "slow_length",
    "spin",
    "square",
    "stamped",
    "use",
]


STAMP = "BENCHMARKS_STAMP"


def modules(ref: str) -> list[dict[str, str]]:
    """The setting ``worker_modules`` that makes a function of this file the worker."""
    return [{"WORKER_PATH": __file__, "WORKER_REF": ref}]


# ---- streams


def chunk_sum(rows: list[int]) -> int:
    """A function of the chunk."""
    return sum(rows)


def slow_number(task: tuple[int, float]) -> int:
    """A number, after so many seconds of computing."""
    number, seconds = task
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return number


def square(number: int) -> int:
    """A function of the item."""
    return number * number


def stamped(rows: list[int]) -> int:
    """Leaves a note in the folder that the environment names, if it does, and tells the chunk's first item."""
    path = os.environ.get(STAMP)
    if path:
        note(path)
    return rows[0]


def classic_sum(toolbox: Any) -> bool:
    """The same as `chunk_sum` in the classic style."""
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in (rows[0], rows[-1]):
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, sum(rows)])
    return True


def echo(toolbox: Any) -> bool:
    """One object there and back, without end."""
    toolbox.mp_output_q.put(toolbox.mp_input_q.get())
    return True


def count_md5(words: Iterable[tuple[str, ...]]) -> int:
    """How many words have a digest that begins with a zero."""
    from hashlib import md5  # not above: it would cost every worker of every benchmark its start

    count = 0
    for word in words:
        if not md5("".join(word).encode()).digest()[0]:
            count += 1
    return count


def identity(chunk: Any) -> Any:
    """The same as `echo` for pools."""
    return chunk


# ---- durations


def rest(task: tuple[int, float]) -> tuple[int, float]:
    """Sleep for so many seconds: (number of the task, what it took)."""
    begin = time.perf_counter()
    number, seconds = task
    if seconds:
        time.sleep(seconds)
    return number, time.perf_counter() - begin


def spin(task: tuple[int, float]) -> tuple[int, float]:
    """Use so many seconds of CPU: (number of the task, what it took)."""
    begin = time.perf_counter()
    number, seconds = task
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return number, time.perf_counter() - begin


# ---- memory


def chunk_length(rows: list[bytes]) -> bytes:
    """Returns as much as it gets."""
    return b"".join(rows)


def slow_length(rows: list[bytes]) -> int:
    """Slower than any generator."""
    time.sleep(0.02 * len(rows))
    return sum(map(len, rows))


# ---- broadcast


def use(thing: Any) -> int:
    """Add up an array; look up one in a thousand keys of a dict, each by a text that is made here.

    More of them would measure something else: whoever looks at an object counts a reference to it, which in a forked
    process copies the page that it lies on.
    """
    if isinstance(thing, dict):
        return sum(len(thing[f"key {number}"]) for number in range(0, len(thing), 1000))
    return int(thing.sum())


def adopt(thing: Any, path: str) -> None:
    """An initializer: use the object, and note the outcome."""
    note(path, str(use(thing)))


def classic_use(toolbox: Any) -> bool:
    """The same for an object that was shared; then wait for the end."""
    adopt(toolbox.thing, toolbox.note_folder)
    toolbox.mp_input_q.get()
    return False


# ---- faults


def posted(task: tuple[str, int, float, bool]) -> int:
    """(a FIFO, or nothing; number; CPU seconds; whether to hold): tell that it begins, then compute.

    Who is to hold computes until it is killed; but the next one who gets the same task does not.
    """
    path, number, seconds, hold = task
    if path:
        hold = hold and _first(f"{path}.{number}")
        post(path, "hold" if hold else "begin", number)
    spin((number, 60.0 if hold else seconds))
    return number


def post(path: str, what: str, number: int = 0) -> None:
    """Tell the time, by the clock that all processes have in common. So short a message is written at once, or not."""
    now = time.perf_counter()
    with open(path, "wb", buffering=0) as fifo:
        fifo.write(f"{what} {number} {os.getpid()} {now!r}\n".encode())


def occupied(task: tuple[str, str]) -> None:
    """(a folder; ``python`` or ``C``): leave a note, then be at work for longer than anybody waits.

    The loop in C keeps the interpreter: neither a signal handler nor another thread of the process gets a turn.
    """
    path, kind = task
    note(path)
    if kind == "C":
        sum(range(10**11))
    spin((0, 60.0))


def _first(mark: str) -> bool:
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


# ---- who is there?


def note(path: str, text: str = "") -> None:
    """Leave a note in a folder: one file for each process, whole as soon as it is seen."""
    draft = f"{path}.{os.getpid()}"
    with open(draft, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(draft, os.path.join(path, str(os.getpid())))


def note_and_wait(path: str, go: str) -> None:
    """An initializer: leave a note, then hold the worker back until the file `go` is there."""
    note(path)
    while not os.path.exists(go):
        time.sleep(0.0005)


def meet(path: str, count: int) -> None:
    """A task that is over when so many workers have one: afterwards all of them are up."""
    note(path)
    deadline = time.monotonic() + 5.0
    while len(os.listdir(path)) < count and time.monotonic() < deadline:
        time.sleep(0.001)


def numbers(count: int) -> Iterator[int]:
    """A generator, not a range: it has to be read item by item."""
    yield from range(count)
