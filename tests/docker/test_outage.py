"""If an engine is unreachable for two seconds, as during a restart, users do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket as sockets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.relay import Relay

# The SDK leaves a socket that it could not connect to the garbage collector.
pytestmark = [
    pytest.mark.needs("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

AWAY = 2.0


@contextlib.contextmanager
def away(take: Callable[[], None], put_back: Callable[[], None]) -> Iterator[None]:
    """Make the engine unreachable at first, and reachable again after two seconds."""
    take()
    timer = threading.Timer(AWAY, put_back)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(params=["refused", "missing", "closed"])
def engine(request: pytest.FixtureRequest, relay: Relay, socket: str, tmp_path: Path) -> tuple[str, Any, Any]:
    """The engine's address, and how to make it unreachable: nothing listens on its port, its socket is missing, or
    nothing listens on its socket."""
    if request.param == "refused":
        return relay.url, relay.take_away, relay.put_back
    path = tmp_path / "docker.sock"
    path.symlink_to(socket)
    nothing = tmp_path / "nothing.sock"
    with sockets.socket(sockets.AF_UNIX) as closed:
        closed.bind(str(nothing))

    def take() -> None:
        path.unlink()
        if request.param == "closed":
            path.symlink_to(nothing)

    def put_back() -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(socket)

    return f"unix://{path}", take, put_back


async def test_server_starts_and_stops_while_its_engine_is_away_for_two_seconds(
    make: Any, containers: Any, engine: tuple[str, Any, Any]
) -> None:
    url, *way = engine
    spawner = make(remove=True, client_kwargs={"base_url": url})
    with away(*way):
        # Unreachable from the first connection.
        await spawner.start()
    with away(*way):
        assert await spawner.poll() is None
        await spawner.stop()
    assert containers() == []


async def test_start_goes_on_when_the_engine_goes_between_its_calls(make: Any, containers: Any, relay: Relay) -> None:
    """Once for each call that the start makes."""
    spawner = make(remove=True, client_kwargs={"base_url": relay.url})
    calls: list[str] = []
    send = spawner.engine.send

    def gone_before(method: str, *args: Any, **kwargs: Any) -> Any:
        if method not in calls:
            calls.append(method)
            relay.take_away()
            asyncio.get_running_loop().call_later(0.3, relay.put_back)
        return send(method, *args, **kwargs)

    spawner.engine.send = gone_before
    await spawner.start()
    await spawner.stop()
    assert {"create_container", "start", "stop", "remove_container"} <= set(calls)
    assert containers() == []


async def test_engine_that_stays_away_fails_a_start_after_about_ten_seconds(make: Any, relay: Relay) -> None:
    """Regardless of the number of calls, including the cleanup."""
    spawner = make(remove=True, client_kwargs={"base_url": relay.url})
    relay.take_away()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Exception, match="The Docker engine does not answer"):
        await spawner.start()
    first = loop.time() - began
    # Now the outage is known.
    began = loop.time()
    with pytest.raises(Exception, match="The Docker engine does not answer"):
        await make("bob", remove=True, client_kwargs={"base_url": relay.url}).start()
    assert 9 < first < 16
    assert loop.time() - began < first / 3
