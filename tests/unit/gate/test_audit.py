"""What the gate's log says, how much of it, and what outlives the gate."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from dockyard.gate import audit
from dockyard.gate.audit import MOST, WINDOW, Audit
from support.bodies import IMAGE, OURS, networks, server, service
from support.gate import Gate

CREATE = "/v1.45/containers/create?name=kit-ada"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def read(folder: Path, kind: str) -> list[Any]:
    file = folder / f"{kind}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_create_is_logged_with_image_user_mounts_and_command(gate: Gate) -> None:
    body = server(
        Cmd=["start", "--token=zq"],
        User="1000:100",
        HostConfig__Binds=["kit-home-ada:/home/jovyan", "/srv/data:/data:ro"],
        HostConfig__Mounts=[],
        HostConfig__Tmpfs={"/tmp": "size=1m"},
    )
    assert (await gate.send("POST", CREATE, body))[0] == 201
    (note,) = gate.notes()
    assert note["path"] == CREATE
    assert (note["gate"], note["image"], note["user"], note["uid"]) == ("done", IMAGE, "ada", "1000:100")
    assert note["mounts"][:3] == ["kit-home-ada:/home/jovyan:rw", "/srv/data:/data:ro", "tmpfs:/tmp"]
    assert note["command"] == hashlib.sha256(json.dumps([None, ["start", "--token=zq"]]).encode()).hexdigest()
    assert "zq" not in gate.audit.getvalue()


async def test_a_create_of_a_service_is_logged_alike(gate: Gate) -> None:
    assert (await gate.send("POST", "/v1.45/services/create", service()))[0] == 201
    (note,) = gate.notes()
    assert (note["name"], note["image"], note["user"]) == ("kit-ada", IMAGE, "ada")
    assert note["mounts"] == ["kit-home-ada:/home/jovyan:rw", "secret:/jupyterhub-ssl/key.pem"]
    assert len(note["command"]) == 64
    assert "zq" not in gate.audit.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/volumes/create", {"Name": "kit-x", "Labels": {"dockyard.user": "ada"}}, "kit-x"),
        ("/networks/create", networks()[0], "kit-bob"),
        ("/secrets/create", {"Name": "kit-key", "Data": "enE=", "Labels": {}}, "kit-key"),
    ],
)
async def test_whatever_is_created_is_logged_by_name(gate: Gate, path: str, body: Any, name: str) -> None:
    assert (await gate.send("POST", path, body))[0] == 201
    assert gate.notes()[0]["name"] == name
    assert "enE=" not in gate.audit.getvalue()


async def test_a_command_and_a_connection_are_logged(gate: Gate) -> None:
    await gate.send("POST", f"/containers/{OURS}/exec", {"Cmd": ["sh", "-c", "zq"], "User": "root"})
    await gate.send("POST", "/networks/kit-ada/connect", {"Container": OURS})
    command, connection = gate.notes()
    assert (command["uid"], len(command["command"])) == ("root", 64)
    assert connection["container"] == OURS
    assert "zq" not in gate.audit.getvalue()


async def test_a_refused_create_is_logged_with_what_was_asked_for(gate: Gate) -> None:
    await gate.send("POST", CREATE, server(HostConfig__NetworkMode="kit_hub"))
    (note,) = gate.notes()
    assert (note["gate"], note["image"], note["user"]) == ("refused", IMAGE, "ada")


FORGED = 'x\r\n{"gate": "done", "path": "/forged"}\n'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CREATE, server(Image=FORGED)),
        (CREATE, server(Labels={"dockyard.user": FORGED}, User=FORGED)),
        (CREATE, server(HostConfig__Binds=[f"kit-x:/d{FORGED}"])),
        (CREATE, server(HostConfig__Mounts=[{"Target": f"/d{FORGED}", "Source": "kit-x", "Type": "volume"}])),
        (CREATE, {**server(), FORGED: 1}),
        (CREATE, server(HostConfig__NetworkMode=FORGED)),
        ("/volumes/create", {"Name": FORGED}),
        ("/v1.45/containers/x%0d%0a%7B%22gate%22/json", None),
        (f"/containers/{OURS}/archive?path=/x%0d%0a%7B%7D", None),
        (f"/containers/{OURS}/logs?tail=%0a%7B%7D", None),
        ("/images/create?fromImage=x%0a%7B%7D&tag=1", None),
    ],
)
async def test_a_line_can_not_be_forged(gate: Gate, path: str, body: Any) -> None:
    gate.engine.streams[f"/containers/{OURS}/archive"] = [b"tar"]
    await gate.send("POST" if body else "GET", path, body)
    lines = gate.audit.getvalue().split("\n")
    assert (len(lines), lines[1]) == (2, "")
    assert lines[0].isprintable()
    assert lines[0].isascii()
    assert json.loads(lines[0])["path"] != "/forged"


async def test_a_header_forges_no_line(gate: Gate) -> None:
    reader, writer = await asyncio.open_connection(*gate.address.split(":"))
    writer.write(b"GET /x HTTP/1.1\r\nHost: a\rb\r\nX: \xe2\x80\xa8{}\r\n\r\nGET\x85 / HTTP/1.1\r\n\r\n")
    writer.write_eof()
    await reader.read()
    writer.close()
    assert all(isinstance(note, dict) for note in gate.notes())


def test_identical_refusals_are_counted() -> None:
    stream, clock = io.StringIO(), Clock()
    log = Audit(stream, clock=clock)
    for number in range(1000):
        log.note("refused", "POST", "/x", 403, "why")
        if number == 500:
            log.note("done", "POST", "/y", 201)
    clock.now = WINDOW
    log.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["path"], line.get("repeated")) for line in lines] == [("/x", None), ("/y", None), ("/x", 999)]
    # The next one is a line again.
    log.note("refused", "POST", "/x", 403, "why")
    assert len(stream.getvalue().splitlines()) == 4


def test_different_refusals_are_a_limited_number_of_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    log = Audit(stream, clock=clock)
    for number in range(10_000):
        log.note("refused", "POST", f"/{number}{'x' * 8000}", 403, f"why {number}")
    log.note("done", "POST", "/y", 201)
    log.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == MOST + 2
    assert lines[-2]["path"] == "/y"
    assert lines[-1]["repeated"] == 10_000 - MOST
    assert max(map(len, stream.getvalue().splitlines())) < 2000


def test_what_was_done_is_never_left_out() -> None:
    stream = io.StringIO()
    log = Audit(stream, clock=Clock())
    for number in range(2 * MOST):
        log.note("refused", "POST", f"/{number}", 403, "why")
    for number in range(2 * MOST):
        log.note("done", "POST", "/x", 201)
        log.note("given up", "POST", f"/{number}", 0)
    assert stream.getvalue().count('"done"') == stream.getvalue().count('"given up"') == 2 * MOST


def test_the_files_outlive_the_gate_and_have_a_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FILES", dict.fromkeys(audit.FILES, (1000, 2)))
    for _ in range(2):
        log = Audit(io.StringIO(), tmp_path)
        log.note("done", "POST", "/create?name=x", 201)
        log.note("done", "GET", "/archive", 200)
        log.close()
    assert [line["path"] for line in read(tmp_path, "created")] == ["/create?name=x"] * 2
    log = Audit(io.StringIO(), tmp_path, clock=Clock())
    for number in range(10 * MOST):
        log.note("refused", "POST", f"/{number}", 403, "why")
        log.note("done", "GET", f"/{number}", 200)
        log.note("done", "POST", f"/{number}/start", 204)
        log.note("done", "POST", f"/create?name={number}", 409)
    log.close()
    assert len(read(tmp_path, "created")) == 2, "a flood of other calls leaves what was created"
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 4 * 3 * 1000


async def test_calls_by_which_nothing_happens_are_counted(gate: Gate) -> None:
    """Such as a stop of what has stopped: a flood of them would push out what has happened."""
    gate.engine.gone.add(f"/containers/{OURS}/stop")
    for _ in range(20):
        assert (await gate.send("POST", f"/containers/{OURS}/stop"))[0] == 404
    assert (await gate.send("POST", f"/containers/{OURS}/start"))[0] == 204
    assert [note["status"] for note in gate.notes()] == [404, 204]


def test_a_folder_that_can_not_be_written_does_not_stop_the_gate(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    log = Audit(stream, tmp_path / "missing")
    for _ in range(3):
        log.note("done", "POST", "/x", 201)
    log.close()
    assert len(stream.getvalue().splitlines()) == 3
    assert capfd.readouterr().err.count("The gate can't write") == 1
