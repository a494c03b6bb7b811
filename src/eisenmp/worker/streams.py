"""What a worker prints, sent to the manager as whole lines. Log records (records.py) and warnings (warned.py) too."""

from __future__ import annotations

import io
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from eisenmp.wire import Buffer, Kind, encode
from eisenmp.worker.warned import WarningsToManager

if TYPE_CHECKING:
    from eisenmp.worker.inbox import Lease
    from eisenmp.worker.records import ToManager

__all__ = ["LineStream", "Outlets", "Way", "redirect"]


class Way(Protocol):
    """To the manager: an inbox, or what the template has in its place."""

    @property
    def channel(self) -> Sender: ...
    def newest(self) -> Lease | None: ...


class Sender(Protocol):
    """Sends messages."""

    def send(self, *messages: list[Buffer]) -> None: ...


class LineStream(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``: a line goes to the manager when it is complete.

    Each thread has a line of its own in the making, so that lines of several threads do not mix.
    """

    def __init__(self, inbox: Way, fd: int) -> None:
        self.inbox = inbox  # a fork of the template puts its own here
        self._fd = fd
        self._parts: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        """Keep what is no whole line yet, send the rest."""
        me = threading.get_ident()
        whole, newline, rest = (self._parts.pop(me, "") + text).rpartition("\n")
        if rest:
            self._parts[me] = rest
        if newline:
            self._send(whole)
        return len(text)

    def finish(self) -> None:
        """Send what never got its line end."""
        for me in list(self._parts):
            self._send(self._parts.pop(me))

    def _send(self, lines: str) -> None:
        body = lines.encode("utf-8", "backslashreplace")
        self.inbox.channel.send(encode(Kind.PRINT, (body,), flags=int(self._fd == 2)))


def redirect(inbox: Way) -> tuple[LineStream, LineStream]:
    """Send what this process prints to the manager."""
    out, err = LineStream(inbox, 1), LineStream(inbox, 2)
    sys.stdout, sys.stderr = out, err
    return out, err


class Outlets:
    """All ways on which a process speaks to its user: the two streams, the log handler, the warnings.

    Modules that the template has imported may hold on to them, so a fork does not make its own but turns them.

    Args:
        inbox: leads to the manager.
        levels: of loggers, as they are set there.
        identity: ``name`` and ``slot`` of the worker.
    """

    def __init__(self, inbox: Way, levels: Mapping[str, int], identity: Mapping[str, Any]) -> None:
        self._inbox = inbox
        self._levels = levels
        self._identity = identity
        self._streams = redirect(inbox)
        self._handler: ToManager | None = None
        if "logging" in sys.modules:
            self._take_logging()
        else:
            sys.meta_path.insert(0, _Awaited("logging", self._take_logging))
        self._warnings = warnings.showwarning = WarningsToManager(inbox, identity)

    def _take_logging(self) -> None:
        from eisenmp.worker.records import redirect_logging

        self._handler = redirect_logging(self._inbox, self._levels, self._identity)

    def turn(self, inbox: Way, identity: Mapping[str, Any]) -> None:
        """From now on everything goes through that inbox."""
        self._inbox, self._identity = inbox, identity
        for stream in self._streams:
            stream.inbox = inbox
        if self._handler is not None:
            self._handler.address(inbox, identity)
        self._warnings.address(inbox, identity)

    def finish(self) -> None:
        """Send what never got its line end."""
        for stream in self._streams:
            stream.finish()


class _Awaited:
    """An entry of ``sys.meta_path`` that does something right after the first import of a module.

    For ``logging``: to import it in each worker is a tenth of its start-up, and many workers never log.
    """

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """None for other modules: the finders behind this one are asked."""
        if name != self._name:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Follower(spec.loader, self._then)  # type: ignore[assignment]
        return spec


class _Follower:
    """Loads with another loader, leaves that one in its place, and does one thing more."""

    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: Any) -> Any:
        """As the loader has it."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """As the loader has it, and then."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then()
