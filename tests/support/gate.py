"""A gate of a test's own: before a recording engine, or before a real one.

python -m support.gate SOCKET PROJECT IMAGE: one that is a process of its own, until its standard input ends.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from dockyard.gate.audit import Audit
from dockyard.gate.calls.swarm import SwarmCalls
from dockyard.gate.policy.allowed import Allowed
from dockyard.gate.server import BODY_TIMEOUT, Server
from dockyard.gate.upstream import Engine
from support.recording import Recording
from support.wait import until


@asynccontextmanager
async def opened(
    allowed: Allowed, socket: str | Path, audit: io.StringIO, body_timeout: float = BODY_TIMEOUT, token: str = ""
) -> AsyncIterator[str]:
    """Where a gate before the engine at `socket` listens, host:port."""
    engine = Engine(str(socket))
    runner = Server(SwarmCalls(engine, allowed), Audit(audit), body_timeout, token).runner()
    await engine.start()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await engine.close()


@dataclass
class Gate:
    """What a hub on one host, or on a swarm, speaks to; what is behind it, and what it has noted."""

    address: str
    on_swarm: str
    engine: Recording
    audit: io.StringIO
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def address_for(self, path: str) -> str:
        """The address of the gate that has such calls."""
        return self.on_swarm if re.search(r"^(/v1\.\d+)?/(services|tasks|nodes|secrets)\b", path) else self.address

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer of a request; a body that is not bytes is sent as JSON."""
        text = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = text and io.BytesIO(text)
        sent = {"Content-Type": "application/json", **headers} if data is not None else headers
        url = f"http://{self.address_for(path)}{path}"
        async with self.session.request(method, url, data=data, headers=sent) as answer:
            said = await answer.read()
            return answer.status, json.loads(said) if said.startswith((b"{", b"[")) else said

    def notes(self) -> list[Any]:
        return [json.loads(line) for line in self.audit.getvalue().splitlines()]


async def no_relay_left() -> None:
    """Return when each connection of a gate that is switched off has ended: the loop would leave their sockets open."""

    async def ended() -> bool:
        return not any("relay.<locals>" in str(task.get_coro()) for task in asyncio.all_tasks())

    await until(ended, timeout=10)


async def main(socket: str, project: str, image: str) -> None:
    async with opened(Allowed(project, (re.escape(image),)), socket, io.StringIO()) as address:
        print(json.dumps(address), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
