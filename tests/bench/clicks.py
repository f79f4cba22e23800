"""Users of a hub who click on start, and how long they wait."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable

import aiohttp

from bench.figures import FAILED
from support.jupyterhub import Hub
from support.wait import until

Wait = Callable[[aiohttp.ClientSession], Awaitable[float]]


def clicks(hub: Hub, names: Iterable[str]) -> list[float]:
    """Seconds that each of these users waits for a server; all click at once."""
    return asyncio.run(_together(hub, [lambda http, name=name: _click(http, hub, name) for name in names]))


def halt(hub: Hub, names: Iterable[str]) -> None:
    """Stop these users' servers, and return when all are gone."""
    asyncio.run(_together(hub, [lambda http, name=name: _halt(http, hub, name) for name in names]))


async def _together(hub: Hub, waits: list[Wait]) -> list[float]:
    headers = {"Authorization": f"token {hub.token}"}
    timeout = aiohttp.ClientTimeout(total=300)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as http:
        return list(await asyncio.gather(*(wait(http) for wait in waits)))


async def _click(http: aiohttp.ClientSession, hub: Hub, name: str) -> float:
    """From the request to the event that says ready; FAILED where that never comes."""
    server = f"{hub.api}/users/{name}/server"
    began = time.perf_counter()
    async with http.post(server) as answer:
        if answer.status >= 400:
            return FAILED
    async with http.get(f"{server}/progress") as stream:
        async for line in stream.content:
            event = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if event.get("ready"):
                return time.perf_counter() - began
    return FAILED


async def _halt(http: aiohttp.ClientSession, hub: Hub, name: str) -> float:
    began = time.perf_counter()
    user = f"{hub.api}/users/{name}"

    async def gone() -> bool:
        async with http.delete(f"{user}/server") as answer:
            if answer.status in (204, 404):
                return True
        async with http.get(user) as answer:
            return not (await answer.json())["servers"]

    await until(gone, timeout=150, interval=0.2, what=f"{name}'s server stopped")
    return time.perf_counter() - began


def enroll(hub: Hub, names: Iterable[str]) -> None:
    """Have these users, so that making them is in nobody's wait."""
    for name in names:
        hub.user(name)
