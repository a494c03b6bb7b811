"""Large objects through memory shared with a worker that is killed, stopped, greedy, or cannot have it."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eisenmp.ring
from eisenmp.ring import Memory
from tests.support import ALARM, FORKS, Lab, wait_until

pytestmark = FORKS

SIZE = 1 << 17  # numbers of 8 bytes: a mebibyte


@pytest.fixture(params=['spawn', 'forkserver', 'fork'])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> list[Memory]:
    """Those that the manager makes."""
    made: list[Memory] = []
    new = Memory.new

    def note(cls: type[Memory]) -> Memory:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(Memory, 'new', classmethod(note))
    return made


def arrays(count: int) -> Iterator[Any]:
    for n in range(count):
        yield np.full(SIZE, n)


# Says where it is and waits to be killed, the first time that it comes to number 7.
WORKER = """
    import os, time
    import numpy as np

    def first(toolbox):
        try:
            os.close(os.open(os.path.join(toolbox.marks, 'mark'), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def entry(array, toolbox):
        n = int(array[0])
        array += 1000
        if n == 7 and first(toolbox):
            toolbox.here.put(os.getpid())
            time.sleep(60)
        return n, int(array.sum()), array
"""


def run(lab: Lab, count: int, worker: str = WORKER, **settings: Any) -> Any:
    emp = lab.mp()
    emp.add_queue('here')
    defaults = {'NUM_PROCS': 2, 'NUM_ROWS': 1, 'WORKER_CALL': 'item', 'RESULTS_STORE': True, 'marks': str(lab.folder)}
    lab.start(emp, worker, **{**defaults, **settings})
    emp.feed(arrays(count))
    return emp


def all_there(emp: Any, count: int) -> None:
    values = emp.wait(ALARM)['mp_input_q'].values()
    assert [(n, total) for ((n, total, _),) in values] == [(n, (n + 1000) * SIZE) for n in range(count)]
    assert [set(array.tolist()) for ((_, _, array),) in values] == [{n + 1000} for n in range(count)]


def test_a_worker_that_writes_into_its_array_and_is_killed(lab: Lab, memories: list[Memory]) -> None:
    emp = run(lab, 30)
    os.kill(emp.queues['here'].get(timeout=ALARM), signal.SIGKILL)
    all_there(emp, 30)
    assert [outcome.ticket for outcome in emp.results['mp_input_q'] if outcome.attempts == 2] == [7]
    assert emp.join(ALARM)
    assert memories
    assert {memory.fd for memory in memories} == {-1}


def test_killed_again_and_again(lab: Lab, memories: list[Memory]) -> None:
    emp = run(lab, 60, worker=WORKER.replace('n == 7', 'False'), CRASH_RETRIES=100)
    kills = 0
    while not emp.begin_proc_shutdown and kills < 8:
        slot = kills % 2

        def is_up(slot: int = slot) -> bool:
            return bool(emp.begin_proc_shutdown or emp.snapshot().workers[slot].phase == 'up')

        wait_until(is_up)
        emp.proc_list[slot].kill()
        emp.proc_list[slot].join(ALARM)
        kills += 1
    all_there(emp, 60)
    assert emp.join(ALARM)
    assert {memory.fd for memory in memories} <= {-1}


def test_a_worker_that_is_stopped_holds_nobody_up(lab: Lab) -> None:
    worker = WORKER.replace('time.sleep(60)', 'os.kill(os.getpid(), 19)')
    emp = run(lab, 60, worker=worker)
    pid = emp.queues['here'].get(timeout=ALARM)
    wait_until(lambda: len(emp.results['mp_input_q'].done) >= 50)
    os.kill(pid, signal.SIGCONT)
    all_there(emp, 60)


def test_what_a_worker_keeps_is_kept(lab: Lab, memories: list[Memory]) -> None:
    worker = """
        import numpy as np
        KEPT = []

        def entry(array):
            if array[0] % 40 == 0:
                KEPT.append((int(array[0]), array[100:200]))
            elif array[0] % 40 == 1:
                KEPT.append((int(array[0]), memoryview(array)))
            wrong = [n for n, kept in KEPT if set(np.asarray(kept).tolist()) != {n}]
            if wrong:
                raise AssertionError(f'{wrong} have changed')
            return len(KEPT)
    """
    emp = run(lab, 200, worker=worker, NUM_PROCS=1)
    assert emp.wait(ALARM)['mp_input_q'].values()[-1] == [10]
    assert len(memories) == 1


def test_a_worker_that_keeps_everything(lab: Lab) -> None:
    worker = """
        KEPT = []

        def entry(array):
            KEPT.append(array)
            return [int(kept[-1]) for kept in KEPT]
    """
    emp = run(lab, 80, worker=worker, NUM_PROCS=1)
    assert emp.wait(ALARM)['mp_input_q'].values()[-1] == [list(range(80))]


@pytest.mark.parametrize('way', ['a file', 'no file either'])
def test_without_memfd(lab: Lab, memories: list[Memory], monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    if way == 'no file either':

        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError('read-only')

        monkeypatch.setattr(eisenmp.ring, '_new_file', refuse)
    all_there(run(lab, 30, worker=WORKER.replace('n == 7', 'False')), 30)
    assert bool(memories) == (way == 'a file')


def test_without_a_folder_in_memory(lab: Lab, memories: list[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    make = tempfile.mkstemp

    def elsewhere(*args: Any, **kwargs: Any) -> tuple[int, str]:
        if kwargs.get('dir') == '/dev/shm':
            raise FileNotFoundError(kwargs['dir'])
        return make(*args, **kwargs)

    monkeypatch.setattr(tempfile, 'mkstemp', elsewhere)
    all_there(run(lab, 30, worker=WORKER.replace('n == 7', 'False')), 30)
    assert memories


def test_small_jobs_share_nothing(lab: Lab, memories: list[Memory]) -> None:
    results = lab.run('def entry(rows): return sum(rows)\n', range(1000), WORKER_CALL='chunk')
    assert sum(results['mp_input_q'].values()) == sum(range(1000))
    assert memories == []


def test_a_worker_that_forks_while_it_looks_at_an_array(lab: Lab) -> None:
    """The child goes on looking at what its parent has long let go."""
    worker = """
        import os, time

        def entry(array, toolbox):
            n = int(array[0])
            if n == 3:
                pid = os.fork()
                if not pid:
                    while not os.path.exists(os.path.join(toolbox.marks, 'go')):
                        time.sleep(0.01)
                    right = set(array.tolist()) == {3}
                    with open(os.path.join(toolbox.marks, 'child.tmp'), 'w') as file:
                        file.write(str(right))
                    os.rename(file.name, os.path.join(toolbox.marks, 'child'))
                    os._exit(0)
            return n
    """
    emp = run(lab, 100, worker=worker, NUM_PROCS=1)
    wait_until(lambda: len(emp.results['mp_input_q'].done) >= 99)
    (lab.folder / 'go').touch()
    wait_until(lambda: (lab.folder / 'child').exists())
    assert (lab.folder / 'child').read_text() == 'True'
    assert emp.wait(ALARM)['mp_input_q'].complete
