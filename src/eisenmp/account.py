"""The account of a job's time: gathers what report.py speaks of from the job's state, under its lock."""

from __future__ import annotations

from collections.abc import Iterable

from eisenmp.job import Job
from eisenmp.measure import Timed
from eisenmp.report import Report, SlowItem, WorkerReport, judge
from eisenmp.supervisor import Slot

__all__ = ["take_report"]


def take_report(job: Job) -> Report:
    """Call it under the job's lock."""
    now = _end(job)
    elapsed = max(0.0, now - job.began)
    workers = tuple(_worker(job, slot, now) for slot in job.crew.supervisor.slots)
    start = min([one.starting * one.seconds for one in workers if one.working or one.waiting], default=elapsed)
    span = max(elapsed - start, 1e-9)
    producing = [feeder.producing.seconds(now) for feeder in job.feeders]
    producer = min(1.0, max(producing, default=0.0) / span)
    spans = [max(span - job.crew.hours[one.slot].away(now), 1e-9) for one in workers]
    busy = sum([min(one.working * one.seconds, there) for one, there in zip(workers, spans, strict=True)]) / sum(spans)
    consumer = min(1.0, _consumer_seconds(job, now) / span)
    times = job.durations
    verdict, advice = judge(
        producer,
        [busy],
        consumer,
        mean=times.mean(),
        make=sum(producing) / max(1, sum([feeder.made for feeder in job.feeders])),
        start_share=start / elapsed if elapsed else 0.0,
    )
    items = sum([track.items_done for track in job.ledger.tracks.values()])
    return Report(
        items=items,
        elapsed=elapsed,
        rate=items / elapsed if elapsed else 0.0,
        mean=times.mean(),
        p50=times.quantile(0.5),
        p99=times.quantile(0.99),
        slowest=_slowest(job),
        workers=workers,
        producer_busy=producer,
        workers_busy=busy,
        consumer_busy=consumer,
        verdict=verdict,
        advice=advice,
    )


def _end(job: Job) -> float:
    """Up to when the account goes: now, or the end of a job that is over and whose results are read."""
    stream = job.results.newest
    if job.settled is None:
        return job.clock()
    if stream is None or job.killed or not stream.attached:
        return max(job.settled, stream.last if stream is not None and not job.killed else job.settled)
    return job.clock() if stream.ready else max(job.settled, stream.last)


def _worker(job: Job, slot: Slot, now: float) -> WorkerReport:
    worker = job.crew.workers.get(slot.worker)
    if worker is not None:
        job.crew.note_memory(worker)
    hours = job.crew.hours[slot.number]
    seconds, starting, waiting, working, sending = hours.shares(now, job.ledger.busy_since(slot.worker))
    return WorkerReport(slot.number, seconds, starting, waiting, working, sending, hours.memory, slot.restarts)


def _consumer_seconds(job: Job, now: float) -> float:
    """How long the newest reader did something else than wait for the next result."""
    stream = job.results.newest
    if stream is None:
        return 0.0
    end = now if stream.attached else min(now, stream.last)
    return max(0.0, end - max(job.began, stream.began) - stream.waits.seconds(end))


def _slowest(job: Job) -> tuple[SlowItem, ...]:
    at = _places(job, job.durations.slowest)
    return tuple(
        SlowItem(at[timed], timed.seconds, timed.items, job.table[timed.queue].name if timed.queue else "")
        for timed in sorted(job.durations.slowest, reverse=True)
    )


def _places(job: Job, wanted: Iterable[Timed]) -> dict[Timed, int]:
    """How many items came before each of these. Counted once: there may be a million tickets."""
    places: dict[Timed, int] = {}
    counted = dict.fromkeys(job.ledger.tracks, (0, 0))  # the last one of each queue: ticket, items before it
    for timed in sorted(wanted, key=lambda timed: timed.serial):
        start, before = counted[timed.queue]
        before += sum(job.ledger.track(timed.queue).items[start : timed.serial])
        places[timed] = before
        counted[timed.queue] = timed.serial, before
    return places
