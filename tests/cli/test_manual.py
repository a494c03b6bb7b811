"""What docs/command.md shows runs as it stands, and says what it shows. ``[1]`` on a line is the exit code."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND
from tests.support import ALARM, ROOT, run_script, script_env

MANUAL = (ROOT / 'docs' / 'command.md').read_text('utf-8')
PYTHON = re.findall(r'```python\n(.*?)```', MANUAL, re.DOTALL)
CONSOLE = re.findall(r'```console\n(.*?)```', MANUAL, re.DOTALL)
CALLS = [call for block in CONSOLE for call in re.split(r'^\$ ', block, flags=re.MULTILINE) if call]


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    worker, manager, _ = PYTHON
    (tmp_path / 'worker.py').write_text(worker)
    (tmp_path / 'manager.py').write_text(manager)
    return tmp_path


@pytest.mark.parametrize('call', CALLS)
def test_a_call(shown: Path, call: str) -> None:
    line, _, expected = call.partition('\n')
    expected, code = re.subn(r'^\[1\]\n', '', expected, flags=re.MULTILINE)
    script = f'eisenmp() {{ {shlex.join(COMMAND)} "$@"; }}; {line}'
    options: dict[str, Any] = {'capture_output': True, 'timeout': ALARM, 'text': True}
    done = subprocess.run(['bash', '-c', script], cwd=shown, env=script_env(), **options)
    assert (done.stdout, done.returncode) == (expected, code), done.stderr


def test_the_program(shown: Path) -> None:
    assert run_script(shown, PYTHON[2]).stdout == '2 tickets, 2 workers\n'


def test_nothing_is_left_out() -> None:
    assert len(PYTHON) == 3
    assert len(CALLS) == 11
