"""Link-local addresses, where clouds tell a machine its credentials: no server reaches them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import docker.errors
import pytest

from dockerspawner.linklocal import NETWORK
from support.cloud import ADDRESS, metadata_service
from support.wait import wait_until

pytestmark = pytest.mark.needs("engine")


@pytest.fixture
def credentials() -> Iterator[int]:
    """The port of this machine's own metadata service."""
    with metadata_service() as port:
        yield port


def reaches(client: Any, spawner: Any, port: int, address: str = ADDRESS) -> bool:
    ask = rf"printf 'GET / HTTP/1.0\r\n\r\n' | timeout 3 nc -w 2 {address} {port} | grep -q HTTP/1"
    server = client.containers.get(spawner.object_id)
    return bool(server.exec_run(["sh", "-c", ask]).exit_code == 0)


def remove_network(client: Any) -> None:
    with contextlib.suppress(docker.errors.NotFound, docker.errors.APIError):
        client.networks.get(NETWORK).remove()


async def test_no_server_reaches_the_clouds_credentials(make: Any, client: Any, credentials: int) -> None:
    remove_network(client)
    open_one = make("ann", remove=True)
    several = [make(user, remove=True, block_link_local=True) for user in ("bob", "carl", "dan")]
    await asyncio.gather(*(spawner.start() for spawner in (open_one, *several)))
    assert reaches(client, open_one, credentials)
    assert not any(reaches(client, spawner, credentials) for spawner in several)
    # Nor does one server find another there.
    bob, carl, _ = several
    networks = client.containers.get(carl.object_id).attrs["NetworkSettings"]["Networks"]
    address = {name: entry["IPAddress"] for name, entry in networks.items()}
    assert address.pop(NETWORK).startswith("169.254.")
    (shared,) = address.values()
    assert reaches(client, bob, 8888, shared)
    assert not reaches(client, bob, 8888, networks[NETWORK]["IPAddress"])
    await asyncio.gather(*(spawner.stop() for spawner in (open_one, *several)))


async def test_a_kept_container_starts_where_its_network_was_removed(make: Any, client: Any, credentials: int) -> None:
    spawner = make(remove=False, block_link_local=True)
    await spawner.start()
    kept = spawner.object_id
    await spawner.stop()
    wait_until(lambda: remove_network(client) is None and not client.networks.list(names=[NETWORK]), timeout=30)
    await spawner.start()
    assert spawner.object_id == kept
    assert not reaches(client, spawner, credentials)
    await spawner.stop()
