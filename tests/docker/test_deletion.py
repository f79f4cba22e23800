"""What goes with a server or a user that is deleted, and what stays, on a real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest

from support.tiny import tiny_image

pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def make(make: Any, instance: str, tmp_path: Path) -> Any:
    """Servers with a home, a volume of each server, a shared volume, one that is a folder of the host, and a bind."""
    (tmp_path / "file").write_text("the operator's")
    folder = {"name": "local", "options": {"type": "none", "o": "bind", "device": str(tmp_path)}}

    def make_one(username: str = "ann", server: str = "", **traits: Any) -> Any:
        settings = {
            "remove": True,
            "delete_policy": "delete",
            "volumes": {
                f"{instance}-home-{{username}}": "/home/jovyan",
                f"{instance}-of-{{username}}-{{servername}}": "/data",
                f"{instance}-shared": "/shared",
                str(tmp_path): "/host",
            },
            "mounts": [
                {"source": f"{instance}-more-{{username}}", "target": "/more"},
                {"source": f"{instance}-folder-{{username}}", "target": "/folder", "driver_config": folder},
            ],
        }
        return make(username, server, **{**settings, **traits})

    return make_one


@pytest.fixture
def volumes(client: docker.DockerClient, instance: str) -> Any:
    return lambda: sorted(
        one.name.removeprefix(f"{instance}-") for one in client.volumes.list() if one.name.startswith(instance)
    )


async def ran(spawner: Any) -> Any:
    await spawner.start()
    await spawner.stop()
    return spawner


async def test_a_deleted_user_takes_what_is_theirs_alone(make: Any, volumes: Any, tmp_path: Path) -> None:
    for user, server in (("ann", ""), ("ann", "lab"), ("bob", "")):
        await ran(make(user, server))
    await make("ann").delete_forever()
    assert volumes() == ["folder-ann", "folder-bob", "home-bob", "more-bob", "of-bob-", "shared"]
    assert (tmp_path / "file").read_text() == "the operator's"


async def test_a_deleted_server_takes_what_its_template_says_is_its_own(make: Any, volumes: Any) -> None:
    await ran(make("ann"))
    lab = await ran(make("ann", "lab"))
    before = volumes()
    await lab.delete_forever()
    assert volumes() == [name for name in before if name != "of-ann-lab"]


async def test_without_the_policy_volumes_stay_and_containers_go(make: Any, volumes: Any, containers: Any) -> None:
    keeping = {"delete_policy": "keep", "remove": False}
    kept = await ran(make("ann", **keeping))
    slept = await ran(make("bob", stop_action="pause", **keeping))
    assert len(containers()) == 2
    before = volumes()
    await kept.delete_forever()
    await slept.delete_forever()
    assert containers() == []
    assert volumes() == before


async def test_a_container_that_holds_its_users_files_goes_only_with_them(make: Any, containers: Any) -> None:
    inside = {"remove": False, "volumes": {}, "mounts": []}
    kept = await ran(make(delete_policy="keep", **inside))
    await kept.delete_forever()
    assert len(containers()) == 1
    await make(**inside).delete_forever()
    assert containers() == []


async def test_a_volume_that_somebody_else_has_made_stays(make: Any, client: Any, instance: str, volumes: Any) -> None:
    """As the predecessor's, which carry no labels."""
    client.volumes.create(f"{instance}-home-ann")
    await (await ran(make(mounts=[]))).delete_forever()
    assert volumes() == ["home-ann", "shared"]


async def test_what_has_to_stay_behind_is_named(make: Any, client: Any, instance: str, volumes: Any) -> None:
    spawner = await ran(make(mounts=[]))
    mounted = {f"{instance}-home-ann": {"bind": "/x"}}
    other = client.containers.create(tiny_image(), name=f"{instance}-other", volumes=mounted)
    with pytest.raises(Exception, match=f"These stay behind of ann: volume {instance}-home-ann: .*volume is in use"):
        await spawner.delete_forever()
    assert volumes() == ["home-ann", "shared"]
    other.remove()
    await spawner.delete_forever()
    assert volumes() == ["shared"]
