"""What can go wrong between a client and the engine: counted, failed, held up and unanswered calls."""

from __future__ import annotations

import asyncio
import fnmatch
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.engine_server.answers import Handler, refused

FAIL, GARBLE, HANG, SLOW = "fail", "garble", "hang", "slow"


@dataclass
class Fault:
    """Befalls the calls that match `route`, such as `GET /containers/*/json`; `times` None is until cleared.

    `after`: the order is carried out first, and its answer fails or hangs.
    """

    route: str
    kind: str
    times: int | None = None
    status: int = 500
    message: str = "something went wrong"
    seconds: float = 0
    after: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """The middleware in front of the API."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._answering = asyncio.Event()
        self._answering.set()
        self._orders: set[asyncio.Task[Any]] = set()

    def set_deaf(self, deaf: bool) -> None:
        """Deaf: connections are accepted and nothing is ever answered."""
        (self._answering.clear if deaf else self._answering.set)()

    def clear(self) -> None:
        """No more faults; the calls that hang go on."""
        for fault in self.faults:
            fault.over.set()
        self.faults.clear()

    @web.middleware
    async def meddle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        self.calls[route] += 1
        if request.match_info.http_exception is not None or route.endswith("/events"):
            await self._answering.wait()
            return await self._befall(request, handler, route)
        # As in the engine, an order is carried out although the one who gave it has hung up.
        order = asyncio.ensure_future(self._befall(request, handler, route))
        self._orders.add(order)
        order.add_done_callback(self._orders.discard)
        return await asyncio.shield(order)

    async def _befall(self, request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
        await self._answering.wait()
        fault = self._next(f"{request.method} {_unversioned(request.path)}", route)
        if fault is None:
            return await handler(request)
        if fault.kind == SLOW:
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        answer = await handler(request) if fault.after else None
        if fault.kind == FAIL:
            return refused(fault.status, fault.message)
        if fault.kind == GARBLE:
            return web.Response(text=fault.message, content_type="application/json")
        await fault.over.wait()
        return answer or await handler(request)

    def _next(self, *names: str) -> Fault | None:
        for fault in self.faults:
            if any(fnmatch.fnmatchcase(name, fault.route) for name in names) and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def route_of(request: web.Request) -> str:
    """The name under which a call is counted: `GET /containers/{id}/json`."""
    resource = request.match_info.route.resource
    path = resource.canonical.removeprefix("/v{version}") if resource else _unversioned(request.path)
    return f"{request.method} {path}"


def _unversioned(path: str) -> str:
    head, _, rest = path.removeprefix("/").partition("/")
    return f"/{rest}" if head[:1] == "v" and head[1:].replace(".", "").isdigit() else path
