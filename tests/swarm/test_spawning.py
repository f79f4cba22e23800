"""Servers on a swarm, through a real hub process with its proxy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from support.jupyterhub import Hub
from support.swarm import Swarm
from support.swarmhub import given
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")


def services(swarm: Swarm, instance: str) -> list[str]:
    """Names of the services of the test's hub."""
    found = swarm.client.api.services({"label": f"dockyard.instance={instance}"})
    return sorted(service["Spec"]["Name"] for service in found)


def containers(swarm: Swarm, instance: str) -> list[str]:
    """Names of the containers of the test's hub, on all nodes."""
    return sorted(name for node in swarm.nodes for name in node.containers() if name.startswith(instance))


def test_a_user_starts_visits_and_stops_a_server(hub: Hub, swarm: Swarm, instance: str) -> None:
    events = hub.spawn("ann")
    assert events[-1].get("ready"), events
    assert hub.get("ann", page="whose").text == "ann\n"
    assert services(swarm, instance) == [f"{instance}-ann"]
    hub.halt("ann")
    assert services(swarm, instance) == []
    wait_until(lambda: containers(swarm, instance) == [], timeout=20, what="the task's container is gone")


def test_progress_goes_on_to_the_end(hub: Hub) -> None:
    events = hub.spawn("ann")
    assert events[-1].get("ready"), events
    numbers = [event["progress"] for event in events]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 100
    assert "Waiting for the server to answer" in [event["message"] for event in events]
    hub.halt("ann")


def test_a_service_says_whose_it_is(hub: Hub, swarm: Swarm, instance: str) -> None:
    assert hub.spawn("bob@example.org", "lab")[-1].get("ready")
    (name,) = services(swarm, instance)
    labels = swarm.client.api.inspect_service(name)["Spec"]["Labels"]
    told = {key: labels[f"dockyard.{key}"] for key in ("instance", "user", "server")}
    assert told == {"instance": instance, "user": "bob@example.org", "server": "lab"}
    hub.halt("bob@example.org", "lab")


def test_limits_hold_in_the_container(hub: Hub, swarm: Swarm, instance: str) -> None:
    user = given(
        hub,
        "carol",
        mem_limit="64M",
        cpu_limit=0.5,
        extra_resources_spec={"pids_limit": 77},
        extra_container_spec={"cap_drop": ["ALL"], "privileges": {"NoNewPrivileges": True}},
    )
    assert hub.spawn(user)[-1].get("ready")
    container = swarm.container_of(f"{instance}-carol")
    host = container.attrs["HostConfig"]
    assert host["Memory"] == 64 * 2**20
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 77
    status = container.exec_run(["cat", "/proc/1/status"]).output.decode()
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    hub.halt(user)


def test_a_gpu_is_given_to_one_server(hub: Hub, swarm: Swarm, instance: str) -> None:
    users = [given(hub, f"lou{number}", gpus=1) for number in range(4)]
    for user in users[:3]:
        assert hub.spawn(user)[-1].get("ready")
        environment = swarm.container_of(f"{instance}-{user}").attrs["Config"]["Env"]
        assert "DOCKER_RESOURCE_GPU=number-7" in environment
    last = hub.spawn(users[3])[-1]
    assert "no suitable node (insufficient resources on 3 nodes)" in last["message"]
    hub.halt(users[0])
    assert hub.spawn(users[3])[-1].get("ready")
    for user in users[1:]:
        hub.halt(user)


def test_named_servers_are_services_of_their_own(hub: Hub, swarm: Swarm, instance: str) -> None:
    assert hub.spawn("dora")[-1].get("ready")
    assert hub.spawn("dora", "lab")[-1].get("ready")
    assert services(swarm, instance) == [f"{instance}-dora", f"{instance}-dora--lab"]
    hub.halt("dora", "lab")
    assert services(swarm, instance) == [f"{instance}-dora"]
    assert hub.get("dora", page="whose").ok
    hub.halt("dora")


def test_a_deleted_user_leaves_no_service(hub: Hub, swarm: Swarm, instance: str) -> None:
    assert hub.spawn("erin")[-1].get("ready")
    hub.http.delete(f"{hub.api}/users/erin").raise_for_status()
    wait_until(lambda: services(swarm, instance) == [], timeout=20)


def test_a_crash_shows_within_five_seconds_and_the_server_starts_again(hub: Hub, swarm: Swarm, instance: str) -> None:
    assert hub.spawn("fay")[-1].get("ready")
    swarm.container_of(f"{instance}-fay").kill()
    wait_until(lambda: not hub.is_running("fay"), timeout=5, what="the crash is known")
    assert services(swarm, instance) == []
    assert hub.spawn("fay")[-1].get("ready")
    hub.halt("fay")


def test_a_service_that_is_removed_by_hand_shows_within_five_seconds(hub: Hub, swarm: Swarm, instance: str) -> None:
    assert hub.spawn("gus")[-1].get("ready")
    swarm.client.api.remove_service(f"{instance}-gus")
    wait_until(lambda: not hub.is_running("gus"), timeout=5, what="the removal is known")
    assert hub.spawn("gus")[-1].get("ready")
    hub.halt("gus")


def test_a_server_is_removed_twice(hub: Hub, swarm: Swarm, instance: str) -> None:
    """By hand and then by its user, before the hub has heard of it; and by its user, two times at once."""
    assert hub.spawn("lee")[-1].get("ready")
    swarm.client.api.remove_service(f"{instance}-lee")
    hub.halt("lee")
    assert hub.spawn("lee")[-1].get("ready")
    with ThreadPoolExecutor() as pool:
        list(pool.map(hub.halt, ["lee"] * 2))
    assert services(swarm, instance) == []


def test_a_killed_hub_knows_its_servers_again(hub: Hub, swarm: Swarm, instance: str) -> None:
    names = ["hal", "ivy", "joe"]
    for name in names:
        assert hub.spawn(name)[-1].get("ready")
    before = {name: swarm.running(f"{instance}-{name}")["ID"] for name in names}
    hub.kill()
    swarm.container_of(f"{instance}-joe").kill()
    hub.start()
    wait_until(lambda: hub.running() == {"hal", "ivy"}, timeout=30, what="the one that ended is known")
    wait_until(lambda: hub.visit("ivy") == 404, timeout=30, what="the routes are there")
    for name in ("hal", "ivy"):
        assert swarm.running(f"{instance}-{name}")["ID"] == before[name]
        assert hub.get(name, page="whose").text == f"{name}\n"
        hub.halt(name)
    assert services(swarm, instance) == []


def test_a_service_of_somebody_else_is_never_touched(hub: Hub, swarm: Swarm, instance: str) -> None:
    theirs = swarm.client.services.create("nothing:1", name=f"{instance}-kim", labels={"by": "hand"})
    last = hub.spawn("kim")[-1]
    assert last.get("failed"), last
    assert f"{instance}-kim" in last["message"]
    assert swarm.client.api.inspect_service(f"{instance}-kim")["ID"] == theirs.id
    theirs.remove()
    assert hub.spawn("kim")[-1].get("ready")
    hub.halt("kim")
