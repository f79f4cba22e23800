"""A gate before a recording engine. The kit is called `kit`; others on the engine are not."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gate.audit import Audit
from gate.server import Server
from gate.swarmcalls import SwarmCalls
from gate.upstream import Engine
from support.bodies import ALLOWED, THINGS
from support.gate import Gate
from support.recording import recording


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    async with recording(tmp_path / "engine.sock") as behind:
        behind.things |= THINGS
        engine, audit = Engine(str(tmp_path / "engine.sock")), io.StringIO()
        await engine.start()
        runner = Server(SwarmCalls(engine, ALLOWED), Audit(audit), body_timeout=0.2).runner()
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            async with aiohttp.ClientSession() as session:
                yield Gate(f"http://127.0.0.1:{port}", behind, audit, session)
        finally:
            await runner.cleanup()
            await engine.close()
