"""Groups of messages, as they travel between the engine and an actor, and what else the two say to each other. Pure.

Both sides pack and unpack alike. The stream is cut into pieces that Ray sends along with a call; anything beyond that
size it lays into its object store first, which takes ten times as long.
"""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.errors import ProtocolError
from eisenmp.remote import is_remote
from eisenmp.ring import shelf
from eisenmp.wire import ALONE, LARGE, Buffer, Decoder, Far, Frame, Kind, encode, place, read_queue

__all__ = ["SHELVED_BYTES", "Drained", "Hello", "Unpacker", "machine", "own_version", "pack", "split", "without_socket"]

_INLINE: Final = 64 << 10  # bytes of an argument; Ray's own limit is 100 KiB
_GROUP_STREAM: Final = 1 << 20  # bytes of one group
_GROUP_LARGE: Final = 32 << 20
SHELVED_BYTES: Final = 1 << 20  # of a piece of a message from worker to worker: from here on the manager is left out
# by the manager, itself or as a rule: what is put there had better come at once
_READ_HERE: Final = [at for at, name in enumerate(DEFAULT_QUEUES) if name != "mp_input_q"]


class Hello(NamedTuple):
    """What an actor says first: where and what it is."""

    pid: int
    machine: str
    host: str
    node: str
    python: str
    version: str


class Drained(NamedTuple):
    """What a call of ``drain`` brings: the `number`-th. ``code``: the worker has ended, and nothing is left unsaid.

    ``shelved``: large pieces that stay at the actor until they are asked for, as (place in `large`, key, size).
    """

    number: int
    streams: Sequence[bytes] = ()
    large: Sequence[Any] = ()
    code: int | None = None
    hello: Hello | None = None
    shelved: Sequence[tuple[int, int, int]] = ()


def machine() -> str:
    """The same text in two processes that may know each other by pid, and only there."""
    parts = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            if path.endswith("boot_id"):
                with open(path, encoding="ascii") as file:
                    parts.append(file.read().strip())
            else:
                parts.append(os.readlink(path))
        except OSError:
            return ""  # nobody can tell
    return " ".join(parts)


def own_version() -> str:
    """The version of this package, as it is installed; empty where it runs from its source."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("eisenmp")
    except PackageNotFoundError:
        return ""


def pack(
    messages: Iterable[list[Buffer]], shelve: Callable[[int, Buffer], object] | None = None
) -> tuple[list[bytes], list[Any]]:
    """(pieces of the stream, large pieces that it speaks of by their place).

    `shelve` gets those that need not come along, each with its place; there is None instead of them.
    """
    large: list[Any] = []
    stays = False

    def put(pieces: Sequence[Buffer], size: int) -> int:
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if shelve is not None and stays and size >= SHELVED_BYTES:
            shelve(len(large), piece)
            large.append(None)
        else:
            large.append(piece)
        return len(large) - 1

    streams: list[bytes] = []
    waiting: list[Buffer] = []
    size = 0
    for message in messages:
        stays = (
            shelve is not None
            and message[0][0] in (Kind.PUT, Kind.FORWARD)
            and read_queue(message[0]) not in _READ_HERE
        )
        for piece in place(message, put, LARGE):
            if size and size + len(piece) > _INLINE:
                streams.append(b"".join(waiting))
                waiting, size = [], 0
            waiting.append(piece)
            size += len(piece)
    if waiting:
        streams.append(b"".join(waiting))
    return streams, large


def split(messages: Iterable[list[Buffer]]) -> list[list[list[Buffer]]]:
    """The messages in groups, in order, none of which keeps its neighbours waiting for too long."""
    groups: list[list[list[Buffer]]] = []
    stream = large = 0
    alone = False
    for message in messages:
        size = sum(map(len, message))
        far = is_remote(message)  # it may turn out to be lost, and nothing else with it
        alone, apart = far, far or alone
        if apart or not groups or stream > _GROUP_STREAM or large > _GROUP_LARGE:
            groups.append([])
            stream = large = 0
        groups[-1].append(message)
        if size >= LARGE:
            large += size
        else:
            stream += size
    return groups


def without_socket(message: list[Buffer]) -> list[Buffer]:
    """What a worker is told instead of LISTENING: a descriptor goes nowhere from here."""
    unpacker = Unpacker(Kind.LISTENING, Kind.LISTENING)
    (frame,) = unpacker.add(0, message, (), own=True)
    why = (errno.EOPNOTSUPP, "workers of ENGINE='ray' get no sockets of the manager's machine; open one in the worker")
    return encode(Kind.LISTENING, (pickle.dumps(why),), flags=ALONE, serial=frame.serial)


class Unpacker:
    """Turns groups into messages, in the order of their numbers. `first`, `last`: the kinds that may come."""

    def __init__(self, first: int, last: int) -> None:
        self._decoder = Decoder(first, last)
        self._decoder.open = self._open
        self._next = 0
        self._parked: dict[int, tuple[Sequence[Any], Sequence[Any], bool]] = {}
        self._large: Sequence[Any] = ()
        self._own = False

    def add(self, number: int, streams: Sequence[Any], large: Sequence[Any], *, own: bool) -> list[Frame]:
        """A group has come: the messages that are complete now.

        Args:
            number: of the group.
            streams: pieces of the stream.
            large: what these speak of.
            own: large pieces are copied, so that they may be written to; else they are looked at where they lie.

        Raises:
            ProtocolError: what came is no message.
        """
        self._parked[number] = streams, large, own
        frames: list[Frame] = []
        while self._next in self._parked:
            streams, self._large, self._own = self._parked.pop(self._next)
            self._next += 1
            for piece in streams:
                frames += self._decode(memoryview(piece))
        self._large = ()
        return frames

    def _decode(self, view: memoryview) -> list[Frame]:
        frames: list[Frame] = []
        while len(view):
            room = self._decoder.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            frames += self._decoder.advance(count)
            view = view[count:]
        return frames

    def _open(self, offset: int, size: int) -> Buffer:
        if not 0 <= offset < len(self._large):
            raise ProtocolError(f"a large piece of number {offset}; {len(self._large)} have come")
        piece = self._large[offset]
        if isinstance(piece, Far) and piece.nbytes == size:
            return cast(Buffer, piece)
        view = memoryview(piece).cast("B")
        if len(view) != size:
            raise ProtocolError(f"a large piece of {len(view)} bytes where {size} were said")
        return shelf("received").copy(view) if self._own else view
