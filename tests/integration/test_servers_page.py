"""What docs/servers.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import ROOT, run_script, write

PAGE = (ROOT / 'docs' / 'servers.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)


def test_the_greeter(tmp_path: Path) -> None:
    worker, program = BLOCKS
    write(tmp_path, worker, 'greeter.py')
    done = run_script(tmp_path, program)
    assert done.stdout == '0 old processes still answer\n'
    assert done.stderr == ''


def test_links_lead_somewhere() -> None:
    for link in re.findall(r'\]\(([^)#]+)', PAGE):
        assert (ROOT / 'docs' / link).exists(), link


def test_settings_and_their_defaults() -> None:
    """The table says what settings.py says."""
    from eisenmp.settings import Settings

    known = Settings()
    for name, default in re.findall(r'^\| `([A-Z_]+)` \| (\S+)', PAGE, re.MULTILINE):
        value = getattr(known, name)
        assert default == ('none' if value is None else f'{value:g}')
