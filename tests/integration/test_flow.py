"""Nothing runs ahead and nothing runs hot: the window in chunks and in bytes, memory, idle CPU."""

import textwrap
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests.support import ALARM, Lab, run_script, wait_until, write

# Takes a chunk, says so, and waits at the gate.
GATED = """
def entry(rows, toolbox):
    toolbox.say.put(rows[0] if isinstance(rows[0], int) else len(rows[0]))
    return toolbox.gate.get()
"""


class _Counted:
    """An endless iterable that knows how much was taken from it."""

    def __init__(self, size: int = 0) -> None:
        self.taken = 0
        self._size = size

    def __iter__(self) -> Iterator[object]:
        for n in count():
            self.taken += 1
            yield bytes(self._size) if self._size else n


def _wait_for(items: _Counted, least: int) -> None:
    wait_until(lambda: items.taken >= least, f'{least} items taken')


def _check_lead(
    lab: Lab, items: _Counted, least: int, most: int, rows: int = 5, worker: str = GATED, **settings: object
) -> None:
    """With `done` chunks done, ``done + least`` to ``done + most`` chunks are taken from the generator."""
    emp = lab.mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    lab.start(emp, worker, WORKER_CALL='chunk', NUM_PROCS=2, NUM_ROWS=rows, **settings)
    emp.feed(items)
    for _ in range(2):
        say.get(timeout=ALARM)
    for done in range(20):
        _wait_for(items, rows * (done + least))
        assert items.taken <= rows * (done + most)
        gate.put(None)
        say.get(timeout=ALARM)
    emp.stop()
    for _ in range(2):
        gate.put(None)
    emp.wait(ALARM)


@pytest.mark.parametrize('rows', [1, 5])
def test_an_endless_generator_is_read_no_further_than_the_window(lab: Lab, rows: int) -> None:
    """A feeder is woken when a quarter of the window is free."""
    _check_lead(lab, _Counted(), 4, 7, rows, BUFFER_CHUNKS=6)


def test_the_window_is_four_chunks_a_worker_unless_told(lab: Lab) -> None:
    """Chunks of some milliseconds, that is: there must be more of shorter ones to keep the workers busy."""
    _check_lead(lab, _Counted(), 6, 9, worker=GATED.replace('return', 'import time; time.sleep(0.005); return'))


def test_the_window_counts_bytes_too(lab: Lab) -> None:
    """Nine chunks fit, with their few bytes of packing; one more is cut and held until there is room."""
    size = 100_000
    _check_lead(lab, _Counted(size), 9, 11, 1, BUFFER_CHUNKS=1000, BUFFER_BYTES=10 * size)


def test_an_item_larger_than_the_window_still_goes_through(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'def entry(rows): return len(rows[0])\n', WORKER_CALL='chunk', BUFFER_BYTES=1000, NUM_ROWS=1,
              RESULTS_STORE=True)  # fmt: skip
    emp.feed(bytes(n) for n in (10, 50_000, 2_000_000, 10))
    assert emp.wait(ALARM)['mp_input_q'].values() == [10, 50_000, 2_000_000, 10]


def test_a_chunk_of_default_size_is_cut_short_where_items_are_large(lab: Lab) -> None:
    emp = lab.mp()
    lab.start(emp, 'entry = len\n', WORKER_CALL='chunk', RESULTS_STORE=True, BUFFER_CHUNKS=2)
    emp.feed(bytes(1 << 20) for _ in range(40))
    lengths = emp.wait(ALARM)['mp_input_q'].values()
    assert sum(lengths) == 40
    assert max(lengths) < 40


def test_a_feeder_that_is_held_back_holds_no_other_queue_back(lab: Lab) -> None:
    worker = """
        def entry(toolbox):
            toolbox.quick.get()
            while toolbox.STOP_MSG not in toolbox.quick.get():
                pass
            toolbox.out.put('quick is at its end')
            while toolbox.STOP_MSG not in toolbox.slow.get():
                pass
            return False
    """
    emp = lab.mp()
    emp.queue_cust_dict_std_create(('quick', 1), ('slow', 1), ('out', 0))
    lab.start(emp, worker, NUM_ROWS=1)
    emp.feed(range(50), 'slow')
    emp.feed(range(50), 'quick')
    assert emp.queues['out'].get(timeout=ALARM) == 'quick is at its end'
    assert emp.wait(ALARM).complete


FLAT = """
    import resource
    import eisenmp

    def items():
        for n in range(2000):
            yield bytes(200_000)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    emp = eisenmp.Mp()
    emp.start(worker_modules=[dict(WORKER_PATH='worker.py', WORKER_REF='entry')], WORKER_CALL='chunk', NUM_PROCS=2,
              NUM_ROWS=4, BUFFER_BYTES=8 << 20)
    before = peak()
    reader = emp.results.outcomes()
    emp.feed(items())
    got = sum(len(outcome.value) for outcome in reader)
    emp.wait(20)
    print(got, peak() - before, max(emp.results.closing.values(), default=0))
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    """400 MB go there and back through a window of 8 MiB."""
    write(tmp_path, 'def entry(rows): return b"".join(rows)\n')
    done = run_script(tmp_path, textwrap.dedent(FLAT))
    got, grown, _ = map(int, done.stdout.split())
    assert got == 400_000_000
    assert grown < 120, f'the manager has grown by {grown} MiB'


def test_idle_means_idle(lab: Lab) -> None:
    """Waiting workers and a waiting manager take no measurable CPU; old polling loops take little."""
    worker = """
        import queue

        def entry(toolbox):
            kind = toolbox.START_SEQUENCE_NUM
            toolbox.say.put(kind)
            if kind == 0:
                toolbox.gate.get()
            elif kind == 1:
                while toolbox.gate.empty():
                    pass
                toolbox.gate.get()
            else:
                while True:
                    try:
                        toolbox.gate.get_nowait()
                        break
                    except queue.Empty:
                        pass
            return False
    """
    emp = lab.mp()
    say, gate = emp.add_queue('say'), emp.add_queue('gate')
    lab.start(emp, worker, NUM_PROCS=3)
    for _ in range(3):
        say.get(timeout=ALARM)
    processes = [psutil.Process(process.pid) for process in emp.proc_list]

    def used() -> list[float]:
        times = [process.cpu_times() for process in processes]
        return [time.process_time(), *(t.user + t.system for t in times)]

    before = used()
    with pytest.raises(TimeoutError):
        emp.wait(1)  # this is the second that is measured
    manager, waiting, looking, asking = (after - was for was, after in zip(before, used(), strict=True))
    for _ in range(3):
        gate.put(None)
    emp.wait(ALARM)
    assert waiting <= 0.02
    assert looking < 0.25
    assert asking < 0.25
    assert manager < 0.35


def test_a_manager_that_waits_takes_no_cpu(lab: Lab) -> None:
    emp = lab.mp()
    gate = emp.add_queue('gate')
    lab.start(emp, 'def entry(toolbox): return toolbox.gate.get()\n', NUM_PROCS=2)
    wait_until(lambda: all(worker.phase == 'up' for worker in emp.snapshot().workers))
    before = time.process_time()
    with pytest.raises(TimeoutError):
        emp.wait(0.5)
    assert time.process_time() - before < 0.05
    for _ in range(2):
        gate.put(False)
    emp.wait(ALARM)
