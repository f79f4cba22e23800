"""What the watch hears of a server reaches the hub, also where much happens at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner
from support.wait import until


class Hub:
    """What a hub has on record of one server, its route, and how it was told that the server has ended."""

    def __init__(self, spawner: Any) -> None:
        self.server = spawner._server
        self.routes: list[tuple[str, int]] = []
        self.ends: list[int | None] = []
        # Done while the first route is set.
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        spawner.user.db = SimpleNamespace(commit=lambda: None)
        spawner.user.settings = {"proxy": self}
        spawner.poll_and_notify = self.poll_and_notify
        self._spawner = spawner

    async def add_user(self, user: object, name: str) -> None:
        self.routes.append((self.server.ip, self.server.port))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()

    async def poll_and_notify(self) -> None:
        self.ends.append(await self._spawner.poll())

    def logs(self) -> None:
        self._spawner.log.propagate = True

    async def has_more_news(self) -> bool:
        return bool(self._spawner._more)

    async def told(self, routes: int = 0, ends: int = 0) -> None:
        async def enough() -> bool:
            return len(self.routes) >= routes and len(self.ends) >= ends

        await until(enough, timeout=10, interval=0.005)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def hub(client: FakeClient, port: int) -> Hub:
    """It has Ann's server on record, which runs."""
    settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2}
    spawner = make_spawner(engine=fake_engine(client), **settings)
    hub = Hub(spawner)
    hub.server.ip, hub.server.port = await spawner.start()
    client.calls.clear()
    return hub


async def test_a_server_that_moves_is_routed_anew(client: FakeClient, hub: Hub) -> None:
    client.leave("jupyter-ann")
    client.join("jupyter-ann", "127.0.0.2")
    await hub.told(routes=1)
    assert hub.routes == [("127.0.0.2", hub.server.port)]
    assert client.calls == ["inspect_container"]
    assert hub.ends == []


async def test_one_that_moves_again_while_it_is_routed(client: FakeClient, hub: Hub) -> None:
    async def move_again() -> None:
        client.leave("jupyter-ann")
        client.join("jupyter-ann", "127.0.0.3")
        await until(hub.has_more_news, timeout=10, interval=0.005)

    hub.meanwhile = move_again
    client.join("jupyter-ann", "127.0.0.2")
    await hub.told(routes=2)
    assert [address for address, _ in hub.routes] == ["127.0.0.2", "127.0.0.3"]


async def test_one_that_the_hub_does_not_reach_goes_on_and_is_named(
    client: FakeClient, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.logs()
    client.leave("jupyter-ann")
    client.join("jupyter-ann", "10.0.0.9", network="elsewhere")

    async def said() -> bool:
        return "jupyter-ann can't be had: the container is not on network users" in caplog.text

    await until(said, timeout=10, interval=0.005)
    assert (hub.routes, hub.ends) == ([], [])
    client.join("jupyter-ann", "127.0.0.2")
    await hub.told(routes=1)


async def test_one_that_ends_right_after_other_news(client: FakeClient, hub: Hub) -> None:
    """It does not get lost behind the look at what came before it."""
    client.emit("oom", "jupyter-ann")
    client.join("jupyter-ann", "127.0.0.1")
    client.die("jupyter-ann", 137)
    await hub.told(ends=1)
    assert hub.ends[-1] == 137
    assert hub.routes == []
