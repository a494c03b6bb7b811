"""The listening sockets of workers, kept by the manager: one for each slot and port, or one for all slots.

A worker gets a descriptor of its slot's socket. When it dies or is replaced, the socket lives on here, and with it the
connections that nobody has accepted yet: the replacement gets the same one. (With sockets of the workers' own, the
kernel would reset them.)

Why one a slot: where all workers wait on one socket, a burst of connections goes to whoever wakes first, and
connections that are kept open stay there. On Linux ``SO_REUSEPORT`` spreads them; elsewhere it does not, or is missing,
and all workers share one socket.

Who is to be replaced gets no new connections. Where nobody else listens on the port, they go to a second socket of the
slot, in which they wait for its next process. What the old process has accepted, or is about to, it has time to end.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from eisenmp.steering import attach, program

__all__ = ["Address", "Group", "Listeners", "Wanted"]

Address = tuple[str, int]
SPREADS: Final = sys.platform.startswith(("linux", "android")) and hasattr(socket, "SO_REUSEPORT")
_ALL: Final = -1  # the slot of a socket that all slots share
_FORMER: Final = -2  # and below, instead of slot 0, 1, …: the process that is about to leave still has that socket


class Wanted(NamedTuple):
    """What a worker asks for: a numeric address; port 0 is one that is free, the same for all who ask for 0."""

    family: int
    host: str
    port: int
    shared: bool


class Group:
    """All sockets of one address, in the kernel's order."""

    steered: bool = False  # the kernel has a program, which speaks of as many sockets as there were then

    def __init__(
        self, wanted: Wanted, address: Address, backlog: int, members: list[tuple[int, socket.socket]] | None = None
    ) -> None:
        self.wanted = wanted
        self.address = address
        self.backlog = backlog
        self.members = members if members is not None else []
        self.away: set[int] = set()  # slots that get no new connections
        self.pinned: dict[int, int] = {}  # source port -> slot

    @property
    def shared(self) -> bool:
        """All slots have the same socket."""
        return bool(self.members) and self.members[0][0] == _ALL

    def of(self, slot: int) -> socket.socket | None:
        """The socket of a slot, for the next process if the present one is about to leave."""
        return next((sock for owner, sock in self.members if owner in (slot, _ALL)), None)

    def in_use(self, slot: int) -> socket.socket | None:
        """The one that the slot's present process has."""
        return next((sock for owner, sock in self.members if owner == _FORMER - slot), self.of(slot))

    def is_alone(self, slot: int) -> bool:
        """The slot has a socket of its own, and no other slot's gets new connections."""
        others = any(owner != slot and owner not in self.away for owner, _ in self.members)
        return not (others or self.shared)

    def steer(self) -> bool:
        """Tell the kernel who gets what. False: it does not listen to that."""
        if self.shared or len(self.members) < 2:
            return False
        places = {slot: place for place, (slot, _) in enumerate(self.members)}
        away = [places[slot] for slot in self.away if slot in places]
        pinned = {port: places[slot] for port, slot in self.pinned.items() if slot in places}
        done = attach(self.members[0][1], program(len(self.members), away, pinned))
        self.steered |= done
        return done


