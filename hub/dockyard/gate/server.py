"""The gate's side towards the hub: HTTP in, read strictly; the engine's answer, or a refusal, out."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import traceback
from typing import Any

import aiohttp
from aiohttp import web

from dockyard.gate import routes, strict
from dockyard.gate.audit import Audit, reference
from dockyard.gate.calls.engine import Call, Outcome, Relay
from dockyard.gate.calls.owned import Rejected
from dockyard.gate.calls.swarm import SwarmCalls
from dockyard.gate.strict import Refused
from dockyard.gate.upstream import Answer, NoAnswer, passed, whole
from dockyard.settings.gatelink import TOKEN_HEADER

# Seconds in which a body has to be there.
BODY_TIMEOUT = 10.0
# Seconds in which a new connection has to send the head of a request.
HEAD_TIMEOUT = 10.0
# Maximum number of connections, concurrent calls and streamed answers. A hub has some dozens; each takes memory.
MOST_CONNECTIONS, MOST_CALLS, MOST_STREAMS = 256, 64, 64
# Seconds between the head of an upgraded connection and what comes on it.
_AFTER_HEAD = 0.1
# An event that is longer is left out; what it is about may be anybody's.
_LONGEST_LINE = 2**20
_JSON = {"Content-Type": "application/json"}
_REGISTRY_AUTH = re.compile(r"[A-Za-z0-9_=+/-]{0,16384}")


class _Refusing(asyncio.Protocol):
    """A connection above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class _Connections(web.Server):
    """A server that limits its connections, and closes those that send no request."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # Connections that have sent a request.
        self.heard: set[Any] = set()

    def __call__(self) -> Any:
        if len(self.connections) >= MOST_CONNECTIONS:
            return _Refusing()
        handler = super().__call__()
        self._loop.call_later(HEAD_TIMEOUT, self._end_if_silent, handler)
        return handler

    def _end_if_silent(self, handler: Any) -> None:
        if handler not in self.heard and handler.transport is not None:
            handler.transport.abort()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self.heard.discard(handler)
        super().connection_lost(handler, exc)


class Server:
    """Serves requests one by one. A refused request has not reached the engine.

    With a `token`, the server refuses a request without it unread.
    """

    def __init__(self, calls: SwarmCalls, audit: Audit, body_timeout: float = BODY_TIMEOUT, token: str = "") -> None:
        self._calls = calls
        self._audit = audit
        self._body_timeout = body_timeout
        self._token = token
        self._at_work = asyncio.Semaphore(MOST_CALLS)
        self._streams = 0

    def runner(self) -> web.ServerRunner:
        server = self._server = _Connections(
            self._serve,
            # A client that disconnects cancels its request.
            handler_cancellation=True,
            lingering_time=0,
            # The client reuses connections, and must not find them closed.
            keepalive_timeout=3600,
            access_log=None,
            # Otherwise a client could fill the log: each request that is not HTTP would be a traceback.
            logger=logging.Logger("gate.http", logging.CRITICAL + 1),
        )
        return web.ServerRunner(server, shutdown_timeout=1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._server.heard.add(request.protocol)
        about: dict[str, Any] = {}
        try:
            self._check_token(request)
            # Before the body is read, which stays in memory until the answer.
            async with self._at_work:
                route, call = await self._read(request)
                about = call.about
                try:
                    outcome = await self._outcome(route, call)
                except asyncio.CancelledError:
                    self._given_up(request, route, about)
                    raise
            try:
                response = await self._answer(request, call, outcome)
            except asyncio.CancelledError:
                self._given_up(request, route, about)
                raise
        except Refused as refused:
            # Without the path, so that the log counts all requests of one client as one line.
            path = "" if refused.status == 401 else request.raw_path
            return self._refused(request, path, refused, about)
        except NoAnswer as error:
            # The client has to see what it would see without a gate: a connection that is lost.
            self._audit.note("failed", request.method, request.raw_path, 502, str(error), about)
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from error
        except OSError:
            # The client has gone.
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            why = f"The gate has a fault: {error!r} at line {last.lineno} of {last.filename}."
            return self._refused(request, request.raw_path, Refused(why, 500), about)
        if route.is_order:
            self._audit.note("done", request.method, request.raw_path, response.status, about=about)
        return response

    def _given_up(self, request: web.BaseRequest, route: routes.Route, about: dict[str, Any]) -> None:
        """Log a call that the client no longer waits for: the engine may have carried it out, or sent a part."""
        if route.is_order:
            self._audit.note("given up", request.method, request.raw_path, 0, about=about)

    def _refused(
        self, request: web.BaseRequest, path: str, refused: Refused, about: dict[str, Any]
    ) -> web.StreamResponse:
        self._audit.note("refused", request.method, path, refused.status, str(refused), about)
        response = _json(refused.status, {"message": _answered(refused)})
        if refused.status != 404:
            response.force_close()
        return response

    # In

    def _check_token(self, request: web.BaseRequest) -> None:
        given = request.headers.getall(TOKEN_HEADER, [""])
        if self._token and not (len(given) == 1 and _is_same(given[0], self._token)):
            raise Refused(f"A request from {request.remote} lacks the token of the hub.", 401)

    async def _read(self, request: web.BaseRequest) -> tuple[routes.Route, Call]:
        if request.version != aiohttp.HttpVersion11:
            raise Refused("The gate speaks HTTP/1.1.", 400)
        version, path, query = strict.split(request.raw_path)
        method = "GET" if request.method == "HEAD" and path == "/_ping" else request.method
        route, names = routes.find(method, path, self._calls.allowed.swarm)
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

    async def _outcome(self, route: routes.Route, call: Call) -> Outcome:
        try:
            return await route.serve(self._calls, call)
        except Rejected as rejected:
            answer = rejected.answer
            # The same text as for an object of another kit.
            return Answer(404, _JSON, json.dumps(answer.json()).encode()) if answer.status == 404 else answer

    async def _answer(self, request: web.BaseRequest, call: Call, outcome: Outcome) -> web.StreamResponse:
        if isinstance(outcome, Answer):
            body = b"" if request.method == "HEAD" else outcome.body
            return web.Response(status=outcome.status, headers=outcome.headers, body=body)
        if self._streams >= MOST_STREAMS:
            raise Refused(f"More than {MOST_STREAMS} streamed answers are open.", 503)
        self._streams += 1
        try:
            return await self._streamed(request, outcome, call)
        finally:
            self._streams -= 1

    async def _streamed(self, request: web.BaseRequest, outcome: Relay, call: Call) -> web.StreamResponse:
        async with self._calls.engine.open(outcome.request, call.version) as answer:
            if answer.status >= 300:
                return web.Response(status=answer.status, headers=passed(answer), body=await whole(answer))
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


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _answered(refused: Refused) -> str:
    """Return the answer to the hub, which may show it to users. For a missing object, it is the engine's sentence."""
    why = str(refused)
    if refused.status == 404:
        return why
    what = (
        "The gate can't serve the request." if refused.status >= 500 else "The policy of this hub forbids the request."
    )
    return f"{what} Ask an administrator: the log of the service gate has the reason, reference {reference(why)}."


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
