"""Steering new connections among listening sockets that share a port (Linux).

Left to itself, the kernel spreads them by a hash of both addresses. A classic packet filter on the group may choose
instead: it answers with a socket's place in the group, or with a number that is none, and then the hash decides. Two
things are chosen here. Connections stay away from sockets whose worker is about to end. And one connection that the
manager itself makes, known by its source port, goes to the socket of one certain worker, whose health it asks about.

Making a program is pure; :func:`attach` hands it to the kernel.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["attach", "program"]

_ATTACH: Final = getattr(socket, "SO_ATTACH_REUSEPORT_CBPF", 51)
_BY_HASH: Final = 0xFFFF_FFFF
# Of <linux/bpf_common.h> and <linux/filter.h>. Loads at _NET see the packet from its IP header on.
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_MODULO, _AND, _JUMP, _JUMP_EQUAL = 0x94, 0x54, 0x05, 0x15
_RETURN: Final = 0x06
_NET: Final = 0xFFF0_0000
_RANDOM: Final = 0xFFFF_F000 + 56
_VERSION_MASK, _VERSION_6 = 0xF0, 0x60
_SOURCE_PORT_4, _SOURCE_PORT_6 = _NET + 20, _NET + 40  # behind headers without options, as loopback has them


def program(members: int, away: Collection[int] = (), pinned: Mapping[int, int] = MappingProxyType({})) -> bytes:
    """The filter for a group.

    Args:
        members: how many sockets the group has.
        away: places that get no new connection, as long as there are others.
        pinned: source port -> place: the connection from that port goes there.

    Returns:
        Instructions of eight bytes each.
    """
    code = _pins(pinned) if pinned else []
    open_places = [place for place in range(members) if place not in away]
    if not away or not open_places or len(open_places) == members:
        return b"".join([*code, _step(_RETURN, _BY_HASH)])
    code += [_step(_LOAD_WORD, _RANDOM), _step(_MODULO, len(open_places))]
    for number, place in enumerate(open_places[:-1]):
        code += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, place)]
    return b"".join([*code, _step(_RETURN, open_places[-1])])


def _pins(pinned: Mapping[int, int]) -> list[bytes]:
    code = [
        _step(_LOAD_BYTE, _NET),
        _step(_AND, _VERSION_MASK),
        _step(_JUMP_EQUAL, _VERSION_6, 2, 0),
        _step(_LOAD_HALF, _SOURCE_PORT_4),
        _step(_JUMP, 1),
        _step(_LOAD_HALF, _SOURCE_PORT_6),
    ]
    for port, place in pinned.items():
        code += [_step(_JUMP_EQUAL, port, 0, 1), _step(_RETURN, place)]
    return code


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)


def attach(sock: socket.socket, instructions: bytes) -> bool:
    """Let this program steer the group that the socket belongs to. False: the system does not do that."""
    try:
        import ctypes  # only now: it loads a library
    except ImportError:
        return False
    kept = ctypes.create_string_buffer(instructions, len(instructions))
    wanted = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(kept))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH, wanted)
    except OSError:
        return False
    return True
