"""Is the server answering yet, or did it die instead?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

FIRST_PAUSE = 0.025
LONGEST_PAUSE = 0.25
GROWTH = 1.2
# A server that has accepted a connection may still be loading: longer than that one answer takes.
ANSWER_TIMEOUT = 5.0


async def answers(host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> bool:
    """Does anything answer HTTP there, whatever its status? A TCP connection alone is no answer.

    With `tls` a handshake is one.
    """
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        if tls is not None:
            return True
        name = f"[{host}]" if ":" in host else host
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read(5)).startswith(b"HTTP/")
    except OSError:
        return False
    finally:
        if writer is not None:
            writer.close()


async def until_answering(host: str, port: int, path: str, tls: ssl.SSLContext | None = None) -> None:
    """Return as soon as it is answered: tried every 25 ms at first, then less and less often, to 250 ms."""
    pause = FIRST_PAUSE
    while True:
        try:
            if await asyncio.wait_for(answers(host, port, path, tls), ANSWER_TIMEOUT):
                return
        except asyncio.TimeoutError:
            pass
        await asyncio.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_PAUSE)


async def ready(
    host: str,
    port: int,
    path: str,
    watch_over: Callable[[], Coroutine[Any, Any, None]],
    timeout: float,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Return once the server answers HTTP, or with `tls` a handshake.

    `watch_over` runs meanwhile; what it raises, because the server is dead, is raised here.
    asyncio.TimeoutError after `timeout` seconds.
    """
    race = [asyncio.ensure_future(until_answering(host, port, path, tls)), asyncio.ensure_future(watch_over())]
    try:
        done, _ = await asyncio.wait(race, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise asyncio.TimeoutError
        for runner in race:
            if runner in done:
                return runner.result()
    finally:
        for runner in race:
            runner.cancel()
        await asyncio.gather(*race, return_exceptions=True)
