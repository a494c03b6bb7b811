"""A Starlette application under uvicorn, in a worker. ``app`` alone runs under any other server as well."""

import os
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import eisenmp


async def who(request: Request) -> JSONResponse:
    """Which process answers."""
    return JSONResponse({"pid": os.getpid()})


async def health(request: Request) -> PlainTextResponse:
    """For HEALTH_CHECK."""
    return PlainTextResponse("well")


app = Starlette(routes=[Route("/", who), Route("/health", health)])


class Farewell:
    """Asks clients to come back by a new connection once this worker is about to be replaced.

    Without it, clients that keep their connections open would be cut off in the middle of the next request: nothing
    tells a server from outside that it is to close connections that are still in use.
    """

    def __init__(self, app: ASGIApp, leaving: threading.Event) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, answer if self._leaving.is_set() else send)


def worker_entrance(toolbox: Any) -> bool:
    """Serve until SIGTERM, for which uvicorn has its own handler."""
    listening = eisenmp.listen(toolbox.port)
    config = uvicorn.Config(Farewell(app, toolbox.leaving), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])
    return False
