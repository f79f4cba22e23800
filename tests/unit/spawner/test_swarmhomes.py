"""Where a user's files are, and that nobody else writes to them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from docker.types import DriverConfig, Mount

from dockerspawner import SwarmSpawner
from dockerspawner._swarm import homes
from dockerspawner._swarm.homes import NODE, SWARM, scope
from support.fake_engine import fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner

OWN = {"dockyard.instance": "hub", "dockyard.user": "ann"}
NFS = DriverConfig("local", {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/homes"})
MEMORY = DriverConfig("local", {"type": "tmpfs", "device": "tmpfs"})
SHARED = {"type": "none", "o": "bind", "device": "/shared/{username}"}


@pytest.mark.parametrize(
    ("mounts", "where"),
    [
        ([], ""),
        ([Mount("/data", "data", labels={"dockyard.instance": "hub"})], ""),
        ([Mount("/home", "home", labels=OWN, read_only=True)], ""),
        ([Mount("/tmp", None, type="tmpfs")], ""),
        ([Mount("/home", "home", labels=OWN)], NODE),
        ([Mount("/home", "home", labels=OWN, driver_config=NFS)], SWARM),
        ([Mount("/home", "home", labels=OWN, driver_config=DriverConfig("rexray"))], SWARM),
        ([Mount("/home", "home", labels=OWN, driver_config=DriverConfig("local", {"o": "size=1m"}))], NODE),
        ([Mount("/home", "home", labels=OWN, driver_config=MEMORY)], NODE),
        ([Mount("/home", "/nfs/ann", type="bind")], SWARM),
        ([Mount("/data", "/nfs/ann", type="bind"), Mount("/home", "home", labels=OWN)], NODE),
    ],
)
def test_scope(mounts: list[Mount], where: str) -> None:
    assert scope(mounts) == where


def spawner_on(swarm: FakeSwarm, port: int, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2, "instance": "hub"}
    settings["volumes"] = {"home-{username}": "/home/jovyan"}
    return make_spawner(engine=fake_engine(swarm), cls=SwarmSpawner, **{**settings, **traits})


async def stop(spawner: Any) -> dict[str, Any]:
    """Stop as the hub does; the state that it keeps."""
    await spawner.stop()
    spawner.clear_state()
    return spawner.get_state()  # type: ignore[no-any-return]


def next_of(swarm: FakeSwarm, port: int, state: dict[str, Any], **traits: Any) -> Any:
    spawner = spawner_on(swarm, port, **traits)
    spawner.load_state(state)
    return spawner


async def test_files_on_a_node_are_found_again(port: int) -> None:
    swarm = FakeSwarm()
    first = spawner_on(swarm, port)
    await first.start()
    assert not any("FENCE" in name for name in first.get_env())
    state = await stop(first)
    assert state["home_node"] == {"id": "n1", "name": "host-n1"}
    await next_of(swarm, port, state).start()
    assert swarm.asked[1]["task_template"]["Placement"]["Constraints"] == ["node.id==n1"]


async def test_files_of_a_hub_on_one_host_are_found_where_it_was(port: int) -> None:
    swarm = FakeSwarm()
    swarm.volumes_there["home-ann"] = {"Name": "home-ann", "Labels": OWN}
    swarm.nodes_there = dict(reversed(swarm.nodes_there.items()))
    spawner = spawner_on(swarm, port)
    await spawner.start()
    assert swarm.asked[0]["task_template"]["Placement"]["Constraints"] == ["node.id==n1"]
    assert (await stop(spawner))["home_node"] == {"id": "n1", "name": "host-n1"}


async def test_files_on_the_hubs_node_are_not_looked_for_where_all_nodes_have_them(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port, volume_driver_options=SHARED)
    await spawner.start()
    assert swarm.count("inspect_volume") == 0


@pytest.mark.parametrize(
    ("fate", "says"),
    [
        (lambda swarm: swarm.lose("n1"), "Your files are on node host-n1 of the swarm, which is down"),
        (lambda swarm: swarm.nodes_there.pop("n1"), "which has left the swarm"),
        (lambda swarm: swarm.nodes_there["n1"]["Spec"].update(Availability="drain"), "is set to drain"),
    ],
)
async def test_files_on_a_node_that_is_away(port: int, fate: Any, says: str) -> None:
    swarm = FakeSwarm()
    first = spawner_on(swarm, port)
    await first.start()
    state = await stop(first)
    fate(swarm)
    second = next_of(swarm, port, state)
    with pytest.raises(Exception, match=says):
        await second.start()
    assert not swarm.services_there
    assert second.get_state()["home_node"]["id"] == "n1"


async def test_files_that_all_nodes_have_may_be_anywhere_and_servers_know(port: int) -> None:
    swarm = FakeSwarm()
    shared = {"volume_driver_options": SHARED, "fence_after": 60, "fence_contacts": ["proxy:8000", "gate:1"]}
    spawner = spawner_on(swarm, port, **shared)
    await spawner.start()
    env = spawner.get_env()
    assert (env["DOCKYARD_FENCE_AFTER"], env["DOCKYARD_FENCE_CONTACTS"]) == ("45", "proxy:8000 gate:1")
    assert "home_node" not in await stop(spawner)
    assert not swarm.asked[0]["task_template"].get("Placement")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "PATIENCE", 0.0)


async def lost(swarm: FakeSwarm, port: int, **traits: Any) -> dict[str, Any]:
    """The state after a server whose node went away."""
    first = spawner_on(swarm, port, volume_driver_options=SHARED, **traits)
    await first.start()
    swarm.lose("n1")
    await first._watch._sync()
    assert await first.poll() == 0
    return await stop(first)


async def test_an_earlier_server_that_may_still_write_keeps_others_away(port: int, hasty: None) -> None:
    swarm = FakeSwarm()
    state = await lost(swarm, port, fence_after=300)
    second = next_of(swarm, port, state, volume_driver_options=SHARED, fence_after=300)
    with pytest.raises(Exception, match=r"is on node host-n1, which was lost.* can be started in \d+ s, or as soon"):
        await second.start()
    assert not swarm.services_there
    # Its node is back, and has ended it.
    swarm.back("n1")
    third = next_of(swarm, port, second.get_state(), volume_driver_options=SHARED, fence_after=300)
    await third.start()
    assert "lost_task" not in third.get_state()


async def test_after_a_while_it_has_ended_itself(port: int, hasty: None) -> None:
    swarm = FakeSwarm()
    state = await lost(swarm, port, fence_after=300)
    state["lost_task"]["since"] = time.time() - 301
    # Nothing answers there.
    state["lost_task"] |= {"host": "127.0.0.1", "port": 1}
    await next_of(swarm, port, state, volume_driver_options=SHARED, fence_after=300).start()
    assert swarm.asked[1]["name"] == "jupyter-ann"


async def test_one_that_still_answers_is_not_doubled(port: int, hasty: None) -> None:
    swarm = FakeSwarm()
    state = await lost(swarm, port, fence_after=300)
    state["lost_task"]["since"] = time.time() - 301
    state["lost_task"] |= {"host": "127.0.0.1", "port": port}
    with pytest.raises(Exception, match="still answers"):
        await next_of(swarm, port, state, volume_driver_options=SHARED, fence_after=300).start()


async def test_a_node_that_was_removed_is_off(port: int, hasty: None) -> None:
    swarm = FakeSwarm()
    state = await lost(swarm, port)
    del swarm.nodes_there["n1"]
    await next_of(swarm, port, state, volume_driver_options=SHARED).start()
