from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dockerspawner import readiness

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def server(answer: bytes, refuse: int = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server whose first `refuse` connections end without an answer; its port, and the requests it got."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if len(requests) > refuse:
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], requests


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"503 Busy"])
async def test_any_status_is_an_answer(status: bytes) -> None:
    async with server(b"HTTP/1.1 " + status + b"\r\n\r\n") as (port, requests):
        await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=5)
    assert len(requests) == 1
    assert requests[0].startswith(b"GET /user/ann/api HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_connection_without_an_answer_is_tried_again() -> None:
    async with server(b"HTTP/1.0 200 OK\r\n\r\n", refuse=3) as (port, requests):
        await readiness.ready("127.0.0.1", port, "/api", never, timeout=5)
    assert len(requests) == 4


async def test_what_is_not_http_is_no_answer() -> None:
    async with server(b"SSH-2.0-x\r\n") as (port, _):
        assert not await readiness.answers("127.0.0.1", port, "/api")


async def test_nobody_listens() -> None:
    async with server(b"") as (port, _):
        pass
    assert not await readiness.answers("127.0.0.1", port, "/api")
    with pytest.raises(asyncio.TimeoutError):
        await readiness.ready("127.0.0.1", port, "/api", never, timeout=0.1)


async def test_death_ends_the_wait() -> None:
    async def dies() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("dead")

    async with server(b"") as (port, _):
        with pytest.raises(RuntimeError, match="dead"):
            await readiness.ready("127.0.0.1", port, "/api", dies, timeout=30)


async def test_nothing_goes_on_after_a_cancel() -> None:
    async with server(b"") as (port, _):
        waiting = asyncio.create_task(readiness.ready("127.0.0.1", port, "/", never, timeout=30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(asyncio.all_tasks()) == 1
