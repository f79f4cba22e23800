"""A socket that the engine has left behind is noticed."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from dockyard.gate.__main__ import abandoned


async def test_a_socket_at_which_nobody_listens_any_more(tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(path)
        engine.listen()
        engine.settimeout(10)
        watch = asyncio.create_task(abandoned(path, pause=0.01))
        for _ in range(2):
            (await asyncio.to_thread(engine.accept))[0].close()
        assert not watch.done()
    await asyncio.wait_for(watch, 10)
