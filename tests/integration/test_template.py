"""START_METHOD='forkserver': modules and shared objects are had once, and the workers are clean copies of that."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eisenmp
from tests.support import ALARM, ENGINES, FORKS, Lab, wait_until

# Notes who imports it, in a file beside itself.
TRACED = """
    import os, pathlib

    def note(text):
        with pathlib.Path(__file__).with_name('trace').open('a') as file:
            print(text, os.getpid(), file=file)

    note('import')
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, 'forkserver')
    yield made
    made.close()


def _trace(lab: Lab) -> list[str]:
    path = lab.folder / 'trace'
    return path.read_text().splitlines() if path.exists() else []


class Gated:
    """A job whose workers say something at once and then wait to be let go, so that all of them are there."""

    def __init__(self, lab: Lab, worker: str, *, number: int = 3, share: dict[str, Any] | None = None, **settings: Any):
        self.emp = lab.mp()
        self.said, self.more, self.gate = (self.emp.add_queue(name) for name in ('said', 'more', 'gate'))
        for name, obj in (share or {}).items():
            self.emp.share(name, obj)
        lab.start(self.emp, worker, **{'NUM_PROCS': number, **settings})
        self.number = number

    def hear(self, number: int | None = None) -> list[Any]:
        """What the workers say, in any order."""
        return [self.said.get(timeout=ALARM) for _ in range(number or self.number)]

    def go(self) -> eisenmp.Results:
        for _ in range(self.number):
            self.gate.put(False)
        results = self.emp.wait(ALARM)
        assert self.emp.join(ALARM)
        return results


SAYS_PIDS = (
    TRACED
    + """
    def entry(toolbox):
        toolbox.said.put((os.getpid(), os.getppid()))
        return toolbox.gate.get()
"""
)


def test_modules_are_imported_once_and_workers_are_copies(lab: Lab) -> None:
    job = Gated(lab, SAYS_PIDS)
    pids = job.hear()
    (template,) = {parent for _, parent in pids}
    assert {pid for pid, _ in pids} == {handle.pid for handle in job.emp.proc_list}
    assert _trace(lab) == [f'import {template}']
    job.go()
    assert [handle.exitcode for handle in job.emp.proc_list] == [0, 0, 0]


def test_a_replacement_needs_no_import(lab: Lab) -> None:
    job = Gated(lab, SAYS_PIDS)
    old = dict(job.hear())
    victim = job.emp.proc_list[1]
    victim.kill()
    ((pid, parent),) = job.hear(1)
    assert pid not in old
    assert {parent} == set(old.values())
    assert len(_trace(lab)) == 1
    job.go()
    assert victim.exitcode == -signal.SIGKILL


def test_state_of_a_module_is_each_worker_s_own(lab: Lab) -> None:
    job = Gated(
        lab,
        """
        CALLS = []

        def entry(toolbox):
            CALLS.append(toolbox.WORKER_ID)
            toolbox.said.put((list(CALLS), toolbox.START_SEQUENCE_NUM))
            return toolbox.gate.get()
        """,
    )
    assert sorted(job.hear()) == [([1], 0), ([2], 1), ([3], 2)]
    job.go()


def test_side_modules_are_called_in_each_worker_last_one_first(lab: Lab) -> None:
    side = lab.file(TRACED + '\n    def start(toolbox):\n        toolbox.started = os.getpid()\n', 'side.py')
    worker = lab.file(
        TRACED
        + """
    def entry(toolbox):
        toolbox.said.put((toolbox.started, os.getpid()))
        return toolbox.gate.get()
    """
    )
    modules = [{'WORKER_PATH': worker, 'WORKER_REF': 'entry'}, {'WORKER_PATH': side, 'WORKER_REF': 'start'}]
    job = Gated(lab, worker, worker_modules=modules)
    assert all(started == pid for started, pid in job.hear())
    assert len(_trace(lab)) == 2
    job.go()


