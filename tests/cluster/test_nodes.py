"""Nodes that die, come late, are not heard or are of another kind; each test has a cluster of its own to break."""

import os
from pathlib import Path

from tests.cluster.clusters import Nodes, two_nodes
from tests.cluster.programs import PRELUDE, WHERE, run
from tests.support import run_script, script_env, write


def test_a_node_dies_and_nothing_is_lost(nodes: Nodes, tmp_path: Path) -> None:
    """Its agent is killed: the workers there are gone, what they held runs on the other node."""
    write(tmp_path, WHERE)
    program = """
import signal, psutil
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=4, CRASH_RETRIES=5)
    emp.feed([0.05] * 200)
    outcomes = emp.results.outcomes()
    for _ in range(20):
        next(outcomes)
    there = psutil.Process(int(os.environ['AGENT_OF']))
    agents = [child for child in there.children(recursive=True) if child.name() == 'raylet']
    assert len(agents) == 1
    agents[0].kill()
    rest = [outcome for outcome in outcomes]
    print(len(rest), len({outcome.ticket for outcome in rest}), all(outcome.error is None for outcome in rest))
"""
    told = run(nodes, tmp_path, program, AGENT_OF=str(nodes.processes[1].pid))
    assert told.split() == ['180', '180', 'True']


def test_a_node_that_nobody_hears_is_dead_and_is_not_heard_later(tmp_path: Path) -> None:
    """As when its cable is pulled: its workers go on, what they held runs elsewhere, and nothing is there twice."""
    write(
        tmp_path,
        """
        import os, time

        def entry(n):
            time.sleep(0.05)
            with open(os.path.join(os.environ['DONE_IN'], str(os.getpid())), 'a') as file:
                file.write(f'{n} ')
            return n, os.getpid()
        """,
    )
    program = """
import psutil, signal
there = psutil.Process(int(os.environ['AGENT_OF']))
(agent,) = [child for child in there.children(recursive=True) if child.name() == 'raylet']
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=4, CRASH_RETRIES=5)
    emp.feed(range(300))
    outcomes = emp.results.outcomes()
    first = [next(outcomes) for _ in range(20)]
    cut_off = {pid for outcome in first for _, pid in outcome.value if psutil.Process(pid).ppid() == agent.pid}
    assert cut_off
    agent.suspend()
    rest = []
    for outcome in outcomes:
        rest.append(outcome)
        if len(rest) == 200:
            agent.resume()
    seen = [n for outcome in first + rest for n, _ in outcome.value]
    print(sorted(seen) == list(range(300)), len(rest))
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in cut_off) and time.monotonic() < deadline:
        time.sleep(0.05)
    print('gone' if not any(psutil.pid_exists(pid) for pid in cut_off) else 'still there')
"""
    quick = {'RAY_health_check_period_ms': '200', 'RAY_health_check_timeout_ms': '500'}
    quick |= {'RAY_health_check_failure_threshold': '3', 'RAY_health_check_initial_delay_ms': '0'}
    with two_nodes(tmp_path, common=quick | {'DONE_IN': str(tmp_path)}) as nodes:
        told = run(nodes, tmp_path, program, AGENT_OF=str(nodes.processes[1].pid))
    assert told.split() == ['True', '280', 'gone']


def test_workers_for_whom_there_is_no_place_yet_come_with_a_node(nodes: Nodes, tmp_path: Path) -> None:
    """As an autoscaler brings one: the job has begun with those that found a place."""
    write(tmp_path, WHERE)
    program = """
import subprocess
with eisenmp.Mp() as emp:
    start(emp, 'worker.py', NUM_PROCS=6)
    go = []

    def seconds():
        while not go:
            yield 0.05
        yield from [0.05] * 120

    emp.feed(seconds())
    outcomes = emp.results.outcomes()
    before = {next(outcomes).value[0] for _ in range(60)}
    command = [os.path.join(os.path.dirname(sys.executable), 'ray'), 'start', '--block', '--disable-usage-stats']
    command += ['--address=' + os.environ['ADDRESS'], '--num-cpus=2', '--object-store-memory=100000000']
    more = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while sum(worker.phase == 'up' for worker in emp.snapshot().workers) < 6:
            next(outcomes)
        go.append(True)
        after = {outcome.value[0] for outcome in outcomes}
    finally:
        more.terminate()
        more.wait()
print(len(before), len({node for node, _ in before}), len({node for node, _ in after - before}))
"""
    assert run(nodes, tmp_path, program).split() == ['4', '2', '1']


def test_a_node_with_another_eisenmp_is_named(tmp_path: Path) -> None:
    write(tmp_path, WHERE)
    installed = tmp_path / 'there' / 'eisenmp-9.9.9.dist-info'
    installed.mkdir(parents=True)
    (installed / 'METADATA').write_text('Metadata-Version: 2.1\nName: eisenmp\nVersion: 9.9.9\n')
    program = """
try:
    with eisenmp.Mp() as emp:
        start(emp, 'worker.py', NUM_PROCS=4)
        emp.feed([0.05] * 80)
        emp.wait(60)
except eisenmp.ClusterError as error:
    print(error)
"""
    path = os.pathsep.join([str(installed.parent), script_env()['PYTHONPATH']])
    with two_nodes(tmp_path, other={'PYTHONPATH': path}) as nodes:
        told = run(nodes, tmp_path, program)
    assert told.startswith('eisenmp 9.9.9 is installed on ')
    assert 'the manager and all nodes need the same one' in told


def test_the_cluster_goes_away_in_mid_job(nodes: Nodes, tmp_path: Path) -> None:
    """One error that says so, no hang; and the job file has what was done, so that the job goes on elsewhere."""
    write(
        tmp_path,
        'import sys, time\ndef entry(n):\n    time.sleep(0.02 if "ray" in sys.modules else 0)\n    return n\n',
    )
    program = """
import psutil
emp = eisenmp.Mp()
start(emp, 'worker.py', NUM_PROCS=2, JOB=str(HERE / 'job'), **SETTINGS)
emp.feed(range(2000))
try:
    if not SETTINGS:
        outcomes = emp.results.outcomes()
        for _ in range(50):
            next(outcomes)
        (head,) = [c for c in psutil.Process(int(os.environ['HEAD'])).children() if c.name() == 'gcs_server']
        head.kill()
        outcomes.close()
    results = emp.wait(60)
    print(len(values(results)), sum(values(results)), results.complete)
except eisenmp.ClusterError as error:
    print(error)
emp.join(60)
"""
    text = program.replace('SETTINGS', '{}')
    told = run(nodes, tmp_path, text, HEAD=str(nodes.processes[0].pid))
    assert told == f'the Ray cluster at {nodes.address} does not answer any more\n'
    text = program.replace('SETTINGS', "{'ENGINE': 'local', 'ENGINE_ADDRESS': None}")
    done = run_script(tmp_path, PRELUDE + text, flags=(), env=script_env())
    assert done.stdout.split() == ['2000', str(sum(range(2000))), 'True']
