"""Ray clusters for tests: on the loopback addresses only, with a home, a token and a temporary folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.support import script_env, wait_until

__all__ = ['ROOM', 'Nodes', 'private_cluster', 'secrets', 'two_nodes']

ROOM: Final = 32  # more workers than any test has
_STORE: Final = 256 << 20  # bytes of shared memory
_START: Final = 60.0  # seconds
_STOP: Final = 5.0
_ALONE: Final = 'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'


def secrets(home: Path) -> dict[str, str]:
    """No reports to anybody, and a token that nobody else has."""
    return {
        'HOME': str(home),
        'RAY_AUTH_MODE': 'token',
        'RAY_AUTH_TOKEN': os.urandom(32).hex(),
        'RAY_USAGE_STATS_ENABLED': '0',
    }


@contextmanager
def private_cluster(home: Path) -> Iterator[None]:
    """This process is connected to a cluster that is its own, and that ends with this block."""
    os.environ.update(secrets(home))
    os.environ[_ALONE] = '0'  # keeps Ray from other addresses than the loopback's
    import ray

    there, over = threading.Event(), threading.Event()
    options: dict[str, Any] = {'include_dashboard': False, 'log_to_driver': False, 'configure_logging': False}

    def keep() -> None:  # a cluster ends with the thread that started it
        with tempfile.TemporaryDirectory(prefix='eisenmp-test-', ignore_cleanup_errors=True) as folder:
            try:
                ray.init('local', num_cpus=ROOM, object_store_memory=2 * _STORE, _temp_dir=folder, **options)
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


@dataclass
class Nodes:
    """A cluster. ``processes``: `ray start --block` of the head, then of the other node."""

    address: str
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop(self, node: int) -> None:
        """End a node as its owner would; one whose head is gone takes its time, and does not get it."""
        process = self.processes[node]
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in below:
            with suppress(psutil.NoSuchProcess):
                one.kill()


@contextmanager
def two_nodes(
    home: Path, cpus: int = 2, common: Mapping[str, str] | None = None, other: Mapping[str, str] | None = None
) -> Iterator[Nodes]:
    """Two nodes of `cpus` each; environment variables of both, and of the one that is not the head.

    The network is the loopback alone, see tools/loopback.sh; else the test is skipped.
    """
    import pytest

    if any(name != 'lo' for _, name in socket.if_nameindex()):
        pytest.skip('two nodes need a network of their own (unshare): Ray would listen on this one')
    folder = tempfile.mkdtemp(prefix='eisenmp-nodes-')  # paths of sockets must be short
    with socket.create_server(('127.0.0.1', 0)) as free:
        address = f'127.0.0.1:{free.getsockname()[1]}'
    nodes = Nodes(address, script_env(**secrets(home), **(common or {})))
    nodes.env.pop(_ALONE, None)  # a private cluster of this process may have set it
    port = address.partition(':')[2]
    try:
        _start(nodes, '--head', f'--port={port}', f'--temp-dir={folder}', '--include-dashboard=false', cpus=cpus)
        wait_until(lambda: _answers(address), 'the head', _START)
        _start(nodes, f'--address={address}', cpus=cpus, **(other or {}))
        _wait_for_two(nodes)
        yield nodes
    finally:
        for at in reversed(range(len(nodes.processes))):
            nodes.stop(at)
        shutil.rmtree(folder, ignore_errors=True)


def _start(nodes: Nodes, *arguments: str, cpus: int, **env: str) -> None:
    command = [
        str(Path(sys.executable).with_name('ray')),
        *('start', '--block', f'--num-cpus={cpus}', f'--object-store-memory={_STORE}', '--disable-usage-stats'),
        *arguments,
    ]
    log = open(Path(nodes.env['HOME']) / f'node{len(nodes.processes)}.log', 'wb')
    with log:
        nodes.processes.append(
            subprocess.Popen(command, env={**nodes.env, **env}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        )


def _answers(address: str) -> bool:
    host, _, port = address.partition(':')
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


_COUNT: Final = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')
while sum(node['Alive'] for node in ray.nodes()) < 2:
    time.sleep(0.1)
"""


def _wait_for_two(nodes: Nodes) -> None:
    deadline = time.monotonic() + _START
    while True:
        done = subprocess.run(
            [sys.executable, '-c', _COUNT, nodes.address], env=nodes.env, capture_output=True, text=True, timeout=_START
        )
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise AssertionError(done.stderr)
