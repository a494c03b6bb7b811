"""The notebook of the examples, run cell by cell as its reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support import ROOT, script_env

NOTEBOOK = ROOT / 'examples' / 'notebook' / 'words.ipynb'


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get('tags', ()))


def text(cell: Any) -> str:
    """What stands below a cell, without colours."""
    found = ''
    for output in cell.outputs:
        if output.output_type == 'stream':
            found += output.text
        elif output.output_type == 'error':
            found += '\n'.join(output.traceback)
        else:
            found += output.data['text/plain']
    return re.sub(r'\x1b\[[0-9;]*m', '', found)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def tagged(notebook: Any, tag: str) -> Any:
    (cell,) = [cell for cell in code(notebook) if tag in tags(cell)]
    return cell


def written() -> Any:
    """The notebook as it lies there."""
    return nbformat.read(NOTEBOOK, as_version=4)


def run(folder: Path) -> Any:
    """The notebook with the outputs of this machine. In a process of its own, with a kernel of its own."""
    out = folder / 'run.ipynb'
    path = os.pathsep.join([str(ROOT / 'src'), str(ROOT)])
    command = [sys.executable, '-m', 'tests.notebooks', str(NOTEBOOK), str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=script_env(PYTHONPATH=path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return nbformat.read(out, as_version=4)


def cells_show_what_is_written(old: Any, new: Any) -> None:
    """The notebook lies there with its outputs; they are those of the present code."""
    for before, after in zip(code(old), code(new), strict=True):
        if not {'varies', 'progress', 'raises-exception'} & set(tags(before)):
            assert text(after) == text(before)


def progress_is_replaced_in_place(run: Any) -> None:
    (output,) = tagged(run, 'progress').outputs
    assert output.output_type == 'display_data'
    assert re.fullmatch(r'eisenmp +100 % +234,450/234,450 items .*', output.data['text/plain'])


def an_error_shows_the_lines_of_the_cell(run: Any) -> None:
    cell = tagged(run, 'raises-exception')
    assert cell.outputs[-1].ename == 'ZeroDivisionError'
    shown = text(cell)
    remote, here = re.split('The above exception was the direct cause', shown)
    assert 'line 3, in vowels_per_letter\n    return sum(letter in "aeiou" for letter in kept) / len(kept)' in remote
    assert remote.count('File "') == 1, 'frames of eisenmp in the traceback of the worker'
    assert 'list(eisenmp.imap(vowels_per_letter' in here


def an_interrupt_ends_the_job_and_not_the_kernel(run: Any) -> None:
    cell = tagged(run, 'interrupt')
    assert text(cell).endswith('interrupted\n')
    after = code(run)[code(run).index(cell) + 1 :]
    assert re.fullmatch(r"'54,966,802,500 pairs; the best so far: \w+ \w+'", text(after[0]))
    assert text(after[1]) == '2248625'


@pytest.mark.timeout(120)
def test_each_cell(tmp_path: Path) -> None:
    """One test, since one run of the notebook shows it all."""
    ran = run(tmp_path)
    cells_show_what_is_written(written(), ran)
    progress_is_replaced_in_place(ran)
    an_error_shows_the_lines_of_the_cell(ran)
    an_interrupt_ends_the_job_and_not_the_kernel(ran)


def test_it_names_nothing_of_the_machine_it_ran_on() -> None:
    for cell in code(written()):
        assert not re.search(r'"/|/home/|/tmp/|/site-packages/', text(cell)), text(cell)
    assert Path(NOTEBOOK).stat().st_size < 50_000
