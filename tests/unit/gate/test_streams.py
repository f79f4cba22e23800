"""Answers that come in pieces, connections that are lost, and the gate that is switched off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest
import requests

from dockyard.gate.relay import relay
from support.bodies import OURS
from support.gate import Gate, no_relay_left
from support.recording import NEW, recording
from support.wait import wait_until


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


class Client:
    """docker-py, in a thread."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client

    async def do(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(getattr(self._client, method), *args, **kwargs)


@pytest.fixture
def client(gate: Gate) -> Iterator[Client]:
    with closing(docker.APIClient(f"tcp://{gate.address}", version="1.45")) as client:
        yield Client(client)


async def test_a_command_in_a_server(gate: Gate, client: Client) -> None:
    """docker-py reads its output from the connection, as from an engine."""
    gate.engine.streams[f"/exec/{NEW}/start"] = [frame(1, b"out\n"), frame(2, b"err\n"), frame(1, b"more\n")]
    made = await client.do("exec_create", OURS, "echo out")
    assert await client.do("exec_start", made["Id"], demux=True) == (b"out\nmore\n", b"err\n")
    made, started = gate.engine.orders
    assert (made.path, made.json["Cmd"]) == (f"/containers/{OURS}/exec", ["echo", "out"])
    assert started.json == {"Tty": False, "Detach": False}


async def test_a_log(gate: Gate, client: Client) -> None:
    gate.engine.streams[f"/containers/{OURS}/logs"] = [frame(1, b"one\n"), frame(2, b"two\n")]
    gate.engine.things[f"/containers/{OURS}/json"]["Config"]["Tty"] = False
    assert await client.do("logs", OURS, tail=2) == b"one\ntwo\n"
    (asked,) = (one for one in gate.engine.seen if one.path.endswith("/logs"))
    assert asked.query == {"stdout": "1", "stderr": "1", "timestamps": "0", "tail": "2"}


async def test_a_pull_that_is_under_way(gate: Gate, client: Client) -> None:
    told = [{"status": "Downloading", "progressDetail": {"current": n}} for n in range(50)]
    gate.engine.streams["/images/create"] = [json.dumps(one).encode() + b"\r\n" for one in told]
    pulling = await client.do("pull", "kit-singleuser", tag="0.1.0", stream=True, decode=True)
    assert await asyncio.to_thread(list, pulling) == told


async def test_who_hangs_up_calls_it_off(gate: Gate) -> None:
    """An event stream on which nothing happens, or an order that hangs, is nobody's any more."""
    gate.engine.silent |= {"/events", f"/containers/{OURS}/stop"}
    asking = [
        asyncio.create_task(gate.send("GET", '/events?filters={"type":["container"]}')),
        asyncio.create_task(gate.send("POST", f"/containers/{OURS}/stop")),
    ]
    await until(lambda: len(gate.engine.seen) == 3)
    for one in asking:
        one.cancel()
    await until(lambda: gate.engine.given_up == 2)
    (note,) = gate.notes()
    assert (note["gate"], note["path"]) == ("given up", f"/containers/{OURS}/stop")


@pytest.mark.parametrize("asked", [f"GET /containers/{OURS}/archive?path=/home", f"POST /exec/{NEW}/start"])
async def test_who_hangs_up_while_reading_is_noted(gate: Gate, asked: str) -> None:
    method, target = asked.split()
    await gate.send("POST", f"/containers/{OURS}/exec", {"Cmd": ["cat"]})
    # More than any buffer between holds.
    gate.engine.streams[target.partition("?")[0]] = [b"x" * 2**20] * 60
    _, writer = await begun(gate, method, target)
    writer.transport.abort()
    await until(lambda: len(gate.notes()) == 2)
    assert gate.notes()[-1]["path"] == target
    assert gate.notes()[-1]["gate"] in ("given up", "failed")


async def begun(gate: Gate, method: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which an answer has begun to come."""
    reader, writer = await asyncio.open_connection(*gate.address.split(":"))
    body = "{}" if method == "POST" else ""
    head = f"Host: gate\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
    await reader.readexactly(2**16)
    return reader, writer


async def until(true: Any) -> None:
    await asyncio.to_thread(wait_until, true, timeout=5, interval=0.01)


async def test_an_engine_that_is_lost_looks_so(gate: Gate, client: Client, tmp_path: Path) -> None:
    (tmp_path / "engine.sock").unlink()
    with pytest.raises(requests.ConnectionError):
        await client.do("start", "f" * 64)
    assert gate.notes()[-1]["gate"] == "failed"


async def test_a_stream_that_breaks_looks_so(gate: Gate) -> None:
    gate.engine.streams["/images/create"] = [b'{"status":"Pulling"}\r\n']
    gate.engine.torn.add("/images/create")
    with pytest.raises(aiohttp.ClientError):
        await gate.send("POST", "/images/create?fromImage=kit-singleuser&tag=0.1.0")


async def test_a_gate_that_is_switched_off_lets_everything_through(tmp_path: Path) -> None:
    async with recording(tmp_path / "engine.sock") as engine:
        engine.things["/images/json"] = [{"Id": "x"}]
        gate = tmp_path / "gate.sock"
        async with await asyncio.start_unix_server(relay(str(tmp_path / "engine.sock")), gate):
            client = docker.APIClient(f"unix://{gate}", version="1.45")
            assert await asyncio.to_thread(client.images) == [{"Id": "x"}]
            await asyncio.to_thread(client.close)
            await no_relay_left()
    assert [one.path for one in engine.seen] == ["/images/json"]


async def test_archives_come_as_they_are(gate: Gate) -> None:
    """docker-py asks for compressed ones, and the engine would do that for whoever asks."""
    gate.engine.streams[f"/containers/{OURS}/archive"] = [b"tar"]
    status, said = await gate.send("GET", f"/containers/{OURS}/archive?path=/etc/passwd", **{"Accept-Encoding": "gzip"})
    assert (status, said) == (200, b"tar")
    assert gate.engine.seen[-1].headers["Accept-Encoding"] == "identity"
