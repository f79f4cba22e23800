"""Notebooks whose nodes are lost: the others' kernels go on, theirs start elsewhere with their files, never twice.

The others are six, on a node that is never lost: from the first test to the last each kernel counts on without a gap,
on the socket that it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import pytest

from support.counting import Counters
from support.jupyterhub import Hub
from support.nested import Node
from support.swarm import CUT_OFF, KILLED, PAUSED, USUAL_HEARTBEAT, Swarm
from support.swarmhub import Notebook, at_work
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

DRAINED = "drained"
USERS = {f"user{number}" for number in range(6)}


@pytest.fixture(scope="module")
def counters(notebook_hub: Hub, one_swarm: Swarm, instance: str) -> Iterator[Counters]:
    """Those of USERS, at work on the second worker."""
    _, node = one_swarm.workers
    users = [Notebook(notebook_hub, one_swarm, instance, name).placed(node, fence_after=300) for name in sorted(USERS)]
    with at_work(*users) as counters:
        yield counters


@pytest.fixture(autouse=True)
def unharmed(counters: Counters) -> Iterator[None]:
    """Whatever a test does, in the end the others are at work as before."""
    yield
    counters.go_on()


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
def test_a_worker_is_gone_and_comes_back(
    notebook_hub: Hub, swarm: Swarm, new_user: Any, counters: Counters, how: str
) -> None:
    worker, _ = swarm.workers
    ann: Notebook = new_user("ann").placed(worker).sign_in().started()
    ann.write("what ann wrote")
    with gone(swarm, worker, how):
        wait_until(lambda: not notebook_hub.is_running(ann.name), timeout=15, what="ann's server is shown stopped")
        counters.go_on()
        assert notebook_hub.running() == USERS
        ann.placed().started()
        assert ann.node is not worker
        assert ann.read() == "what ann wrote"
        with ann.kernel() as kernel:
            assert kernel.run("print(6 * 7)") == "42\n"
        counters.go_on()
    swarm.wait_until_state(worker, "ready")
    wait_until(lambda: not is_on(worker, ann.service), timeout=30, what="ann's first server is no more")
    assert notebook_hub.running() == {ann.name} | USERS
    assert ann.read() == "what ann wrote"


# A machine that is switched off and on, an engine that ends in good order, one that crashes.
@pytest.mark.parametrize("how", ["machine", "engine", "crash"])
def test_the_only_manager_restarts(
    notebook_hub: Hub, swarm: Swarm, new_user: Any, counters: Counters, how: str
) -> None:
    manager = swarm.manager
    newcomer = new_user("newcomer").name
    with swarm.beating(USUAL_HEARTBEAT):
        {"machine": manager.switch_off, "engine": manager.stop, "crash": manager.kill}[how]()
        last = notebook_hub.spawn(newcomer)[-1]
        assert last.get("failed"), last
        assert "does not answer" in last["message"]
        counters.go_on()
        assert notebook_hub.running() == USERS
        (manager.switch_on if how == "machine" else manager.start)()
        for node in swarm.nodes:
            swarm.wait_until_state(node, "ready")
        wait_until(lambda: notebook_hub.spawn(newcomer)[-1].get("ready"), timeout=30, what="servers start again")
        assert notebook_hub.running() == {newcomer} | USERS
        counters.go_on()


# Seconds; the first server's lease is three quarters of it.
FENCE_AFTER = 12

# Goes on by itself, whoever is reached or not: a line says who wrote it.
WRITER = """
import socket, threading, time

def write():
    while True:
        with open("lines.txt", "a") as file:
            file.write(socket.gethostname() + "\\n")
        time.sleep(0.05)

threading.Thread(target=write, daemon=True).start()
"""


def test_a_file_has_one_writer_at_a_time(notebook_hub: Hub, swarm: Swarm, new_user: Any) -> None:
    worker, _ = swarm.workers
    ann: Notebook = new_user("ann").placed(worker, fence_after=FENCE_AFTER).sign_in().started()
    lines = swarm.shared / ann.service / "lines.txt"
    with ann.kernel() as kernel:
        kernel.run(WRITER)
    first = swarm.container_of(ann.service)
    with swarm.lost(worker, CUT_OFF):
        wait_until(lambda: not notebook_hub.is_running(ann.name), timeout=15, what="ann's server is shown stopped")
        # What a start at once would lead to: nobody but the server itself can end it now.
        written = lines.stat().st_size
        wait_until(lambda: lines.stat().st_size > written, timeout=5, what="the lost server writes on")
        ann.placed(fence_after=FENCE_AFTER)
        told: list[dict[str, Any]] = []
        wait_until(lambda: told.extend(ann.start()) or told[-1].get("ready"), timeout=60, what="she starts elsewhere")
        assert any(f"on node {swarm.name_of(worker)}, which was lost" in event["message"] for event in told), told
        first.reload()
        assert first.status == "exited"
        assert f"Nobody was reached for {0.75 * FENCE_AFTER:g} s" in first.logs().decode()
        assert ann.node is not worker
        ann.visiting()
        written = lines.stat().st_size
        with ann.kernel() as kernel:
            kernel.run(WRITER)
        wait_until(lambda: lines.stat().st_size > written, timeout=10, what="the second server writes")
        second = swarm.container_of(ann.service).attrs
    assert first.attrs["State"]["FinishedAt"] < second["State"]["StartedAt"]
    writers = [first.attrs["Config"]["Hostname"], second["Config"]["Hostname"]]
    assert [who for who, _ in groupby(lines.read_text().splitlines())] == writers
