"""Keys of internal TLS on a swarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dockerspawner import SwarmSpawner
from dockerspawner._start.certificates import FILES, FOLDER
from support.fake_engine import api_error, fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    for name in FILES:
        (tmp_path / name).write_text(f"the {name}")
    return {name: str(tmp_path / name) for name in FILES}


def spawner_on(swarm: FakeSwarm, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "instance": "hub", "internal_ssl": True}
    return make_spawner(engine=fake_engine(swarm), cls=SwarmSpawner, **{**settings, **traits})


async def test_keys_are_secrets_of_the_server_alone_and_go_with_it(paths: dict[str, str]) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm)
    assert spawner.use_internal_hostname
    assert (await spawner.move_certs(paths))["keyfile"] == f"{FOLDER}/key.pem"
    created = await spawner.create_object()
    spawner.object_id = created["ID"]
    container = swarm.asked[0]["task_template"]["ContainerSpec"]
    given = {one["File"]["Name"]: swarm.secrets_there[one["SecretID"]]["data"] for one in container["Secrets"]}
    assert given == {f"{FOLDER}/{file}": f"the {name}".encode() for name, file in FILES.items()}
    assert not container.get("Mounts")
    assert all(len(one["SecretName"]) <= 64 for one in container["Secrets"])
    await spawner.remove_object()
    assert not swarm.secrets_there


async def test_who_runs_the_server_is_the_only_one_who_reads_them(paths: dict[str, str]) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, extra_container_spec={"user": "1234:99"})
    await spawner.move_certs(paths)
    await spawner.create_object()
    for one in swarm.asked[0]["task_template"]["ContainerSpec"]["Secrets"]:
        assert (one["File"]["UID"], one["File"]["Mode"]) == ("1234", 0o400)


async def test_a_start_that_fails_leaves_none(paths: dict[str, str]) -> None:
    swarm = FakeSwarm()
    swarm.fail["create_service"] = [api_error(400, "no")]
    spawner = spawner_on(swarm)
    await spawner.move_certs(paths)
    with pytest.raises(Exception, match="can't be started: no"):
        await spawner.start()
    assert not swarm.secrets_there


async def test_without_a_network_there_is_no_name_that_keys_could_be_for() -> None:
    with pytest.raises(Exception, match="internal_ssl without network_name"):
        await spawner_on(FakeSwarm(), network_name="").start()
