"""Objects on their way: arrays, large ones, and classes that one side only knows by value."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import ALARM, ENGINES, Lab, run_script, strict, write


def _arrays() -> Iterator[Any]:
    yield np.arange(12).reshape(3, 4)
    yield np.arange(12.0).reshape(3, 4).T
    yield np.arange(100)[::7]
    yield np.zeros((0, 3))
    yield np.array(5)
    yield np.array(['a', 'bc'])
    yield np.array([1, None, 'x'], dtype=object)
    yield np.arange(1 << 17, dtype='f8')
    yield np.array([(1, 2.5)], dtype=[('n', 'i4'), ('x', 'f8')])


@pytest.mark.parametrize('call', ['item', 'toolbox'])
def test_arrays_there_and_back(lab: Lab, call: str) -> None:
    worker = """
        import numpy as np

        def double(array):
            if array.dtype.kind == 'f':
                array *= 2  # in place: what a worker gets is its own
            return array

        def entry(one, toolbox=None):
            if toolbox is not None:
                return double(one)
            chunk = one.mp_input_q.get()
            if one.STOP_MSG in str(chunk[1])[:100]:
                return False
            one.mp_output_q.put([one.OUTPUT_HEADER + chunk[0], [double(array) for array in chunk[1:]]])
            return True
    """
    results = lab.run(worker, _arrays(), NUM_ROWS=2, WORKER_CALL=call)
    got = [array for chunk in results['mp_input_q'].values() for array in chunk]
    sent = list(_arrays())
    assert len(got) == len(sent)
    for had, came in zip(sent, got, strict=True):
        assert type(came) is type(had)
        assert came.dtype == had.dtype
        np.testing.assert_array_equal(came, 2 * had if had.dtype.kind == 'f' else had)
        assert came.flags.writeable


def test_one_array_over_and_over(lab: Lab) -> None:
    """The window re-uses memory; a worker's view of an earlier item must stay what it was."""
    worker = """
        KEPT = []

        def entry(item, toolbox):
            KEPT.append(item)
            return [int(array[0]) for array in KEPT], [int(array[-1]) for array in KEPT]
    """
    results = lab.run(worker, (np.full(50_000, n) for n in range(20)), NUM_ROWS=1, WORKER_CALL='item')
    last = results['mp_input_q'].values()[-1][0]
    assert last == (list(range(20)), list(range(20)))


@pytest.mark.parametrize('size', [1_000, 400_000])
def test_a_generator_that_fills_one_array_anew(lab: Lab, size: int) -> None:
    """What is queued is what the item was when it was yielded."""

    def refill() -> Iterator[Any]:
        array = np.empty(size)
        for n in range(50):
            array[:] = n
            yield array

    results = lab.run('def entry(item): return float(item.min()), float(item.max())\n', refill(), NUM_ROWS=1,
                      WORKER_CALL='item')  # fmt: skip
    assert [rows for (rows,) in results['mp_input_q'].values()] == [(n, n) for n in range(50)]


def test_a_worker_that_returns_one_array_filled_anew(lab: Lab) -> None:
    worker = """
        import numpy as np
        ARRAY = np.empty(50_000)

        def entry(n):
            ARRAY[:] = n
            return ARRAY
    """
    results = lab.run(worker, range(50), NUM_ROWS=1, WORKER_CALL='item')
    assert [(a.min(), a.max()) for (a,) in results['mp_input_q'].values()] == [(n, n) for n in range(50)]


@pytest.mark.parametrize('size', [0, 1, 65_535, 65_536, 65_537, 262_144, 1 << 20, 24 << 20])
def test_sizes_of_objects(lab: Lab, size: int) -> None:
    worker = """
        def entry(toolbox):
            item = toolbox.into.get()
            toolbox.out.put((len(item), item[:3], item[-3:]))
            toolbox.out.put(item)
            return False
    """
    emp = lab.mp()
    into, out = emp.add_queue('into', 1), emp.add_queue('out', 2)
    lab.start(emp, worker)
    item = bytes([1, 2, 3]) + bytes(size) + bytes([7, 8, 9]) if size > 6 else bytes(size)
    into.put(item)
    assert out.get(timeout=ALARM) == (len(item), item[:3], item[-3:])
    assert out.get(timeout=ALARM) == item
    emp.wait(ALARM)


