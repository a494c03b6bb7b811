"""Whole jobs with real processes: ``lab`` uses the default start method."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A folder, and workers by spawn."""
    made = Lab(tmp_path, 'spawn')
    yield made
    made.close()
