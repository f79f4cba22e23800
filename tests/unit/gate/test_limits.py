"""How much of the gate's memory and connections a client can have, and which clients."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import docker
import pytest

from dockyard.gate.relay import relay
from dockyard.settings.gatelink import TOKEN_HEADER, token
from support.bodies import ALLOWED, OURS
from support.gate import Gate, no_relay_left, opened
from support.recording import recording
from support.wait import until
from unit.gate.test_http import raw, status_of

PING = b"GET /_ping HTTP/1.1\r\nHost: gate\r\n\r\n"
TOKEN = "0123456789abcdef" * 4


async def served(address: str, sent: bytes = PING) -> bool:
    """Is a new connection answered?"""
    try:
        return await raw(address, sent.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) != b""
    except ConnectionError:
        return False


async def test_connections_are_limited(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dockyard.gate.server.MOST_CONNECTIONS", 3)
    kept = [await asyncio.open_connection(*gate.address.split(":")) for _ in range(3)]
    try:
        for reader, writer in kept:
            writer.write(PING)
            assert b"200" in await reader.readline()
        assert not await served(gate.address)
    finally:
        for _, writer in kept:
            writer.close()
    await until(lambda: served(gate.address), timeout=10)


@pytest.mark.parametrize("begun", [b"", b"GET /_ping HTTP/1.1\r\nHost:"])
async def test_a_connection_without_a_request_is_closed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr("dockyard.gate.server.HEAD_TIMEOUT", 0.05)
    assert not await served(gate.address, begun)


async def test_streams_are_limited(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dockyard.gate.server.MOST_STREAMS", 2)
    gate.engine.silent.add("/events")
    events = '/events?filters={"type":["container"]}'
    following = [asyncio.create_task(gate.send("GET", events)) for _ in range(2)]

    async def followed() -> bool:
        return len(gate.engine.seen) == 2

    await until(followed, timeout=5)
    assert (await gate.send("GET", events))[0] == 503
    assert (await gate.send("GET", "/_ping"))[0] == 200
    for one in following:
        one.cancel()

    async def free() -> bool:
        return gate.engine.given_up == 2

    await until(free, timeout=5)
    gate.engine.silent.clear()
    assert (await gate.send("GET", events))[0] != 503


async def test_an_answer_that_is_too_large_is_not_read(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dockyard.gate.upstream.LARGEST_ANSWER", 1000)
    gate.engine.things["/containers/json"] = [{"Id": OURS, "Labels": {"x": "y" * 1000}}]
    status, said = await gate.send("GET", "/containers/json")
    assert (status, "Ask an administrator" in said["message"]) == (502, True)
    assert "larger than 1000 bytes" in gate.notes()[-1]["why"]


async def test_an_answer_that_is_compressed_is_not_unpacked(gate: Gate) -> None:
    gate.engine.encoding = "gzip"
    gate.engine.things["/containers/json"] = []
    with pytest.raises(aiohttp.ClientError):
        await gate.send("GET", "/containers/json", **{"Accept-Encoding": "gzip, br"})
    assert "compressed" in gate.notes()[-1]["why"]
    assert gate.engine.seen[-1].headers["Accept-Encoding"] == "identity"


async def test_a_fault_of_the_gate_is_one_line_and_no_answer_of_the_engine(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dockyard.gate.policy.checks.container", lambda *_: 1 / 0)
    status, said = await gate.send("POST", "/containers/create?name=kit-ada", {})
    assert (status, "ZeroDivision" in said["message"]) == (500, False)
    assert "ZeroDivisionError" in gate.notes()[-1]["why"]
    assert not caplog.records


# With a token


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Gate]:
    socket, audit = tmp_path / "engine.sock", io.StringIO()
    async with (
        recording(socket) as engine,
        opened(ALLOWED, socket, audit, token=TOKEN) as address,
        aiohttp.ClientSession() as session,
    ):
        engine.things |= {"/_ping": {}, "/containers/json": []}
        yield Gate(address, address, engine, audit, session)


@pytest.mark.parametrize(
    "headers",
    [{}, {TOKEN_HEADER: ""}, {TOKEN_HEADER: TOKEN[:-1]}, {TOKEN_HEADER: TOKEN.upper()}, {"Authorization": TOKEN}],
)
@pytest.mark.parametrize("path", ["/_ping", "/containers/json", "/nothing", "/x\r\n"])
async def test_without_the_token_nothing_is_served(guarded: Gate, headers: dict[str, str], path: str) -> None:
    status, said = await guarded.send("GET", path, **headers)
    assert (status, "Ask an administrator" in said["message"]) == (401, True)
    assert not guarded.engine.seen
    assert TOKEN not in guarded.audit.getvalue()


async def test_a_token_that_is_there_twice_or_is_no_text_is_none(guarded: Gate) -> None:
    for lines in (f"{TOKEN_HEADER}: x\r\n{TOKEN_HEADER}: {TOKEN}", f"{TOKEN_HEADER}: \xff{TOKEN}"):
        sent = f"GET /_ping HTTP/1.1\r\nHost: gate\r\n{lines}\r\n\r\n".encode("latin-1")
        assert status_of(await raw(guarded.address, sent)) in (400, 401)
    assert not guarded.engine.seen


async def test_requests_without_the_token_leave_the_log_readable(guarded: Gate) -> None:
    for number in range(300):
        await guarded.send("GET", f"/{number}")
    assert len(guarded.notes()) == 1


async def test_with_the_token_all_is_served(guarded: Gate) -> None:
    assert (await guarded.send("GET", "/containers/json", **{TOKEN_HEADER: TOKEN}))[0] == 200


async def test_the_token_goes_no_further(guarded: Gate) -> None:
    await guarded.send("GET", "/containers/json", **{TOKEN_HEADER: TOKEN})
    assert TOKEN not in str(guarded.engine.seen)


async def test_docker_py_sends_the_token_of_its_configuration(
    guarded: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dockyard.hub.gateaccess import use_token

    environ = {"DOCKER_CONFIG": str(tmp_path / "given")}
    (tmp_path / "given").mkdir()
    auths = {"registry.test": {"auth": "YTpi"}}
    (tmp_path / "given/config.json").write_text(json.dumps({"auths": auths, "HttpHeaders": {"X-Own": "1"}}))
    use_token(TOKEN, tmp_path / "made", environ)
    use_token(TOKEN, tmp_path / "made", environ)
    assert (tmp_path / "made/config.json").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("DOCKER_CONFIG", environ["DOCKER_CONFIG"])
    client = docker.APIClient(f"tcp://{guarded.address}", version="1.45")
    assert await asyncio.to_thread(client.containers) == []
    assert await asyncio.to_thread(client.ping) is not None
    assert client._auth_configs.auths == {
        "registry.test": {"username": "a", "password": "b", "email": None, "serveraddress": "registry.test"}
    }
    await asyncio.to_thread(client.close)


@asynccontextmanager
async def switched_off(tmp_path: Path) -> AsyncIterator[str]:
    async with recording(tmp_path / "engine.sock") as engine:
        engine.things["/images/json"] = []
        server = await asyncio.start_server(relay(str(tmp_path / "engine.sock"), TOKEN), "127.0.0.1")
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await no_relay_left()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"{TOKEN_HEADER}: {TOKEN}", 200),
        (f"{TOKEN_HEADER.lower()}:{TOKEN} ", 200),
        ("X: y", 401),
        (f"{TOKEN_HEADER}: {TOKEN}x", 401),
        (f"{TOKEN_HEADER}: x\r\n{TOKEN_HEADER}: {TOKEN}", 401),
        (f"X-{TOKEN_HEADER}: {TOKEN}", 401),
    ],
)
async def test_a_gate_that_is_switched_off_asks_for_the_token_too(tmp_path: Path, header: str, status: int) -> None:
    async with switched_off(tmp_path) as address:
        sent = f"GET /images/json HTTP/1.1\r\nHost: gate\r\n{header}\r\nConnection: close\r\n\r\n"
        assert status_of(await raw(address, sent.encode())) == status


@pytest.mark.parametrize("text", ["short", "x" * 40 + "\ny", "é" * 40, " " * 40 + "x"])
def test_a_token_that_can_be_guessed_or_is_no_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(ValueError, match="32 or more"):
        token(tmp_path / "token")


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    assert token(tmp_path / "missing") == ""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert token(tmp_path / "token") == TOKEN
