"""Runs a notebook as its reader would: every cell in turn, and the interrupt where it is asked for.

``python -m tests.notebooks NOTEBOOK [OUT]`` writes it down with its outputs; without OUT, into the notebook itself.

Tags of cells: ``raises-exception`` (goes on after its error), ``interrupt`` (is interrupted as soon as it has printed
something), ``varies`` (its output is another one each time), ``progress`` (what it shows is replaced in place).
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from tests.support import ROOT

__all__ = ['run']

LIMIT = 60  # seconds for a cell


class _Reader(NotebookClient):  # type: ignore[misc]  # it has no types here
    """Interrupts a cell that asks for it."""

    interrupting: asyncio.Task[Any] | None = None

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        asked = 'interrupt' in cell.metadata.get('tags', ()) and msg['msg_type'] == 'stream'
        if asked and self.interrupting is None:
            self.interrupting = asyncio.ensure_future(self.km.interrupt_kernel())
        return super().process_message(msg, cell, cell_index)


def run(path: Path) -> Any:
    """The notebook with the outputs of its cells."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:  # for its sockets: no port is opened
        config = Config({'KernelManager': {'transport': 'ipc', 'ip': f'{folder}/kernel'}})
        _Reader(notebook, timeout=LIMIT, config=config, resources={'metadata': {'path': str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)  # when each cell ran
        for output in cell.get('outputs', ()):
            if output.output_type == 'error':
                output.traceback = [_of_any_machine(line) for line in output.traceback]
    notebook.metadata.language_info = {'name': 'python'}
    return notebook


def _of_any_machine(text: str) -> str:
    text = re.sub(r'/\S*/ipykernel_\d+/(\d+)\.py', r'ipykernel/\1.py', text)
    return text.replace(f'{ROOT}/', '')


def main() -> None:
    """The command."""
    source, out = Path(sys.argv[1]).resolve(), Path(sys.argv[-1])
    nbformat.write(run(source), out)


if __name__ == '__main__':
    main()
