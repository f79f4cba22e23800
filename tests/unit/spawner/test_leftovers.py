"""What earlier starts have left, on a fake engine."""

from __future__ import annotations

from typing import Any

import pytest

from dockerspawner import DockerSpawner
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner


def spawner_on(client: FakeClient, port: int = 1, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2}
    return make_spawner(engine=fake_engine(client), **{**settings, **traits})


async def test_what_can_not_be_undone_hides_no_failure_and_holds_up_no_start(port: int) -> None:
    class Custom(DockerSpawner):
        async def remove_object(self) -> None:
            if client.fail_removal:
                raise RuntimeError("not now")
            await super().remove_object()

    class Client(FakeClient):
        fail_removal = True

        def remove_volume(self, name: str) -> None:
            raise api_error(409, "volume is in use")

    client = Client()
    client.fail["start"] = [api_error(500, "port is already allocated")]
    spawner = spawner_on(client, port, cls=Custom, volumes={"home-{username}": "/home"})
    with pytest.raises(Exception, match="port is already allocated"):
        await spawner.start()
    client.fail_removal = False
    assert spawner.engine.preparing == {}
    assert await spawner.start() == ("127.0.0.1", port)
    await spawner.stop()
