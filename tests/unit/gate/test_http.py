"""Requests that two programs may read in two ways. Each is refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest

from support.bodies import OURS, server
from support.gate import Gate
from support.wire import mutated

CREATE = "/v1.45/containers/create?name=kit-ada"
CLEAN = json.dumps(server())


@pytest.mark.parametrize(
    "path",
    [
        "/v1.45/containers/../images/json",
        "/v1.45/containers/%2e%2e/images/json",
        "/v1.45/containers/x%2fjson",
        f"/v1.45/containers/{OURS}%2Fexport%3F/json",
        "/v1.45/containers/a%00b/json",
        "/v1.45/containers/%ff/json",
        "/v1.45/containers/%c0%ae%c0%ae/json",
        "/v1.45/./containers/json",
        "/v1.45/../v1.45/containers/json",
        "/../containers/json",
        "/v1.45/containers/json#x",
        "/v1.045/containers/json",
        "/v1.45.1/containers/json",
        "http://engine/v1.45/containers/json",
        "HTTP://gate/containers/json",
        "//engine/containers/json",
        "/v1.45/containers/a%0d%0ab/json",
        "/v1.45/containers/%252e%252e/json",
        "/v1.45//containers/json",
        "/v1.45/containers/json/",
        "/v1.45/Containers/json",
        "/v1.45/containers/json;x",
        "/v1.24/containers/json",
        "/v2.0/containers/json",
        "/v1.45/v1.45/containers/json",
        "/containers/json?all=1&all=0",
        "/containers/json?since=x",
        "/containers/json?all",
        "/containers/json?filters={",
        '/containers/json?filters={"label":{"x":true}}',
        '/containers/json?filters={"label":[],"label":[]}',
        "/events",
        '/events?filters={"type":["container"],"image":["x"]}',
        '/events?filters={"type":["container"]}&since=now',
        "/tasks?filters={}",
        '/tasks?filters={"node":["n1"]}',
        '/tasks?filters={"label":["dockyard.instance=kit"],"service":["sv1"]}',
        # By these an engine tells what others have.
        *(
            f'{path}?filters={{"label":["{label}=kit"],"{name}":["other"]}}'
            for path in ("/containers/json", "/volumes", "/services", "/secrets")
            for label in ("dockyard.instance", "com.docker.compose.project")
            for name in ("since", "name")
        ),
        '/networks?filters={"driver":["host"]}',
        f"/containers/{OURS}/logs?follow=1&stdout=1",
        f"/containers/{OURS}/logs?tail=-1",
        f"/containers/{OURS}/archive?path=../etc",
        f"/containers/{OURS}/archive?path=/a/../../etc",
        "/services/kit-ada/logs?details=1",
        "http://engine/version",
        "*",
    ],
)
async def test_a_path_or_a_query_that_may_be_read_in_two_ways(gate: Gate, path: str) -> None:
    sent = f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n".encode()
    said = await raw(gate.address_for(path), sent)
    assert status_of(said) in (400, 403)
    assert not gate.engine.seen


@pytest.mark.parametrize(
    "body",
    [
        CLEAN + "{}",
        CLEAN + "\0",
        CLEAN + ' {"HostConfig": {"Privileged": true}}',
        CLEAN[:-1] + ', "HostConfig": {"Privileged": true}}',
        CLEAN.replace('"PidsLimit"', '"PidsLimit": 1, "PidsLimit"'),
        CLEAN.replace('"PidsLimit": 1024', '"Pri\\u0076ileged": true'),
        # As the engine reads them: by the same field, whatever the case, with s and k in other shapes.
        CLEAN.replace('"HostConfig"', '"hostconfig"'),
        CLEAN.replace('"HostConfig"', '"hostconfig": {"Privileged": true}, "HostConfig"'),
        CLEAN.replace('"HostConfig"', '"Ho\u017ftConfig": {"Privileged": true}, "HostConfig"'),
        CLEAN.replace('"PidsLimit"', '"PRIVILEGED": true, "PidsLimit"'),
        CLEAN.replace('"PidsLimit"', '"privileged": true, "Privileged": false, "PidsLimit"'),
        CLEAN.replace('"PidsLimit"', '"Ulimit\u017f": [], "PidsLimit"'),
        CLEAN.replace('"NetworkMode"', '"Networ\u212aMode": "host", "NetworkMode"'),
        "",
        " ",
        CLEAN.replace("1024", "1e400"),
        CLEAN.replace("1024", "NaN"),
        CLEAN.replace("1024", "-Infinity"),
        CLEAN.replace("1024", "9" * 30),
        CLEAN.replace("1024", "1024.0"),
        CLEAN.replace("start", "\\ud800"),
        "[" * 100_000,
        f"[{CLEAN}]",
        "null",
        '"x"',
        "// x\n" + CLEAN,
        "\ufeff" + CLEAN,
    ],
    ids=lambda body: body[-30:],
)
async def test_a_body_that_may_be_read_in_two_ways(gate: Gate, body: str) -> None:
    status, _ = await gate.send("POST", CREATE, body.encode())
    assert status in (400, 403)
    assert not gate.engine.seen


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
async def test_another_encoding(gate: Gate, encoding: str) -> None:
    assert (await gate.send("POST", CREATE, CLEAN.replace("start", "é").encode(encoding)))[0] == 400
    assert not gate.engine.seen


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16"],
)
async def test_another_type(gate: Gate, kind: str) -> None:
    assert (await gate.send("POST", CREATE, CLEAN.encode(), **{"Content-Type": kind}))[0] == 415
    assert not gate.engine.seen


async def raw(address: str, sent: bytes, hang_up: bool = False) -> bytes:
    """What comes back for bytes, until the gate hangs up."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        if hang_up:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def request(*headers: str, body: str = CLEAN, line: str = f"POST {CREATE} HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: gate", "Content-Type: application/json", *headers, "", body]).encode()


