"""The live page: a small web server in a thread of the manager. It needs the extra ``eisenmp[web]``.

`app` answers requests, `gate` decides who may ask, `stream` tells browsers each state, `metrics` tells Prometheus,
`page` has the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from eisenmp.address import Address
from eisenmp.errors import SettingsError

if TYPE_CHECKING:
    from eisenmp.live.actions import Doer
    from eisenmp.live.durations import Durations
    from eisenmp.web.page import Page

__all__ = ["Shown", "open_page"]

_PARTS: Final = {"starlette": "starlette", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}


class Shown(Protocol):
    """What is shown: a live view, of this process or another; see :class:`eisenmp.live.Live`."""

    @property
    def state(self) -> Mapping[str, Any] | None: ...
    @property
    def actions(self) -> Doer | None: ...
    def subscribe(self, send: Callable[[bytes], None]) -> Callable[[], None]: ...


def open_page(address: Address, token: str | None, shown: Shown, durations: Durations | None = None) -> Page:
    """Serve a live view, from now on until :meth:`Page.close`.

    Args:
        address: where.
        token: what to ask for; None: one that nobody can guess.
        shown: what is shown, and what may be done.
        durations: of chunks, for ``/metrics``.

    Raises:
        SettingsError: nobody can listen there, or the extra is not installed.
    """
    _see_to_parts()
    from eisenmp.web.metrics import Exposition
    from eisenmp.web.page import Page

    page = Page(address, token, shown, Exposition(lambda: shown.state, durations).text)
    page.start()
    return page


def _see_to_parts() -> None:
    missing = [name for module, name in _PARTS.items() if find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"DASHBOARD needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'eisenmp[web]'"
        )
