"""The live page: a small web server in a thread of the manager. It needs the extra ``eisenmp[web]``.

`app` answers requests, `gate` decides who may ask, `stream` tells browsers each state, `metrics` tells Prometheus,
`page` has the thread.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from eisenmp.address import Address
from eisenmp.errors import SettingsError
from eisenmp.live import Live

if TYPE_CHECKING:
    from eisenmp.web.page import Page

__all__ = ["open_page"]

_PARTS: Final = {"starlette": "starlette", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}


def open_page(address: Address, token: str | None, live: Live) -> Page:
    """Serve a live view, from now on until :meth:`Page.close`.

    Args:
        address: where.
        token: what to ask for; None: one that nobody can guess.
        live: what is shown, and what may be done.

    Raises:
        SettingsError: nobody can listen there, or the extra is not installed.
    """
    _see_to_parts()
    from eisenmp.live.durations import Durations
    from eisenmp.web.metrics import Exposition
    from eisenmp.web.page import Page

    durations = Durations()
    live.on_look.append(durations.add)
    page = Page(address, token, live, Exposition(lambda: live.state, durations).text)
    live.begin()
    page.start()
    return page


def _see_to_parts() -> None:
    missing = [name for module, name in _PARTS.items() if find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"DASHBOARD needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "pip install 'eisenmp[web]'"
        )