class Listeners:
    """All of a job. Any thread may call; nothing here waits.

    Args:
        spreads: the kernel spreads connections over the sockets of one port.
        on_open: gets each socket that is made. A forked worker must not inherit it: it would stay open there.
    """

    def __init__(self, *, spreads: bool = SPREADS, on_open: Callable[[socket.socket], object] = lambda _: None) -> None:
        self._spreads = spreads
        self._on_open = on_open
        self._groups: dict[Wanted, Group] = {}
        self._lock = threading.Lock()

    def socket_for(self, slot: int, wanted: Wanted, backlog: int) -> tuple[socket.socket, bool]:
        """The socket of a slot for that address, made at the first call; and whether all slots share it.

        Raises:
            OSError: the system refuses: the port is taken, say.
        """
        with self._lock:
            group = self._groups.get(wanted)
            if group is None:
                group = self._open(slot, wanted, backlog)
                self._groups[wanted] = group
            sock = group.of(slot)
            if sock is not None and not _is_listening(sock):  # its server has shut it down
                self._remove(group, slot)
                sock = None
            if sock is None:
                sock = self._join(group, slot, backlog)
            return sock, group.shared

    def groups_of(self, slot: int) -> list[Group]:
        """All addresses on which the slot has a socket, of its own or with others."""
        with self._lock:
            return [group for group in self._groups.values() if group.of(slot) is not None]

    def addresses(self) -> list[Address]:
        """All addresses, in the order in which they were asked for."""
        with self._lock:
            return [group.address for group in self._groups.values()]

    def is_alone(self, slot: int) -> bool:
        """On some address, nobody else could take the slot's connections."""
        return any(group.is_alone(slot) for group in self.groups_of(slot))

    def steer_away(self, slot: int) -> bool:
        """New connections go to other slots where there are any. False: on some address they cannot."""
        steered = [self._steer(group, lambda away: away.add(slot)) for group in self.groups_of(slot)]
        return all(steered)

    def renew(self, slot: int) -> bool:
        """The same, but where there are no other slots they wait for the slot's next process, in another socket.

        The present one is kept until :meth:`retire`. False: on some address they still go there.
        """
        groups = self.groups_of(slot)
        with self._lock:
            alone = [group for group in groups if group.is_alone(slot)]
            renewed = [self._renew(group, slot) for group in alone]
        return all(renewed) and all(
            self._steer(group, lambda away: away.add(slot)) for group in groups if group not in alone
        )

    def retire(self, slot: int) -> None:
        """The slot's process has ended: a socket that it alone had is closed."""
        with self._lock:
            for group in self._groups.values():
                self._remove(group, _FORMER - slot)

    def steer_back(self, slot: int) -> None:
        """The slot gets new connections again."""
        for group in self.groups_of(slot):
            self._steer(group, lambda away: away.discard(slot))

    def pin(self, group: Group, slot: int, source_port: int) -> bool:
        """The connection that comes from this source port goes to the slot. False: nobody knows where it goes."""
        with self._lock:
            if not group.shared and len(group.members) == 1:
                return group.of(slot) is not None
            group.pinned[source_port] = slot
            return group.steer()

    def unpin(self, group: Group, source_port: int) -> None:
        """It has gone there."""
        with self._lock:
            if group.pinned.pop(source_port, None) is not None:
                group.steer()

    def forget(self, slot: int) -> None:
        """No further process of this slot will listen: what waits in its sockets is turned away."""
        self.retire(slot)
        with self._lock:
            for group in self._groups.values():
                self._remove(group, slot)

    def close(self) -> None:
        """The job is over."""
        with self._lock:
            for group in self._groups.values():
                for _, sock in group.members:
                    sock.close()
            self._groups.clear()

    def _open(self, slot: int, wanted: Wanted, backlog: int) -> Group:
        """The first socket of an address: bound without leave for others, so that a port in use is found out."""
        sock = _bound(wanted, wanted.port, reuse=False)
        own = self._spreads and not wanted.shared
        try:
            if own:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        if not own:
            sock.setblocking(False)  # who comes second to a connection must not wait for the next
        self._on_open(sock)
        host, port = sock.getsockname()[:2]
        return Group(wanted, (host, port), backlog, [(slot if own else _ALL, sock)])

    def _join(self, group: Group, slot: int, backlog: int) -> socket.socket:
        sock = _bound(group.wanted, group.address[1], reuse=True)
        try:
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        self._on_open(sock)
        group.members.append((slot, sock))
        if group.steered:
            group.steer()
        return sock

    def _renew(self, group: Group, slot: int) -> bool:
        place = next(place for place, (owner, _) in enumerate(group.members) if owner == slot)
        sock = group.members[place][1]
        # Before there is another one: once there is, connections would go to both, and could not be had back.
        # A place that is empty yet means as much as no program.
        if not attach(sock, program(len(group.members) + 1, away=range(len(group.members)))):
            return False
        group.members[place] = (_FORMER - slot, sock)
        group.away.discard(slot)
        group.away.add(_FORMER - slot)
        group.steered = True
        try:
            self._join(group, slot, group.backlog)
        except OSError:  # no descriptor, say
            group.members[place] = (slot, sock)
            group.away.discard(_FORMER - slot)
            group.steer()
            return False
        return True

    def _steer(self, group: Group, change: Callable[[set[int]], None]) -> bool:
        with self._lock:
            change(group.away)
            return group.steer()

    @staticmethod
    def _remove(group: Group, slot: int) -> None:
        for place, (owner, sock) in enumerate(group.members):
            if owner == slot:
                sock.close()
                last = group.members.pop()  # the kernel, too, puts its last one in the free place
                if place < len(group.members):
                    group.members[place] = last
                group.away.discard(slot)
                group.steer()
                return


def _bound(wanted: Wanted, port: int, *, reuse: bool) -> socket.socket:
    sock = socket.socket(wanted.family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":  # there it would let anybody have the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((wanted.host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _is_listening(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (AttributeError, OSError) as error:
        # where a system cannot tell, it is taken to listen
        return not isinstance(error, OSError) or error.errno in (errno.ENOPROTOOPT, errno.EINVAL)
