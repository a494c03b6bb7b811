"""What a channel of the manager does about memory that it shares with its worker (see ring.py).

Nothing is shared until a large piece comes up, in either direction. Then the manager makes the memory and sends its
descriptor along; from the worker's READY on, both sides use it. A worker that cannot map it says nothing, and
everything goes through the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eisenmp.engines.enclosures import Enclosures
from eisenmp.errors import ProtocolError
from eisenmp.wire import LARGE, Buffer, Decoder, Frame, Kind, encode, place

if TYPE_CHECKING:
    from eisenmp.ring import Copier, Memory, Writer

__all__ = ["Sharing"]


class Sharing:
    """Offers the memory, moves large pieces there, frees slots.

    Args:
        decoder: of what comes from the worker; learns here how to find what lies in the memory.
        enclosures: send the memory's descriptor.

    :meth:`outgoing` and :meth:`close` are called under the channel's lock, :meth:`heard` by its reader.
    """

    def __init__(self, decoder: Decoder, enclosures: Enclosures) -> None:
        self._decoder = decoder
        self._enclosures = enclosures
        self._memory: Memory | None = None
        self._writer: Writer | None = None  # set once the worker is ready
        self._reader: Copier | None = None
        self._refused = False

    def outgoing(self, message: list[Buffer]) -> list[Buffer]:
        """What to send for a message: large pieces are moved, and what else there is to say comes before it."""
        if self._writer is None:
            if self._memory is None and not self._refused and self._is_worth_it(message):
                return [*self._make_offer(), *message]
            return message
        message = place(message, self._writer.put, LARGE)
        assert self._reader is not None
        if done := self._reader.done():
            from eisenmp.ring import packed

            return [*encode(Kind.FREE, (packed(done),)), *message]
        return message

    def _is_worth_it(self, message: list[Buffer]) -> bool:
        if message[0][0] in (Kind.SETUP, Kind.SHARE):  # a worker reads its first messages before it understands others
            return False
        return self._decoder.large >= LARGE or (len(message) > 1 and sum(map(len, message)) >= LARGE)

    def _make_offer(self) -> list[Buffer]:
        from eisenmp.ring import Copier, Memory

        try:
            self._memory = Memory.new()
        except (OSError, ValueError):
            self._refused = True
            return []
        self._reader = Copier(self._memory, self._memory.half)
        self._decoder.open = self._reader.open  # what lies there may be decoded together with the READY before it
        offer = encode(Kind.RING)
        self._enclosures.add(offer, self._memory)
        return offer

    def heard(self, frame: Frame) -> None:
        """The worker speaks about the memory.

        Raises:
            ProtocolError: it makes no sense.
        """
        from eisenmp.ring import Writer, unpacked

        if frame.kind == Kind.FREED and self._writer is not None:
            self._writer.free(unpacked(frame.body))
        elif frame.kind == Kind.RING_READY and self._memory is not None and self._writer is None:
            self._writer = Writer(self._memory, 0)
        else:
            raise ProtocolError(f"message of kind {frame.kind} about memory that is not shared")

    def close(self) -> None:
        """The channel ends."""
        self._refused = True
        if self._memory is not None:
            self._memory.close()
