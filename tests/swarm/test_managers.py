"""Three managers, of which some are lost: notebooks go on, starts fail with the reason, all is well after.

Six are at work meanwhile, on nodes that are not lost: each kernel counts on without a gap, on the socket that it had.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from support.jupyterhub import Hub
from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.swarmhub import at_work
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

# Seconds within which a start that fails has failed.
ANSWERED = 30
NO_LEADER = "The swarm has no leader now."
# What a leader says that has just begun, and has not heard of its nodes.
NO_NODE = "No node of the swarm can take the server: no suitable node"


@pytest.fixture(scope="module")
def one_swarm(three_managers: Swarm) -> Swarm:
    """The hub's manager is the first."""
    return three_managers


def starts(hub: Hub, name: str, *reasons: str) -> bool:
    """Is a server ready, which is stopped again? Else one of `reasons` was said, in time."""
    began = time.monotonic()
    last = hub.spawn(name)[-1]
    if last.get("ready"):
        hub.halt(name)
        return True
    assert time.monotonic() - began < ANSWERED, last
    assert any(reason in last["message"] for reason in reasons), last
    return False


@pytest.mark.parametrize("how", [KILLED, *(pytest.param(how, marks=pytest.mark.long) for how in (PAUSED, CUT_OFF))])
def test_the_leader_is_lost(notebook_hub: Hub, swarm: Swarm, new_user: Any, how: str) -> None:
    ours = swarm.managers[0]
    leader = swarm.led_by_another_than(ours)
    third = next(node for node in swarm.managers if node not in (ours, leader))
    users = [new_user(f"user{number}").placed(node, fence_after=300) for number, node in enumerate((ours, third) * 3)]
    newcomer = new_user("newcomer").name
    with at_work(*users) as counters:
        with swarm.lost(leader, how):
            starts(notebook_hub, newcomer, NO_LEADER, NO_NODE)
            counters.go_on()
            assert notebook_hub.running() >= {user.name for user in users}
            wait_until(swarm.has_quorum, timeout=60, what="there is another leader")
            wait_until(
                lambda: starts(notebook_hub, newcomer, NO_LEADER, NO_NODE), timeout=60, what="servers start again"
            )
        swarm.recover()
        counters.go_on()
    assert notebook_hub.running() == {user.name for user in users}
    assert starts(notebook_hub, newcomer)


# Seconds; the swarm's own patience with orders that it can't carry out is 20.
@pytest.mark.parametrize(
    "lasting", [25, pytest.param(60, marks=pytest.mark.long), pytest.param(180, marks=pytest.mark.long)]
)
def test_quorum_is_lost(notebook_hub: Hub, swarm: Swarm, new_user: Any, lasting: float) -> None:
    ours, *others = swarm.managers
    users = [new_user(f"user{number}").placed(ours, fence_after=300) for number in range(6)]
    newcomer = new_user("newcomer").name
    with at_work(*users) as counters:
        began = time.monotonic()
        with ExitStack() as lost:
            for node in others:
                lost.enter_context(swarm.lost(node, CUT_OFF))
            while time.monotonic() < began + lasting:
                assert not starts(notebook_hub, newcomer, NO_LEADER)
                counters.go_on()
                assert notebook_hub.running() == {user.name for user in users}
        swarm.recover()
        wait_until(lambda: starts(notebook_hub, newcomer, NO_LEADER, NO_NODE), timeout=60, what="servers start again")
        counters.go_on()
    services = {service["Spec"]["Name"] for service in swarm.client.api.services()}
    assert services == {user.service for user in users}
