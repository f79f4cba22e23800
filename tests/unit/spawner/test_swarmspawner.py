"""The life of a server on a fake swarm: what a real one can't be made to do on demand, and what it is sent."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import threading
from typing import Any

import pytest

import dockerspawner
from dockerspawner import SwarmSpawner, SwarmSystemUserSpawner, swarmspawner
from dockerspawner._swarm import calls
from support.fake_engine import api_error, fake_engine
from support.fake_swarm import FakeSwarm
from support.spawners import make_spawner
from support.wait import until


def spawner_on(swarm: FakeSwarm, port: int = 1, cls: Any = SwarmSpawner, **traits: Any) -> Any:
    settings = {"image": "tiny", "network_name": "users", "port": port, "quick_timeout": 2, "instance": "hub"}
    return make_spawner(engine=fake_engine(swarm), cls=cls, **{**settings, **traits})


def test_names() -> None:
    ours = {"docker-swarm": "SwarmSpawner", "docker-swarm-system-user": "SwarmSystemUserSpawner"}
    for name, spawner in ours.items():
        (entry,) = importlib.metadata.entry_points(group="jupyterhub.spawners", name=name)
        assert entry.load() is getattr(dockerspawner, spawner)
    assert issubclass(SwarmSpawner, dockerspawner.DockerSpawner)
    assert swarmspawner.SwarmSpawner is SwarmSpawner


def test_defaults_of_a_swarm() -> None:
    spawner = make_spawner(cls=SwarmSpawner)
    assert (spawner.object_type, spawner.object_id_key) == ("service", "ID")
    assert (spawner.network_name, spawner.use_internal_ip, spawner.pull_policy) == ("", False, "skip")
    spawner = make_spawner(cls=SwarmSpawner, remove=False, network_name="users")
    assert (spawner.remove, spawner.use_internal_ip, spawner.will_resume) == (True, True, False)


async def test_a_network_by_its_id_or_in_the_task(port: int) -> None:
    for settings in ({"network_name": "x1y2z3"}, {"network_name": "", "extra_task_spec": {"networks": ["users"]}}):
        spawner = spawner_on(FakeSwarm(), port, **settings)
        assert await spawner.start() == ("127.0.0.1", port)


async def test_a_life(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port)
    await spawner.run_pre_spawn_hook()
    assert await spawner.start() == ("127.0.0.1", port)
    assert spawner.service_name == "jupyter-ann"
    assert [spawner.service_id] == list(swarm.services_there)
    assert await spawner.poll() is None
    assert await spawner.get_url() == f"http://127.0.0.1:{port}/user/ann/"
    task = await spawner.get_task()
    assert task["ServiceID"] == spawner.service_id
    await spawner.stop()
    assert (swarm.services_there, spawner.object_id) == ({}, "")
    assert await spawner.poll() == 0


async def test_start_with_a_subpath_on_a_swarm_fails() -> None:
    mounts = [{"source": "homes", "target": "/home", "subpath": "{username}"}]
    for settings in ({"mounts": mounts}, {"extra_container_spec": {"mounts": mounts}}):
        with pytest.raises(Exception, match="the subpath 'ann': on a swarm the hub can't create it"):
            await spawner_on(FakeSwarm(), **settings).start()


async def test_mounts_of_a_service_with_a_windows_path_and_a_template_of_the_swarm(port: int) -> None:
    swarm = FakeSwarm()
    volumes = {r"C:\Users\{username}": "/host", "of-{{.Node.Hostname}}-{username}": "/node"}
    await spawner_on(swarm, port, volumes=volumes).start()
    (spec,) = swarm.asked
    mounts = spec["task_template"]["ContainerSpec"]["Mounts"]
    assert [(mount["Type"], mount["Source"]) for mount in mounts] == [
        ("bind", r"C:\Users\ann"),
        ("volume", "of-{{.Node.Hostname}}-ann"),
    ]


async def test_what_is_created_carries_our_labels_on_service_and_container(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port, extra_container_spec={"labels": {"mine": "1"}})
    await spawner.start()
    (spec,) = swarm.asked
    container = spec["task_template"]["ContainerSpec"]
    assert spec["labels"] == {**spawner._owner.labels(spawner._attempt.spec_hash)}
    assert container["Labels"] == {"mine": "1", **spec["labels"]}
    assert f"JUPYTERHUB_API_TOKEN={spawner.api_token}" in container["Env"]


async def test_the_spec_hash_is_that_of_what_lasts(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port)
    hashes = []
    for token, limit in (("a" * 32, 1.0), ("b" * 32, 1.0), ("b" * 32, 2.0)):
        spawner.api_token, spawner.cpu_limit = token, limit
        await spawner._create_kwargs()
        hashes.append(spawner._attempt.spec_hash)
    assert hashes[0] == hashes[1] != hashes[2]


async def test_everything_may_be_a_callable_or_a_template(port: int) -> None:
    swarm = FakeSwarm()

    async def create(spawner: Any) -> dict[str, Any]:
        return {"labels": {"for": "{username}"}}

    def modify(spawner: Any, spec: dict[str, Any]) -> None:
        spec["task_template"]["ContainerSpec"]["Hostname"] = spawner.user.name

    await spawner_on(
        swarm,
        port,
        cmd=["serve"],
        args=["--debug"],
        mem_limit=lambda spawner: "1G",
        extra_create_kwargs=create,
        extra_placement_spec=lambda spawner: {"constraints": ["node.labels.owner=={username}"]},
        extra_container_spec={"hosts": {"files": "10.0.0.9"}},
        extra_resources_spec={"pids_limit": 100},
        extra_networks=["more-{username}"],
        block_link_local=True,
        modify_spec_hook=modify,
    ).start()
    (spec,) = swarm.asked
    task = spec["task_template"]
    assert spec["labels"]["for"] == "ann"
    assert task["Placement"]["Constraints"] == ["node.labels.owner==ann"]
    assert [network["Target"] for network in task["Networks"]] == ["users", "more-ann", "dockyard-link-local"]
    assert task["Resources"]["Limits"] == {"MemoryBytes": 2**30, "Pids": 100}
    assert (task["ContainerSpec"]["Args"], task["ContainerSpec"]["Hostname"]) == (["serve", "--debug"], "ann")
    assert task["ContainerSpec"]["Hosts"] == ["10.0.0.9 files"]


async def test_mounts_are_typed_and_drivers_have_their_options(port: int) -> None:
    swarm = FakeSwarm()
    options = {"type": "nfs", "o": "addr=10.0.0.1,rw,nfsvers=4", "device": ":/homes/{username}"}
    await spawner_on(
        swarm,
        port,
        volumes={"home-{username}": "/home/jovyan", "/srv/data": {"bind": "/data", "mode": "ro"}},
        mounts=[{"source": "scratch", "target": "/scratch", "driver_config": {"name": "nfs", "options": {"a": "b"}}}],
        volume_driver_options=options,
    ).start()
    home, data, scratch = swarm.asked[0]["task_template"]["ContainerSpec"]["Mounts"]
    assert home == {
        "Target": "/home/jovyan",
        "Source": "home-ann",
        "Type": "volume",
        "ReadOnly": False,
        "VolumeOptions": {
            "Labels": {"dockyard.instance": "hub", "dockyard.user": "ann"},
            "DriverConfig": {"Name": "local", "Options": {**options, "device": ":/homes/ann"}},
        },
    }
    assert (data["Type"], data["Source"], data["ReadOnly"]) == ("bind", "/srv/data", True)
    assert scratch["VolumeOptions"]["DriverConfig"] == {"Name": "nfs", "Options": {"a": "b"}}


@pytest.mark.parametrize(
    ("state", "error", "says"),
    [
        ("rejected", "No such image: tiny", "Image tiny is not on node host-n1, which could not pull it"),
        ("rejected", "invalid mount config", "Node host-n1 of the swarm rejected the server: invalid mount config"),
        ("failed", "task: non-zero exit (1)", "The server ended with exit code 1.\nlast line"),
        ("orphaned", "", "The server on node host-n1 was lost: orphaned"),
    ],
)
async def test_what_will_never_run_fails_at_once_and_leaves_no_service(state: str, error: str, says: str) -> None:
    swarm = FakeSwarm()
    swarm.born, swarm.error = state, error
    spawner = spawner_on(swarm)
    add_task = swarm.add_task

    def add(service_id: str) -> Any:
        task = add_task(service_id)
        task["Status"]["ContainerStatus"]["ExitCode"] = 1
        return task

    swarm.add_task = add  # type: ignore[method-assign]
    with pytest.raises(Exception, match=re.escape(says)):
        await spawner.start()
    assert (swarm.services_there, spawner.object_id) == ({}, "")


async def test_what_no_node_can_take_fails_in_the_swarms_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swarmspawner, "UNPLACED", 0.3)
    swarm = FakeSwarm()
    swarm.born, swarm.error = "pending", "no suitable node (insufficient resources on 2 nodes)"
    with pytest.raises(Exception, match=r"No node .*: no suitable node \(insufficient resources on 2 nodes\)"):
        await spawner_on(swarm).start()
    assert not swarm.services_there


async def test_a_service_that_is_removed_while_it_starts() -> None:
    swarm = FakeSwarm()
    swarm.born = "preparing"
    starting = asyncio.ensure_future(spawner_on(swarm).start())
    await until(swarm.is_asked, timeout=10, interval=0.01)
    swarm.remove_service(next(iter(swarm.services_there)))
    with pytest.raises(Exception, match="was removed while it started"):
        await starting


async def test_a_service_of_somebody_else_is_never_touched() -> None:
    swarm = FakeSwarm()
    task = {"ContainerSpec": {"Labels": {}}, "Placement": {}}
    theirs = swarm.create_service(name="jupyter-ann", labels={}, task_template=task)["ID"]
    with pytest.raises(Exception, match="already a service named jupyter-ann that does not belong to this server"):
        await spawner_on(swarm).start()
    assert list(swarm.services_there) == [theirs]


async def test_what_an_earlier_start_has_left_is_replaced(port: int) -> None:
    swarm = FakeSwarm()
    first = spawner_on(swarm, port)
    await first.start()
    second = spawner_on(swarm, port)
    await second.start()
    assert list(swarm.services_there) == [second.object_id] != [first.object_id]


async def test_removing_twice_is_no_error(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port)
    await spawner.start()
    swarm.remove_service(spawner.object_id)
    await spawner.stop()
    assert spawner.object_id == ""


@pytest.mark.parametrize("made", [True, False])
async def test_a_create_whose_leader_was_lost_may_have_happened(port: int, made: bool) -> None:
    swarm = FakeSwarm()
    create = swarm.create_service

    def lost(**spec: Any) -> Any:
        swarm.create_service = create  # type: ignore[method-assign]
        if made:
            create(**spec)
        raise api_error(500, "rpc error: code = Unknown desc = node lost leader status")

    swarm.create_service = lost  # type: ignore[method-assign]
    spawner = spawner_on(swarm, port)
    if made:
        assert await spawner.start() == ("127.0.0.1", port)
        assert len(swarm.services_there) == 1
    else:
        with pytest.raises(Exception, match="swarm"):
            await spawner.start()
        assert not swarm.services_there


async def test_a_create_without_an_answer_is_not_looked_up_for_long(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LOOK_UP", 0.1)
    swarm, released = FakeSwarm(), threading.Event()

    def lost(**_: Any) -> Any:
        swarm.inspect_service = lambda _: released.wait(10)  # type: ignore[assignment, return-value]
        raise api_error(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")

    swarm.create_service = lost  # type: ignore[method-assign]
    with pytest.raises(Exception, match="swarm"):
        await asyncio.wait_for(spawner_on(swarm, port).start(), 5)
    released.set()


async def test_unavailable_is_not_gone(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port)
    await spawner.start()
    spawner._watch._listed_at = float("-inf")
    for method in ("tasks", "services", "inspect_service"):
        swarm.fail[method] = [api_error(503, "The swarm does not have a leader") for _ in range(20)]
    assert await spawner.poll() is None
    assert await spawner.get_url() == spawner.server.url


async def test_what_a_service_can_not_have_is_refused_by_name() -> None:
    spawner = spawner_on(FakeSwarm(), stop_action="pause", post_start_cmd="ls", network_isolation="per-user")
    with pytest.raises(Exception, match=r"stop_action.*network_isolation.*post_start_cmd"):
        await spawner.start()


@pytest.mark.parametrize("setting", [{"extra_container_spec": {"nosuch": 1}}, {"gpus": "all"}])
async def test_mistakes_in_settings(setting: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"nosuch|must be a number"):
        await spawner_on(FakeSwarm(), **setting).start()


async def test_gpus_are_generic_resources(port: int) -> None:
    swarm = FakeSwarm()
    await spawner_on(swarm, port, gpus=lambda spawner: 2, gpu_resource="NVIDIA-GPU").start()
    (resource,) = swarm.asked[0]["task_template"]["Resources"]["Reservations"]["GenericResources"]
    assert resource == {"DiscreteResourceSpec": {"Kind": "NVIDIA-GPU", "Value": 2}}


async def test_a_system_user(port: int) -> None:
    swarm = FakeSwarm()
    spawner = spawner_on(swarm, port, SwarmSystemUserSpawner, user_id=1234, group_id=99)
    await spawner.start()
    container = swarm.asked[0]["task_template"]["ContainerSpec"]
    assert (container["User"], container["Dir"]) == ("1234:99", "/home/ann")
    (home,) = container["Mounts"]
    assert (home["Type"], home["Source"], home["Target"]) == ("bind", "/home/ann", "/home/ann")
    assert {"NB_UID=1234", "NB_USER=ann"} <= set(container["Env"])


async def test_progress_tells_where_it_runs(port: int) -> None:
    swarm = FakeSwarm()
    swarm.born = "preparing"
    spawner = spawner_on(swarm, port)
    starting = asyncio.ensure_future(spawner.start())
    told = []
    async for event in spawner.progress():
        told.append(event["message"])
        if "fetches" in event["message"]:
            swarm.task_of(spawner.object_id)["Status"]["State"] = "running"
    await starting
    assert told == [
        "Creating the server's service",
        "Starting the server",
        "Node host-n1 fetches the image and makes the container",
        "Waiting for the server to answer",
    ]


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 10),
        ({"stop_timeout": 40}, 40),
        ({"extra_container_spec": {"stop_grace_period": 300_000_000_000}}, 300),
    ],
)
async def test_stop_of_a_service_waits_as_long_as_its_task_may_take(port: int, settings: Any, seconds: float) -> None:
    spawner = spawner_on(FakeSwarm(), port, **settings)
    await spawner.start()
    assert await spawner._calls._grace(spawner.object_id) == seconds