def test_many_sizes_in_a_row_keep_their_order(lab: Lab) -> None:
    sizes = [n * 97 % 70_000 for n in range(300)]
    results = lab.run('def entry(item): return len(item), item[:1]\n', ((b'%d' % (n % 10)) * n for n in sizes),
                      NUM_ROWS=7, WORKER_CALL='item')  # fmt: skip
    got = [row for chunk in results['mp_input_q'].values() for row in chunk]
    assert [length for length, _ in got] == [len((b'%d' % (n % 10)) * n) for n in sizes]


def test_objects_of_classes_in_the_worker_file(lab: Lab) -> None:
    worker = """
        import dataclasses, enum

        class Colour(enum.Enum):
            RED = 1

        @dataclasses.dataclass
        class Row:
            n: int
            colour: Colour = Colour.RED

            def double(self):
                return 2 * self.n

        def entry(item):
            return Row(item)
    """
    rows = lab.run(worker, range(3), WORKER_CALL='item')['mp_input_q'].values()[0]
    assert [(row.n, row.double(), row.colour.name, type(row).__name__) for row in rows] == [
        (0, 0, 'RED', 'Row'),
        (1, 2, 'RED', 'Row'),
        (2, 4, 'RED', 'Row'),
    ]


def test_items_that_are_functions(lab: Lab) -> None:
    factor = 3
    items = [lambda n: n * factor, len, str.upper, Path.exists, int]
    results = lab.run('def entry(f): return callable(f), f\n', items, WORKER_CALL='item')
    rows = results['mp_input_q'].values()[0]
    assert [found for found, _ in rows] == [True] * 5
    assert rows[0][1](5) == 15
    assert [function for _, function in rows[1:]] == items[1:]


SCRIPT = """
    import collections, dataclasses, sys
    import eisenmp

    class Point:
        made = 0

        def __init__(self, x):
            self.x = x

        def moved(self, by):
            return Point(self.x + by)

    @dataclasses.dataclass(frozen=True)
    class Reading:
        value: float

    Pair = collections.namedtuple('Pair', 'a b')
    offset = 100

    def shift(n):
        return n + offset

    class Problem(Exception):
        pass

    emp = eisenmp.Mp()
    emp.start(
        worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'entry'}], NUM_PROCS=2, NUM_ROWS=1,
        WORKER_CALL='item', RESULTS_STORE=True, ON_ERROR='skip',
        shift=shift, pair=Pair(1, 2), Problem=Problem, **SETTINGS
    )
    emp.feed([Point(1), Reading(2.5), Pair(3, 4), lambda: 5])
    results = emp.wait(20)['mp_input_q']
    point, reading, pair, function = [results[n].value[0] for n in range(4)]
    assert type(point) is Point and point.x == 111, point
    assert type(reading) is Reading and reading == Reading(2.5), reading
    assert type(pair) is Pair and pair == Pair(3, 4), pair
    assert function() == 5

    again = eisenmp.Mp()
    again.start(worker_modules=[{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'fail'}], WORKER_CALL='item', NUM_PROCS=1,
                Problem=Problem, **SETTINGS)
    again.feed([1])
    try:
        again.wait(20)
    except Problem as error:
        print('a', type(error).__name__, 'of mine:', error)
"""

SCRIPT_WORKER = """
    def entry(item, toolbox):
        if hasattr(item, 'moved'):
            item = item.moved(toolbox.shift(10))
        assert toolbox.pair.b == 2
        return item

    def fail(item, toolbox):
        raise toolbox.Problem('found')
"""


@pytest.mark.parametrize('how', ['file', 'stdin'])
@pytest.mark.parametrize('engine', ENGINES)
def test_objects_of_classes_in_main(tmp_path: Path, engine: str, how: str) -> None:
    """No main guard, no import of the script in workers, and what comes back is of the very same classes."""
    write(tmp_path, SCRIPT_WORKER)
    settings = f'SETTINGS = {ENGINES[engine]!r}\n'
    done = run_script(tmp_path, settings + textwrap.dedent(SCRIPT), how=how, flags=strict(engine))
    assert done.stdout == 'a Problem of mine: found\n'
    assert done.stderr == ''