# ---- shared objects


class Counted:
    """Says who unpickles it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = [1, 2, 3]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with open(self.path, 'a', encoding='utf-8') as file:
            print('open', os.getpid(), file=file)


SAYS_ROWS = """
    import gc, os

    def entry(toolbox):
        toolbox.model.rows.append(toolbox.WORKER_ID)
        toolbox.said.put((toolbox.model.rows, toolbox.kwargs['model'] is toolbox.model, gc.isenabled()))
        return toolbox.gate.get()
"""


@pytest.mark.parametrize('how', ['share', 'attribute'])
def test_objects_are_opened_once_and_are_each_worker_s_own(lab: Lab, how: str) -> None:
    thing: dict[str, Any] = {'model': Counted(str(lab.folder / 'trace'))}
    job = Gated(lab, SAYS_ROWS, share=thing) if how == 'share' else Gated(lab, SAYS_ROWS, **thing)
    assert sorted(job.hear()) == [([1, 2, 3, worker], True, True) for worker in (1, 2, 3)]
    job.emp.proc_list[1].kill()
    assert job.hear(1) == [([1, 2, 3, 2], True, True)]
    assert len(_trace(lab)) == 1
    job.go()


def test_the_collector_stays_as_a_module_leaves_it(lab: Lab) -> None:
    job = Gated(
        lab, 'import gc\ngc.disable()\n' + SAYS_ROWS.replace('\n    ', '\n'), share={'model': Counted('/dev/null')}
    )
    assert {enabled for _, _, enabled in job.hear()} == {False}
    job.go()
    assert gc.isenabled()


# ---- what cannot be had once for all

THREADED = (
    TRACED
    + """
    import threading

    box, news = [], threading.Condition()

    def answer():
        with news:
            while True:
                news.wait_for(lambda: box)
                box.pop()(os.getpid())

    threading.Thread(target=answer, daemon=True).start()

    def entry(toolbox):
        with news:
            box.append(lambda pid: toolbox.said.put((pid, os.getpid())))
            news.notify()
        return toolbox.gate.get()
