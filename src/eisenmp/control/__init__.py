"""The control socket: a job can be watched and steered by other programs of the same user on this machine.

::

    places.py     the folder of the sockets, which is the user's alone; who listens in it
    protocol.py   lines of JSON, and how long they may be; pure
    server.py     the manager's side: a thread, from a second after the start of the job on
    client.py     the other side, for `eisenmp top`
    remote.py     … and for its page

A Unix socket: no port, nobody of another machine or another user. Only the Python standard library is needed.
"""

from __future__ import annotations

from eisenmp.control.client import Connection, ConnectionEnded, Found, find_jobs
from eisenmp.control.remote import RemoteView
from eisenmp.control.server import ControlServer

__all__ = ["Connection", "ConnectionEnded", "ControlServer", "Found", "RemoteView", "find_jobs"]
