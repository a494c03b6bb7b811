"""The live view of one job: looks at it twice a second and tells everybody who watches, in the same words."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from eisenmp.live.actions import Actions
from eisenmp.live.ears import Ears
from eisenmp.live.history import History
from eisenmp.live.state import States
from eisenmp.snapshot import Look

__all__ = ["Live"]

_EVERY: Final = 0.5  # seconds between two looks
_SHARE: Final = 0.01  # of one processor, which looking may take; it is done less often where it would take more
_SELDOM: Final = 5.0  # seconds between two looks, however long they take
_PATIENCE: Final = 2.0  # seconds that the last state may take before nobody waits for it

Send = Callable[[bytes], None]


class Live:
    """Begins to look when somebody subscribes, or at :meth:`begin`, and goes on until the job is over.

    What goes wrong here spoils no job: it is said once, and nothing more is shown.

    Args:
        facts: see :class:`eisenmp.live.state.States`.
        look: at the job; called without its lock.
        ears: what is printed and logged.
        actions: what may be done to the job.
        every: seconds between two looks.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        look: Callable[[], Look],
        ears: Ears,
        actions: Actions | None = None,
        every: float = _EVERY,
    ) -> None:
        self._states = States(facts)
        self._history = History()
        self._look = look
        self._ears = ears
        self.actions = actions
        self._every = every
        self._lock = threading.Lock()  # of what is below
        self._sends: list[Send] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.over = False  # the last state has been told
        self.on_look: list[Callable[[Look, bool], None]] = []  # whoever makes something else of what happened

    def begin(self) -> None:
        """Look from now on."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="eisenmp-live", daemon=True)
                self._thread.start()

    def subscribe(self, send: Send) -> Callable[[], None]:
        """Tell `send` the history, at once and on this thread, and then each state, until the returned is called.

        A message is one line of JSON (ASCII, without its end); an empty one says that no more will come. `send` is
        called by a thread that others wait for: it must not block. One that raises is called no more.
        """
        with self._lock:
            send(_encoded(self._history.as_dict()))
            if self.over:
                send(b"")
            else:
                self._sends.append(send)
        self.begin()  # who comes first gets the first state, too

        def leave() -> None:
            with self._lock:
                if send in self._sends:
                    self._sends.remove(send)

        return leave

    @property
    def state(self) -> dict[str, Any] | None:
        """The newest state; None: there is none yet."""
        return self._history.state

    def end(self) -> None:
        """The job is over: tell the last state and no more."""
        with self._lock:
            self._stop.set()
            thread = self._thread
            self.over = self.over or thread is None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            pause = 0.0  # the first state is there at once
            while not self._stop.wait(pause):
                cost = self._tell(over=False)
                pause = max(self._every, min(_SELDOM, cost / _SHARE))
            self._tell(over=True)
        except Exception as error:
            logging.getLogger("eisenmp").warning(
                "the live view ends before its job: %s: %s", type(error).__name__, error, exc_info=True
            )
        finally:
            with self._lock:
                self.over = True
                self._send(b"")
                self._sends.clear()

    def _tell(self, *, over: bool) -> float:
        """One look, one state for all. Returns the seconds of CPU that it took, without what others make of it."""
        began = time.thread_time()
        look = self._look()
        others = time.thread_time()
        for make in self.on_look:
            make(look, over)
        others = time.thread_time() - others
        can = self.actions.can(look.snapshot) if self.actions is not None else []
        with self._lock:
            state, bars = self._states.make(look, self._ears.take(), can, over=over)
            self._history.add(state, bars)
            if self._sends:
                self._send(_encoded(state))
        return time.thread_time() - began - others

    def _send(self, line: bytes) -> None:
        for send in list(self._sends):
            try:
                send(line)
            except Exception:  # whoever it was has left
                self._sends.remove(send)


def _encoded(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
