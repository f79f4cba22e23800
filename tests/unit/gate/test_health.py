"""Whether the gate is well, as the engine asks it at intervals."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from dockyard.gate import health
from support.recording import recording


async def test_a_gate_that_answers(tmp_path: Path) -> None:
    async with recording(tmp_path / "gate.sock") as gate:
        gate.things["/_ping"] = "OK"
        assert await asyncio.to_thread(health.answers, str(tmp_path / "gate.sock"))
        del gate.things["/_ping"]
        assert not await asyncio.to_thread(health.answers, str(tmp_path / "gate.sock"))


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(health, "PORT", other.getsockname()[1])
    assert not health.answers("")
    assert not health.answers(str(tmp_path / "gate.sock"))


def test_one_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "gate.sock"))
        silent.listen()
        assert not health.answers(str(tmp_path / "gate.sock"))
