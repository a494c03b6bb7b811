"""The connection of this process to a Ray cluster: the user's, or a private one of this machine.

There is one for a process, since Ray has no more. It is made and kept by a thread of its own: Linux ends the processes
of a private cluster with the *thread* that has started them. It stays until the program ends, so that the next job
need not wait for it. A connection that the program has made itself (``ray.init``) is used as it is, and left alone.

While jobs use it, that thread looks every second whether the cluster is still there. Ray itself would notice after a
minute, and then end this process.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from eisenmp.cores import usable_cores
from eisenmp.engines.ray import reaper
from eisenmp.engines.ray.wishes import token_advice
from eisenmp.errors import ClusterError

__all__ = ["Cluster", "connect"]

_REACHABLE: Final = 5.0  # seconds that the address gets to answer
_EVERY: Final = 1.0
_MISSES: Final = 3  # in a row, and the cluster is gone
_FOLDER: Final = "eisenmp-ray-"
# For a private cluster, unless the program says otherwise: no reports to anybody, and addresses of the loopback only.
_PRIVATE: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_lock = threading.Lock()
_present: Cluster | None = None


def connect(address: str | None) -> Cluster:
    """The connection to the cluster at that address; None: to a private one, or to what the program is connected to.

    Raises:
        ClusterError: there is none to be had; the text says what to do.
    """
    global _present
    with _lock:
        ray = _import_ray()
        if _present is not None and (_present.lost or not ray.is_initialized()):
            _present.leave()
            _present = None
        if _present is None:
            _present = _adopted(address) if ray.is_initialized() else Cluster(address)
        elif not _present.is_at(address):
            raise ClusterError(
                f"ENGINE_ADDRESS={address!r}: this program is connected to the Ray cluster at {_present.where} "
                "already, and Ray allows one; call ray.shutdown() before"
            )
        return _present


def _import_ray() -> Any:
    with _environment(_PRIVATE):  # some of it is read when ray is imported
        try:
            hook = sys.excepthook
            import ray

            sys.excepthook = hook  # Ray's own would hide that a Ctrl-C is ours to tell of, see leave.py
        except ImportError as error:
            raise ClusterError(
                f"ENGINE='ray' needs Ray, which cannot be imported ({error}); install it: pip install 'eisenmp[ray]'"
            ) from error
    return ray


def _adopted(address: str | None) -> Cluster:
    import ray

    where = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", where):
        raise ClusterError(
            f"ENGINE_ADDRESS={address!r}: this program is connected to the Ray cluster at {where} already (ray.init)"
        )
    return Cluster(address, adopted=where)


class Cluster:
    """A connection. `adopted`: the program has it already, to the cluster there."""

    def __init__(self, address: str | None, *, adopted: str = "") -> None:
        self.address = address
        self.where = adopted
        self.lost = False
        self._adopted = bool(adopted)
        self._reaper: subprocess.Popen[bytes] | None = None
        self._users: dict[object, Callable[[ClusterError], None]] = {}
        self._changed = threading.Condition()
        self._leaving = False
        if not adopted and address is not None:
            _check(address)
        made = threading.Event()
        failed: list[BaseException] = []
        keeper = threading.Thread(target=self._keep, args=(made, failed), name="eisenmp-ray", daemon=True)
        keeper.start()
        made.wait()
        if failed:
            raise _explained(failed[0], address) from failed[0]

    def is_at(self, address: str | None) -> bool:
        """Whether this is what somebody means who says that address."""
        return address in (self.address, self.where) or (self._adopted and address in (None, "auto"))

    def total(self) -> dict[str, float]:
        """What there is in all, by Ray's names."""
        import ray

        return dict(ray.cluster_resources())

    def free(self) -> dict[str, float]:
        """What of it nobody has."""
        import ray

        return dict(ray.available_resources())

    def store_bytes(self) -> int:
        """Size of the object store on the node of this process."""
        import ray

        here = ray.get_runtime_context().get_node_id()
        sizes = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["NodeID"] == here]
        return int(sum(sizes))

    def use(self, user: object, on_lost: Callable[[ClusterError], None]) -> None:
        """`user` wants to be told when the cluster is gone, until :meth:`done`."""
        with self._changed:
            self._users[user] = on_lost
            self._changed.notify_all()

    def done(self, user: object) -> None:
        """See above."""
        with self._changed:
            self._users.pop(user, None)

    def leave(self) -> None:
        """Let the thread end that keeps the connection."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    # ---- the keeper

    def _keep(self, made: threading.Event, failed: list[BaseException]) -> None:
        try:
            if not self._adopted:
                self._init()
        except BaseException as error:
            failed.append(error)
            return
        finally:
            made.set()
        misses = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._users or self._leaving)
                self._changed.wait_for(lambda: self._leaving, _EVERY)
                if self._leaving:
                    break
            misses = 0 if _answers(self.where, _EVERY) else misses + 1
            if misses >= _MISSES:
                self._lose()
                break
        if self._reaper is not None:
            self._reaper.communicate()  # the end of its input

    def _lose(self) -> None:
        error = ClusterError(f"the Ray cluster at {self.where} does not answer any more")
        with self._changed:
            self.lost = True
            users = list(self._users.values())
        for tell in users:
            tell(error)
        if not self._adopted:
            import ray

            ray.shutdown()

    def _init(self) -> None:
        import ray

        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self.address is not None:
            with _quiet():
                ray.init(address=self.address, **options)
        else:
            folder = tempfile.mkdtemp(prefix=_FOLDER)
            self._reaper = _start_reaper(folder)
            with _environment(_PRIVATE), _quiet():
                ray.init(
                    address="local",
                    num_cpus=usable_cores(),
                    include_dashboard=False,
                    _temp_dir=folder,
                    **options,
                )
        _keep_stdout_clean()
        self.where = ray.get_runtime_context().gcs_address


def _keep_stdout_clean() -> None:
    """Ray prints what befalls its workers on the standard output, where results may go; here, it is logged instead."""
    from ray._private import worker

    if not hasattr(worker, "print_to_stdstream"):
        return  # another version, which does it otherwise

    def log(data: dict[str, Any], *_: Any, **__: Any) -> None:
        logging.getLogger("eisenmp.ray").info("%s: %s", data.get("pid"), " ".join(map(str, data.get("lines", ()))))

    worker.print_to_stdstream = log


def _start_reaper(folder: str) -> subprocess.Popen[bytes]:
    """See reaper.py. It ends with this process, not before: no Ctrl-C of the terminal reaches it."""
    command = [sys.executable, "-I", reaper.__file__, folder]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)


def _check(address: str) -> None:
    """Raise ClusterError where it is clear beforehand that the cluster cannot be entered."""
    if advice := token_advice(os.environ, address):
        raise ClusterError(advice)
    if address != "auto" and not _answers(address, _REACHABLE):
        raise ClusterError(f"ENGINE_ADDRESS={address!r}: no Ray cluster answers there within {_REACHABLE:g} s")


def _answers(where: str, seconds: float) -> bool:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except (OSError, ValueError):
        return False
    return True


def _explained(error: BaseException, address: str | None) -> ClusterError:
    what = "no private Ray cluster can be started" if address is None else f"ENGINE_ADDRESS={address!r}"
    said = " ".join(str(error).split())
    hint = "" if address is None else "; is the token the one of this cluster, and does a Ray head listen there?"
    if "ersion mismatch" in said:
        hint = "; the manager and all nodes need the same versions of Ray and Python"
    elif "raylet" in said.lower() or "IP address" in said:
        hint = f"; the manager's machine must be a node of the cluster: ray start --address={address} --num-cpus=0"
    return ClusterError(f"{what}: {type(error).__name__}: {said}{hint}")


@contextmanager
def _environment(names: dict[str, str]) -> Iterator[None]:
    """These variables, where the user has not set them; they are gone afterwards."""
    added = [name for name in names if name not in os.environ]
    os.environ.update({name: names[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray tells much at its start that is no news to users of ours; errors are raised."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
