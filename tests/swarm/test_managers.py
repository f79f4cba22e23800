"""Three managers, of which some are lost: notebooks go on, starts fail with the reason, all is well after."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from support.jupyterhub import Hub
from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.swarmhub import Notebook, all_started
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

# Seconds within which a start fails, or is well: 30, and as many more for a machine that others use, too.
ANSWERED = 60


@pytest.fixture(scope="module")
def one_swarm(three_managers: Swarm) -> Swarm:
    """The hub's manager is the first."""
    return three_managers


def start_one(hub: Hub, name: str) -> str:
    """Start a server and stop it again; empty where it was ready, else what was said, in time."""
    began = time.monotonic()
    last = hub.spawn(name)[-1]
    assert time.monotonic() - began < ANSWERED, last
    if last.get("ready"):
        hub.halt(name)
        return ""
    assert last["message"]
    return str(last["message"])


@pytest.mark.parametrize("how", [KILLED, *(pytest.param(how, marks=pytest.mark.long) for how in (PAUSED, CUT_OFF))])
def test_the_leader_is_lost(notebook_hub: Hub, swarm: Swarm, new_user: Any, how: str) -> None:
    ours = swarm.managers[0]
    leader = swarm.led_by_another_than(ours)
    third = next(node for node in swarm.managers if node not in (ours, leader))
    ann: Notebook = new_user("ann").placed(ours)
    bob: Notebook = new_user("bob").placed(third)
    all_started(ann, bob)
    newcomer: Notebook = new_user("newcomer")
    ann.write("what ann wrote")
    with ann.kernel() as anns, bob.kernel() as bobs:
        anns.run("x = 41")
        bobs.run("x = 41")
        with swarm.lost(leader, how):
            start_one(notebook_hub, newcomer.name)
            assert anns.run("print(x + 1)") == bobs.run("print(x + 1)") == "42\n"
            assert notebook_hub.running() >= {ann.name, bob.name}
            wait_until(swarm.has_quorum, timeout=60, what="there is another leader")
            wait_until(lambda: not start_one(notebook_hub, newcomer.name), timeout=60, what="servers start again")
        swarm.recover()
        assert anns.run("print(x + 2)") == bobs.run("print(x + 2)") == "43\n"
    assert notebook_hub.running() == {ann.name, bob.name}
    assert ann.read() == "what ann wrote"
    assert start_one(notebook_hub, newcomer.name) == ""


# Seconds; the swarm's own patience with orders that it can't carry out is 20.
@pytest.mark.parametrize(
    "lasting", [25, pytest.param(60, marks=pytest.mark.long), pytest.param(180, marks=pytest.mark.long)]
)
def test_quorum_is_lost(notebook_hub: Hub, swarm: Swarm, new_user: Any, lasting: float) -> None:
    ours, *others = swarm.managers
    ann: Notebook = new_user("ann").placed(ours).sign_in().started()
    newcomer: Notebook = new_user("newcomer")
    ann.write("what ann wrote")
    with ann.kernel() as kernel:
        kernel.run("x = 41")
        began = time.monotonic()
        with ExitStack() as lost:
            for node in others:
                lost.enter_context(swarm.lost(node, CUT_OFF))
            while time.monotonic() < began + lasting:
                assert start_one(notebook_hub, newcomer.name)
                assert kernel.run("print(x + 1)") == "42\n"
                assert notebook_hub.running() == {ann.name}
        swarm.recover()
        wait_until(lambda: not start_one(notebook_hub, newcomer.name), timeout=60, what="servers start again")
        assert kernel.run("print(x + 2)") == "43\n"
    assert ann.read() == "what ann wrote"
    services = swarm.client.api.services()
    assert [service["Spec"]["Name"] for service in services] == [ann.service]
