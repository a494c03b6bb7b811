"""Listening sockets for servers in workers: ``eisenmp.listen``.

The manager makes the sockets and keeps them, one for each worker slot and port; a worker gets a descriptor of its own
of the same socket. So what waits in the socket's queue outlives the worker: the replacement finds it there.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from typing import Any, Final

from eisenmp.errors import SettingsError
from eisenmp.payload import opened
from eisenmp.wire import ALONE, Frame, Kind
from eisenmp.worker.inbox import Inbox

__all__ = ["BACKLOG", "enter", "leave", "listen", "listen_for"]

BACKLOG: Final = 1024  # connections that wait while a worker is replaced

_process: list[Inbox] = []  # of the workers in this process: one, but for the engine inline
_thread = threading.local()


def enter(inbox: Inbox, *, shared_process: bool) -> None:
    """This thread is a worker's main thread from now on."""
    if not shared_process:
        _process.clear()  # a fork
    _process.append(inbox)
    _thread.inbox = inbox


def leave(inbox: Inbox) -> None:
    """It is none any more."""
    if inbox in _process:
        _process.remove(inbox)
    _thread.inbox = None


def listen(port: int, host: str = "127.0.0.1", *, backlog: int = BACKLOG, shared: bool = False) -> socket.socket:
    """A listening socket on a port that all workers may listen on, for any server that takes a socket.

    Each worker gets its own, and the kernel spreads connections over them (``SO_REUSEPORT``, on Linux); where that is
    missing, all get the same one. A worker that is replaced leaves its socket to its successor, with the connections
    that wait in it. Outside a worker this is an ordinary listening socket, so that a server can be tried by itself.

    Args:
        port: 0: one that is free, the same for all workers; ``socket.getsockname()`` tells it.
        host: address or name; the loopback address unless told otherwise.
        backlog: connections that may wait to be accepted; a server that calls ``listen`` itself sets it anew.
        shared: all workers get the same socket, which does not block: nobody's connections wait for one worker, but
            the system balances worse.

    Raises:
        SettingsError: an argument does not fit.
        OSError: the port is taken, or may not be had; the host has no such address.
    """
    here = getattr(_thread, "inbox", None) or (_process[0] if len(_process) == 1 else None)
    if here is None and _process:
        raise SettingsError("listen: workers of ENGINE='inline' share a process; in their threads, call toolbox.listen")
    return listen_for(here, port, host, backlog, shared=shared)


def listen_for(inbox: Inbox | None, port: Any, host: Any, backlog: Any, *, shared: Any) -> socket.socket:
    """The same for a certain worker; None: outside a worker."""
    _check(port, host, backlog)
    family, address = _address(host, port)
    if inbox is None:
        sock = socket.create_server(address[:2], family=family, backlog=backlog)
        return sock
    request = pickle.dumps((int(family), address[0], address[1], backlog, bool(shared)))
    reply = inbox.ask(Kind.LISTEN, 0, 0.0, (request,))
    sock = _socket_of(reply, f"{address[0]}:{address[1]}")
    # one description of the socket serves all its owners: whether it blocks, too
    sock.setblocking(not reply.rows)
    return sock


def _socket_of(reply: Frame, where: str) -> socket.socket:
    if not reply.flags & ALONE:
        os.set_inheritable(reply.skip, False)
        return socket.socket(fileno=reply.skip)
    told = opened(reply.body) if len(reply.body) else (0, "the descriptor of the socket got lost: too many open files?")
    if isinstance(told, bytes):  # Windows
        return socket.fromshare(told)  # type: ignore[attr-defined,no-any-return,unused-ignore]
    number, text = told
    raise OSError(number, f"listen: {where}: {text}")


def _check(port: Any, host: Any, backlog: Any) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise SettingsError(f"listen: port={port!r} does not fit; allowed: a whole number from 0 to 65535")
    if not isinstance(host, str):
        raise SettingsError(f"listen: host={host!r} does not fit; allowed: an address or a name, such as '127.0.0.1'")
    if not isinstance(backlog, int) or isinstance(backlog, bool) or not 1 <= backlog <= 1 << 20:
        raise SettingsError(f"listen: backlog={backlog!r} does not fit; allowed: a whole number from 1 to 1048576")


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Looked up here and not in the manager, which must not wait for a name server."""
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address
