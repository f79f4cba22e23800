"""A manager behind the gate: SwarmSpawner does what it does without one, and nobody comes to a node's files."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import docker
import docker.errors
import pytest
from docker.types import ContainerSpec, EndpointSpec, Mount, RestartPolicy, TaskTemplate

from dockerspawner import SwarmSpawner
from dockyard.gate.policy.allowed import Allowed
from support.gate import opened
from support.spawners import make_spawner
from support.swarm import Swarm
from support.tiny import TINY, tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

HARDENED = {"cap_drop": ["ALL"], "privileges": {"NoNewPrivileges": True}}


@pytest.fixture
def audit() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def users_network(one_swarm: Swarm, instance: str) -> Iterator[None]:
    """The network of the kit's users."""
    network = one_swarm.client.networks.create(f"{instance}_users", driver="overlay", attachable=True)
    yield
    wait_until(lambda: removed(network), timeout=30, what="nobody is on the network")


@pytest.fixture
async def gate(swarm: Swarm, instance: str, users_network: None, audit: io.StringIO) -> AsyncIterator[str]:
    """The address of the gate of a kit that is called as this module's instance."""
    allowed = Allowed(instance, (TINY.replace(".", r"\."),), swarm=True)
    async with opened(allowed, swarm.manager.url.removeprefix("unix://"), audit) as address:
        yield f"tcp://{address}"


def removed(network: Any) -> bool:
    """The swarm keeps it for as long as a task is on it."""
    try:
        network.remove()
    except docker.errors.NotFound:
        return True
    except docker.errors.APIError:
        return False
    return True


async def test_a_server_comes_and_goes(swarm: Swarm, gate: str, instance: str, audit: io.StringIO) -> None:
    """From this machine its address can't be reached: that it runs is what its start can tell."""
    spawner = make_spawner(
        "ann",
        cls=SwarmSpawner,
        image=tiny_image(),
        prefix=instance,
        instance=instance,
        network_name=f"{instance}_users",
        volumes={"{prefix}-home-{username}": "/home/jovyan"},
        mem_limit="64M",
        extra_container_spec=HARDENED,
        extra_resources_spec={"pids_limit": 64},
        client_kwargs={"base_url": gate},
        start_timeout=60,
    )
    starting = asyncio.create_task(spawner.start())
    try:
        told = []
        async for event in spawner.progress():
            told.append(event["message"])
            if told[-1] == "Waiting for the server to answer":
                break
        assert any(message.startswith("Node ") for message in told), told
        (service,) = swarm.client.services.list(filters={"label": f"dockyard.instance={instance}"})
        assert service.name == f"{instance}-ann"
    finally:
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert swarm.client.services.list(filters={"label": f"dockyard.instance={instance}"}) == []
    notes = [json.loads(line) for line in audit.getvalue().splitlines()]
    assert {note["method"] for note in notes if note["gate"] == "done"} == {"POST", "DELETE"}
    assert [note for note in notes if note["gate"] == "refused" and note["status"] != 404] == []


async def test_no_service_reads_a_nodes_files(gate: str, instance: str, audit: io.StringIO) -> None:
    taken = docker.APIClient(gate, version="1.45")
    container = ContainerSpec(
        tiny_image(), mounts=[Mount("/host", "/etc", type="bind")], labels={"dockyard.instance": instance}, **HARDENED
    )
    task = TaskTemplate(container, restart_policy=RestartPolicy("none"), networks=[f"{instance}_users"])
    arguments = {"name": f"{instance}-evil", "endpoint_spec": EndpointSpec("dnsrr")}
    try:
        with pytest.raises(docker.errors.APIError, match="Ask an administrator"):
            await asyncio.to_thread(taken.create_service, task, labels={"dockyard.instance": instance}, **arguments)
    finally:
        taken.close()
    assert "BIND_PATHS" in audit.getvalue()
