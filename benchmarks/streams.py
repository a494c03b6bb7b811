"""What a stream is: a function, items, how they are cut; the same for every contender that it is given to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from benchmarks.contenders import Contender

__all__ = ["WARM", "Gate", "Run", "Stream", "Streamer", "entered"]

WARM = 4  # chunks that are answered before the clock starts


class Gate:
    """Lets some items pass, and the rest of them when it is opened.

    It is for libraries that start their workers themselves when they are handed a stream: the source gives items to
    warm up with, then waits here until the harness starts the clock.
    """

    def __init__(self, warm: list[Any]) -> None:
        self.warm = warm
        self._open = threading.Event()
        self.open = self._open.set
        self.wait = self._open.wait


@dataclass(frozen=True, slots=True)
class Run:
    """What a contender tells: its seconds, and the results in any order, to be checked when the clock has stopped."""

    seconds: float
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """One workload of items that go through workers.

    Attributes:
        function: what workers do, importable by name; of a chunk (a list) or of an item.
        by_chunk: which of both.
        items: makes the source anew. With a gate, the gate's items come first, and the rest when it opens: one
            generator for all, for another one around it would cost whoever gets it some 20 ms of a million items.
        chunksize: items in a chunk.
        warm: an item to warm up with.
        classic: the name of the classic worker in `work` that does the same, if there is one.
        workers: how many.
    """

    function: Callable[[Any], Any]
    by_chunk: bool
    items: Callable[[Gate | None], Iterator[Any]]
    chunksize: int
    warm: Any
    classic: str = ""
    workers: int = 2

    @property
    def warm_items(self) -> list[Any]:
        """What fills the first chunks."""
        return [self.warm] * (self.chunksize * WARM)

    @property
    def warm_results(self) -> int:
        """How many results come of that."""
        return WARM if self.by_chunk else self.chunksize * WARM

    @property
    def warm_tasks(self) -> list[Any]:
        """What warms up a library that has been given no source yet: arguments of the function."""
        return [[self.warm] if self.by_chunk else self.warm] * WARM

    def chunks(self) -> Iterator[list[Any]]:
        """The source, cut, for peers that cut nothing themselves."""
        source = self.items(None)
        while rows := list(islice(source, self.chunksize)):
            yield rows

    def tasks(self) -> Iterator[Any]:
        """Arguments of the function, one after the other."""
        return self.chunks() if self.by_chunk else self.items(None)

    @property
    def task_chunksize(self) -> int:
        """How many of these a library is to put into one message, if it can."""
        return 1 if self.by_chunk else self.chunksize

    def of_chunk(self) -> Callable[[list[Any]], Any]:
        """A function of the chunk, whichever of both `function` is: for pools that are made by hand."""
        return self.function if self.by_chunk else partial(_each, self.function)


@dataclass(frozen=True, slots=True)
class Streamer:
    """Somebody whom streams can be given to."""

    name: str
    run: Callable[[Stream], Run]
    needs: str = ""


def entered(
    streamers: list[Streamer], stream: Stream, judge: Callable[[list[Any], float], float]
) -> list[Contender[float]]:
    """Contenders for one stream.

    Args:
        streamers: who takes part.
        stream: what they get.
        judge: checks the results and tells the contender's number: ``judge(values, seconds)``.
    """

    def judged(streamer: Streamer) -> float:
        run = streamer.run(stream)
        return judge(run.values, run.seconds)

    return [Contender(streamer.name, partial(judged, streamer), streamer.needs) for streamer in streamers]


def _each(function: Callable[[Any], Any], rows: list[Any]) -> list[Any]:
    return [function(row) for row in rows]
