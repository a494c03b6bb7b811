"""A notebook as Markdown: its texts, its cells, and what stands below them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["notebook_text"]

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def notebook_text(path: Path) -> str:
    """The notebook `path`, as it was last run."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _parts(cell))


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    shown = "".join(map(_shown, cell["outputs"])).strip("\n")
    if shown:
        yield f'<div class="output">\n\n```text\n{shown}\n```\n\n</div>'


def _shown(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return "".join(output["text"])
    if output["output_type"] == "error":
        return _COLOUR.sub("", "\n".join(output["traceback"])) + "\n"
    return "".join(output["data"]["text/plain"]) + "\n"
