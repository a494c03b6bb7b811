"""The answers of the live page's server. All of them are quick, and given on its one thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from eisenmp.errors import JobOver, SettingsError
from eisenmp.live.actions import UnknownActionError
from eisenmp.web import Shown
from eisenmp.web.stream import events

__all__ = ["make_app"]

_BODY: Final = 4096  # bytes of a request at most
_TYPES: Final = {
    "html": "text/html",
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}

Metrics = Callable[[], tuple[bytes, str]]


def make_app(shown: Shown, metrics: Metrics) -> Starlette:
    """The server's application, without the gate before it.

    Args:
        shown: what is shown, and what may be done.
        metrics: for Prometheus: (text, its type).
    """
    parts = _static()

    async def page(_: Request) -> Response:
        return parts["index.html"]

    async def static(request: Request) -> Response:
        part = parts.get(request.path_params["path"])
        if part is None:
            raise HTTPException(404, "there is no such file")
        return part

    async def tell(_: Request) -> Response:
        return StreamingResponse(events(shown), media_type="text/event-stream")

    async def measure(_: Request) -> Response:
        text, kind = metrics()
        return Response(text, media_type=kind)

    async def act(request: Request) -> Response:
        if shown.actions is None:
            raise UnknownActionError("nothing can be done to this job")
        arguments = await _arguments(request)
        said = shown.actions.do(request.path_params["name"], arguments)
        return JSONResponse({"said": said})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{path:path}", static),
            Route("/events", tell),
            Route("/metrics", measure),
            Route("/actions/{name}", act, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _refuse,
            SettingsError: _refused(400),
            JobOver: _refused(409),
            UnknownActionError: _refused(404),
        },
    )


def _static() -> Mapping[str, Response]:
    """The files of the page, by path; read once, so that no request opens a file."""
    found: dict[str, Response] = {}
    todo = [("", files("eisenmp.web").joinpath("static"))]
    while todo:
        prefix, folder = todo.pop()
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            if entry.is_dir():
                todo.append((f"{path}/", entry))
                continue
            kind = _TYPES.get(path.rpartition(".")[2])
            if kind is not None:
                headers = {"Cache-Control": "no-cache"}
                found[path] = Response(entry.read_bytes(), headers=headers, media_type=f"{kind}; charset=utf-8")
    return found


async def _arguments(request: Request) -> dict[str, Any]:
    """The JSON object that came with a request."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "the arguments must come as application/json")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY:
            raise HTTPException(413, f"the arguments are more than {_BODY} bytes")
    try:
        arguments = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the arguments are no JSON") from None
    if not isinstance(arguments, dict):
        raise HTTPException(400, "the arguments are no JSON object")
    return arguments


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _refused(status: int) -> Callable[[Request, Exception], Any]:
    async def answer(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status)

    return answer
