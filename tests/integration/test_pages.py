"""What README and docs show runs as it stands, and prints what they say. How a page says it: tests/pages.py."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import (
    PAGES,
    Block,
    Call,
    anchors_of,
    blocks_of,
    calls_of,
    files_of,
    links_of,
    loose_blocks,
    programs_of,
)
from tests.support import ALARM, ROOT, run_script, script_env, write

PROGRAMS = [pytest.param(*program, id=program[0].place) for page in PAGES for program in programs_of(page)]
CALLS = [pytest.param(call, id=f'{call.block.place} {call.line[:40]}') for page in PAGES for call in calls_of(page)]
COMMANDS = {'eisenmp': [sys.executable, '-m', 'eisenmp'], 'python': [sys.executable]}  # as an environment has them


@pytest.mark.parametrize(('block', 'printed'), PROGRAMS)
def test_a_program(tmp_path: Path, block: Block, printed: str | None) -> None:
    _prepare(tmp_path, block)
    flags = block.notes['flags'].split() if 'flags' in block.notes else None
    done = run_script(tmp_path, block.text, flags=flags)
    assert re.fullmatch(block.notes.get('says', ''), done.stderr), done.stderr
    if printed is not None:
        assert re.fullmatch(printed, done.stdout), done.stdout


@pytest.mark.parametrize('call', CALLS)
def test_a_call(tmp_path: Path, call: Call) -> None:
    _prepare(tmp_path, call.block)
    commands = tmp_path / 'bin'
    for name, command in COMMANDS.items():
        write(commands, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', name)
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ['bash', '-c', call.line],
        cwd=tmp_path,
        env=script_env(PATH=f'{commands}{os.pathsep}{os.environ["PATH"]}'),
        capture_output=True,
        timeout=ALARM,
        text=True,
        check=False,
    )
    assert done.returncode == call.code, done.stderr
    assert re.fullmatch(call.printed, done.stdout, re.DOTALL), done.stdout


def _prepare(folder: Path, block: Block) -> None:
    need = block.notes.get('needs')
    if need is not None and shutil.which(need) is None and importlib.util.find_spec(need) is None:
        pytest.skip(f'{need} is not installed')
    for name, text in files_of(block.page).items():
        write(folder, text, name)


@pytest.mark.parametrize('page', PAGES)
def test_there_is_no_block_that_is_not_run(page: str) -> None:
    assert loose_blocks(page) == []


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for file, part in links_of(page):
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), file
        if part:
            assert part in anchors_of(target), f'{file}#{part}'


# ---- the reading of pages


SAMPLE = """\
Text with `code`.

<!-- file: a.py -->
```python
x = 1
```
<!-- needs: joblib -->
<!-- prints: (1|
2) -->

```python
print(1)
```

```
make test
```

<!-- nonsense: x -->
<!-- output -->
```text
x
```
<!-- output -->
```text
y
```
"""


def test_blocks_and_their_notes() -> None:
    blocks = blocks_of('page.md', SAMPLE)
    assert [(block.line, block.kind, block.text) for block in blocks] == [
        (4, 'python', 'x = 1\n'),
        (11, 'python', 'print(1)\n'),
        (15, '', 'make test\n'),
        (21, 'text', 'x\n'),
        (25, 'text', 'y\n'),
    ]
    assert [block.notes for block in blocks[:3]] == [{'file': 'a.py'}, {'needs': 'joblib', 'prints': '(1|\n2)'}, {}]


def test_what_is_wrong_with_blocks_is_told() -> None:
    assert loose_blocks('page.md', SAMPLE) == [
        'page.md:15: a block that is not run and does not say so',
        'page.md:21: unknown note nonsense',
        'page.md:21: the output of no program',
        'page.md:25: the output of no program',
    ]


def test_there_are_pages_programs_and_calls() -> None:
    assert {'README.md', 'docs/command.md', 'docs/short-forms.md'} <= set(PAGES)
    assert len(PROGRAMS) > 20
    assert len(CALLS) > 8
