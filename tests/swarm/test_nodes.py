"""Notebooks whose nodes are lost: the others' kernels go on, theirs start elsewhere with their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.jupyterhub import Hub
from support.nested import Node
from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.swarmhub import Notebook
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

DRAINED = "drained"


@contextmanager
def gone(swarm: Swarm, node: Node, how: str) -> Iterator[None]:
    """Have a node lost, or drained, meanwhile."""
    if how == DRAINED:
        swarm.drain(node)
        yield
        swarm.recover()
    else:
        with swarm.lost(node, how):
            yield


def is_on(node: Node, service: str) -> bool:
    return any(name.startswith(f"{service}.") for name in node.containers())


@pytest.mark.parametrize("how", [KILLED, PAUSED, CUT_OFF, DRAINED])
def test_a_worker_is_gone_and_comes_back(notebook_hub: Hub, swarm: Swarm, new_user: Any, how: str) -> None:
    worker, other = swarm.workers
    ann: Notebook = new_user("ann").placed(worker).sign_in().started()
    bob: Notebook = new_user("bob").placed(other).sign_in().started()
    ann.write("what ann wrote")
    with bob.kernel() as kernel:
        kernel.run("x = 41")
        with gone(swarm, worker, how):
            wait_until(lambda: not notebook_hub.is_running(ann.name), timeout=15, what="ann's server is shown stopped")
            assert kernel.run("print(x + 1)") == "42\n"
            assert notebook_hub.is_running(bob.name)
            ann.placed().started()
            assert ann.node is not worker
            assert ann.read() == "what ann wrote"
            with ann.kernel() as anns:
                assert anns.run("print(6 * 7)") == "42\n"
        swarm.wait_until_state(worker, "ready")
        wait_until(lambda: not is_on(worker, ann.service), timeout=30, what="ann's first server is no more")
        assert kernel.run("print(x + 2)") == "43\n"
    assert notebook_hub.running() == {ann.name, bob.name}
    assert ann.read() == "what ann wrote"


# A machine that is switched off and on, an engine that ends in good order, one that crashes.
@pytest.mark.parametrize("how", ["machine", "engine", "crash"])
def test_the_only_manager_restarts(notebook_hub: Hub, swarm: Swarm, new_user: Any, how: str) -> None:
    manager = swarm.manager
    ann: Notebook = new_user("ann").placed(*swarm.workers).sign_in().started()
    newcomer: Notebook = new_user("newcomer")
    ann.write("what ann wrote")
    with ann.kernel() as kernel:
        kernel.run("x = 41")
        {"machine": manager.switch_off, "engine": manager.stop, "crash": manager.kill}[how]()
        last = notebook_hub.spawn(newcomer.name)[-1]
        assert last.get("failed"), last
        assert "does not answer" in last["message"]
        assert kernel.run("print(x + 1)") == "42\n"
        (manager.switch_on if how == "machine" else manager.start)()
        for node in swarm.nodes:
            swarm.wait_until_state(node, "ready")
        wait_until(lambda: notebook_hub.spawn(newcomer.name)[-1].get("ready"), timeout=30, what="servers start again")
        assert notebook_hub.running() == {ann.name, newcomer.name}
        assert kernel.run("print(x + 2)") == "43\n"
    assert ann.read() == "what ann wrote"
