"""Large pieces of chunks lie in Ray's object store from the moment in which the chunk is cut."""

from pathlib import Path

from tests.cluster.clusters import Nodes
from tests.cluster.programs import run
from tests.support import write

WORKER = """
    import os

    def entry(pair):
        n, array = pair
        assert (array == n).all(), n
        array += 1  # its own
        return n, int(array.sum()), os.getpid()
"""

START = """
import gc
import numpy as np
from eisenmp.engines.ray import store
put, kept, stores = store.Store.put, [], set()

def noted(self, piece):
    stored = put(self, piece)
    kept.append(stored is not None)
    stores.add(self)
    return stored

store.Store.put = noted
SIZE = 1 << 18

def arrays(count):
    array = np.empty(SIZE, 'i8')
    for n in range(count):
        array[:] = n  # what was yielded before is no longer what it was
        yield n, array

def all_given_back():
    gc.collect()
    (made,) = stores
    return sum(made._gone) + made._left == made._room() // store._SHARE
"""


def test_they_are_laid_there_and_taken_away(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WORKER)
    program = """
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=3)
    emp.feed(arrays(40))
    assert [(n, total) for n, total, _ in values(emp.wait(60))] == [(n, (n + 1) * SIZE) for n in range(40)]
    print(kept.count(True), kept.count(False), all_given_back())
"""
    assert run(kept_nodes, tmp_path, START + program).split() == ['40', '0', 'True']


def test_a_chunk_whose_worker_dies_is_sent_again(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WORKER)
    program = """
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=3, CRASH_RETRIES=9)
    emp.feed(arrays(120))
    seen = []
    for outcome in emp.results.outcomes():
        seen += outcome.value
        if len(seen) in (20, 50, 80):
            os.kill(seen[-1][2], 9)
assert sorted((n, total) for n, total, _ in seen) == [(n, (n + 1) * SIZE) for n in range(120)]
print(len({pid for *_, pid in seen}) > 3, kept.count(True), all_given_back())
"""
    assert run(kept_nodes, tmp_path, START + program).split() == ['True', '120', 'True']


def test_no_more_lies_there_than_its_share(kept_nodes: Nodes, tmp_path: Path) -> None:
    """The others are sent as before."""
    write(tmp_path, WORKER)
    program = """
from eisenmp.engines.ray.cluster import Cluster
Cluster.store_bytes = lambda self: 5 * store._SHARE * SIZE * 8
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=3)
    emp.feed(arrays(40))
    assert [(n, total) for n, total, _ in values(emp.wait(60))] == [(n, (n + 1) * SIZE) for n in range(40)]
    print(kept[:5].count(True), kept.count(False) > 0, all_given_back())
"""
    assert run(kept_nodes, tmp_path, START + program).split() == ['5', 'True', 'True']


def test_a_store_that_takes_nothing(kept_nodes: Nodes, tmp_path: Path) -> None:
    write(tmp_path, WORKER)
    program = """
import ray
def refuse(*_, **__):
    raise ray.exceptions.ObjectStoreFullError('full')
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=3)
    real, ray.put = ray.put, refuse
    emp.feed(arrays(12))
    assert [(n, total) for n, total, _ in values(emp.wait(60))] == [(n, (n + 1) * SIZE) for n in range(12)]
    ray.put = real
    print(kept.count(True), kept.count(False), all_given_back())
"""
    assert run(kept_nodes, tmp_path, START + program).split() == ['0', '12', 'True']


def test_the_manager_takes_such_a_chunk_itself(kept_nodes: Nodes, tmp_path: Path) -> None:
    """What it gets is its own."""
    write(tmp_path, 'import time\ndef entry(pair): time.sleep(2)\n')
    program = """
with eisenmp.Mp() as emp:
    emp.queue_cust_dict_std_create(('side', 0))
    start(emp, 'worker.py', NUM_PROCS=1, CHUNK_TIMEOUT=60)
    emp.feed(arrays(5))
    while not emp.mp_input_q.qsize():
        time.sleep(0.01)
    header, (n, array) = emp.mp_input_q.get()
    array += 1
    print((array == n + 1).all(), kept[n])
    emp.stop()
"""
    assert run(kept_nodes, tmp_path, START + program).split() == ['True', 'True']
