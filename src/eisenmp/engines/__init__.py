"""What starts workers and carries bytes. One narrow seam (:mod:`eisenmp.engines.base`), several engines behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eisenmp.engines.base import Engine
    from eisenmp.settings import Settings

__all__ = ["fitted", "make_engine"]


def make_engine(settings: Settings) -> Engine:
    """The engine that ``ENGINE`` names.

    Raises:
        ClusterError: there is no Ray, or no cluster.
    """
    if settings.ENGINE == "inline":
        from eisenmp.engines.inline import InlineEngine

        return InlineEngine()
    if settings.ENGINE == "ray":
        from eisenmp.engines.ray import RayEngine, Wishes  # Ray is large, and an extra

        return RayEngine(Wishes.of(settings))
    from eisenmp.engines.local import LocalEngine

    return LocalEngine(settings.START_METHOD)


def fitted(settings: Settings) -> Settings:
    """The settings, with what only the engine can tell where nothing was said: how many workers a cluster has room for.

    Raises:
        ClusterError: there is no Ray, or no cluster.
    """
    if settings.ENGINE != "ray":
        return settings
    from eisenmp.engines import ray

    return ray.fitted(settings)
