"""One suite, every engine: each test that asks for ``lab`` runs once in each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ENGINES, FORKS, Lab


@pytest.fixture(params=[pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A folder and an engine."""
    made = Lab(tmp_path, request.param)
    yield made
    made.close()