"""
)


def test_a_module_that_starts_threads_is_loaded_by_each_worker(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """A fork would have the module, but not its thread."""
    with caplog.at_level(logging.INFO):
        job = Gated(lab, THREADED)
        pids = job.hear()
    assert all(mine == its for mine, its in pids)
    assert len({pid for pid, _ in pids}) == 3
    assert len(_trace(lab)) == 4, 'the template tries once'
    assert 'loaded by each worker, not once' in caplog.text
    assert 'died' not in caplog.text
    job.emp.proc_list[0].kill()
    job.hear(1)
    assert len(_trace(lab)) == 5, 'nor is it tried again'
    job.go()


def test_threads_that_end_before_a_fork_are_no_hindrance(lab: Lab) -> None:
    """As numerical libraries do it."""
    job = Gated(
        lab,
        TRACED
        + """
    import ctypes, threading
    import numpy as np

    matrix = np.arange(40000.0).reshape(200, 200)
    matrix @ matrix

    def entry(toolbox):
        toolbox.said.put(float((matrix @ matrix).sum()))
        return toolbox.gate.get()
    """,
    )
    matrix = np.arange(40000.0).reshape(200, 200)
    assert job.hear() == [pytest.approx((matrix @ matrix).sum())] * 3
    assert len(_trace(lab)) == 1
    job.go()


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('import os\nos._exit(3)\n', 'worker slot . failed to start 3 times in a row; the last time: exit code 3'),
        ('import os, signal\nos.kill(os.getpid(), 9)\n', 'the last time: signal SIGKILL'),
        ('import sys\nsys.exit(3)\n', 'worker.py, line 2: SystemExit: 3'),
        ('import threading\nthreading.Thread(target=print).start()\n1 / 0\n', 'line 3: ZeroDivisionError'),
    ],
    ids=['leaves', 'is killed', 'exits', 'threads'],
)
def test_a_module_that_ends_its_process_ends_the_job(tmp_path: Path, method: str, text: str, words: str) -> None:
    """In the same words as with spawn."""
    lab = Lab(tmp_path, method)
    emp = lab.mp()
    lab.start(emp, text + '\ndef entry(toolbox): pass\n', NUM_PROCS=2)
    with pytest.raises(eisenmp.WorkerStartError, match=words):
        emp.wait(ALARM)
    assert emp.join(ALARM)


def test_an_error_at_import_is_the_one_that_a_spawned_worker_gets(tmp_path: Path) -> None:
    """A second try in the same process would fail in another way."""
    texts = []
    for method in ('spawn', 'forkserver'):
        lab = Lab(tmp_path, method)
        emp = lab.mp()
        lab.start(
            emp,
            """
            import sys

            assert not hasattr(sys, 'seen_before'), 'only one try'
            sys.seen_before = True
            raise OSError('no camera')
            """,
        )
        with pytest.raises(eisenmp.WorkerStartError) as caught:
            emp.wait(ALARM)
        texts.append([str(caught.value), *caught.value.__notes__])
        assert emp.join(ALARM)
    assert 'no camera' in texts[0][0]
    assert texts[0] == texts[1]


def test_a_module_that_needs_what_another_one_does_when_it_is_called(lab: Lab) -> None:
    """It cannot be imported ahead; the workers load and call in order, as spawned ones do."""
    side = lab.file('import sys\ndef start(toolbox):\n    sys.prepared = 7\n', 'side.py')
    worker = lab.file('import sys\nSEVEN = sys.prepared\ndef entry(rows):\n    return SEVEN\n')
    modules = [{'WORKER_PATH': worker, 'WORKER_REF': 'entry'}, {'WORKER_PATH': side, 'WORKER_REF': 'start'}]
    assert lab.run(worker, [1], worker_modules=modules, WORKER_CALL='chunk')['mp_input_q'].values() == [7]


# ---- what is said while it is imported


def test_prints_and_records_of_the_import_arrive(
    lab: Lab, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    worker = """
        import logging, sys
        print('importing')
        print('trouble', file=sys.stderr)
        logging.getLogger('mine').warning('a record')

        def entry(rows): return sum(rows)
    """
    lab.run(worker, [1], WORKER_CALL='chunk')
    out, err = capsys.readouterr()
    assert out == 'importing\n'
    assert 'trouble\n' in err
    assert [record.getMessage() for record in caplog.records if record.name == 'mine'] == ['a record']


def test_streams_and_levels_that_a_module_has_taken_at_import_still_work(
    lab: Lab, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    worker = """
        import logging, sys
        OUT = sys.stdout
        logger = logging.getLogger('mine')
        logger.setLevel(logging.DEBUG)
        handler = logging.StreamHandler()
        logging.getLogger().addHandler(handler)

        def entry(toolbox):
            print('from', toolbox.WORKER_NAME, file=OUT)
            logger.debug('by %s', toolbox.WORKER_NAME)
            return False
    """
    logger = logging.getLogger('mine')
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        emp = lab.mp()
        lab.start(emp, worker, NUM_PROCS=2)
        emp.wait(ALARM)
        assert emp.join(ALARM)
    finally:
        logger.setLevel(before)
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ['from Process-1', 'from Process-2']
    assert sorted(err.splitlines()) == ['by Process-1', 'by Process-2']
    records = [record for record in caplog.records if record.name == 'mine']
    assert sorted((record.getMessage(), record.__dict__['slot']) for record in records) == [
        ('by Process-1', 0),
        ('by Process-2', 1),
    ]


# ---- an import that takes its time


class Held:
    """A worker module that says that it is being imported and goes on when it is let."""

    def __init__(self, lab: Lab, text: str = 'def entry(rows): return sum(rows)\n') -> None:
        self._here, self._go = lab.folder / 'here', lab.folder / 'go'
        os.mkfifo(self._here)
        os.mkfifo(self._go)
        self.path = lab.file(
            f"""
