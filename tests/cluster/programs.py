"""What the programs of these tests have in common."""

from pathlib import Path

from tests.cluster.clusters import Nodes
from tests.support import run_script

PRELUDE = """
import os, sys, time
import eisenmp
from pathlib import Path

HERE = Path(__file__).parent

def start(emp, worker, **settings):
    modules = [{'WORKER_PATH': str(HERE / worker), 'WORKER_REF': 'entry'}]
    emp.start(**{'worker_modules': modules, 'ENGINE': 'ray', 'ENGINE_ADDRESS': os.environ.get('ADDRESS'),
                 'WORKER_CALL': 'item', 'NUM_ROWS': 1, 'RESULTS_STORE': True, **settings})

def values(results):
    return [item for chunk in results['mp_input_q'].values() for item in chunk]
"""

WHERE = """
    import os, time
    import ray

    def entry(seconds):
        time.sleep(seconds)
        return ray.get_runtime_context().get_node_id(), os.getpid()
"""


def run(nodes: Nodes, folder: Path, text: str, **more: str) -> str:
    """Run a program on the cluster; what it prints."""
    done = run_script(folder, PRELUDE + text, flags=(), env={**nodes.env, 'ADDRESS': nodes.address, **more})
    return done.stdout
