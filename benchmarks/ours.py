"""eisenmp's ways to take a stream: the short forms, and `Mp` in the plain and in the classic style.

All with the default window, unless the name tells another one, and with all safety on, as it always is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import chain, islice
from typing import Any, Final

import eisenmp
from benchmarks.machine import folder, noted, wait_until
from benchmarks.streams import WARM, Gate, Run, Stream, Streamer
from benchmarks.work import modules, note

__all__ = ["CLASSIC", "IMAP", "IMAP_CHUNKS", "PLAIN", "PLAIN_WIDE", "WIDE", "up"]

WIDE: Final = 64  # chunks


def up(emp: eisenmp.Mp) -> bool:
    """Whether all workers are ready."""
    return all(worker.phase == "up" for worker in emp.snapshot().workers)


def _imap(short_form: Callable[..., Any], stream: Stream) -> Run:
    gate = Gate(stream.warm_items)
    with (
        folder() as path,
        short_form(
            stream.function,
            stream.items(gate),
            max_workers=stream.workers,
            chunksize=stream.chunksize,
            ordered=False,
            initializer=note,
            initargs=(path,),
        ) as results,
    ):
        list(islice(results, stream.warm_results))
        wait_until(lambda: noted(path, stream.workers))
        begin = time.perf_counter()
        gate.open()
        values = list(results)
        seconds = time.perf_counter() - begin
    return Run(seconds, values)


def _mp(style: str, window: int | None, stream: Stream) -> Run:
    call = "toolbox" if style == "classic" else "chunk" if stream.by_chunk else "item"
    gate = Gate(stream.warm_items)
    with eisenmp.Mp() as emp:
        reader = emp.results.outcomes()
        emp.start(
            worker_modules=modules(stream.classic if style == "classic" else stream.function.__name__),
            NUM_PROCS=stream.workers,
            NUM_ROWS=stream.chunksize,
            WORKER_CALL=call,
            BUFFER_CHUNKS=window,
        )
        wait_until(lambda: up(emp))
        emp.feed(stream.items(gate))
        list(islice(reader, WARM))
        begin = time.perf_counter()
        gate.open()
        values = [outcome.value for outcome in reader]
        seconds = time.perf_counter() - begin
    return Run(seconds, values if stream.by_chunk else list(chain.from_iterable(values)))


IMAP: Final = Streamer("eisenmp.imap", partial(_imap, eisenmp.imap))
IMAP_CHUNKS: Final = Streamer("eisenmp.imap_chunks", partial(_imap, eisenmp.imap_chunks))
PLAIN: Final = Streamer("eisenmp.Mp plain", partial(_mp, "plain", None))
PLAIN_WIDE: Final = Streamer(f"eisenmp.Mp plain, window {WIDE}", partial(_mp, "plain", WIDE))
CLASSIC: Final = Streamer("eisenmp.Mp classic", partial(_mp, "classic", None))
