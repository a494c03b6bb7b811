"""A thread that waits for the one answer under way takes it in itself: nobody has to hand it over.

It costs a thread more to be told of an answer than the answer costs to be taken in. Where a program has one thing done
after the other, by ``put`` and ``get``, the loop's thread has nothing else to do, and sleeps (turns.py).

What is taken in must not be lost half-way. Other threads get no exceptions from outside; the main thread gets those
that handlers of signals raise. So while it is at it, Ctrl-C is only noted, and raised afterwards; and it is not at
it at all where the program has handlers of its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from eisenmp.engines.base import Ready
from eisenmp.job import Job
from eisenmp.queues import Getter
from eisenmp.turns import Turns

try:
    import _signal as _plain  # type: ignore[import-not-found]  # signal's own look for names, which takes ten times as long
except ImportError:  # another Python
    _plain = signal

__all__ = ["Calm", "Shortcut", "Struck"]

_PATIENCE: Final = 0.05  # seconds of one wait of this kind: in a longer one, being told is no matter
_AWAY: Final = 0.000_15  # seconds: whoever does more than that between two waits had better leave the loop to itself
_LEFT_ALONE: Final = 20  # waits of readers, after one that was not of this kind
_OTHERS: Final = tuple(sorted(number for number in signal.valid_signals() if number != signal.SIGINT))


class Shortcut:
    """Lets a reader drive the loop while it waits.

    Args:
        job: its state.
        turns: whom the loop makes way for.
        take_in: takes in what the call gives; True: there is something that only the loop may do.
    """

    def __init__(self, job: Job, turns: Turns, take_in: Callable[[Callable[[], Ready]], bool]) -> None:
        self._job = job
        self._turns = turns
        self._take_in = take_in
        self._left_alone = 0
        self._left_at: float | None = None  # while the loop sleeps on, after a reader has left

    def drive(self, getter: Getter, got: Sequence[object], timeout: float | None) -> None:
        """A thread of the manager waits for what the only worker at work says next: it may take that in itself.

        Called under the lock, which is given back meanwhile. Returns when something was `got`, or after a moment.
        """
        job = self._job
        if self._left_alone:
            self._left_alone -= 1
            return
        left_at, self._left_at = self._left_at, None
        was_away = left_at is not None and job.clock() - left_at > _AWAY
        calm = Calm()
        # at work, as far as is known, are also those that have only just answered
        if was_away or not job.exchange.is_quiet(2, len(job.crew.workers), getter) or not calm.begin():
            self._leave_alone()
            return
        try:
            end = job.clock() + (_PATIENCE if timeout is None else min(_PATIENCE, timeout))
            deadline = job.exchange.next_deadline()
            job.lock.without(lambda: self._drive(calm, got, end if deadline is None else min(end, deadline)))
        finally:
            calm.end()

    def _drive(self, calm: Calm, got: Sequence[object], end: float) -> None:
        job, turns = self._job, self._turns
        quiet = False
        if turns.take_floor(job.engine.wake):
            try:
                turns.begin()
                quiet = self._wait(calm, got, end)
            except Struck:
                pass
            except (OSError, ValueError):
                pass  # the engine was closed just now, and the reader is told of the end
            finally:  # whatever else it was: the loop would never listen again
                turns.leave_floor()
        if quiet:
            self._left_at = job.clock()
        else:  # the loop has something to do, or others do while this thread is away
            self._leave_alone()
            job.engine.wake()

    def _wait(self, calm: Calm, got: Sequence[object], end: float) -> bool:
        """Take in what comes until something is `got`. True: the loop need not look for a moment."""
        job = self._job
        while not got:
            left = end - job.clock()
            calm.waits = True  # first: what comes later strikes
            ready = job.engine.poll(left) if left > 0 and not calm.came else ()
            calm.waits = False
            if not ready or self._take_in(lambda: ready):  # noqa: B023  # it is called now
                return False
        with job.lock:
            return job.exchange.is_quiet(1, len(job.crew.workers))

    def _leave_alone(self) -> None:
        self._left_alone = _LEFT_ALONE
        self._turns.end()


class Struck(BaseException):
    """Ctrl-C has come while the thread waited for something to take in."""


class Calm:
    """Keeps exceptions of signal handlers from this thread, for a moment; but for one, :class:`Struck`, where it
    ``waits``: there it may come at any point, the next one waits for the same things again.
    """

    def __init__(self) -> None:
        self.waits = False
        self.came = False  # Ctrl-C has
        self._frame: FrameType | None = None
        self._is_set = False

    def begin(self) -> bool:
        """From here on, until :meth:`end`, none comes. False: that cannot be had."""
        if threading.get_ident() != threading.main_thread().ident:
            return True
        if _plain.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        if any(map(callable, map(_plain.getsignal, _OTHERS))):
            return False
        try:
            _plain.signal(signal.SIGINT, self._note)
        except ValueError:  # it is the main thread of another interpreter than the main one
            return False
        self._is_set = True
        return True

    def _note(self, _number: int, frame: FrameType | None) -> None:
        self.came, self._frame = True, frame
        if self.waits:
            self.waits = False
            raise Struck

    def end(self) -> None:
        """As before; a Ctrl-C that came meanwhile is raised now."""
        if not self._is_set:
            return
        self._is_set = False
        _plain.signal(signal.SIGINT, signal.default_int_handler)
        if self.came:
            signal.default_int_handler(signal.SIGINT, self._frame)


def _in_a_fork() -> None:
    """A process that another thread has forked meanwhile is none that waits: it hears of Ctrl-C."""
    handler: Any = _plain.getsignal(signal.SIGINT)
    if isinstance(getattr(handler, "__self__", None), Calm):
        _plain.signal(signal.SIGINT, signal.default_int_handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_fork)
