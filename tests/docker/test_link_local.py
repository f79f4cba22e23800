"""Link-local addresses, where clouds tell a machine its credentials: no server reaches them.

On an engine of their own: the network that keeps servers from there is one for all of an engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import docker.errors
import pytest

from dockerspawner._networks.link_local import NETWORK
from support.cloud import ADDRESS
from support.nested import Node
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")


@pytest.fixture(scope="module")
def machine(node: Node) -> Node:
    """With a metadata service, and a network for servers."""
    node.client.networks.create("users")
    serve = f"ip addr add {ADDRESS}/32 dev lo && exec httpd -f -p {ADDRESS}:80"
    service = node.client.containers.run(
        tiny_image(), ["sh", "-c", serve], network_mode="host", cap_add=["NET_ADMIN"], user="0", detach=True
    )
    wait_until(lambda: reaches(node, service.id), timeout=30, what="the metadata service answers")
    return node


@pytest.fixture
def make_there(make: Any, machine: Node) -> Any:
    """As `make`, on that machine."""
    place = {"client_kwargs": {"base_url": machine.url}, "use_internal_ip": False, "host_ip": machine.address}
    return lambda user="ann", **traits: make(user, **{"network_name": "users", **place, **traits})


def reaches(node: Node, server: str, address: str = ADDRESS, port: int = 80) -> bool:
    ask = rf"printf 'GET / HTTP/1.0\r\n\r\n' | timeout 3 nc -w 2 {address} {port} | grep -q HTTP/1"
    return bool(node.client.containers.get(server).exec_run(["sh", "-c", ask]).exit_code == 0)


def remove_network(node: Node) -> bool:
    """Whether it is there still, since somebody is on it."""
    with contextlib.suppress(docker.errors.APIError):
        node.client.networks.get(NETWORK).remove()
    return bool(node.client.networks.list(names=[NETWORK]))


async def test_no_server_reaches_the_clouds_credentials(make_there: Any, machine: Node) -> None:
    remove_network(machine)
    open_one = make_there("ann", remove=True)
    several = [make_there(user, remove=True, block_link_local=True) for user in ("bob", "carl", "dan")]
    await asyncio.gather(*(spawner.start() for spawner in (open_one, *several)))
    assert reaches(machine, open_one.object_id)
    assert not any(reaches(machine, spawner.object_id) for spawner in several)
    # Nor does one server find another there.
    bob, carl, _ = several
    networks = machine.client.containers.get(carl.object_id).attrs["NetworkSettings"]["Networks"]
    address = {name: entry["IPAddress"] for name, entry in networks.items()}
    assert address.pop(NETWORK).startswith("169.254.")
    (shared,) = address.values()
    assert reaches(machine, bob.object_id, shared, 8888)
    assert not reaches(machine, bob.object_id, networks[NETWORK]["IPAddress"], 8888)
    await asyncio.gather(*(spawner.stop() for spawner in (open_one, *several)))


async def test_a_kept_container_starts_where_its_network_was_removed(make_there: Any, machine: Node) -> None:
    spawner = make_there(remove=False, block_link_local=True)
    await spawner.start()
    kept = spawner.object_id
    await spawner.stop()
    wait_until(lambda: not remove_network(machine), timeout=30, what="the network is gone")
    await spawner.start()
    assert spawner.object_id == kept
    assert not reaches(machine, kept)
    await spawner.stop()


async def test_an_old_api_version_is_a_sentence_that_names_the_setting(make_there: Any, machine: Node) -> None:
    older = {"client_kwargs": {"base_url": machine.url, "version": "1.43"}}
    before = machine.containers()
    for setting, traits in (
        ("block_link_local", {"block_link_local": True}),
        ("allow_internet", {"network_isolation": "per-user", "use_internal_ip": True}),
    ):
        spawner = make_there("eve", **{**older, **traits})
        with pytest.raises(Exception, match=rf"Version 1\.43 of Docker's API.* too old for {setting}: version 1\.44"):
            await spawner.start()
    assert machine.containers() == before