import os
with open({str(self._here)!r}, 'w') as file:
    print(os.getpid(), file=file)
with open({str(self._go)!r}) as file:
    file.read()
{text}"""
        )

    def wait(self) -> int:
        """Wait until it is being imported; return by which process."""
        with self._here.open() as file:
            return int(file.read())

    def let_go(self) -> None:
        with self._go.open('w'):
            pass


def test_a_slow_import_holds_nobody_up(lab: Lab) -> None:
    held = Held(lab)
    emp = lab.mp()
    lab.start(emp, held.path, NUM_PROCS=2, WORKER_CALL='chunk', RESULTS_STORE=True)
    held.wait()
    emp.feed([1, 2])
    box = emp.add_queue('box', 1)
    box.put('the loop lives')
    assert box.get(timeout=ALARM) == 'the loop lives'
    assert [(view.pid, view.phase) for view in emp.snapshot().workers] == [(0, 'starting')] * 2
    assert all(handle.is_alive() for handle in emp.proc_list)
    pids: list[int] = []
    asking = threading.Thread(target=lambda: pids.extend(handle.pid for handle in emp.proc_list))
    asking.start()
    held.let_go()
    asking.join(ALARM)
    assert len(set(pids)) == 2
    assert emp.wait(ALARM)['mp_input_q'].values() == [3]


def test_a_kill_does_not_wait_for_a_slow_import(lab: Lab) -> None:
    held = Held(lab)
    emp = lab.mp()
    lab.start(emp, held.path, NUM_PROCS=3)
    template = held.wait()
    began = time.monotonic()
    emp.kill()
    assert emp.join(ALARM)
    took = time.monotonic() - began
    assert took < 5, f'{took:.2f} s'  # half a second is promised; this machine may be busy
    with pytest.raises(ProcessLookupError):
        os.kill(template, 0)
    for handle in emp.proc_list:
        assert handle.exitcode == -signal.SIGKILL
        with pytest.raises(ProcessLookupError, match='has not been forked'):
            assert handle.pid


def test_one_that_is_killed_before_it_is_forked_is_replaced(lab: Lab) -> None:
    held = Held(lab)
    emp = lab.mp()
    lab.start(emp, held.path, NUM_PROCS=2, WORKER_CALL='chunk', RESULTS_STORE=True)
    held.wait()
    victim = emp.proc_list[0]
    victim.kill()
    assert not victim.is_alive()
    held.let_go()
    wait_until(lambda: emp.snapshot().workers[0].restarts == 1)
    emp.feed([1, 2])
    assert emp.wait(ALARM)['mp_input_q'].values() == [3]


# ---- large shared objects, by every start method


@pytest.fixture(params=[pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES])
def any_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture(params=[pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES][1:])
def process_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


SUMS = """
    import numpy as np

    def entry(toolbox):
        before = float(toolbox.data.sum()), toolbox.text[:3], len(toolbox.text)
        toolbox.data += 1  # its own copy: nobody else sees it
        toolbox.said.put((*before, float(toolbox.data.sum())))
        return toolbox.gate.get()
"""


@pytest.fixture(params=['memfd', 'file', 'message'])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where large objects lie: the system may have one, the other, or neither."""
    if request.param != 'memfd':
        monkeypatch.delattr(os, 'memfd_create', raising=False)
    if request.param == 'message':
        monkeypatch.setattr('tempfile.mkstemp', _no_room)
    return str(request.param)


def _no_room(**_: Any) -> tuple[int, str]:
    raise OSError('no room')


