"""dockyard_memory.py: a kernel that was killed for want of memory is told apart from one that died otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.singleuser import module

memory = module("dockyard_memory")

CLASS = "kernel_websocket_connection_class"


class Session:
    unpack = staticmethod(json.loads)

    def feed_identities(self, message: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        return message[:1], message[1:]


class Socket:
    """As Jupyter's own; `said` is all that its user hears."""

    session = Session()

    def __init__(self) -> None:
        self.said: list[Any] = []

    def write_stderr(self, text: str, parent: dict[str, str]) -> None:
        self.said.append((text, parent["msg_id"]))

    def handle_incoming_message(self, message: str) -> None:
        self.said.append("asked")

    def handle_outgoing_message(self, stream: str, message: list[bytes]) -> None:
        self.said.append("answered")

    def on_kernel_restarted(self) -> None:
        self.said.append("restarting")


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Linux counts, with two that were killed before."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    return tmp_path / "memory.events"


@pytest.fixture
def socket(counted: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MEM_LIMIT", str(512 * 2**20))
    return loaded(Socket)()


def loaded(configured: type) -> Any:
    app = SimpleNamespace(web_app=SimpleNamespace(settings={CLASS: configured}))
    memory._load_jupyter_server_extension(app)
    return app.web_app.settings[CLASS]


def ask(socket: Any, *ids: str) -> None:
    for msg_id in ids:
        socket.handle_incoming_message(json.dumps({"header": {"msg_type": "execute_request", "msg_id": msg_id}}))


def answer(socket: Any, msg_id: str) -> None:
    parts = [json.dumps(part).encode() for part in ({"msg_type": "execute_reply"}, {"msg_id": msg_id}, {}, {})]
    socket.handle_outgoing_message("shell", [b"kernel", b"signature", *parts])


def test_a_kernel_out_of_memory_says_so_in_the_cell_that_ran(socket: Any, counted: Path) -> None:
    ask(socket, "first", "second", "third")
    answer(socket, "first")
    counted.write_text("oom_kill 3\n")
    socket.on_kernel_restarted()
    *before, (text, cell), last = socket.said
    assert before == ["asked", "asked", "asked", "answered"]
    assert text.startswith("The kernel was killed: this server has used up its memory (512 MiB).\n")
    assert (cell, last) == ("second", "restarting")
    socket.said.clear()
    socket.on_kernel_restarted()
    assert socket.said == ["restarting"]


def test_one_that_died_otherwise_does_not(socket: Any, counted: Path) -> None:
    """Others were killed: before it was asked for anything, and while it did what came before."""
    counted.write_text("oom_kill 7\n")
    ask(socket, "first", "second")
    counted.write_text("oom_kill 8\n")
    answer(socket, "first")
    socket.on_kernel_restarted()
    assert socket.said == ["asked", "asked", "answered", "restarting"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.events", "low 0\noom_kill 4\noom_group_kill 1\n", 4),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", 5),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", 0),
        ("elsewhere", "oom_kill 6\n", 0),
    ],
)
def test_kills_are_counted_by_either_version_of_cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: int
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory.kills() == expected


def test_a_limit_that_is_not_known_is_not_named() -> None:
    assert "used up its memory.\n" in memory.sentence("")


def test_another_class_of_sockets_stays_in_force() -> None:
    class Own(Socket):
        pass

    class Remote:
        pass

    assert issubclass(loaded(Own), Own)
    assert loaded(Remote) is Remote
