"""An engine that carries nothing out: it notes what it is asked, and answers from what the test says there is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

Json = dict[str, Any]
NEW = "ee" * 32


@dataclass(frozen=True)
class Seen:
    """A request as it reached the engine; `path` is without the API's version."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recording:
    """`things` are answers to GET by path; `streams` are the bytes of answers that come in pieces."""

    things: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    # Paths whose answers never come, or end in the middle; and how many of the former nobody waits for any more.
    silent: set[str] = field(default_factory=set)
    torn: set[str] = field(default_factory=set)
    given_up: int = 0
    # What orders go to in vain.
    gone: set[str] = field(default_factory=set)
    # What answers to GET say that they are packed by.
    encoding: str = ""

    @property
    def orders(self) -> list[Seen]:
        """All but looks at what there is, which are written by nobody but the gate."""
        return [one for one in self.seen if one.method not in ("GET", "HEAD") or one.body or one.query]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = unquote(request.path)
        path = "/" + path.split("/", 2)[2] if path.startswith("/v1.") else path
        one = Seen(request.method, path, dict(request.query), dict(request.headers), await request.read())
        self.seen.append(one)
        if path in self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        if path in self.streams:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for piece in self.streams[path]:
                await response.write(piece)
            if path in self.torn and request.transport:
                request.transport.abort()
            return response
        if one.method == "GET":
            if path in self.things:
                headers = {"Content-Encoding": self.encoding} if self.encoding else None
                return web.json_response(self.things[path], headers=headers)
            return web.json_response({"message": f"no such thing: {path}"}, status=404)
        if path in self.gone:
            return web.json_response({"message": f"no such thing: {path}"}, status=404)
        if path.endswith(("/create", "/exec")):
            said = {
                "Id": NEW,
                "ID": NEW,
                **({"Name": one.json["Name"], "Labels": one.json.get("Labels")} if path == "/volumes/create" else {}),
            }
            return web.json_response(said, status=201)
        return web.Response(status=200 if one.method == "PUT" else 204)


@asynccontextmanager
async def recording(socket: Path) -> AsyncIterator[Recording]:
    engine = Recording()
    runner = web.ServerRunner(web.Server(engine.answer, handler_cancellation=True))
    await runner.setup()
    try:
        await web.UnixSite(runner, str(socket)).start()
        yield engine
    finally:
        await runner.cleanup()
