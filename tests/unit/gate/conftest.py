"""A gate before a recording engine. The kit is called `kit`; others on the engine are not."""

from __future__ import annotations

import copy
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from support.bodies import ALLOWED, THINGS
from support.gate import Gate, opened
from support.recording import recording


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    socket, audit = tmp_path / "engine.sock", io.StringIO()
    async with (
        recording(socket) as engine,
        opened(ALLOWED, socket, audit, body_timeout=0.2) as address,
        opened(replace(ALLOWED, swarm=True), socket, audit, body_timeout=0.2) as on_swarm,
        aiohttp.ClientSession() as session,
    ):
        engine.things |= copy.deepcopy(THINGS)
        yield Gate(address, on_swarm, engine, audit, session)
