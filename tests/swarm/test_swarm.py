"""The swarm that the other tests stand on: its nodes run services that reach each other, are lost and come back."""

from __future__ import annotations

import itertools

import docker.types
import pytest

from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")


def test_servers_on_all_nodes_reach_each_other(swarm: Swarm, instance: str) -> None:
    network = f"{instance}-users"
    swarm.client.networks.create(network, driver="overlay", attachable=True)
    services = {f"{instance}-{number}": node for number, node in enumerate(swarm.nodes)}
    for name, node in services.items():
        swarm.client.services.create(
            tiny_image(),
            name=name,
            endpoint_spec=docker.types.EndpointSpec("dnsrr"),
            networks=[network],
            constraints=[f"node.id=={swarm.id_of(node)}"],
        )
    for name, node in services.items():
        wait_until(lambda name=name: swarm.running(name), timeout=30)  # type: ignore[misc]
        assert swarm.node_of(name) is node
    # Nodes tell each other of their tasks a moment later.
    for name, other in itertools.product(services, services):
        wait_until(lambda name=name, other=other: reaches(swarm, name, other), timeout=10)  # type: ignore[misc]


def reaches(swarm: Swarm, service: str, other: str) -> bool:
    ask = rf"printf 'GET / HTTP/1.0\r\n\r\n' | timeout 5 nc -w 2 {other} 8888"
    return bool(swarm.container_of(service).exec_run(["sh", "-c", ask]).output.startswith(b"HTTP/1.1 404"))


@pytest.mark.parametrize("how", [KILLED, PAUSED, CUT_OFF])
def test_a_lost_node_is_down_within_seconds_and_comes_back(swarm: Swarm, how: str) -> None:
    worker = swarm.workers[0]
    with swarm.lost(worker, how):
        swarm.wait_until_state(worker, "down", timeout=8)
    swarm.wait_until_state(worker, "ready")
