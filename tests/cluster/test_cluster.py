"""A cluster of two nodes, and programs that use it: each in a process of its own, as users run them."""

from pathlib import Path

import pytest

from tests.cluster.clusters import Nodes
from tests.cluster.programs import PRELUDE, WHERE, run
from tests.support import run_script, write


def test_workers_are_spread_over_the_nodes(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    told = run(
        kept_nodes,
        tmp_path,
        """
with eisenmp.Mp() as emp:
    start(emp, 'worker.py')
    emp.feed([0.05] * 80)
    places = values(emp.wait())
    print(len(emp.proc_list), len(places), len({node for node, _ in places}), len(set(places)))
""",
    )
    assert told.split() == ['4', '80', '2', '4'], 'as many workers as CPUs, on both nodes'


def test_without_a_token_nobody_enters(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    program = """
try:
    start(eisenmp.Mp(), 'worker.py')
except eisenmp.ClusterError as error:
    print(error)
"""
    env = {**kept_nodes.env, 'ADDRESS': kept_nodes.address}
    del env['RAY_AUTH_TOKEN']
    done = run_script(tmp_path, PRELUDE + program, flags=(), env=env)
    assert "needs Ray's token authentication, and there is no token" in done.stdout
    told = run(kept_nodes, tmp_path, program, RAY_AUTH_MODE='disabled')
    assert "RAY_AUTH_MODE is not 'token'" in told
    told = run(kept_nodes, tmp_path, program, RAY_AUTH_TOKEN='0' * 64)
    assert 'is the token the one of this cluster' in told


def test_where_nobody_answers(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    program = """
try:
    start(eisenmp.Mp(), 'worker.py', ENGINE_ADDRESS='127.0.0.1:9')
except eisenmp.ClusterError as error:
    print(error)
"""
    assert 'no Ray cluster answers there' in run(kept_nodes, tmp_path, program)


def test_a_full_cluster_is_said_with_what_was_asked_for_and_what_is_free(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    program = """
emp = eisenmp.Mp()
start(emp, 'worker.py', NUM_PROCS=1, ENGINE_CPUS=3, ENGINE_RESOURCES={'telescope': 2}, ENGINE_START_TIMEOUT=2)
emp.feed([0])
try:
    emp.wait(60)
except eisenmp.WorkerStartError as error:
    print(error)
assert emp.join(60)
"""
    told = run(kept_nodes, tmp_path, program)
    assert 'no room for a worker for 2 s: asked for CPU 3, telescope 2; free are CPU 4, telescope 0, of CPU 4' in told


def test_who_finds_no_place_keeps_nobody_waiting(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    program = """
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=6)
    emp.feed([0.01] * 40)
    print(len(values(emp.wait(60))))
assert {process.exitcode for process in emp.proc_list} <= {0, -9}
"""
    assert run(kept_nodes, tmp_path, program).split() == ['40']


def test_big_messages_and_shared_arrays(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        def entry(array, toolbox):
            array += 1  # its own
            return array, int(toolbox.table[-1]), toolbox.table.flags.writeable, toolbox.late is not None
        """,
    )
    program = """
import numpy as np
with eisenmp.Mp() as emp:
    emp.share('table', np.arange(1 << 20))
    start(emp, 'worker.py', NUM_PROCS=3, late=np.ones(1 << 19))
    emp.feed([np.full(1 << 18, n) for n in range(12)])
    results = values(emp.wait(60))
    assert [int(array[0]) for array, *_ in results] == list(range(1, 13))
    assert all(array.shape == (1 << 18,) for array, *_ in results)
    print({tuple(rest) for _, *rest in results})
"""
    assert run(kept_nodes, tmp_path, program).strip() == '{(1048575, False, True)}'


def test_sources_go_along(kept_nodes: Nodes, tmp_path: Path) -> None:
    """The folder is removed while the job runs: the next process has its modules all the same."""
    folder = tmp_path / 'far'
    write(
        folder,
        'from beside import double\nfrom pack.deep import STEP\ndef entry(n): return __file__, double(n) + STEP\n',
    )
    write(folder, 'def double(n): return 2 * n\n', 'beside.py')
    write(folder, 'from . import more\nSTEP = more.STEP\n', 'pack/deep.py')
    write(folder, '', 'pack/__init__.py')
    write(folder, 'STEP = 1\n', 'pack/more.py')
    program = """
import shutil
emp = eisenmp.Mp()
start(emp, 'far/worker.py', NUM_PROCS=1)
reader = emp.results.outcomes()
def source():
    yield 1
    gone.wait()
    yield 2
import threading
gone = threading.Event()
emp.feed(source())
print(next(reader).value)
shutil.rmtree(HERE / 'far')
first = emp.proc_list[0]
first.kill()
first.join(20)
gone.set()
print(next(reader).value)
emp.wait(60)
"""
    told = run(kept_nodes, tmp_path, program)
    assert told.splitlines() == [f"[({str(folder / 'worker.py')!r}, 3)]", f"[({str(folder / 'worker.py')!r}, 5)]"]


def test_a_file_that_nobody_has(kept_nodes: Nodes, tmp_path: Path) -> None:
    """One in a folder of this machine is missed at once; one that only the nodes may have, there."""
    write(tmp_path, WHERE)
    program = """
for path in ('wroker.py', '/no/such/share/worker.py'):
    emp = eisenmp.Mp()
    try:
        start(emp, path, NUM_PROCS=1)
        emp.feed([0])
        emp.wait(60)
    except eisenmp.WorkerStartError as error:
        print(error)
"""
    here, there = run(kept_nodes, tmp_path, program).splitlines()
    assert "did you mean 'worker.py'" in here
    assert 'FileNotFoundError: no worker module /no/such/share/worker.py' in there


def test_more_workers_and_fewer(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    program = """
import itertools, threading
with eisenmp.Mp() as emp:
    emp.share('anything', list(range(1 << 20)))  # large, so that it lies in a file
    start(emp, 'worker.py', NUM_PROCS=1)
    over = threading.Event()
    emp.feed(itertools.takewhile(lambda _: not over.is_set(), itertools.repeat(0.01)))
    def until(count):
        recent = []
        for outcome in outcomes:
            recent = [*recent[-30:], outcome.value[0][1]]
            if len(recent) > 30 and len(set(recent)) == count:
                return print(count)
    outcomes = emp.results.outcomes()
    until(1)
    emp.resize(3)
    until(3)
    emp.resize(1)
    until(1)
    over.set()
    outcomes.close()
"""
    assert run(kept_nodes, tmp_path, program).split() == ['1', '3', '1']


def test_a_job_file_is_the_same_on_a_cluster(kept_nodes: Nodes, tmp_path: Path) -> None:
    """Half of the job here, the rest there."""
    write(tmp_path, 'def entry(n):\n    return n * n\n')
    program = """
emp = eisenmp.Mp()
local = {'ENGINE': 'local', 'ENGINE_ADDRESS': None} if sys.argv[1:] else {}
start(emp, 'worker.py', NUM_PROCS=2, JOB=str(HERE / 'job'), **local)
emp.feed(range(100))
if local:
    reader = emp.results.outcomes()
    for _ in range(30):
        next(reader)
    emp.stop()
    emp.join()
else:
    results = emp.wait(60)
    print(sum(values(results)), results.complete)
"""
    env = {**kept_nodes.env, 'ADDRESS': kept_nodes.address}
    run_script(tmp_path, PRELUDE + program.replace('sys.argv[1:]', 'True'), flags=(), env=env)
    told = run(kept_nodes, tmp_path, program)
    assert told.split() == [str(sum(n * n for n in range(100))), 'True']


@pytest.mark.parametrize('example', ['anagrams', 'flights'])
def test_the_examples_give_the_same_results(kept_nodes: Nodes, example: str, tmp_path: Path) -> None:
    program = f"""
import importlib.util
path = Path({str(Path(__file__).parents[2])!r}) / 'examples' / {example!r} / 'manager.py'
spec = importlib.util.spec_from_file_location('manager_of_example', path)
manager = importlib.util.module_from_spec(spec)
sys.modules['manager_of_example'] = manager
spec.loader.exec_module(manager)
few = {{'short': 1, 'long': 2}} if {example!r} == 'anagrams' else {{'flights': 20_000}}
told = []
for settings in ({{}}, {{'ENGINE': 'ray', 'ENGINE_ADDRESS': os.environ['ADDRESS']}}):
    with eisenmp.override(**settings):
        report = manager.manager_entry(workers=2, **few)
    if {example!r} == 'anagrams':
        told.append(({{scramble: sorted(words) for scramble, words in report.found.items()}}, report.tickets))
    else:
        told.append(report._replace(seconds=0))
print(told[0] == told[1], told)
"""
    told = run(kept_nodes, tmp_path, program)
    assert 'True' in told.split('\n')[-2], told
