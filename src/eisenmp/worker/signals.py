"""Signals in a worker that is a fork of one of the manager's threads, on Python 3.13 and newer.

There the mark that a handler is due goes to the main thread of the process that was forked, which this one does not
have: handlers run only when a signal happens to break off a system call of our main thread. So whenever a signal has
come, another one is sent to that thread, until it says that it has looked. (A loop that never waits for anything hears
of it no sooner than it does.)
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

__all__ = ["pass_on"]

_AGAIN: Final = 0.01  # seconds
_MANY: Final = 512  # bytes, one a signal


def pass_on() -> None:
    """See to it that handlers run soon after their signals. Call it in the main thread.

    It takes the wake-up descriptor and SIGURG, which nothing else heeds. A program that takes them for itself, as
    asyncio does for its handlers, hears of signals through them.
    """
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    looked = threading.Event()
    signal.signal(signal.SIGURG, lambda *_: looked.set())
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    main = threading.get_ident()
    threading.Thread(target=_pass_on, args=(ours, main, looked), name="eisenmp-signals", daemon=True).start()


def _pass_on(come: int, main: int, looked: threading.Event) -> None:
    while True:
        if set(os.read(come, _MANY)) <= {signal.SIGURG}:  # our own
            continue
        looked.clear()
        while not looked.wait(_AGAIN):
            signal.pthread_kill(main, signal.SIGURG)
