"""States for one browser: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from eisenmp.web import Shown

__all__ = ["events"]

_BEHIND: Final = 20  # states that may wait for a browser that is slow; then it begins anew


class _Mailbox:
    """What the live view's thread says, for the server's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self._lines: list[bytes] = []
        self.behind = False  # so far that it must begin anew

    def send(self, line: bytes) -> None:
        """From the other thread."""
        self._loop.call_soon_threadsafe(self._arrived, line)

    def _arrived(self, line: bytes) -> None:
        if len(self._lines) >= _BEHIND:
            self.behind = True
            self._lines.clear()
        if not self.behind:
            self._lines.append(line)
        self._came.set()

    async def take(self) -> list[bytes]:
        """What has come."""
        await self._came.wait()
        self._came.clear()
        lines, self._lines = self._lines, []
        return lines


async def events(shown: Shown) -> AsyncIterator[bytes]:
    """The history and each state, until the job is over."""
    while True:
        mailbox = _Mailbox()
        leave = shown.subscribe(mailbox.send)
        try:
            kind = b"history"
            while True:
                lines = await mailbox.take()
                if mailbox.behind:
                    break
                for line in lines:
                    if not line:
                        return
                    yield b"event: " + kind + b"\ndata: " + line + b"\n\n"
                    kind = b"state"
        finally:
            leave()
