"""An engine behind SSH (DOCKER_HOST=ssh://...), by the SDK's own client and by the program ssh."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dockerspawner._engine import watch as watching
from support.sshd import Sshd, sshd
from support.wait import until

# The SDK leaves the processes of its calls to the garbage collector.
pytestmark = [
    pytest.mark.needs("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd"), "/var/run/docker.sock") as server:
        yield server


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(params=["paramiko", "ssh"])
def settings(request: pytest.FixtureRequest, server: Sshd, monkeypatch: pytest.MonkeyPatch, socket: str) -> Any:
    """Settings of a spawner whose engine is behind SSH."""
    assert Path(socket).samefile("/var/run/docker.sock")
    monkeypatch.setenv("HOME", str(server.home))
    monkeypatch.setenv("PATH", f"{server.home}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", server.url)
    monkeypatch.setattr(watching, "_LONGEST_PAUSE", 0.2)
    return {"client_kwargs": {"use_ssh_client": True}} if request.param == "ssh" else {}


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("docker-events")}


async def test_server_behind_ssh_is_followed_and_its_streams_end(
    make: Any, client: Any, containers: Any, server: Sshd, settings: Any
) -> None:
    before = threads()
    spawner = make(remove=True, **settings)
    await spawner.start()

    async def is_followed() -> bool:
        return bool(spawner._watch.following)

    async def has_ended() -> bool:
        return not spawner._watch.last(spawner.object_id).running

    async def no_stream_is_left() -> bool:
        return threads() <= before

    await until(is_followed, timeout=20)
    # Closing a stream raises no exception, and leaves no thread.
    stream = spawner._watch._stream
    stream.close()
    await until(is_followed, timeout=20)
    assert spawner._watch._stream is not stream
    assert await spawner.poll() is None
    server.cut()

    async def is_known_again() -> bool:
        return await spawner.poll() is None and await is_followed()

    await until(is_known_again, timeout=30, what="after the connections were cut, the engine is followed again")
    client.containers.get(spawner.object_id).kill()
    await until(has_ended, timeout=20)
    assert await spawner.poll() == 137
    await spawner.stop()
    assert containers() == []
    spawner._watch._follower.cancel()
    await until(no_stream_is_left, timeout=20)
