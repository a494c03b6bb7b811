"""A job at a glance, for displays: made from the job's state under its lock, in one go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from eisenmp.events import FailureView, FeederView, QueueView, Snapshot, WorkerView
from eisenmp.job import Job
from eisenmp.ledger import State
from eisenmp.payload import loads_error
from eisenmp.queues import NamedQueue
from eisenmp.results import Record
from eisenmp.results.outcome import item_failures
from eisenmp.supervisor import Phase
from eisenmp.tap import Tap

__all__ = ["Look", "take_look", "take_snapshot"]

_MANY: Final = 1000  # entries of a queue that are no longer counted one by one


def take_snapshot(job: Job, info: Mapping[str, int]) -> Snapshot:
    """Call it under the job's lock. `info`: rows that workers have reported through mp_info_q."""
    tracks = job.ledger.tracks
    return Snapshot(
        seconds=job.clock() - job.began,
        feeders=tuple(
            FeederView(
                queue=job.table[f.queue].name,
                made=f.made,
                done=tracks[f.queue].items_done if f.queue in tracks else 0,
                total=f.total,
                finished=f.done and not job.exchange.stopping,  # else it was broken off: there was more to come
            )
            for f in job.feeders
        ),
        workers=_workers(job),
        queues=tuple(_queue(job, q) for q in job.table if q.entries or q.feeders_seen or q.touched),
        failed=sum(track.counts[State.FAILED] for track in tracks.values()) - job.results.partly_failed,
        set_aside=sum(track.counts[State.SET_ASIDE] for track in tracks.values()),
        info=dict(info),
        info_total=job.settings.INFO_THREAD_MAX,
        over=job.over.is_set(),
        partly_failed=job.results.partly_failed,
        last_failure=_last_failure(job),
        done=sum(track.counts[State.DONE] for track in tracks.values()),
        stopping=job.exchange.stopping,
        wanted=job.workers,
        retriable=sum(1 for _, record in job.results.shelf if not record.read),
    )


class Look(NamedTuple):
    """A job now, and what has happened since somebody looked last."""

    snapshot: Snapshot
    tap: Tap
    names: tuple[str, ...]  # of queues, by number
    began: float  # by the job's clock, of which the tap speaks


def take_look(job: Job, info: Mapping[str, int]) -> Look:
    """The same with what the job's tap has; for one who watches. Call it under the job's lock."""
    tap = job.tap.take() if job.tap is not None else Tap()
    return Look(take_snapshot(job, info), tap, tuple(queue.name for queue in job.table), job.began)


def _queue(job: Job, queue: NamedQueue) -> QueueView:
    # a queue without a bound may hold a million messages, and everybody waits for the lock
    fill = queue.fill if len(queue.entries) <= _MANY else len(queue.entries)
    if not queue.feeders_seen:
        return QueueView(queue.name, fill, queue.maxsize)
    return QueueView(queue.name, fill, queue.maxsize, job.window(queue).size, job.fill(queue))


def _last_failure(job: Job) -> FailureView | None:
    record = job.results.last_failure
    if record is None:
        return None
    return FailureView(job.table[record.queue].name, record.serial, partial(_opened, record))


def _opened(record: Record) -> BaseException | None:
    """What the ticket, or the first of its items that failed, has raised."""
    if record.error is not None:
        return record.error if isinstance(record.error, BaseException) else loads_error(record.error)
    failures = item_failures(record.item_errors)
    if not failures:
        failures = [(part.first, crash) for part, crash in record.parts if crash is not None]
    return failures[0][1] if failures else None


def _workers(job: Job) -> tuple[WorkerView, ...]:
    views = []
    now = job.clock()
    for slot in job.crew.supervisor.slots:
        if slot.number >= job.workers and slot.phase == Phase.GONE:
            continue  # there are fewer workers now
        handle = job.crew.handles.get(slot.number)
        worker = job.crew.workers.get(slot.worker)
        held = list(job.ledger.held.get(slot.worker, {}).values())
        begun = min((chunk for chunk in held if chunk.begun), key=lambda chunk: chunk.since, default=None)
        views.append(
            WorkerView(
                slot=slot.number,
                name=f"Process-{slot.number + 1}",
                pid=(handle.known_pid if handle is not None else None) or 0,
                phase="leaving" if worker is not None and worker.leaving else slot.phase,
                holding=tuple(f"{job.table[chunk.queue].name}_TID_{chunk.serial}" for chunk in held),
                oldest_seconds=now - begun.since if begun is not None else 0.0,
                answered=worker.answered if worker is not None else 0,
                restarts=slot.restarts,
                at=f"{job.table[begun.queue].name}_TID_{begun.serial}" if begun is not None else "",
            )
        )
    return tuple(views)
