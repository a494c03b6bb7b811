"""Large messages from worker to worker: they go from node to node, and the manager only says where they lie."""

from pathlib import Path

from tests.cluster.clusters import Nodes
from tests.cluster.programs import run
from tests.support import write

# The worker on the head's node consumes, the one on the other node produces: each is told by the manager.
WORKER = """
    import os
    import numpy as np

    def produce(toolbox):
        chunk = toolbox.mp_input_q.get()
        if toolbox.STOP_MSG in chunk:
            return False
        for n in chunk[1:]:
            toolbox.forward(toolbox.stage, (n, np.full(1 << 19, n), 'and'))
            toolbox.forward(toolbox.stage, n)
        return True

    def put(toolbox):
        n = toolbox.mp_input_q.get()[1]
        toolbox.stage.put((n, np.full(1 << 19, n), 'by hand'))
        toolbox.mp_output_q.put('it is put')
        return toolbox.mp_input_q.get() is None

    def consume(toolbox):
        if toolbox.STOP_MSG in toolbox.gate.get():
            return False
        while not isinstance(got := toolbox.stage.get(), list):
            if isinstance(got, tuple):
                n, array, word = got
                array += 1  # its own
                got = n, int(array.sum()), word
            toolbox.mp_output_q.put(got)

    def entry(toolbox):
        if not hasattr(toolbox, 'role'):
            toolbox.mp_output_q.put((toolbox.START_SEQUENCE_NUM, os.getpid(), os.getppid()))
            toolbox.role = getattr(toolbox, f'role_{toolbox.START_SEQUENCE_NUM}').get()
        return globals()[toolbox.role](toolbox)
"""

START = """
import psutil, logging
from eisenmp.engines.ray import link
fetch, fetched = link.fetch, []

def counted(ref):
    fetched.append(ref)
    return fetch(ref)

link.fetch = counted
unshelve, passed_by = link.Link._unshelve, []

def noted(self, came):
    passed_by.extend(came.shelved)
    unshelve(self, came)

link.Link._unshelve = noted
told = []

class Listener(logging.Handler):
    def emit(self, record):
        told.append(record.getMessage())

logging.getLogger('eisenmp').addHandler(Listener())
logging.getLogger('eisenmp').propagate = False
head = psutil.Process(int(os.environ['HEAD']))

def begin(emp, producer='produce'):
    emp.queue_cust_dict_std_create(('stage', 0), ('gate', 0), ('role_0', 0), ('role_1', 0))
    start(emp, 'worker.py', NUM_PROCS=2, WORKER_CALL='toolbox', CRASH_RETRIES=3, RESTARTS=9)
    found = {}
    for slot, pid, agent in [emp.mp_output_q.get(timeout=60) for _ in range(2)]:
        found['consumer' if head in psutil.Process(agent).parents() else 'producer'] = slot, pid, agent
    for _ in range(3):
        emp.find_queue('role_%d' % found['producer'][0])[2].put(producer)
        emp.find_queue('role_%d' % found['consumer'][0])[2].put('consume')
    return found

def answered(emp, count):
    while sum(outcome.state == 'done' for outcome in emp.results['mp_input_q']) < count:
        time.sleep(0.01)

def consumed(emp, count):
    got = []
    while len(got) < count:
        one = emp.mp_output_q.get(timeout=60)
        if not (isinstance(one, tuple) and len(one) == 3 and isinstance(one[2], int)):
            got.append(one)
    return sorted(got, key=lambda one: (one, 0) if isinstance(one, int) else (one[0], 1))

def expected(count):
    return [each for n in range(count) for each in (n, (n, (n + 1) * (1 << 19), 'and'))]
"""


def program(nodes: Nodes, folder: Path, text: str) -> str:
    write(folder, WORKER)
    return run(nodes, folder, START + text, HEAD=str(nodes.processes[0].pid))


def test_the_manager_does_not_touch_them(kept_nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        kept_nodes,
        tmp_path,
        """
with eisenmp.Mp() as emp:
    begin(emp)
    emp.feed(range(30))
    emp.find_queue('gate')[2].put(['go'])
    assert consumed(emp, 60) == expected(30)
    print(len(passed_by), len(fetched), told)
    emp.kill()
""",
    )
    assert told == '30 0 []\n'


