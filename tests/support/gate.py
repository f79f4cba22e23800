"""A gate before a recording engine."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from support.recording import Recording


@dataclass
class Gate:
    """What a hub speaks to, what is behind it, and what it has noted."""

    url: str
    engine: Recording
    audit: io.StringIO
    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer of a request; a body that is not bytes is sent as JSON."""
        text = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = text and io.BytesIO(text)
        sent = {"Content-Type": "application/json", **headers} if data is not None else headers
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            said = await answer.read()
            return answer.status, json.loads(said) if said.startswith((b"{", b"[")) else said

    def notes(self) -> list[Any]:
        return [json.loads(line) for line in self.audit.getvalue().splitlines()]
