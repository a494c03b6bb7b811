"""What docs/short-forms.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import ROOT, run_script

PAGE = (ROOT / 'docs' / 'short-forms.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)

# What each block prints, in the order of the page; a pattern where times are told.
PRINTED = [
    r'278\n',
    r'1024\n',
    r"\[2, 5, 10\]\n2 ZeroDivisionError\('integer division or modulo by zero'\)\n\[2, 5, 'ZeroDivisionError', 10\]\n",
    rf'{sum(range(3_000_000))}\n',
    r'4321\n',
    "".join(re.escape(str(sum(round(n**0.5, 3) for n in range(stop)))) + r"\n" for stop in (1000, 3000)),
    r'100 items in .*\n(.*\n)*  item 17: 5\d\d ms\n(.*\n)*worker-bound: .*\nworker-bound 17\n',
    rf'{sum(n * n for n in range(100))}\ngiven up after True\n',
    r'\[32, 9, 1000\]\n',
    r'\[0, 1, 4, 9, 16\]\n',
]


@pytest.mark.parametrize('number', range(len(PRINTED)))
def test_a_block_runs_as_it_stands(tmp_path: Path, number: int) -> None:
    done = run_script(tmp_path, BLOCKS[number])
    assert done.stderr == ''
    assert re.fullmatch(PRINTED[number], done.stdout), done.stdout


def test_there_is_no_block_that_is_not_run() -> None:
    assert len(BLOCKS) == len(PRINTED)
    assert PAGE.count('```') == 2 * (len(BLOCKS) + 1)  # and one that shows what is printed


def test_links_lead_somewhere() -> None:
    for link in re.findall(r'\]\(([^)#]+)', PAGE):
        assert (ROOT / 'docs' / link).exists(), link
