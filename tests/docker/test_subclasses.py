"""Subclasses written for dockerspawner 14, on a real engine."""

from __future__ import annotations

from typing import Any

import docker.errors
import pytest
from tornado.web import HTTPError

from dockerspawner import DockerSpawner
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")

# No registry answers at this address.
UNOBTAINABLE = "127.0.0.1:1/nobody/has-it:1"


class ChoosesInStart(DockerSpawner):
    async def start(self) -> Any:
        self.image = tiny_image()
        return await super().start()


async def test_an_image_chosen_in_start_needs_no_configured_one(make: Any, client: Any) -> None:
    spawner = make(cls=ChoosesInStart, image=UNOBTAINABLE, remove=True)
    await spawner.run_pre_spawn_hook()
    await spawner.start()
    assert client.containers.get(spawner.object_id).attrs["Config"]["Image"] == tiny_image()
    await spawner.stop()


@pytest.mark.parametrize(
    ("traits", "kind", "status"),
    [
        ({"image": UNOBTAINABLE, "pull_policy": "never"}, docker.errors.ImageNotFound, 404),
        ({"image": UNOBTAINABLE, "pull_policy": "ifnotpresent"}, docker.errors.APIError, 500),
        ({"network_name": "no-such-network"}, docker.errors.NotFound, 404),
        ({"cmd": ["no-such-command"]}, docker.errors.APIError, 400),
    ],
    ids=["no image", "no pull", "no network", "no command"],
)
async def test_what_start_raises_is_the_sdks_error(
    make: Any, containers: Any, traits: dict[str, Any], kind: type[Exception], status: int
) -> None:
    with pytest.raises(kind) as raised:
        await make(remove=True, **traits).start()
    error: Any = raised.value
    assert isinstance(error, HTTPError)
    assert error.response.status_code == status
    assert error.explanation
    assert error.jupyterhub_message
    assert containers() == []


async def test_a_stop_object_without_parameters_stops(make: Any, containers: Any) -> None:
    class Stops(DockerSpawner):
        async def stop_object(self) -> None:  # type: ignore[override]
            await super().stop_object()

    spawner = make(cls=Stops, remove=True)
    await spawner.start()
    await spawner.stop(now=True)
    assert containers() == []
