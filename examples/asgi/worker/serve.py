"""A Starlette application under uvicorn, in a worker. ``app`` alone runs under any other server as well."""

import os
import threading
from datetime import date, timedelta
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


async def calendar(request: Request) -> JSONResponse:
    """All days of a year with weekday and ISO week: a page that takes some milliseconds to make."""
    year = request.path_params["year"]
    if not 1 <= year < date.max.year:
        return JSONResponse({"error": f"a year from 1 to {date.max.year - 1}, not {year}"}, status_code=404)
    first = date(year, 1, 1)
    days = [first + timedelta(at) for at in range((date(year + 1, 1, 1) - first).days)]
    return JSONResponse([{"day": str(day), "name": f"{day:%A}", "week": day.isocalendar().week} for day in days])


async def health(request: Request) -> PlainTextResponse:
    """For HEALTH_CHECK."""
    return PlainTextResponse("well")


app = Starlette(routes=[Route("/", who), Route("/calendar/{year:int}", calendar), Route("/health", health)])


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