def test_a_large_array_reaches_all(any_lab: Lab, place: str) -> None:
    data, text = np.arange(300_000.0), 'äöü' * 400_000
    share = {'data': data, 'text': text}
    total = float(data.sum())
    job = Gated(any_lab, SUMS, number=2, share=share)
    data[:] = 0  # what was shared is what it was then
    whole = (total, 'äöü', 1_200_000, total + 300_000)
    assert job.hear() == [whole] * 2
    if not any_lab.in_process:
        job.emp.proc_list[0].kill()
        assert job.hear(1) == [whole]
    job.go()


def test_a_large_attribute_reaches_all(any_lab: Lab, place: str) -> None:
    job = Gated(any_lab, SUMS, number=2, data=np.arange(300_000.0), text='äöü' * 400_000)
    total = float(np.arange(300_000.0).sum())
    assert job.hear() == [(total, 'äöü', 1_200_000, total + 300_000)] * 2
    job.go()


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='the system does not tell shares of memory')
def test_a_large_array_is_there_once(process_lab: Lab) -> None:
    """Read by all of four workers, in memory once: a copy each would be 256 MiB."""
    worker = """
        import numpy as np

        def pss():
            with open('/proc/self/smaps_rollup') as file:
                return sum(int(line.split()[1]) for line in file if line.startswith('Pss:')) / 1024

        def entry(toolbox):
            before = pss()
            total = float(toolbox.data.sum())
            toolbox.said.put(total)
            toolbox.more.get()  # all have read it
            toolbox.said.put(pss() - before)
            return toolbox.gate.get()
    """
    job = Gated(process_lab, worker, number=4, share={'data': np.ones(8 << 20)})
    assert job.hear() == [float(8 << 20)] * 4
    for _ in range(4):
        job.more.put('')
    grown = sum(job.hear())
    assert grown < 100, f'{grown:.0f} MiB'
    job.go()


LATE = """
    def entry(toolbox):
        if toolbox.mp_tools_q.get() != 'look':
            return False
        toolbox.said.put((float(toolbox.data[0]), len(toolbox.data), toolbox.data.flags.writeable))
        return True
"""


@pytest.mark.parametrize('size', [100, 1_000, 300_000])
def test_what_is_shared_after_the_start_reaches_the_living_and_those_to_come(any_lab: Lab, size: int) -> None:
    job = Gated(any_lab, LATE, number=2, share={'data': np.full(size, 1.0)})
    job.emp.mp_tools_q.put('look')
    assert job.hear() == [(1.0, size, True)] * 2
    for n in (2.0, 3.0):
        job.emp.share('data', np.full(size, n))
    job.emp.mp_tools_q.put('look')
    assert job.hear() == [(3.0, size, True)] * 2
    if not any_lab.in_process:
        job.emp.proc_list[0].kill()
        assert job.hear(2) == [(3.0, size, True)] * 2  # a replacement reads all tools
    job.emp.mp_tools_q.put('go')
    job.emp.wait(ALARM)


def test_no_file_stays_open(any_lab: Lab) -> None:
    """While a job's results are still read, its shared objects are gone; those of a job that never ran go with it."""
    emp = any_lab.mp()
    emp.share('data', np.arange(300_000.0))
    emp.share('data', np.arange(400_000.0))
    any_lab.start(emp, 'def entry(toolbox): return False\n', WORKER_CALL='toolbox')
    emp.wait(ALARM)
    assert emp.join(ALARM)
    gc.collect()  # a worker that is a thread leaves its toolbox behind, and its array in it
    assert _memfds() == []
    idle = eisenmp.Mp()
    idle.share('data', np.arange(300_000.0))
    del idle
    gc.collect()
    assert _memfds() == []


def _memfds() -> list[str]:
    folder = Path('/proc/self/fd')
    links: Callable[[Path], str] = lambda path: os.readlink(path) if path.is_symlink() else ''  # noqa: E731
    return [links(path) for path in folder.iterdir() if 'eisenmp' in links(path)] if folder.is_dir() else []
