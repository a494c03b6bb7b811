"""What the README shows runs as it stands."""

import math
import re
from pathlib import Path

from tests.support import ROOT, run_script, write

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_one_minute(tmp_path: Path) -> None:
    out = run_script(tmp_path, BLOCKS[0]).stdout
    assert out.split() == [str(len(str(3**n))) for n in range(0, 2000, 100)]


def test_five_minutes(tmp_path: Path) -> None:
    squares, program, stream = BLOCKS[1:4]
    write(tmp_path, squares, "squares.py")
    out = run_script(tmp_path, program).stdout
    assert len(re.findall("250 squares from worker slot", out)) == 40
    assert out.rstrip().endswith("mp_input_q (default): all 40 tickets done")
    out = run_script(tmp_path, stream + "\nprint(total)\n").stdout
    assert int(out) == sum(n * n for n in range(1_000_000))


def test_the_managers_style(tmp_path: Path) -> None:
    worker, program = BLOCKS[4:6]
    write(tmp_path, worker, "sums.py")
    out = run_script(tmp_path, program + "\nprint(sum(emp.results['mp_input_q'].values()))\n").stdout
    assert int(out) == sum(range(100))


def test_search_spaces(tmp_path: Path) -> None:
    assert int(run_script(tmp_path, BLOCKS[6]).stdout) == math.factorial(52)


def test_there_is_no_block_that_is_not_run() -> None:
    assert len(BLOCKS) == 7
