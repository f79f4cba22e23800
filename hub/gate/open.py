"""The gate switched off (ENGINE_ACCESS=socket): what comes goes to the engine as it is, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def relay(socket: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """What a server of asyncio does with each connection: join it with one of its own to `socket`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.close()
            return
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
