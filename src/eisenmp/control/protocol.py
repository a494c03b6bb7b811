"""What is said over a control socket: one JSON object a line, UTF-8. Pure.

The server begins::

    {"kind": "hello", "protocol": 1, "job": {"name", "pid", …}}

The client asks, with a number of its own, as often as it likes::

    {"do": "watch"}                                  # from now on: one history, then states, two a second
    {"do": "restart", "id": 1, "with": {"slot": 0}}  # an action, see live/actions.py

and is answered, among the states::

    {"kind": "history", …} {"kind": "state", …}      # see live/
    {"kind": "said", "id": 1, "text": "…"}           # it was done
    {"kind": "error", "id": 1, "text": "…"}          # it was not
    {"kind": "end"}                                  # the job is over; nothing more comes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from eisenmp.errors import ProtocolError

__all__ = ["ASKED", "TOLD", "VERSION", "Lines", "encoded", "request_of"]

VERSION: Final = 1
ASKED: Final = 4096  # bytes of a line from a client at most
TOLD: Final = 64 << 20  # bytes of a line from a job at most


def encoded(message: Mapping[str, Any]) -> bytes:
    """One line, with its end."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


class Lines:
    """Cuts what comes into lines.

    Args:
        longest: bytes of a line at most.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._begun = bytearray()

    def add(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now.

        Raises:
            ProtocolError: one is too long.
        """
        searched = len(self._begun)
        self._begun += piece
        end = self._begun.rfind(b"\n", searched)
        lines: list[bytes] = []
        if end >= 0:
            lines = bytes(self._begun[:end]).split(b"\n")
            del self._begun[: end + 1]
        if len(self._begun) > self._longest or any(len(line) > self._longest for line in lines):
            raise ProtocolError(f"a line of more than {self._longest} bytes")
        return lines


def request_of(line: bytes) -> tuple[str, int | None, dict[str, Any]]:
    """What a client asks: (action or 'watch', its number, arguments).

    Raises:
        ProtocolError: it is no such line.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("a line that is no JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise ProtocolError("a request that does not say what to do")
    number, arguments = request.get("id"), request.get("with", {})
    if not isinstance(number, int | None) or not isinstance(arguments, dict):
        raise ProtocolError("a request whose id is no number, or whose arguments are no object")
    return request["do"], number, arguments
