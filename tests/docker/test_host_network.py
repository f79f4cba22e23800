"""Servers on the host's network: each has its own port, and users reach only their own server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dockerspawner._networks import host as host_network
from support.jupyterhub import Hub
from support.notebook import notebook_image
from support.ports import free_port

pytestmark = pytest.mark.needs("engine")

REAL = """
c.DockerSpawner.ready_check = "jupyterhub"
c.DockerSpawner.image = "{image}"
c.DockerSpawner.prefix = c.DockerSpawner.instance = "{instance}"
c.DockerSpawner.network_name = "host"
c.DockerSpawner.port = {port}
c.DockerSpawner.remove = True
c.DockerSpawner.start_timeout = 90
"""

# Listens at JUPYTERHUB_SERVICE_URL, like JupyterHub's own servers.
SERVE = ["sh", "-c", "port=${JUPYTERHUB_SERVICE_URL##*:}; exec httpd -f -p ${port%%/*} -h /www"]


@pytest.fixture
def make_on_host(make: Any) -> Any:
    first = free_port()

    def made(username: str, **traits: Any) -> Any:
        settings = {"network_name": "host", "port": first, "cmd": SERVE, "remove": True}
        return make(username, **{**settings, **traits})

    return made


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        yield


def whose(client: Any, spawner: Any) -> str:
    """Return the user whose container listens on the spawner's port; no other environment contains the port."""
    found = client.api.inspect_container(spawner.object_id)
    environment = host_network.ownership.environment_of(found)
    assert host_network.port_of(environment) == spawner.port
    return environment["JUPYTERHUB_USER"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_internal_ip": True},
        {"network_name": "bridge", "extra_host_config": {"network_mode": "host"}},
        {"network_name": "bridge", "extra_host_config": lambda spawner: {"network_mode": "host"}},
        {"network_name": "bridge", "extra_create_kwargs": {"host_config": {"NetworkMode": "host"}}},
    ],
    ids=["network_name", "internal ip", "extra_host_config", "callable", "host_config"],
)
async def test_start_on_the_host_network_gives_each_server_a_port(
    make_on_host: Any, client: Any, settings: dict[str, Any]
) -> None:
    spawners = [make_on_host(name, **settings) for name in ("ann", "bob")]
    places = await asyncio.gather(*(spawner.start() for spawner in spawners))
    assert {host for host, _ in places} == {"127.0.0.1"}
    assert len({port for _, port in places}) == 2
    for spawner, (host, port) in zip(spawners, places, strict=True):
        assert whose(client, spawner) == spawner.user.name
        assert await spawner.get_url() == f"http://{host}:{port}/user/{spawner.user.name}/"
        # A restarted hub knows the port from the state.
        again = make_on_host(spawner.user.name, **settings)
        again._server = spawner._server
        again.load_state(spawner.get_state())
        assert await again.get_url() == await spawner.get_url()
    await asyncio.gather(*(spawner.stop() for spawner in spawners))
    assert not spawners[0].engine.reserved_ports
    # The configured port is the first choice again.
    spawners[0].clear_state()
    assert spawners[0].port == min(port for _, port in places)


async def test_start_on_the_host_network_leaves_a_port_that_is_in_use(make_on_host: Any) -> None:
    spawner = make_on_host("ann")
    with listening(spawner.port):
        first = spawner.port
        assert (await spawner.start())[1] > first
    await spawner.stop()


async def test_start_on_the_host_network_a_port_that_is_lost_meanwhile_is_replaced(
    make_on_host: Any, containers: Any, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner = make_on_host("ann")
    first = spawner.port

    # Another process takes the port after it was found free.
    async def seen(host: str, port: int, address: str) -> bool:
        return bool(port == first and spawner._attempt.chosen_port)

    monkeypatch.setattr(host_network, "in_use", seen)
    with contextlib.closing(socket.create_server(("0.0.0.0", first))) as taken:
        taken.setblocking(False)
        assert (await spawner.start())[1] > first
    assert containers() == [f"{instance}-ann"]
    await spawner.stop()


async def test_start_a_kept_container_keeps_its_port(make_on_host: Any) -> None:
    ann, bob = (make_on_host(name, remove=False) for name in ("ann", "bob"))
    _, port = await ann.start()
    kept = ann.object_id
    await ann.stop()
    # Ann's container needs its port again, even while it is stopped.
    assert (await bob.start())[1] != port
    ann.clear_state()
    assert await ann.start() == ("127.0.0.1", port)
    assert ann.object_id == kept
    await asyncio.gather(ann.stop(), bob.stop())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network_name": "none"}, "network mode is none"),
        ({"network_name": "container:proxy"}, "network mode is container:proxy"),
        ({"extra_host_config": {"network_mode": "none"}}, "network mode is none"),
        ({"network_name": "host", "extra_networks": ["more"]}, "extra_networks requires one"),
        ({"network_name": "host", "block_link_local": True}, "block_link_local requires one"),
    ],
)
async def test_start_on_a_network_that_the_hub_can_not_reach_names_the_setting(
    make: Any, containers: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception, match=said):
        await make(remove=True, **settings).start()
    assert containers() == []


def test_users_with_the_real_image_on_the_host_network_reach_their_own_servers(tmp_path: Path, instance: str) -> None:
    settings = REAL.format(image=notebook_image(), instance=instance, port=free_port())
    with Hub(tmp_path, settings) as hub:
        names = ["ann", "bob"]
        with ThreadPoolExecutor() as pool:
            assert [events[-1].get("ready") for events in pool.map(hub.spawn, names)] == [True, True], hub.log[-3000:]
        # Another user's server answers 404 there.
        assert [hub.get(name, page="api").status_code for name in names] == [200, 200]
        for name in names:
            hub.halt(name)
