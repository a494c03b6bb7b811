"""A reader that waits for nothing, and leaves a bell."""

from __future__ import annotations

from typing import Any

import pytest

from eisenmp.results import OutcomeReader, Record
from tests.unit.test_results import Bench


def opened(bench: Bench, record: Record | None) -> list[Any]:
    assert record is not None
    return [outcome.value for outcome in bench.results.outcomes_of(record)]


def with_reader(ordered: bool = False) -> tuple[Bench, OutcomeReader, list[str]]:
    bench = Bench()
    return bench, bench.results.outcomes(ordered=ordered), []


def test_it_rings_once_and_then_there_is_something() -> None:
    bench, reader, rung = with_reader()
    one, two, three = bench.add(3)
    assert reader.poll() is None
    assert reader.poll(lambda: rung.append('ding')) is None
    assert not rung
    bench.done(one, 'one')
    bench.done(two, 'two')
    assert rung == ['ding']
    assert opened(bench, reader.poll()) == ['one']
    assert opened(bench, reader.poll(lambda: rung.append('never'))) == ['two']
    bench.done(three, 'three')
    assert rung == ['ding']
    assert opened(bench, reader.poll()) == ['three']


def test_in_order_it_rings_when_the_next_one_is_there() -> None:
    bench, reader, rung = with_reader(ordered=True)
    one, two = bench.add(2)
    assert reader.poll(lambda: rung.append('ding')) is None
    bench.done(two, 'two')
    assert not rung
    bench.done(one, 'one')
    assert rung == ['ding']
    assert [opened(bench, reader.poll()), opened(bench, reader.poll())] == [['one'], ['two']]


@pytest.mark.parametrize('error', [None, OSError('gone')], ids=repr)
def test_it_rings_at_the_end(error: Exception | None) -> None:
    bench, reader, rung = with_reader()
    assert reader.poll(lambda: rung.append('ding')) is None
    bench.end(error)
    assert rung == ['ding']
    with pytest.raises(StopIteration if error is None else OSError):
        reader.poll()
    with pytest.raises(StopIteration):
        reader.poll()


def test_it_rings_when_the_reader_is_closed() -> None:
    _, reader, rung = with_reader()
    assert reader.poll(lambda: rung.append('ding')) is None
    reader.close()
    assert rung == ['ding']
    with pytest.raises(StopIteration):
        reader.poll()
