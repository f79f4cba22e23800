"""The engine, behind its socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from dockyard.gate.strict import Json, Refused

# Of what the engine says besides the body, docker-py reads these.
_PASSED = ("Content-Type", "Api-Version", "Docker-Experimental", "Ostype", "Swarm", "X-Docker-Container-Path-Stat")
# Maximum bytes of an answer that is read as a whole. A list of thousands of servers is smaller.
LARGEST_ANSWER = 64 * 2**20


class NoAnswer(Exception):
    """The engine can't be reached, or was lost before it had answered."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body)

    def replaced(self, body: Any) -> Answer:
        return Answer(self.status, self.headers, json.dumps(body).encode())


@dataclass(frozen=True)
class Request:
    """What is sent: nothing of it is the client's own text but what was checked."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Json | bytes | None = None
    headers: Mapping[str, str] | None = None


class Engine:
    """Requests to the engine, on connections that are kept. `version` is `/v1.44`, or empty: the engine's own."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        connector = aiohttp.UnixConnector(self._socket, limit=0, keepalive_timeout=600)
        # A compressed answer could become larger than any limit.
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=2**18, auto_decompress=False
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, request: Request, version: str = "") -> Answer:
        """Return the whole answer. Raises NoAnswer if there is none."""
        async with self.open(request, version) as response:
            return Answer(response.status, passed(response), await whole(response))

    @asynccontextmanager
    async def open(self, request: Request, version: str = "") -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer as it begins."""
        assert self._session is not None
        # Else it would compress archives, for nothing.
        headers, body = {"Accept-Encoding": "identity", **(request.headers or {})}, request.body
        if isinstance(body, dict):
            headers["Content-Type"], body = "application/json", json.dumps(body).encode()
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = f"http://engine{version}{quote(request.path, safe='/:')}{query}"
        try:
            response = await self._session.request(
                request.method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(str(error)) from error
        async with response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise NoAnswer("the engine has compressed its answer")
            yield response


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer. Raises Refused if it is too large, NoAnswer if it breaks off."""
    chunks, size = [], 0
    try:
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_ANSWER:
                raise Refused(f"The engine's answer is larger than {LARGEST_ANSWER} bytes.", 502)
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(str(error)) from error
    return b"".join(chunks)


def passed(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: response.headers[name] for name in _PASSED if name in response.headers}
