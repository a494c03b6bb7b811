"""The suite as a command, with its cheapest workload: whether it runs and tells what it should, not how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, script_env


def test_the_cheapest_workload_runs_and_leaves_its_numbers(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'benchmarks', 'latency', '--rounds', '1', '--peers', 'SimpleQueue']
    done = subprocess.run(
        [*command, '--out', str(tmp_path / 'out')],
        cwd=ROOT,
        env=script_env(),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert 'latency: one chunk there and back' in done.stdout
    assert 'eisenmp.Mp, times as fast as SimpleQueue' in done.stdout
    assert 'FAILED' not in done.stdout
    told = json.loads((tmp_path / 'out' / 'figures.json').read_text(encoding='utf-8'))
    assert list(told['contests'][0]['values']) == ['eisenmp.Mp', 'SimpleQueue', 'limit: socketpair']


def test_a_name_that_is_mistyped_is_told(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'benchmarks', 'latecny', '--out', str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=script_env(), capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert "no benchmark 'latecny'; there are: stream, big, latency" in done.stderr
