"""Whether the suite runs and tells what it should, not how fast: as a command, and `faults` in small pieces."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import faults, servers
from benchmarks.contenders import Plan
from benchmarks.machine import guarded
from benchmarks.ordeal import BAD_STARTS
from benchmarks.rounds import NoAnswer
from benchmarks.table import verdict
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


class Test_faults:
    """Each thing that is measured, once; of ours, and as far as they need nothing installed, of a peer."""

    @pytest.fixture(autouse=True)
    def find_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv('PYTHONPATH', script_env()['PYTHONPATH'])

    @pytest.mark.parametrize('where', ['busy', 'idle', 'timeout'])
    def test_kills(self, where: str) -> None:
        told = guarded(50, 'ordeal', 'kills', 'eisenmp', 'fork', where, 2)
        assert told.pop('ended', [0.1, 0.1])  # where the system tells it
        assert {key: len(times) for key, times in told.items()} == dict.fromkeys(told, 2)
        assert sorted(told) == sorted(faults.IDLE if where == 'idle' else faults.BUSY)
        assert all(0 < seconds < 20 for times in told.values() for seconds in times)

    def test_a_peer_that_loses_a_task_is_said_to_hang(self) -> None:
        told = guarded(50, 'ordeal', 'kills', 'Pool', '', 'busy', 1)
        assert told['again'] == 'hangs'
        assert len(told['noticed']) == 1

    @pytest.mark.parametrize('library', ['eisenmp', 'executor'])
    def test_a_job_whose_workers_are_killed_all_the_time(self, library: str) -> None:
        assert 0.3 < guarded(50, 'ordeal', 'storm', library, 'fork', True, 150) < 40

    @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_all_processes_of_a_program_are_gone(self, number: int) -> None:
        told = faults.gone('eisenmp', 'fork', 'C', number)
        assert 0 < told['seconds'] < faults.PATIENCE
        assert told['lines'] <= 5

    @pytest.mark.parametrize('what', [*BAD_STARTS, 'a failing initializer'])
    def test_starts_that_fail(self, what: str) -> None:
        assert 0 < guarded(50, 'ordeal', 'fail_to_start', 'eisenmp', 'fork', what) < 40

    def test_whoever_hangs_is_ended(self) -> None:
        with pytest.raises(NoAnswer, match='hangs'):
            guarded(0.5, 'work', 'rest', (0, 60.0))

    def test_whoever_fails_is_told(self) -> None:
        with pytest.raises(RuntimeError, match='there_is_no_such'):
            guarded(50, 'ordeal', 'there_is_no_such')

    def test_the_contests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def measured(seconds: float, module: str, function: str, library: str, method: str, *rest: Any) -> Any:
            if function == 'kills':
                lost = {'again': 'hangs'} if library == 'Pool' else {}
                return {
                    'noticed': [0.12, 0.12] if rest[0] == 'timeout' else [0.01, 0.06],
                    'again': [0.01, 0.02],
                    'replaced': [0.1, 0.2],
                    **lost,
                }
            if library == 'Pool':
                raise NoAnswer('hangs')
            return 2.0 if rest[:1] == (True,) else 1.0

        monkeypatch.setattr('benchmarks.rounds.gc.collect', lambda: 0)  # slow among all the tests, and once a run
        monkeypatch.setattr(faults, 'guarded', measured)
        monkeypatch.setattr(faults, 'gone', lambda *_: {'seconds': 0.1, 'lines': 2.0})
        contests = {contest.name.removeprefix('faults-'): contest for contest in faults.run(Plan(2, ('Pool',)))}
        assert list(contests) == [
            *('busy-noticed', 'busy-again', 'busy-replaced', 'idle-noticed', 'idle-replaced'),
            *('timeout-noticed', 'timeout-again', 'timeout-replaced', 'storm'),
            *('ctrl-c', 'ctrl-c-lines', 'sigterm', 'sigkill', 'start'),
        ]
        assert contests['busy-again'].said == contests['storm'].said == {'Pool': 'hangs'}
        assert contests['start'].said == {'Pool; a failing initializer': 'hangs'}
        assert [name for name, contest in contests.items() if contest.short] == ['timeout-noticed']
        worst = {figure.name: verdict(figure) for figure in contests['busy-noticed'].figures}
        assert (worst['eisenmp, fork'], worst['eisenmp, fork, the worst']) == ('must', 'below aim')
        assert {figure.median for figure in contests['storm'].figures} == {2.0}


class Test_servers:
    """What wrk tells is read right; whoever lacks it is told."""

    CLEAN = 'Running 1s test\n  100 requests in 1.00s, 8.78MB read\nRequests/sec:   9330.93\n'
    BAD = CLEAN + '  Socket errors: connect 1, read 20, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n'

    def test_rates_and_failures(self) -> None:
        assert servers.requests_a_second(self.CLEAN) == 9330.93
        assert servers.failures(self.CLEAN) == 0
        assert servers.failures(self.BAD) == 33
        with pytest.raises(RuntimeError, match='33 requests failed'):
            servers.requests_a_second(self.BAD)

    def test_how_long_the_rate_was_down(self) -> None:
        counts = servers.answers_by_time(
            '\n'.join(f'bin {at} {50 if 100 <= at < 104 else 100}' for at in range(80, 130))
        )
        assert servers._down(counts, 10.0) == pytest.approx(0.4)
        assert servers._down({at: 100 if at < 100 else 50 for at in range(80, 130)}, 10.0) == float('inf')

    def test_without_wrk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv('PATH', '')
        (contest,) = servers.run(Plan(1))
        assert not contest.short
        assert any('apt-get install wrk' in note for note in contest.notes)
