"""The soak, for seconds only: whether it runs, strikes, and tells what it should. ``make soak`` is the real one."""

import re
import subprocess
import sys

from tests.support import ROOT, script_env


def test_a_short_soak() -> None:
    command = [sys.executable, '-m', 'tests.soak', '--seconds', '3', '--tickets', '2000', '--every', '0.1']
    done = subprocess.run(
        [*command, '--seed', '7'], cwd=ROOT, env=script_env(), capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'seed 7' in done.stdout
    assert 'nothing lost, nothing doubled, nothing left' in done.stdout
    for method in ('spawn', 'forkserver', 'fork'):
        assert re.search(rf'^{method} \w+: [1-9]\d* tickets in .* restarts, .* MiB; \w+', done.stdout, re.MULTILINE)
