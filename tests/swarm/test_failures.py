"""A start that fails says why within seconds, in the swarm's own words, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.jupyterhub import Hub
from support.swarm import Swarm
from support.swarmhub import given
from support.tiny import tiny_image

pytestmark = pytest.mark.needs("swarm")

FAST = 10


def failure_of(hub: Hub, user: str, **traits: Any) -> str:
    """What a start says that has to fail, and fast."""
    began = time.monotonic()
    last = hub.spawn(given(hub, user, **traits))[-1]
    assert last.get("failed"), last
    assert time.monotonic() - began < FAST
    return str(last["message"])


@pytest.fixture(autouse=True)
def nothing_left(swarm: Swarm, instance: str) -> Iterator[None]:
    yield
    assert swarm.client.api.services({"label": f"dockyard.instance={instance}"}) == []


def test_no_node_matches(hub: Hub) -> None:
    constraints = {"constraints": ["node.labels.zone==moon"]}
    message = failure_of(hub, "ann", extra_placement_spec=constraints)
    assert "no suitable node (scheduling constraints not satisfied on 3 nodes)" in message


def test_no_memory_anywhere(hub: Hub) -> None:
    message = failure_of(hub, "bob", mem_guarantee="64T")
    assert "no suitable node (insufficient resources on 3 nodes)" in message


def test_an_image_that_is_on_the_manager_only(hub: Hub, swarm: Swarm, instance: str) -> None:
    image = f"{instance}-image:1"
    swarm.client.images.get(tiny_image()).tag(image)
    constraints = {"constraints": ["node.role==worker"]}
    message = failure_of(hub, "carol", image=image, extra_placement_spec=constraints)
    assert f"No such image: {image}" in message
    swarm.client.images.remove(image)


def test_a_secret_that_does_not_exist(hub: Hub) -> None:
    secret = {"SecretID": "nosuchsecret", "SecretName": "nosuchsecret"}
    file = {"Name": "nosuchsecret", "UID": "0", "GID": "0", "Mode": 0o444}
    message = failure_of(hub, "dora", extra_container_spec={"secrets": [{**secret, "File": file}]})
    assert "nosuchsecret" in message


def test_a_network_that_does_not_exist(hub: Hub, instance: str) -> None:
    message = failure_of(hub, "erin", network_name=f"{instance}-nowhere")
    assert f"{instance}-nowhere" in message


def test_a_network_of_one_node(hub: Hub, swarm: Swarm, instance: str) -> None:
    network = swarm.client.networks.create(f"{instance}-local", driver="bridge")
    message = failure_of(hub, "fay", network_name=network.name)
    assert network.name in message
    network.remove()


def test_a_server_that_ends_at_once_shows_code_and_log_without_secrets(hub: Hub) -> None:
    message = failure_of(hub, "gus", cmd=["sh", "-c", "echo token=$JUPYTERHUB_API_TOKEN; exit 7"])
    assert "The server ended with exit code 7.\ntoken=[hidden]" in message


def test_a_command_that_is_not_there(hub: Hub) -> None:
    assert "no-such-command" in failure_of(hub, "hal", cmd=["no-such-command"])


def test_a_silent_server_is_described(hub: Hub) -> None:
    message = failure_of(hub, "ivy", cmd=["sleep", "600"], start_timeout=8)
    assert "The server is running, but nothing answers at http://" in message


def test_a_swarm_that_is_locked(hub: Hub, swarm: Swarm) -> None:
    manager = swarm.manager
    with swarm.locked(manager):
        message = failure_of(hub, "joe")
        assert "locked" in message
    assert hub.spawn("joe")[-1].get("ready")
    hub.halt("joe")


def test_an_engine_that_is_no_manager(hub: Hub, swarm: Swarm) -> None:
    worker = swarm.workers[0]
    # An engine is one for all servers of a hub, by its settings: these are of another.
    message = failure_of(hub, "kim", client_kwargs={"base_url": worker.url})
    assert "not a swarm manager" in message
