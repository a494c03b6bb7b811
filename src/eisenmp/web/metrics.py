"""The state of a job as Prometheus reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from eisenmp.display.usage import Used, used_by, used_here
from eisenmp.live.durations import BOUNDS, Durations

__all__ = ["Exposition"]


class Exposition(Collector):
    """Has a registry of its own, so that the program's is left as it is.

    Args:
        state: the newest state; None: there is none yet.
        durations: of chunks; None: nobody knows.
        usage: what processes use, by pid.
        here: what this process uses.
    """

    def __init__(
        self,
        state: Callable[[], Mapping[str, Any] | None],
        durations: Durations | None = None,
        usage: Callable[[Iterable[int]], Mapping[int, Used]] = used_by,
        here: Callable[[], Used | None] = used_here,
    ) -> None:
        self._state = state
        self._durations = durations
        self._usage = usage
        self._here = here
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> tuple[bytes, str]:
        """(the page, its type)"""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def describe(self) -> Iterable[Metric]:
        """Nothing before there is a job to ask."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All figures, now."""
        state = self._state()
        if state is not None:
            yield from _job(state)
            yield from _streams(state)
            yield from _queues(state)
            yield from self._workers(state)
        if self._durations is not None:
            yield _chunk_seconds(self._durations)

    def _workers(self, state: Mapping[str, Any]) -> Iterator[Metric]:
        up = GaugeMetricFamily("eisenmp_worker_up", "Whether the worker is up.", labels=["slot"])
        restarts = CounterMetricFamily(
            "eisenmp_worker_restarts", "Processes that took a dead one's place.", labels=["slot"]
        )
        seconds = CounterMetricFamily("eisenmp_worker_cpu_seconds", "CPU of the present process.", labels=["slot"])
        memory = GaugeMetricFamily("eisenmp_worker_memory_bytes", "Resident memory of it.", labels=["slot"])
        used = self._usage(
            [worker["pid"] for worker in state["workers"] if worker["pid"] and worker["state"] != "gone"]
        )
        for worker in state["workers"]:
            slot = [str(worker["slot"])]
            up.add_metric(slot, worker["state"] in ("working", "idle"))
            restarts.add_metric(slot, worker["restarts"])
            its = used.get(worker["pid"])
            if its is not None:
                seconds.add_metric(slot, its.cpu_seconds)
                memory.add_metric(slot, its.resident)
        yield from (up, restarts, seconds, memory)
        pid = state["manager"]["pid"]
        own = self._here() if pid == os.getpid() else self._usage([pid]).get(pid)
        if own is not None:
            yield CounterMetricFamily("eisenmp_manager_cpu_seconds", "CPU of the manager.", value=own.cpu_seconds)
            yield GaugeMetricFamily(
                "eisenmp_manager_memory_bytes", "Resident memory of the manager.", value=own.resident
            )


def _chunk_seconds(durations: Durations) -> Metric:
    family = HistogramMetricFamily("eisenmp_chunk_seconds", "How long workers took for a chunk.", labels=["queue"])
    for name, counts in list(durations.counts.items()):
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), list(counts), strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([name], buckets, sum_value=durations.sums.get(name, 0.0))
    return family


def _job(state: Mapping[str, Any]) -> Iterator[Metric]:
    about = state["job"]
    info = GaugeMetricFamily("eisenmp_job_info", "What runs.", labels=["name", "version", "python", "engine"])
    info.add_metric([str(about[key]) for key in ("name", "version", "python", "engine")], 1)
    yield info
    yield GaugeMetricFamily("eisenmp_job_start_time_seconds", "When it began, since 1970.", value=about["started"])
    yield GaugeMetricFamily("eisenmp_worker_slots", "Worker slots.", value=state["slots"])
    chunks = CounterMetricFamily("eisenmp_chunks", "Chunks with an outcome.", labels=["outcome"])
    for outcome, count in state["chunks"].items():
        chunks.add_metric([outcome], count)
    yield chunks


def _streams(state: Mapping[str, Any]) -> Iterator[Metric]:
    items = CounterMetricFamily("eisenmp_items", "Items with an outcome.", labels=["queue"])
    made = CounterMetricFamily("eisenmp_items_made", "Items that feeders have read.", labels=["queue"])
    expected = GaugeMetricFamily("eisenmp_items_expected", "Items in all, where that is known.", labels=["queue"])
    for stream in state["streams"]:
        if not stream["feeders"]:
            continue  # what workers report in their own words
        name = [stream["name"]]
        items.add_metric(name, stream["done"])
        made.add_metric(name, stream["made"])
        if stream["total"] is not None:
            expected.add_metric(name, stream["total"])
    yield from (items, made, expected)


def _queues(state: Mapping[str, Any]) -> Iterator[Metric]:
    fill = GaugeMetricFamily("eisenmp_queue_fill", "Entries of the queue, or chunks in its window.", labels=["queue"])
    bound = GaugeMetricFamily("eisenmp_queue_bound", "How many may be there; 0: no bound.", labels=["queue"])
    for queue in state["queues"]:
        fill.add_metric([queue["name"]], queue["fill"])
        bound.add_metric([queue["name"]], queue["bound"])
    yield from (fill, bound)
