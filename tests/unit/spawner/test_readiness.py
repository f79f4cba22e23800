from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from dockerspawner._start import readiness
from dockerspawner._start.readiness import Answer, NotReady, Verdict, WrongServer

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]

VERSION = b"X-JupyterHub-Version: 5.3.0\r\n"
OURS = b"HTTP/1.1 200 OK\r\n" + VERSION + b"\r\n"
own = readiness.own_server("/user/ann/", "jupyterhub-user-ann")


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that sends the answers in turn, then repeats the last one; yields its port and its requests."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(requests), len(answers)) - 1])

    async with serving(serve) as port:
        yield port, requests


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Yield the port of a server; close its connections at the end."""
    connections: list[asyncio.Task[None]] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(served, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.gather(*connections)


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"503 Busy"])
async def test_any_status_is_an_answer(status: bytes) -> None:
    async with server(b"HTTP/1.1 " + status + b"\r\n\r\n") as (port, requests):
        await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=5)
    assert len(requests) == 1
    assert requests[0].startswith(b"GET /user/ann/api HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_a_connection_without_an_answer_is_tried_again() -> None:
    async with server(b"", b"", b"", b"HTTP/1.0 200 OK\r\n\r\n") as (port, requests):
        await readiness.ready("127.0.0.1", port, "/api", never, timeout=5)
    assert len(requests) == 4


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"\x15\x03\x01"])
async def test_what_is_not_http_is_no_answer(said: bytes) -> None:
    async with server(said) as (port, _):
        assert await readiness.ask("127.0.0.1", port, "/api") is None


async def test_nobody_listens() -> None:
    async with server(b"") as (port, _):
        pass
    assert await readiness.ask("127.0.0.1", port, "/api") is None
    with pytest.raises(NotReady):
        await readiness.ready("127.0.0.1", port, "/api", never, timeout=0.1)


@pytest.mark.parametrize(
    "said",
    [
        OURS,
        b"HTTP/1.0 200 OK\nx-jupyterhub-version:5.3.0\n\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OURS,
        b"HTTP/1.1 200 OK\r\n" + VERSION + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffffff\r\n" + 1_000_000 * b"x",
        b"HTTP/1.1 200 OK\r\n" + VERSION + b"X-Long: " + 1_000_000 * b"x" + b"\r\n\r\n",
    ],
    ids=["plain", "old", "interim", "chunked", "long header"],
)
async def test_ask_any_form_of_answer_finds_the_header(said: bytes) -> None:
    async with server(said) as (port, _):
        answer = await readiness.ask("127.0.0.1", port, "/user/ann/api")
    assert answer is not None
    assert answer.headers["x-jupyterhub-version"] == "5.3.0"
    assert own(answer) is Verdict.READY


async def test_ask_an_answer_in_single_bytes_finds_the_header() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in OURS:
            writer.write(bytes([byte]))
            await writer.drain()
        # Its body never comes.
        await reader.read()

    async with serving(serve) as port:
        answer = await readiness.ask("127.0.0.1", port, "/user/ann/api")
    assert own(answer) is Verdict.READY


@pytest.mark.parametrize("more", [b"X: y\r\n", b"\r\nHTTP/1.1 100 Continue\r\n", b"x"])
async def test_ask_an_answer_without_end_is_given_up(more: bytes) -> None:
    # The maximum size, and more than the maximum.
    async with server(b"HTTP/1.1 200 OK\r\n" + 400_000 * more) as (port, _):
        answer = await asyncio.wait_for(readiness.ask("127.0.0.1", port, "/user/ann/api"), 5)
    assert own(answer) in (Verdict.NOT_JUPYTERHUB, Verdict.LOADING)


@pytest.mark.parametrize(
    ("status", "location", "verdict"),
    [
        (200, "", Verdict.READY),
        (401, "", Verdict.READY),
        (403, "", Verdict.READY),
        (405, "", Verdict.READY),
        (404, "", Verdict.OTHER_SERVER),
        (500, "", Verdict.LOADING),
        (502, "", Verdict.LOADING),
        (503, "", Verdict.LOADING),
        (302, "/user/ann/api/", Verdict.READY),
        (302, "./lab", Verdict.READY),
        (302, "/user/ann/api", Verdict.OTHER_SERVER),
        (302, "/user/bob/lab", Verdict.OTHER_SERVER),
        (302, "/user/annabel/lab", Verdict.OTHER_SERVER),
        (302, "", Verdict.OTHER_SERVER),
        (302, "http://[", Verdict.OTHER_SERVER),
        (302, "/hub/api/oauth2/authorize?client_id=jupyterhub-user-ann&response_type=code", Verdict.READY),
        (302, "https://hub.example.org/hub/api/oauth2/authorize?client_id=jupyterhub-user-ann", Verdict.READY),
        (302, "/hub/api/oauth2/authorize?client_id=jupyterhub-user-bob", Verdict.OTHER_SERVER),
    ],
)
def test_own_server_by_status_and_redirect(status: int, location: str, verdict: Verdict) -> None:
    assert own(Answer(status, {"x-jupyterhub-version": "5.3.0", "location": location})) is verdict


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404])
def test_own_server_without_the_header_is_not_jupyterhub(status: int) -> None:
    assert own(Answer(status)) is Verdict.NOT_JUPYTERHUB
    assert own(Answer(status, {"x-jupyterhub-version": ""})) is Verdict.NOT_JUPYTERHUB


def test_own_server_without_an_answer_is_loading() -> None:
    assert own(None) is Verdict.LOADING
    assert own(Answer(503)) is Verdict.LOADING


async def test_ready_waits_while_a_proxy_in_front_answers() -> None:
    busy, wrong = b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"
    async with server(busy, wrong, wrong, OURS) as (port, requests):
        await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=5, judge=own)
    assert len(requests) == 4


async def test_ready_a_steadily_wrong_server_fails_before_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "WRONG_FOR", 0.3)
    async with server(b"HTTP/1.1 302 Found\r\nLocation: /lab\r\n\r\n") as (port, requests):
        with pytest.raises(WrongServer) as failed:
            await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=60, judge=own)
    assert failed.value.verdict is Verdict.NOT_JUPYTERHUB
    assert failed.value.answer.status == 302
    assert len(requests) > 2


async def test_ready_a_wrong_server_when_the_time_is_over_is_named() -> None:
    async with server(b"HTTP/1.1 404 Not Found\r\n" + VERSION + b"\r\n") as (port, _):
        with pytest.raises(WrongServer) as failed:
            await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=0.2, judge=own)
    assert failed.value.verdict is Verdict.OTHER_SERVER


async def test_ready_the_last_answer_is_kept_when_the_time_is_over() -> None:
    async with server(b"HTTP/1.1 503 Busy\r\n\r\n") as (port, _):
        with pytest.raises(NotReady) as failed:
            await readiness.ready("127.0.0.1", port, "/user/ann/api", never, timeout=0.2, judge=own)
    assert failed.value.answer is not None
    assert failed.value.answer.status == 503


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


async def test_within_a_runner_that_loses_a_cancellation_ends_all_the_same() -> None:
    lost = []

    async def loses_one() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    assert not await asyncio.wait_for(readiness._within(0, loses_one()), 5)
    assert lost
