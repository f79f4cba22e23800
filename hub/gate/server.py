"""The gate's side towards the hub: HTTP in, read strictly; the engine's answer, or a refusal, out."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
from aiohttp import web

from gate import routes, strict
from gate.audit import Audit
from gate.calls import Call, Relay
from gate.owned import Told
from gate.strict import Refused
from gate.swarmcalls import SwarmCalls
from gate.upstream import Answer, NoAnswer, passed

# Seconds in which a body has to be there.
BODY_TIMEOUT = 10.0
# Seconds between the head of an upgraded connection and what comes on it.
_AFTER_HEAD = 0.1
# An event that is longer is left out; what it is about may be anybody's.
_LONGEST_LINE = 2**20
_REGISTRY_AUTH = re.compile(r"[A-Za-z0-9_=+/-]{0,16384}")


class Server:
    """Serves requests one by one. What was refused has not reached the engine."""

    def __init__(self, calls: SwarmCalls, audit: Audit, body_timeout: float = BODY_TIMEOUT) -> None:
        self._calls = calls
        self._audit = audit
        self._body_timeout = body_timeout

    def runner(self) -> web.ServerRunner:
        server = web.Server(
            self._serve,
            # Who hangs up calls off what was asked for.
            handler_cancellation=True,
            lingering_time=0,
            # The client reuses connections, and must not find them closed.
            keepalive_timeout=3600,
            access_log=None,
        )
        return web.ServerRunner(server, shutdown_timeout=1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            route, call = await self._read(request)
            try:
                response = await self._answer(request, route, call)
            except asyncio.CancelledError:
                if route.is_order:
                    # The engine may carry it out all the same; some of what was asked for may have been read.
                    self._audit.note("given up", request.method, request.raw_path, 0)
                raise
        except Refused as refused:
            self._audit.note("refused", request.method, request.raw_path, refused.status, str(refused))
            response = _json(refused.status, {"message": str(refused)})
            if refused.status != 404:
                response.force_close()
            return response
        except NoAnswer as error:
            # The client has to see what it would see without a gate: a connection that is lost.
            self._audit.note("failed", request.method, request.raw_path, 502, str(error))
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from error
        if route.is_order:
            self._audit.note("done", request.method, request.raw_path, response.status)
        return response

    # In

    async def _read(self, request: web.BaseRequest) -> tuple[routes.Route, Call]:
        if request.version != aiohttp.HttpVersion11:
            raise Refused("The gate speaks HTTP/1.1.", 400)
        version, path, query = strict.split(request.raw_path)
        method = "GET" if request.method == "HEAD" and path == "/_ping" else request.method
        route, names = routes.find(method, path)
        values = strict.query(query, route.query)
        body = await self._body(request, route)
        auth = request.headers.get("X-Registry-Auth", "")
        if not _REGISTRY_AUTH.fullmatch(auth):
            raise Refused("The header X-Registry-Auth is not of its form.", 400)
        return route, Call(version, names, values, body, auth)

    async def _body(self, request: web.BaseRequest, route: routes.Route) -> bytes:
        headers = request.headers
        if "Transfer-Encoding" in headers or "Expect" in headers or "Content-Encoding" in headers:
            raise Refused("A body is sent as it is, with its length.", 400)
        if "Upgrade" in headers and not route.upgrade:
            # What came on such a connection would be kept, and read by nobody.
            raise Refused("Only the output of a command upgrades its connection.", 400)
        if any(len(headers.getall(name, [])) > 1 for name in ("Content-Length", "Content-Type", "Host")):
            raise Refused("A header is there twice.", 400)
        length = request.content_length or 0
        if length > strict.LARGEST_BODY:
            raise Refused("The body is too large.", 413)
        if length and not (route.json or route.archive):
            raise Refused("This call has no body.", 400)
        if route.json and headers.get("Content-Type") != "application/json":
            raise Refused("The body has to be application/json.", 415)
        if not length:
            return b""
        try:
            return await asyncio.wait_for(request.content.readexactly(length), self._body_timeout)
        except asyncio.TimeoutError:
            raise Refused("The body was not sent in time.", 408) from None
        except (asyncio.IncompleteReadError, aiohttp.ClientError, web.RequestPayloadError):
            raise Refused("The body has another length than it says.", 400) from None

    # Out

    async def _answer(self, request: web.BaseRequest, route: routes.Route, call: Call) -> web.StreamResponse:
        try:
            outcome = await route.serve(self._calls, call)
        except Told as told:
            outcome = told.answer
            if outcome.status == 404:
                # To the letter as of what is somebody else's.
                return _json(404, outcome.json())
        if isinstance(outcome, Answer):
            body = b"" if request.method == "HEAD" else outcome.body
            return web.Response(status=outcome.status, headers=outcome.headers, body=body)
        async with self._calls.engine.open(outcome.request, call.version) as answer:
            if answer.status >= 300:
                return web.Response(status=answer.status, headers=passed(answer), body=await answer.read())
            if outcome.upgrade:
                return await self._upgraded(request, answer)
            response = web.StreamResponse(status=answer.status, headers=passed(answer))
            await response.prepare(request)
            try:
                async for chunk in _lines(answer, outcome) if outcome.keep else answer.content.iter_any():
                    await response.write(chunk)
            except (aiohttp.ClientError, OSError) as error:
                raise NoAnswer(str(error)) from error
            return response

    async def _upgraded(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """The output of a command. docker-py reads it from the connection itself."""
        headers = passed(answer) | {"Connection": "Upgrade", "Upgrade": "tcp"}
        response = web.StreamResponse(status=101, headers=headers)
        await response.prepare(request)
        # docker-py loses what comes with the head; an engine's command takes as long to begin.
        await asyncio.sleep(_AFTER_HEAD)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(str(error)) from error
        if request.transport is not None:
            request.transport.close()
        return response


async def _lines(answer: aiohttp.ClientResponse, relay: Relay) -> Any:
    """The lines of a stream that may be handed on."""
    assert relay.keep is not None
    rest, is_cut = b"", False
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not is_cut and line.strip() and (kept := relay.keep(json.loads(line))) is not None:
                yield json.dumps(kept).encode() + b"\n"
            is_cut = False
        if len(rest) > _LONGEST_LINE:
            rest, is_cut = b"", True


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
