"""How requests are read and answers written, whatever they are about."""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable

from aiohttp import web

from support.engine_server import shapes
from support.engine_server.events import Filters
from support.engine_server.shapes import Json
from support.engine_server.state import Refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEADERS = {"Api-Version": shapes.VERSION["ApiVersion"], "Docker-Experimental": "false", "Ostype": "linux"}
CREATED, DONE = 201, 204


def refused(status: int, message: str) -> web.Response:
    return web.Response(status=304) if status == 304 else web.json_response({"message": message}, status=status)


@web.middleware
async def speak(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        answer = await handler(request)
    except Refusal as error:
        answer = refused(error.status, str(error))
    except web.HTTPNotFound:
        answer = refused(404, "page not found")
    if not answer.prepared:
        answer.headers.update(HEADERS)
    return answer


async def body(request: web.Request) -> Json:
    return dict(await request.json()) if request.can_read_body else {}


def flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("1", "true")


def filters(request: web.Request) -> Filters:
    given: Json = json.loads(request.query.get("filters") or "{}")
    return {name: list(values) for name, values in given.items()}


def framed(text: str) -> bytes:
    """As stdout of a container without a terminal is sent."""
    data = text.encode()
    return struct.pack(">BxxxL", 1, len(data)) + data if data else b""
