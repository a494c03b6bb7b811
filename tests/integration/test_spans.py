"""Chunks as spans of OpenTelemetry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import eisenmp
from tests.support import ALARM, Lab, run_script

SOMETIMES = """
def entry(item):
    if item == 2:
        raise ValueError('two')
    return item
"""
KILLS = """
import os, signal

def entry(item, toolbox):
    if toolbox.tries.get() == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return item
"""


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The program's tracer provider is one that keeps all spans in memory."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, 'get_tracer_provider', lambda: provider)  # it can be set once in a process only
    monkeypatch.setattr(trace, '_TRACER_PROVIDER', provider)
    return kept


@pytest.fixture
def inline(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path, 'inline')
    yield lab
    lab.close()


def chunks_of(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    spans = [span for span in exporter.get_finished_spans() if span.name == 'eisenmp.chunk']
    return sorted(spans, key=lambda span: span.start_time or 0)


def attribute(span: ReadableSpan, name: str) -> Any:
    assert span.attributes is not None
    return span.attributes[f'eisenmp.{name}']


def test_each_chunk_has_a_span_within_that_of_the_job(inline: Lab, exporter: InMemorySpanExporter) -> None:
    before = time.time_ns()
    with trace.get_tracer('a program').start_as_current_span('all of it') as outer:
        inline.run(SOMETIMES, range(5), WORKER_CALL='item', NUM_ROWS=1, ON_ERROR='skip')
    after = time.time_ns()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    job, chunks = spans['eisenmp.job'], chunks_of(exporter)
    assert job.parent is not None
    assert job.parent.span_id == outer.get_span_context().span_id
    assert job.context is not None
    assert {span.parent and span.parent.span_id for span in chunks} == {job.context.span_id}
    assert sum(attribute(span, 'items') for span in chunks) == 5
    assert sum(attribute(span, 'tickets') for span in chunks) == 5
    assert {attribute(span, 'queue') for span in chunks} == {'mp_input_q'}
    assert {attribute(span, 'slot') for span in chunks} == {0}
    (failed,) = [span for span in chunks if attribute(span, 'outcome') == 'failed']
    assert (attribute(failed, 'ticket'), failed.status.status_code) == (2, trace.StatusCode.ERROR)
    assert attribute(job, 'chunks.done') == 4
    for span in (job, *chunks):
        assert span.start_time is not None
        assert span.end_time is not None
        assert before - 1e7 <= span.start_time <= span.end_time <= after + 1e7
        assert job.start_time is not None
        assert job.end_time is not None
        assert job.start_time <= span.start_time
        assert span.end_time <= job.end_time


def test_a_try_that_killed_its_worker_has_a_span_too(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    lab = Lab(tmp_path, 'spawn')
    emp = lab.mp()
    tries = emp.add_queue('tries')
    for n in range(2):
        tries.put(n)
    lab.start(emp, KILLS, WORKER_CALL='item')
    emp.feed([7])
    emp.wait(ALARM)
    assert emp.join(ALARM)
    died, done = chunks_of(exporter)
    assert (attribute(died, 'outcome'), attribute(done, 'outcome')) == ('died', 'done')
    assert died.status.status_code == trace.StatusCode.ERROR
    assert attribute(died, 'ticket') == attribute(done, 'ticket') == 0
    assert died.end_time is not None
    assert done.start_time is not None
    assert died.end_time <= done.start_time


def test_not_where_the_program_does_not_want_them(inline: Lab, exporter: InMemorySpanExporter) -> None:
    inline.run(SOMETIMES, range(2), WORKER_CALL='item', OPENTELEMETRY=False)
    assert exporter.get_finished_spans() == ()


def test_not_where_it_has_set_no_provider(inline: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, '_TRACER_PROVIDER', None)
    emp = inline.mp()
    inline.start(emp, SOMETIMES, WORKER_CALL='item')
    emp.feed([1])
    emp.wait(ALARM)
    assert emp._watching._live is None


@pytest.mark.parametrize('blocked', [False, True])
def test_it_is_imported_only_on_demand_and_said_to_be_missing(tmp_path: Path, blocked: bool) -> None:
    script = f"""
        import sys
        import eisenmp

        with eisenmp.imap(abs, range(-3, 0), engine='inline') as results:
            assert list(results) == [3, 2, 1]
        assert 'opentelemetry' not in sys.modules
        if {blocked}:
            sys.modules['opentelemetry'] = None  # as if it were not installed
        emp = eisenmp.Mp()
        try:
            emp.start(worker_modules=[{{'WORKER_PATH': 'math', 'WORKER_REF': 'isqrt'}}], WORKER_CALL='item',
                      ENGINE='inline', NUM_PROCS=1, OPENTELEMETRY=True)
            emp.feed([4])
            emp.wait()
            print('spans', 'opentelemetry.trace' in sys.modules)
        except eisenmp.SettingsError as error:
            print(error)
        """
    told = run_script(tmp_path, script).stdout
    assert told.startswith('OPENTELEMETRY=True needs opentelemetry-api' if blocked else 'spans True')


def test_a_bad_value_is_refused() -> None:
    with pytest.raises(eisenmp.SettingsError, match="OPENTELEMETRY='yes' does not fit; allowed: True, False or None"):
        eisenmp.Mp().start(worker_modules=[{'WORKER_PATH': 'math', 'WORKER_REF': 'isqrt'}], OPENTELEMETRY='yes')
