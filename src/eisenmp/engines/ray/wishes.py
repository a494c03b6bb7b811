"""What each worker asks of the cluster, as Ray takes it; and what is missing, in words. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from eisenmp.settings import Settings

__all__ = ["Wishes", "fitting", "has_token", "lack_text", "token_advice"]

_STRATEGIES: Final = {"spread": "SPREAD", "pack": "DEFAULT"}


class Wishes(NamedTuple):
    """The settings of the cluster."""

    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    resources: tuple[tuple[str, float], ...] = ()
    placement: str = "spread"
    patience: float = 60.0  # seconds until a worker must be placed

    @classmethod
    def of(cls, settings: Settings) -> Wishes:
        """From the settings of a job."""
        return cls(
            settings.ENGINE_ADDRESS,
            settings.ENGINE_CPUS,
            settings.ENGINE_GPUS,
            settings.ENGINE_MEMORY,
            tuple((settings.ENGINE_RESOURCES or {}).items()),
            settings.ENGINE_PLACEMENT,
            settings.ENGINE_START_TIMEOUT,
        )

    def options(self, name: str) -> dict[str, Any]:
        """The options of an actor. It is never restarted by Ray: what it held would be lost without anybody knowing."""
        options: dict[str, Any] = {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": _STRATEGIES[self.placement],
        }
        if self.memory is not None:
            options["memory"] = self.memory
        if self.resources:
            options["resources"] = dict(self.resources)
        return options

    def asked(self) -> dict[str, float]:
        """What one worker takes, under Ray's names."""
        own: dict[str, float] = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}
        asked = {**own, **dict(self.resources)}
        return {name: amount for name, amount in asked.items() if amount}


def fitting(asked: Mapping[str, float], there_are: Mapping[str, float]) -> int:
    """How many workers fit into a cluster: at least one, of whom the error tells why it does not."""
    counts = [int(there_are.get(name, 0) // amount) for name, amount in asked.items()]
    return max(1, min(counts, default=1))


def lack_text(asked: Mapping[str, float], free: Mapping[str, float], total: Mapping[str, float], seconds: float) -> str:
    """Why no worker has started."""
    names = sorted({*asked, "CPU"})
    return (
        f"the Ray cluster has had no room for a worker for {seconds:g} s: asked for {_amounts(asked, sorted(asked))}; "
        f"free are {_amounts(free, names)}, of {_amounts(total, names)} in all "
        "(ENGINE_START_TIMEOUT is how long to wait)"
    )


def _amounts(of: Mapping[str, float], names: list[str]) -> str:
    return ", ".join(f"{name} {of.get(name, 0):g}" for name in names) or "nothing"


def has_token(environ: Mapping[str, str], is_file: Any = os.path.isfile) -> bool:
    """Whether Ray will find a token of the user's. It is not read here."""
    if environ.get("RAY_AUTH_TOKEN"):
        return True
    path = environ.get("RAY_AUTH_TOKEN_PATH") or os.path.join(os.path.expanduser("~"), ".ray", "auth_token")
    return bool(is_file(path))


def token_advice(environ: Mapping[str, str], address: str, is_file: Any = os.path.isfile) -> str:
    """What is missing to enter a cluster; empty when nothing is."""
    mode = environ.get("RAY_AUTH_MODE")
    there = has_token(environ, is_file)
    if there and (mode or "").lower() == "token":
        return ""
    if there and mode is None and address == "auto":
        return ""  # there, Ray uses a token by itself
    lack = "RAY_AUTH_MODE is not 'token'" if there else "there is no token"
    return (
        f"ENGINE_ADDRESS={address!r} needs Ray's token authentication, and {lack}. Set RAY_AUTH_MODE=token, and "
        "RAY_AUTH_TOKEN_PATH to the file with the token of the cluster (or RAY_AUTH_TOKEN, or ~/.ray/auth_token), for "
        "this program and for each 'ray start' alike. 'ray get-auth-token --generate' makes one."
    )