def test_they_outlive_the_process_that_made_them(kept_nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        kept_nodes,
        tmp_path,
        """
with eisenmp.Mp() as emp:
    found = begin(emp)
    emp.feed(range(6))
    answered(emp, 6)
    os.kill(found['producer'][1], 9)
    while psutil.pid_exists(found['producer'][1]):
        time.sleep(0.01)
    emp.find_queue('gate')[2].put(['go'])
    assert consumed(emp, 12) == expected(6)
    print(any('is lost' in line for line in told))
    emp.kill()
""",
    )
    assert told == 'False\n'


def test_the_manager_reads_them_too_also_when_all_is_over(kept_nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        kept_nodes,
        tmp_path,
        """
with eisenmp.Mp() as emp:
    begin(emp)
    emp.feed(range(3))
    answered(emp, 3)
    stage = emp.find_queue('stage')[2]
    n, array, word = stage.get(timeout=60)
    array += 1
    print(n, int(array.sum()), word, stage.get(), len(fetched))
    emp.stop()
    emp.wait(60)
    emp.join(60)
    left = [stage.get(timeout=5) for _ in range(stage.qsize())]
    print(len(left), [int(one[1].sum()) for one in left if isinstance(one, tuple)])
""",
    )
    first, left = told.splitlines()
    assert first == f'0 {1 << 19} and 0 1'
    assert left == f'4 {[n << 19 for n in (1, 2)]}'


def test_they_are_made_again_when_their_node_dies(nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        nodes,
        tmp_path,
        """
import threading
go = threading.Event()

def numbers():
    yield from range(6)
    go.wait()  # somebody still has to ask: a worker that was told the end makes nothing again
    yield 6

with eisenmp.Mp() as emp:
    reader = emp.results.outcomes()
    found = begin(emp)
    emp.feed(numbers())
    first = [next(reader).ticket for _ in range(6)]
    psutil.Process(found['producer'][2]).kill()  # the agent of the node
    emp.find_queue('gate')[2].put(['go'])
    while not any('runs again' in line for line in told):
        time.sleep(0.01)
    go.set()
    got = consumed(emp, 14)
    assert got == expected(7), got
    print(sorted(first), next(reader).ticket)
    print(emp.results['mp_input_q'].complete)
    emp.kill()
""",
    )
    assert told == '[0, 1, 2, 3, 4, 5] 6\nTrue\n'


def test_what_was_put_by_hand_is_not_and_that_is_said(nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        nodes,
        tmp_path,
        """
with eisenmp.Mp() as emp:
    found = begin(emp, 'put')
    emp.feed([5])
    assert emp.mp_output_q.get(timeout=60) == 'it is put'
    psutil.Process(found['producer'][2]).kill()
    emp.find_queue('gate')[2].put(['go'])
    while not any('is lost' in line for line in told):
        time.sleep(0.01)
    emp.find_queue('stage')[2].put(77)  # the consumer waits on
    while emp.mp_output_q.get(timeout=60) != 77:
        pass
    print([line for line in told if 'is lost' in line])
    emp.kill()
""",
    )
    assert "queue 'stage' is lost with the machine it lay on" in told
    assert 'is not made again' in told


def test_when_nobody_is_left_to_make_them_the_job_fails_and_says_so(nodes: Nodes, tmp_path: Path) -> None:
    told = program(
        nodes,
        tmp_path,
        """
try:
    with eisenmp.Mp() as emp:
        found = begin(emp)
        emp.feed([1, 2])
        answered(emp, 2)
        while emp.snapshot().workers[found['producer'][0]].phase == 'up':
            time.sleep(0.01)  # it has read the end, and returned
        psutil.Process(found['producer'][2]).kill()
        emp.find_queue('gate')[2].put(['go'])
        emp.wait(60)
except eisenmp.ClusterError as error:
    print(error)
""",
    )
    assert 'is lost with the machine it lay on, and no worker is left to run ticket _TID_' in told
