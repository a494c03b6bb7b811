"""Ray clusters for tests: on the loopback addresses only, with a home, a token and a temporary folder of their own."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ['private_cluster']

_ROOM = 32


def _quiet(home: Path) -> dict[str, str]:
    """No reports to anybody, no address but the loopback's, and a token that nobody else has."""
    return {
        'HOME': str(home),
        'RAY_AUTH_MODE': 'token',
        'RAY_AUTH_TOKEN': os.urandom(32).hex(),
        'RAY_USAGE_STATS_ENABLED': '0',
        'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0',
    }


@contextmanager
def private_cluster(home: Path) -> Iterator[None]:
    """This process is connected to a cluster that is its own, and that ends with this block."""
    os.environ.update(_quiet(home))
    import ray

    there, over = threading.Event(), threading.Event()
    options: dict[str, Any] = {'include_dashboard': False, 'log_to_driver': False, 'configure_logging': False}

    def keep() -> None:  # a cluster ends with the thread that started it
        with tempfile.TemporaryDirectory(prefix='eisenmp-test-', ignore_cleanup_errors=True) as folder:
            try:
                ray.init('local', num_cpus=_ROOM, object_store_memory=512 << 20, _temp_dir=folder, **options)
            finally:
                there.set()
            over.wait()
            ray.shutdown()

    keeper = threading.Thread(target=keep, name='tests-ray', daemon=True)
    keeper.start()
    there.wait()
    try:
        yield
    finally:
        over.set()
        keeper.join()
