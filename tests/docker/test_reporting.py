"""What happens to a server behind the hub's back, on a real engine, is known to a real hub that hardly ever polls."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from support.engine import marked
from support.freezing import freeze
from support.jupyterhub import Hub
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")

# All is listed once: what is known later is what the engine has told of.
SETTINGS = """
from dockerspawner._engine import watch
watch.RESYNC = 3600.0

c.Spawner.poll_interval = 3600
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.remove = True
c.DockerSpawner.mem_limit = "16M"
c.DockerSpawner.swap = False

def before(spawner):
    if spawner.user.name == "brief":
        spawner.cmd = ["sh", "-c", "httpd -p 8888 -h /www; sleep 1; exit 5"]
    if spawner.user.name == "greedy":
        spawner.cmd = ["sh", "-c", "httpd -p 8888 -h /www; until [ -e hungry ]; do sleep 0.1; done; {eat}"]
    if spawner.user.name == "lasting":
        spawner.extra_host_config = {{"restart_policy": {{"Name": "on-failure", "MaximumRetryCount": 1}}}}
        crash = "until [ -e crash ]; do sleep 0.1; done; rm crash; exit 6"
        spawner.cmd = ["sh", "-c", "httpd -p 8888 -h /www; " + crash]

c.DockerSpawner.pre_spawn_hook = before
"""

EAT = "x=0123456789abcdef; while :; do x=$x$x; done"


@pytest.fixture(scope="module")
def instance(client: docker.DockerClient) -> Iterator[str]:
    with marked(client) as name:
        yield name


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, instance: str, network: str) -> Iterator[Hub]:
    settings = SETTINGS.format(image=tiny_image(), instance=instance, network=network, eat=EAT)
    hub = Hub(tmp_path_factory.mktemp("hub"), settings)
    with hub:
        yield hub


@pytest.fixture
def server(hub: Hub, client: docker.DockerClient, instance: str) -> Iterator[Any]:
    """Ann's server, running; at the end she has none, and starts another without trouble."""
    assert hub.spawn("ann")[-1].get("ready")
    yield client.containers.get(f"{instance}-ann")
    if not hub.is_running("ann"):
        assert hub.spawn("ann")[-1].get("ready")
    hub.halt("ann")
    assert client.containers.list(all=True, filters={"label": f"dockyard.instance={instance}"}) == []


def until_stopped(hub: Hub, name: str = "ann") -> None:
    wait_until(lambda: not hub.is_running(name), timeout=10, what="the hub knows that the server has ended")


def test_killed(hub: Hub, server: Any) -> None:
    server.kill()
    until_stopped(hub)
    assert f"The server in {server.name} ended with exit code 137" in hub.log


def test_removed(hub: Hub, server: Any) -> None:
    server.remove(force=True)
    until_stopped(hub)


def test_a_child_out_of_memory(hub: Hub, server: Any) -> None:
    """Where only a child was killed, the server goes on."""
    server.exec_run(["sh", "-c", EAT])
    says = f"A process of {server.name} was killed: the server has used up its memory"
    wait_until(lambda: says in hub.log, timeout=10)
    assert hub.is_running("ann")
    assert hub.visit("ann") == 404


def test_out_of_memory(hub: Hub, server: Any, client: Any, instance: str) -> None:
    """It ends alone, and why is told with what it might have had."""
    assert hub.spawn("greedy")[-1].get("ready")
    client.containers.get(f"{instance}-greedy").exec_run(["touch", "hungry"])
    until_stopped(hub, "greedy")
    assert f"The server in {instance}-greedy ran out of memory (16 MiB, exit code 137)" in hub.log
    assert hub.is_running("ann")
    assert hub.visit("ann") == 404


def test_paused(hub: Hub, server: Any) -> None:
    freeze(server)
    server.reload()
    assert server.status == "paused"
    assert hub.is_running("ann")
    server.unpause()
    assert hub.visit("ann") == 404


def test_paused_and_stopped(hub: Hub, server: Any) -> None:
    freeze(server)
    hub.halt("ann")


def test_renamed(hub: Hub, server: Any, instance: str) -> None:
    server.rename(f"{instance}-elsewhere")
    assert hub.visit("ann") == 404
    hub.halt("ann")


def test_moved_to_another_address(hub: Hub, server: Any, client: Any, network: str, instance: str) -> None:
    there = client.networks.get(network)
    there.disconnect(server)
    other = client.containers.run(tiny_image(), detach=True, network=network, name=f"{instance}-other")
    try:
        there.connect(server)
        wait_until(lambda: "has moved from" in hub.log, timeout=20, what="the address is noticed")
        wait_until(lambda: hub.visit("ann") == 404, timeout=10, what="the server is routed to where it is now")
        assert hub.is_running("ann")
    finally:
        other.remove(force=True)


def test_restarted(hub: Hub, server: Any, client: Any, instance: str) -> None:
    """Where it runs again before the hub has looked, it goes on."""
    assert hub.spawn("bob")[-1].get("ready")
    os.kill(hub.pid, signal.SIGSTOP)
    try:
        server.restart(timeout=0)
        client.containers.get(f"{instance}-bob").kill()
    finally:
        os.kill(hub.pid, signal.SIGCONT)
    until_stopped(hub, "bob")
    wait_until(lambda: hub.visit("ann") == 404, timeout=20, what="the server is routed to where it is now")
    assert hub.is_running("ann")
    assert client.containers.get(f"{instance}-ann").id == server.id


def test_an_end_right_after_the_start_is_known_once_the_start_is_over(hub: Hub, client: Any, instance: str) -> None:
    assert hub.spawn("brief")[-1].get("ready")
    until_stopped(hub, "brief")
    assert f"The server in {instance}-brief ended with exit code 5" in hub.log
    wait_until(lambda: not client.containers.list(all=True, filters={"name": f"{instance}-brief"}), timeout=10)


def test_a_stop_is_not_taken_for_an_end(hub: Hub) -> None:
    before = hub.log.count("server stopped, with exit code")
    assert hub.spawn("bob")[-1].get("ready")
    hub.halt("bob")
    assert hub.spawn("bob")[-1].get("ready")
    hub.halt("bob")
    assert hub.log.count("server stopped, with exit code") == before


def test_crash_with_a_restart_policy_is_restarted_by_the_engine_until_it_gives_up(
    hub: Hub, server: Any, client: Any, instance: str
) -> None:
    assert hub.spawn("lasting")[-1].get("ready")
    lasting = client.containers.get(f"{instance}-lasting")

    def restarts() -> int:
        lasting.reload()
        return int(lasting.attrs["RestartCount"]) if lasting.attrs["State"]["Running"] else -1

    lasting.exec_run(["touch", "crash"])
    wait_until(lambda: restarts() == 1, timeout=20, what="the engine restarts the server")
    wait_until(lambda: hub.visit("lasting") == 404, timeout=20, what="the server answers again")
    assert hub.is_running("lasting")
    lasting.exec_run(["touch", "crash"])
    until_stopped(hub, "lasting")
    assert f"The server in {instance}-lasting ended with exit code 6" in hub.log
