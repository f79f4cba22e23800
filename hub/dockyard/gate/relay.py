"""The gate switched off (ENGINE_ACCESS=socket): what comes goes to the engine as it is, and back."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable

from dockyard.settings.gatelink import TOKEN_HEADER

# Seconds and bytes that the head of a connection's first request may take.
_HEAD_TIMEOUT, _LONGEST_HEAD = 10.0, 2**16


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _head(reader: asyncio.StreamReader, token: str) -> bytes | None:
    """Return the head of the first request if it has the token, else None."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_TIMEOUT)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    given = re.findall(rb"\r\n%b:[ \t]*([^\r\n]*)" % TOKEN_HEADER.encode(), head, re.IGNORECASE)
    is_known = len(given) == 1 and hmac.compare_digest(given[0].rstrip(), token.encode())
    return head if is_known and len(head) <= _LONGEST_HEAD else None


def relay(socket: str, token: str = "") -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return a handler for asyncio's server that joins each connection with a new one to `socket`.

    With a `token`, it joins only connections whose first request has the token.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head(reader, token) if token else b""
        if head is None:
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        try:
            engine_reader, engine_writer = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
        engine_writer.write(head)
        pumps = [
            asyncio.ensure_future(_pump(reader, engine_writer)),
            asyncio.ensure_future(_pump(engine_reader, writer)),
        ]
        try:
            # Where one side has hung up, or is lost, nothing is left to be said.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in (engine_writer, writer):
                one.close()

    return serve
