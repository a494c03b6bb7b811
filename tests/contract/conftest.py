"""One suite, every engine: each test that asks for ``lab`` runs once in each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ENGINES, FORKS, ON_RAY, Lab

_PARAMS = [pytest.param(name, marks=FORKS if name == 'fork' else ()) for name in ENGINES]


@pytest.fixture(scope='session', autouse=ON_RAY)
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray cluster for all tests, with room for more workers than this machine has cores."""
    from tests.cluster.clusters import private_cluster

    with private_cluster(tmp_path_factory.mktemp('home')):
        yield


@pytest.fixture(params=_PARAMS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A folder and an engine."""
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture(params=_PARAMS[1:])
def process_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Only engines whose workers are processes: what a thread of the manager cannot do."""
    made = Lab(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture(params=[_PARAMS[0], _PARAMS[-1]])
def swift_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Threads, and the processes that start soonest: for what has many cases and little to do with how they start."""
    made = Lab(tmp_path, request.param)
    yield made
    made.close()
