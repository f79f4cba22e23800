"""A manager that fails, hangs or says nothing, under the servers of a real hub: none is stopped, none forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from support.crowd import USERS, filled, serves, starts_meanwhile
from support.engine_server import Control, EngineServer
from support.jupyterhub import Hub
from support.wait import wait_until

# Seconds between two lists of all tasks.
RESYNC = 0.8
SETTINGS = f"""
from dockerspawner._swarm import watch
watch.RESYNC, watch.TOO_OLD = {RESYNC}, 2.5
"""
SETTINGS += """

c.JupyterHub.spawner_class = "docker-swarm"
c.Spawner.poll_interval = 1
c.SwarmSpawner.client_kwargs = {{"base_url": "{url}"}}
c.SwarmSpawner.quick_timeout = 10
c.SwarmSpawner.image = "tiny:latest"
c.SwarmSpawner.port = {port}
c.SwarmSpawner.network_name = "users"
c.SwarmSpawner.start_timeout = 20
"""

ASKING = ("GET /tasks", "GET /tasks/*", "GET /services", "GET /services/*", "GET /nodes", "GET /nodes/*", "GET /events")
LOST_LEADER = "rpc error: code = Unknown desc = The swarm does not have a leader."


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(tmp_path_factory.mktemp("engine"), manager=True) as manager:
        with closing(docker.APIClient(base_url=manager.url)) as client:
            client.create_network("users", driver="overlay", attachable=True)
        yield manager


@pytest.fixture(scope="module")
def one_hub(manager: EngineServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub"), SETTINGS.format(url=manager.url, port=manager.port)) as hub:
        yield hub


@pytest.fixture
def control(manager: EngineServer) -> Iterator[Control]:
    yield manager.control
    manager.control.away(False)
    manager.control.clear()
    for number in range(3):
        manager.control.node(number, "ready")


@pytest.fixture
def hub(one_hub: Hub, control: Control) -> Hub:
    """The hub, with a running server for each of USERS."""
    return filled(one_hub)


def test_no_question_is_asked_of_a_single_server_while_nothing_happens(hub: Hub, control: Control) -> None:
    control.calls(reset=True)
    wait_until(lambda: control.calls().get("GET /tasks", 0) >= 3, timeout=30, what="the watch has listed")
    assert set(control.calls()) <= {"GET /tasks", "GET /events", "GET /services"}
    assert control.calls().get("GET /services", 0) <= 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_manager_that_has_no_leader(hub: Hub, control: Control, status: int) -> None:
    for route in (*ASKING, "POST /services/create"):
        control.fail(route, status=status, message=LOST_LEADER)
    control.cut_events()
    control.calls(reset=True)
    wait_until(lambda: control.calls().get("GET /tasks", 0) >= 4, timeout=40, what="the hub has asked")
    serves(hub)
    last = hub.spawn("newcomer")[-1]
    assert last.get("failed"), last
    assert "The swarm has no leader now." in last["message"]
    control.end_task("jupyter-user4", code=1)
    control.clear()
    wait_until(lambda: hub.running() == USERS - {"user4"}, timeout=20, what="what happened meanwhile is known")
    assert hub.spawn("newcomer")[-1].get("ready")
    hub.halt("newcomer")


def test_silence(hub: Hub, control: Control) -> None:
    """All connections are accepted, and nothing is answered: no word is given on anybody, and spawns fail with one."""
    control.cut_events()
    control.deaf()
    last = hub.spawn("newcomer")[-1]
    assert "does not answer" in last["message"]
    serves(hub)
    control.deaf(False)
    assert hub.spawn("newcomer")[-1].get("ready")
    hub.halt("newcomer")
    serves(hub)


@pytest.mark.parametrize("garbled", ["[{", "null"])
def test_answers_that_make_no_sense(hub: Hub, control: Control, garbled: str) -> None:
    control.garble("GET /tasks", text=garbled)
    control.calls(reset=True)
    wait_until(lambda: control.calls().get("GET /tasks", 0) >= 3, timeout=30, what="the hub has asked")
    serves(hub)
    control.clear()
    control.end_task("jupyter-user5", code=1)
    wait_until(lambda: hub.running() == USERS - {"user5"}, timeout=20, what="the watch goes on")


def test_events_that_are_silent_or_torn(hub: Hub, control: Control) -> None:
    control.silence_events()
    control.end_task("jupyter-user6", code=1)
    wait_until(lambda: hub.running() == USERS - {"user6"}, timeout=10)
    control.cut_events(torn=True)
    wait_until(lambda: control.streams() == 1, timeout=20)


def test_an_order_that_failed_but_was_carried_out(hub: Hub, control: Control) -> None:
    """A create that failed with its leader may have happened: it is found by name, and not made twice."""
    control.fail("POST /services/create", times=1, message="rpc error: node lost leader status", after=True)
    control.calls(reset=True)
    assert hub.spawn("newcomer")[-1].get("ready")
    assert control.calls()["POST /services/create"] == 1
    hub.halt("newcomer")
    serves(hub)


def test_a_node_that_is_down_takes_its_servers_along_and_no_others(
    hub: Hub, manager: EngineServer, control: Control
) -> None:
    with closing(docker.APIClient(base_url=manager.url)) as client:
        (node,) = [one["ID"] for one in client.nodes() if one["Description"]["Hostname"] == "node-2"]
        tasks = [task["Spec"]["ContainerSpec"] for task in client.tasks() if task["NodeID"] == node]
    left = USERS - {container["Labels"]["dockyard.user"] for container in tasks}
    assert set() < left < USERS
    control.node(2, "down")
    wait_until(lambda: hub.running() <= left, timeout=10, what="the loss is known")
    assert hub.running() == left
    control.node(2, "ready")
    wait_until(lambda: {hub.visit(name) for name in left} == {200}, timeout=10)


@pytest.mark.parametrize("how", ["errors", "silence", "away"])
def test_a_hub_that_starts_meanwhile_forgets_nobody(hub: Hub, control: Control, how: str) -> None:
    starts_meanwhile(hub, control, how, ASKING, control.end_task, status=503, message=LOST_LEADER)


def test_a_hub_that_starts_asks_once_for_all(hub: Hub, control: Control) -> None:
    hub.kill()
    control.calls(reset=True)
    began = time.monotonic()
    hub.start()
    wait_until(lambda: hub.running() == USERS, timeout=40)
    calls = control.calls()
    assert "GET /services/{id}" not in calls
    # The first list, and those that are due while the hub starts, which takes long on a busy machine.
    assert calls["GET /tasks"] <= 1 + (time.monotonic() - began) / RESYNC
