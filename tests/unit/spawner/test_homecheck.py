"""HOME of a new container, on a fake engine."""

from __future__ import annotations

from typing import Any

import pytest

from dockerspawner._engine.archive import packed
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner

ADVICE = "Mount {home} of {image}."


class Client(FakeClient):
    """Its containers have a passwd, a user and mounts."""

    def __init__(self, image: str, user: str = "1000", *targets: str) -> None:
        super().__init__(images=(image,))
        self.image, self.user, self.targets = image, user, targets
        self.passwd_reads = 0

    def create_container(self, **spec: Any) -> dict[str, Any]:
        made = super().create_container(**spec)
        described = self.existing[spec["name"]]
        described["Config"]["User"] = self.user
        described["Mounts"] = [{"Type": "volume", "Name": "v", "Destination": target} for target in self.targets]
        return made

    def get_archive(self, key: str, path: str, chunk_size: int) -> tuple[list[bytes], dict[str, Any]]:
        self.passwd_reads += 1
        return [packed({"passwd": b"root:x:0:0::/root:/bin/sh\nrs:x:1000:1000::/home/rs:/bin/sh\n"}, 0, 0, 0o644)], {}


def spawner_on(client: Client, port: int, username: str = "ann", **traits: Any) -> Any:
    settings = {"image": client.image, "network_name": "users", "port": port, "quick_timeout": 2}
    return make_spawner(username, engine=fake_engine(client), **{**settings, "home_advice": ADVICE, **traits})


@pytest.mark.parametrize("environment", [{}, {"HOME": "/home/rs/"}])
async def test_start_whose_home_is_on_no_volume_fails_with_the_advice(
    port: int, caplog: Any, environment: dict[str, str]
) -> None:
    client = Client("lost", "1000", "/home/jovyan")
    spawner = spawner_on(client, port, environment=environment)
    spawner.log.propagate = True
    with pytest.raises(Exception, match="The home of image lost is /home/rs, where no volume is mounted") as failed:
        await spawner.start()
    assert failed.value.reason == "settings"  # type: ignore[attr-defined]
    assert "Mount /home/rs of lost." in caplog.text
    assert "start" not in client.calls
    assert client.existing == {}


@pytest.mark.parametrize(
    ("image", "user", "targets", "environment"),
    [
        ("passwd", "1000", ["/home/rs"], {}),
        ("name", "rs:users", ["/home"], {}),
        ("root", "", ["/root"], {}),
        ("variable", "1000", ["/data"], {"HOME": "/data/x"}),
        # No user has a HOME.
        ("unknown", "77", ["/home/rs"], {}),
    ],
)
async def test_start_whose_home_is_kept(
    port: int, image: str, user: str, targets: list[str], environment: dict[str, str]
) -> None:
    spawner = spawner_on(Client(image, user, *targets), port, environment=environment)
    assert await spawner.start() == ("127.0.0.1", port)
    await spawner.stop()


async def test_home_is_not_checked_without_advice(port: int) -> None:
    client = Client("unchecked")
    spawner = spawner_on(client, port, home_advice="")
    await spawner.start()
    assert client.passwd_reads == 0
    await spawner.stop()


async def test_passwd_of_an_image_is_read_once(port: int) -> None:
    client = Client("known", "1000", "/home/rs")
    for name in ("ann", "bob"):
        spawner = spawner_on(client, port, name, remove=True)
        await spawner.start()
        await spawner.stop()
    assert client.passwd_reads == 1
