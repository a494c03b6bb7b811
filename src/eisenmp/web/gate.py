"""Who may ask for what. Stands before all else, and puts on every answer what browsers are to hold to."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from eisenmp.address import Address

__all__ = ["Gate"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ELSE: Final = {"Cache-Control": "no-store"}


class Gate:
    """Lets through who asks by a name of ours, with the token; the page itself and its files need none.

    Args:
        app: what is behind it.
        address: where it is served.
        token: what to show.
    """

    def __init__(self, app: App, address: Address, token: str) -> None:
        self._app = app
        self._address = address
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # the server speaks nothing else
        answer = self._refusal(scope) or self._app

        async def send_marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message["headers"])}  # an answer may be given again
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                for name, value in _ELSE.items():
                    headers.setdefault(name, value)
            await send(message)

        await answer(scope, receive, send_marked)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        if not self._address.answers_to(host):
            return _error(403, f"the Host header {host!r} names another machine")
        path = scope["path"]
        if path == "/" or path.startswith("/static/"):
            return None
        if not self._has_token(headers.get("authorization", "")):
            return _error(
                401, "the token is missing or wrong: the job has printed it", **{"WWW-Authenticate": "Bearer"}
            )
        if scope["method"] not in ("GET", "HEAD") and not _is_from_here(headers, host or ""):
            return _error(403, "the request comes from a page of another site")
        return None

    def _has_token(self, shown: str) -> bool:
        kind, _, token = shown.partition(" ")
        # as bytes, since texts are compared in constant time only where they are ASCII
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)


def _is_from_here(headers: Headers, host: str) -> bool:
    """Whether a browser that asks says that a page of ours does; who says nothing is no browser."""
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return False
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _error(status: int, text: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)
