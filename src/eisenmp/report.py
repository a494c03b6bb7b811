"""What a job has done with its time, and what holds it up. Pure: numbers go in, words come out.

A job is a line of three: the producer (the iterable, packing its items and handing them out), the workers, the
consumer (whoever reads the results). Each waits for the others, except the slowest of them: so whoever is busy for the
largest share of the time is what the job is bound by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Report", "SlowItem", "WorkerReport", "judge"]

_SHORT_ITEM: Final = 20e-6  # seconds of the producer: below, what it does is packing more than anything else
_IDLE: Final = 0.75  # workers that are busy for less than this share, and are the busiest all the same
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True, slots=True)
class SlowItem:
    """One of the slowest items, or several that were timed together.

    Attributes:
        index: place in the iterable, from 0; of several, that of the first one.
        seconds: what it took; of several, their mean.
        items: how many were timed together.
        queue: where they were fed, unless that is the default input queue.
    """

    index: int
    seconds: float
    items: int = 1
    queue: str = ""

    def __str__(self) -> str:
        where = f" of {self.queue}" if self.queue else ""
        if self.items == 1:
            return f"item {self.index:,}{where}: {_time(self.seconds)}"
        last = self.index + self.items - 1
        return f"items {self.index:,} to {last:,}{where}: {_time(self.seconds)} each, timed together"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker slot, over all processes that it had.

    Attributes:
        slot: its number, from 0.
        seconds: how long it has had a process, their starts included.
        starting: share of that in start-up; the four shares add up to 1, or are all 0 where no process has started.
        waiting: share without anything to do.
        working: share with items in hand.
        sending: share spent packing results and handing them over.
        memory: bytes resident at most, of the present or the last process; None where the system does not tell.
        restarts: processes that died and were replaced.
    """

    slot: int
    seconds: float
    starting: float
    waiting: float
    working: float
    sending: float
    memory: int | None
    restarts: int

    def __str__(self) -> str:
        memory = "memory unknown" if self.memory is None else f"{self.memory / (1 << 20):,.0f} MiB"
        again = f", {self.restarts} restart{'s' * (self.restarts > 1)}" if self.restarts else ""
        return (
            f"worker {self.slot}: {self.working:.0%} working, {self.waiting:.0%} waiting, {self.sending:.0%} sending, "
            f"{self.starting:.0%} start-up, {memory}{again}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """How a job stands or stood. ``print`` it, or read its attributes; times are in seconds.

    Attributes:
        items: how many have an outcome.
        elapsed: from the start of the job to now; once it is over, to its end or to the last result that was read.
        rate: items a second, over all of `elapsed`.
        mean: of an item, in the worker; None while there is none.
        p50: half of the items took no longer, to about one percent. Items that were timed together (a chunk, or many
            short chunks in one message) count with their mean.
        p99: the same of 99 in 100.
        slowest: the five slowest, slowest first.
        workers: one for each slot.
        producer_busy: share of the time since the first worker was up in which the iterable was read, and its items
            were packed and handed out.
        workers_busy: the same of the workers' work, all together.
        consumer_busy: the same of whoever reads the results: when it did not wait for the next one. 0: nobody reads.
        verdict: ``'producer-bound'``, ``'worker-bound'`` or ``'consumer-bound'``; ``'undecided'`` before the first
            item is done.
        advice: one sentence: what to do about it.
    """

    items: int
    elapsed: float
    rate: float
    mean: float | None
    p50: float | None
    p99: float | None
    slowest: tuple[SlowItem, ...]
    workers: tuple[WorkerReport, ...]
    producer_busy: float
    workers_busy: float
    consumer_busy: float
    verdict: str
    advice: str

    def __str__(self) -> str:
        lines = [f"{self.items:,} items in {_time(self.elapsed)}, {self.rate:,.0f} a second"]
        if self.mean is not None and self.p50 is not None and self.p99 is not None:
            lines.append(f"an item: mean {_time(self.mean)}, p50 {_time(self.p50)}, p99 {_time(self.p99)}")
            lines.append("slowest:")
            lines += [f"  {slow}" for slow in self.slowest]
        lines += [str(worker) for worker in self.workers]
        lines.append(
            f"busy: producer {self.producer_busy:.0%}, workers {self.workers_busy:.0%}, "
            f"consumer {self.consumer_busy:.0%}"
        )
        lines.append(f"{self.verdict}: {self.advice}")
        return "\n".join(lines)


def judge(
    producer: float,
    workers: Sequence[float],
    consumer: float,
    *,
    mean: float | None,
    make: float = 0.0,
    start_share: float = 0.0,
) -> tuple[str, str]:
    """(verdict, advice).

    Args:
        producer: share of the time in which the producer was busy.
        workers: the same of each worker.
        consumer: the same of the consumer.
        mean: seconds an item takes a worker; None: none is done yet.
        make: seconds an item takes the producer.
        start_share: share of all time that went by before the first worker was up.
    """
    if mean is None or not workers:
        return "undecided", "no item is done yet."
    busy = sum(workers) / len(workers)
    if consumer > max(producer, busy):
        return "consumer-bound", (
            "results wait to be read, and workers wait for that: do less in the loop, or move some of its work into "
            "the function."
        )
    if producer > busy:
        return "producer-bound", _about_producer(make)
    if start_share > 0.5:
        return "worker-bound", (
            "most of the time went into starting the workers: give one job more to do, or try "
            "start_method='forkserver'."
        )
    if busy < _IDLE:
        return "worker-bound", (
            "a few slow items keep some workers busy while others wait: smaller chunks, a larger buffersize or "
            "ordered=False let the others go on."
        )
    return "worker-bound", (
        "the workers have all they can do: a faster function or more cores help, and nothing else does."
    )


def _about_producer(make: float) -> str:
    if make < _SHORT_ITEM:
        return (
            "items are so short that packing and handing them out takes longer than the work: pass something that is "
            "cut by slices (a range, a list, an array, eisenmp.spaces), or let each item mean more work."
        )
    return (
        "workers wait for the iterable: make it faster, or let it yield what leads to an item (a path, a key) and do "
        "the rest in the function."
    )


def _time(seconds: float) -> str:
    """``1.25 s``, ``3.4 ms``."""
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{seconds / unit:,.3g} {name}" if seconds < 1000 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds * 1e9:.2g} ns"
