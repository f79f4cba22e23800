"""A hub that was started again has the gate read the profiles again, too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest

from dockyard.gate.__main__ import ends_when_asked, show
from dockyard.hub import gatelists
from dockyard.settings import gatelink


class Gate:
    """Reads `file` whenever it starts, and is started again when it ends; one that is deaf never ends."""

    def __init__(self, folder: Path, file: Path, deaf: bool = False) -> None:
        self.folder, self.file, self.deaf = folder, file, deaf
        self.starts = 0

    def listener(self, name: str) -> socket.socket:
        path = self.folder / name
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        return listening

    def run(self) -> None:
        while True:
            show(self.file.read_bytes(), self.folder)
            self.starts += 1
            with self.listener(gatelink.AGAIN) as asked, self.listener(gatelink.SOCKET):
                while True:
                    asked.accept()[0].close()
                    if not self.deaf:
                        break


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path: a socket's has 107 characters at most."""
    with TemporaryDirectory(prefix="dyt-") as folder:
        yield Path(folder)


def started(folder: Path, text: str, deaf: bool = False) -> tuple[Gate, Path]:
    file = folder / "file"
    file.write_text(text)
    gate = Gate(folder, file, deaf)
    Thread(target=gate.run, daemon=True).start()
    while not (folder / gatelink.SOCKET).exists():
        pass
    return gate, file


def test_agree_where_both_have_read_the_same_leaves_the_gate_alone(folder: Path) -> None:
    gate, file = started(folder, "- display_name: A\r\n")
    assert gatelists.agree(file, folder) == ""
    assert gate.starts == 1


def test_agree_where_the_file_has_changed_has_the_gate_read_it(folder: Path) -> None:
    gate, file = started(folder, "- display_name: A\n")
    file.write_text("- display_name: B\n")
    assert gatelists.agree(file, folder, pause=0.01) == ""
    assert (folder / gatelink.READ).read_text() == "- display_name: B\n"
    assert gate.starts == 2


def test_agree_where_the_gate_has_another_file_gives_up_and_says_so(folder: Path) -> None:
    gate, _ = started(folder, "- display_name: A\n")
    own = folder / "own"
    own.write_text("- display_name: B\n")
    assert "other profiles" in gatelists.agree(own, folder, pause=0.01)
    assert gate.starts == 1 + gatelists.ATTEMPTS


def test_agree_does_not_wait_indefinitely(folder: Path) -> None:
    _, file = started(folder, "- display_name: A\n", deaf=True)
    file.write_text("- display_name: B\n")
    assert "does not exit" in gatelists.agree(file, folder, patience=0.3, pause=0.01)


def test_agree_without_a_gate_returns_at_once(folder: Path) -> None:
    assert gatelists.agree(folder / "none", folder) == ""


async def test_the_gate_ends_when_it_is_asked(folder: Path) -> None:
    ended = asyncio.Event()
    async with await ends_when_asked(folder, ended):
        assert not ended.is_set()
        _, writer = await asyncio.open_unix_connection(folder / gatelink.AGAIN)
        await asyncio.wait_for(ended.wait(), 10)
        writer.close()
        await writer.wait_closed()
