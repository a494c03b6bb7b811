"""What the Linux kernel knows of a process: its connections on a port, and whether it handles a signal.

``/proc/net/tcp`` lists every connection that was closed within the last minute too, tens of thousands on a busy
server; the kernel's own interface (``sock_diag``) is asked for those of one port that are open.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["handles_signal", "open_connections", "waiting_in"]

_SOCK_DIAG: Final = 4  # netlink family
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST_DUMP: Final = 0x0301
_DONE, _ERROR = 3, 2
_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
_HEAD: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, pid
_ASK: Final = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_ID: Final = struct.Struct("!HH16s16sIII")  # source port, destination port, addresses, interface, cookie
# family, state, timer, retransmits, id, expires, what waits to be read and written, user, inode
_ANSWER: Final = struct.Struct("=BBBB48sIIIII")
_ANY: Final = 0xFFFF_FFFF
_PATIENCE: Final = 1.0  # seconds for an answer of the kernel, which comes at once


def open_connections(pid: int, ports: set[int]) -> int | None:
    """How many open TCP connections on these local ports the process has. None: the system does not tell."""
    try:
        mine = _socket_inodes(pid)
        return sum(1 for port in ports for _, _, inode in _dump(port, _ESTABLISHED, _CLOSE_WAIT) if inode in mine)
    except (OSError, AttributeError):
        return None


def waiting_in(sock: socket.socket) -> int | None:
    """How many connections wait in a listening socket to be accepted. None: the system does not tell."""
    try:
        inode = os.fstat(sock.fileno()).st_ino
        return sum(queued for _, queued, number in _dump(sock.getsockname()[1], _LISTEN) if number == inode)
    except (OSError, AttributeError):
        return None


def handles_signal(pid: int, number: int) -> bool | None:
    """Whether the process has a handler for the signal, or ignores it. None: the system does not tell."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigCgt:", "SigIgn:"))]
    except (OSError, ValueError, IndexError):
        return None
    return any(mask >> (number - 1) & 1 for mask in masks) if masks else None


def _socket_inodes(pid: int) -> set[int]:
    inodes = set()
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes


def _dump(port: int, *states: int) -> Iterator[tuple[int, int, int]]:
    """(state, bytes or connections that wait to be read, inode) of each socket on a local port."""
    mask = sum(1 << state for state in states)
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.settimeout(_PATIENCE)
            whose = _ID.pack(port, 0, b"", b"", 0, _ANY, _ANY)
            ask = _ASK.pack(family, socket.IPPROTO_TCP, 0, mask) + whose
            kernel.send(_HEAD.pack(_HEAD.size + len(ask), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + ask)
            yield from _answers(kernel)


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int, int]]:
    while True:
        data = kernel.recv(1 << 16)
        at = 0
        while at + _HEAD.size <= len(data):
            length, kind, _, _, _ = _HEAD.unpack_from(data, at)
            if kind == _DONE or length < _HEAD.size:
                return
            if kind == _ERROR:
                raise OSError("the kernel does not tell about its connections")
            _, state, _, _, _, _, rqueue, _, _, inode = _ANSWER.unpack_from(data, at + _HEAD.size)
            yield state, rqueue, inode
            at += length + 3 & ~3
