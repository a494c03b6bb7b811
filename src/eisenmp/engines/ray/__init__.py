"""The engine for a Ray cluster (https://www.ray.io): workers on many machines. Loaded when ``ENGINE='ray'`` wants it.

::

    engine.py    the seam: RayEngine          link.py    the manager's end of one actor;  handle.py  as users see it
    cluster.py   the connection of a process  actor.py   one worker inside an actor
    wishes.py    pure: what workers ask for   groups.py  pure: messages on their way between the two
    fate.py      pure: why an actor is gone   shipping.py  which files go along with the setup
    store.py     large pieces in Ray's object store
"""

from __future__ import annotations

from eisenmp.engines.ray.cluster import connect
from eisenmp.engines.ray.engine import RayEngine
from eisenmp.engines.ray.wishes import Wishes, fitting
from eisenmp.settings import Settings

__all__ = ["RayEngine", "Wishes", "fitted"]


def fitted(settings: Settings) -> Settings:
    """The settings with as many workers as the cluster has room for, where no number was given. Connects to it.

    Raises:
        ClusterError: there is no cluster to be had.
    """
    cluster = connect(settings.ENGINE_ADDRESS)
    if settings.NUM_PROCS is not None:
        return settings
    return settings._replace(NUM_PROCS=fitting(Wishes.of(settings).asked(), cluster.total()))
