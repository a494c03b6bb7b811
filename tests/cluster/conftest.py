"""Only where Ray is wanted: `make test-ray` says so. Each program runs in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clusters import Nodes, two_nodes
from tests.support import ON_RAY


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take longer than others: each program imports Ray and connects."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(120, method='signal'))
            if not ON_RAY:
                item.add_marker(pytest.mark.skip(reason='make test-ray runs it'))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A cluster of two nodes on this machine, for tests that break it."""
    with two_nodes(tmp_path) as made:
        yield made


@pytest.fixture(scope='module')
def kept_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The same for tests that leave it whole."""
    with two_nodes(tmp_path_factory.mktemp('cluster')) as made:
        yield made
