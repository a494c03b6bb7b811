"""A job at a glance, for displays: made from the job's state under its lock, in one go."""

from __future__ import annotations

from collections.abc import Mapping

from eisenmp.job import Job
from eisenmp.ledger import State
from eisenmp.listen import FeederView, QueueView, Snapshot, WorkerView

__all__ = ["take_snapshot"]


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
                finished=f.done,
            )
            for f in job.feeders
        ),
        workers=_workers(job),
        queues=tuple(QueueView(q.name, q.fill, q.maxsize) for q in job.table if q.entries or q.feeders_seen),
        failed=sum(track.counts[State.FAILED] for track in tracks.values()),
        set_aside=sum(track.counts[State.SET_ASIDE] for track in tracks.values()),
        info=dict(info),
        info_total=job.settings.INFO_THREAD_MAX,
        over=job.over.is_set(),
    )


def _workers(job: Job) -> tuple[WorkerView, ...]:
    views = []
    now = job.clock()
    for slot in job.crew.supervisor.slots:
        handle = job.crew.handles.get(slot.number)
        worker = job.crew.workers.get(slot.worker)
        held = list(job.ledger.held.get(slot.worker, {}).values())
        views.append(
            WorkerView(
                slot=slot.number,
                name=f"Process-{slot.number + 1}",
                pid=(handle.known_pid if handle is not None else None) or 0,
                phase=slot.phase,
                holding=tuple(f"{job.table[chunk.queue].name}_TID_{chunk.serial}" for chunk in held),
                oldest_seconds=max((now - chunk.since for chunk in held if chunk.begun), default=0.0),
                answered=worker.answered if worker is not None else 0,
                restarts=slot.restarts,
            )
        )
    return tuple(views)