LENGTH = f"Content-Length: {len(CLEAN)}"


@pytest.mark.parametrize(
    "sent",
    [
        request(LENGTH, "Transfer-Encoding: chunked"),
        request(LENGTH, "Transfer-Encoding: identity"),
        request(LENGTH, "Transfer-Encoding : chunked"),
        request("Transfer-Encoding: chunked", body="0\r\n\r\n"),
        request("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"),
        request(LENGTH, "Content-Length: 4"),
        request(f"Content-Length: {len(CLEAN)}, 4"),
        request(f"Content-Length: +{len(CLEAN)}"),
        request("Content-Length: -1"),
        request(f"Content-Length: 0x{len(CLEAN):x}"),
        request(LENGTH, "Content-Encoding: gzip"),
        request(LENGTH, "Expect: 100-continue"),
        request(LENGTH, "Connection: Upgrade", "Upgrade: tcp"),
        request(LENGTH, "Connection: Upgrade", "Upgrade: h2c"),
        request(LENGTH, "Content-Type: text/plain"),
        request(LENGTH, "Host: engine"),
        request(LENGTH, " folded: x"),
        request(LENGTH, "X: a\nTransfer-Encoding: chunked"),
        request(LENGTH, line=f"POST {CREATE} HTTP/1.1\r\nX"),
        request("Content-Length: 2000000", body=""),
        request("Content-Length: 0"),
        request("Transfer-Encoding: chunked", body=f"{len(CLEAN):x}\r\n{CLEAN}\r\n0\r\nX-Registry-Auth: a\r\n\r\n"),
        request("Transfer-Encoding: chunked", "Trailer: Content-Length", body=f"{2**21:x}\r\n" + "x" * 1000),
        request("transfer-encoding: xchunked", LENGTH),
        request(LENGTH, "Content-Encoding: br"),
        request(LENGTH, "content-encoding: deflate"),
        request(LENGTH, "Connection: Upgrade, HTTP2-Settings", "Upgrade: websocket"),
        request(body=CLEAN),
        request(LENGTH, "X-Registry-Auth: a b"),
        request(LENGTH, "X: " + "x" * 100_000),
        request("Content-Length: 4", body="{}{}GET /images/json HTTP/1.1\r\n\r\n"),
        b"CONNECT engine:2375 HTTP/1.1\r\nHost: engine\r\n\r\n",
        b"GET http://engine/containers/json HTTP/1.1\r\nHost: gate\r\n\r\n",
        b"GET /containers/json HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        b"GET /containers/json HTTP/1.0\r\nHost: gate\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST " + CREATE.encode() + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
async def test_a_request_that_may_be_read_in_two_ways(gate: Gate, sent: bytes) -> None:
    said = await raw(gate.address, sent)
    assert status_of(said) in (400, 403, 405, 413, 415)
    assert said.count(b"HTTP/") == 1
    assert not gate.engine.seen


async def test_a_slow_body(gate: Gate) -> None:
    said = await raw(gate.address, request(LENGTH, body=CLEAN[:20]))
    assert status_of(said) == 408
    assert not gate.engine.seen


async def test_half_a_body(gate: Gate) -> None:
    said = await raw(gate.address, request(LENGTH, body=CLEAN[:20]), hang_up=True)
    assert said == b"" or status_of(said) == 400
    assert not gate.engine.seen


async def test_a_large_body(gate: Gate) -> None:
    assert (await gate.send("POST", CREATE, server(Env=["X" * 2**20])))[0] == 413
    assert not gate.engine.seen


RIGHT = [
    request(LENGTH),
    b"GET /v1.45/containers/json?all=1 HTTP/1.1\r\nHost: gate\r\n\r\n",
    f"DELETE /containers/{OURS}?force=1 HTTP/1.1\r\nHost: gate\r\n\r\n".encode(),
]


async def first_status(gate: Gate, sent: bytes) -> int:
    host, port = gate.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        return status_of(await asyncio.wait_for(reader.readline(), 10))
    finally:
        writer.close()


async def test_random_bytes(gate: Gate) -> None:
    """Right requests with a few bytes that are others, the same at each run.

    Each is answered, and the engine hears of none that the gate has refused.
    """
    chance = random.Random(6)
    answered: Counter[int] = Counter()
    for number in range(300):
        sent = mutated(chance, chance.choice(RIGHT), changes=6, length=10)
        before = len(gate.engine.seen)
        status = await first_status(gate, sent + b"\r\n\r\n")
        assert 200 <= status < 500, number
        assert status < 400 or status == 404 or len(gate.engine.seen) == before, number
        answered[status] += 1
    assert answered[400] > 100
    assert (await gate.send("GET", "/_ping"))[0] == 200
