"""Chunks as spans of OpenTelemetry. Its package is imported only where the program has done so, or asks for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from eisenmp.display.board import short
from eisenmp.errors import SettingsError
from eisenmp.snapshot import Look
from eisenmp.tap import Answer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

__all__ = ["Spans", "open_spans"]

_NANO: Final = 1_000_000_000


def open_spans(wanted: bool | None, clock: Callable[[], float]) -> Spans | None:
    """Spans of a job that begins now, in the trace that the calling thread is in.

    Args:
        wanted: ``OPENTELEMETRY``; None: where the program has set a tracer provider.
        clock: the job's.

    Raises:
        SettingsError: they are wanted, and the package is not installed.
    """
    if wanted is False or (wanted is None and "opentelemetry.trace" not in sys.modules):
        return None
    try:
        from opentelemetry import context, trace
    except ImportError as error:
        raise SettingsError(
            "OPENTELEMETRY=True needs opentelemetry-api, which is not installed: pip install opentelemetry-sdk"
        ) from error
    if wanted is None and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    tracer = trace.get_tracer("eisenmp", sys.modules["eisenmp"].__version__)
    return Spans(tracer, context.get_current(), time.time_ns() - round(clock() * _NANO))


class Spans:
    """One span for the job, and within it one for each try of a chunk.

    Chunks so short that many travel in one message have one span together, which says how many they are.

    Args:
        tracer: makes them.
        parent: what the job's span belongs to.
        offset: nanoseconds from the job's clock to the system's.
    """

    def __init__(self, tracer: Tracer, parent: Context, offset: int) -> None:
        from opentelemetry import trace

        self._trace = trace
        self._tracer = tracer
        self._offset = offset
        self._job: Any = None
        self._context = parent

    def add(self, look: Look, over: bool) -> None:
        """What has happened since the last look; `over`: and nothing more will."""
        if self._job is None:
            self._job = self._tracer.start_span("eisenmp.job", context=self._context, start_time=self._at(look.began))
            self._context = self._trace.set_span_in_context(self._job, self._context)
        for answer in look.tap.answers:
            self._add_chunk(answer, short(look.names[answer.queue]))
        if over:
            snapshot = look.snapshot
            for name in ("done", "failed", "partly_failed", "set_aside"):
                self._job.set_attribute(f"eisenmp.chunks.{name}", getattr(snapshot, name))
            self._job.end(end_time=self._at(look.began + snapshot.seconds))

    def _add_chunk(self, answer: Answer, queue: str) -> None:
        start = answer.end - answer.seconds if answer.seconds else answer.begun
        span = self._tracer.start_span(
            "eisenmp.chunk",
            context=self._context,
            start_time=self._at(start),
            attributes={
                "eisenmp.queue": queue,
                "eisenmp.ticket": answer.serial,
                "eisenmp.tickets": answer.tickets,
                "eisenmp.items": answer.items,
                "eisenmp.slot": answer.slot,
                "eisenmp.outcome": answer.outcome,
                "eisenmp.waited": max(0.0, start - answer.sent),  # seconds between being sent and being begun
            },
        )
        if answer.outcome != "done":
            span.set_status(self._trace.StatusCode.ERROR, answer.outcome)
        span.end(end_time=self._at(answer.end))

    def _at(self, when: float) -> int:
        return round(when * _NANO) + self._offset
