"""The swarm that the other tests stand on: its nodes run services, are lost and come back."""

from __future__ import annotations

import docker.types
import pytest

from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")


def serve(swarm: Swarm, name: str, **settings: object) -> None:
    """A service of the tiny server, in the way of `docker service create`."""
    swarm.client.services.create(
        tiny_image(), name=name, endpoint_spec=docker.types.EndpointSpec("dnsrr"), networks=[], **settings
    )


def test_each_node_runs_a_service_on_a_network_of_all(swarm: Swarm, instance: str) -> None:
    network = f"{instance}-users"
    swarm.client.networks.create(network, driver="overlay", attachable=True)
    for number, node in enumerate(swarm.nodes):
        swarm.client.services.create(
            tiny_image(),
            name=f"{instance}-{number}",
            endpoint_spec=docker.types.EndpointSpec("dnsrr"),
            networks=[network],
            constraints=[f"node.id=={swarm.id_of(node)}"],
        )
    for number, node in enumerate(swarm.nodes):
        wait_until(lambda: swarm.running(f"{instance}-{number}"), timeout=30)  # noqa: B023
        assert swarm.node_of(f"{instance}-{number}") is node
    for number in range(len(swarm.nodes)):
        for other in range(len(swarm.nodes)):
            ask = ["wget", "-qO-", "-T", "5", f"http://{instance}-{other}:8888/"]
            said = swarm.container_of(f"{instance}-{number}").exec_run(ask)
            assert b"404" in said.output, said


@pytest.mark.parametrize("how", [KILLED, PAUSED, CUT_OFF])
def test_a_lost_node_is_down_within_seconds_and_comes_back(swarm: Swarm, how: str) -> None:
    worker = swarm.workers[0]
    with swarm.lost(worker, how):
        swarm.wait_until_state(worker, "down", timeout=8)
    swarm.wait_until_state(worker, "ready")
