"""Where a user's files are, and what becomes of them when their node does not come back or another takes over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import docker.types
import pytest

from support.jupyterhub import Hub
from support.nested import Node
from support.swarm import CUT_OFF, KILLED, PAUSED, Swarm
from support.swarmhub import given
from support.tiny import tiny_image
from support.wait import wait_until

pytestmark = pytest.mark.needs("swarm")

FENCE_AFTER = 4


def on(swarm: Swarm, *nodes: Node) -> dict[str, Any]:
    """A placement on none but these nodes."""
    others = [swarm.id_of(node) for node in swarm.nodes if node not in nodes]
    return {"constraints": [f"node.id!={other}" for other in others]}


def write(swarm: Swarm, service: str, text: str) -> None:
    done = swarm.container_of(service).exec_run(["sh", "-c", f"echo {text} >/home/jovyan/notes"])
    assert done.exit_code == 0, done.output


def read(swarm: Swarm, service: str) -> str:
    return str(swarm.container_of(service).exec_run(["cat", "/home/jovyan/notes"]).output.decode().strip())


@pytest.fixture
def busy(swarm: Swarm, instance: str) -> Iterator[Node]:
    """A worker with so much to do that the swarm would rather give new tasks to others."""
    node = swarm.workers[0]
    filler = swarm.client.services.create(
        tiny_image(),
        name=f"{instance}-filler",
        endpoint_spec=docker.types.EndpointSpec("dnsrr"),
        constraints=[f"node.id=={swarm.id_of(node)}"],
        mode=docker.types.ServiceMode("replicated", 4),
    )
    yield node
    filler.remove()


class TestLocalVolumes:
    """A home on a volume of one node."""

    def test_the_next_start_is_where_the_home_is(self, hub: Hub, swarm: Swarm, instance: str, busy: Node) -> None:
        volumes = {f"{instance}-home-{{username}}": "/home/jovyan"}
        assert hub.spawn(given(hub, "ann", volumes=volumes, extra_placement_spec=on(swarm, busy)))[-1].get("ready")
        write(swarm, f"{instance}-ann", "kept")
        hub.halt("ann")
        assert hub.spawn(given(hub, "ann", volumes=volumes))[-1].get("ready")
        assert swarm.node_of(f"{instance}-ann") is busy
        assert read(swarm, f"{instance}-ann") == "kept"
        hub.halt("ann")

    def test_a_home_whose_node_is_away_is_not_replaced_by_an_empty_one(
        self, hub: Hub, swarm: Swarm, instance: str
    ) -> None:
        volumes = {f"{instance}-home-{{username}}": "/home/jovyan"}
        worker = swarm.workers[1]
        assert hub.spawn(given(hub, "bob", volumes=volumes, extra_placement_spec=on(swarm, worker)))[-1].get("ready")
        write(swarm, f"{instance}-bob", "kept")
        given(hub, "bob", volumes=volumes)
        with swarm.lost(worker, KILLED):
            wait_until(lambda: not hub.is_running("bob"), timeout=15, what="the server is shown as stopped")
            last = hub.spawn("bob")[-1]
            assert last.get("failed"), last
            assert swarm.name_of(worker) in last["message"]
        swarm.wait_until_state(worker, "ready")
        assert hub.spawn("bob")[-1].get("ready")
        assert swarm.node_of(f"{instance}-bob") is worker
        assert read(swarm, f"{instance}-bob") == "kept"
        hub.halt("bob")


class TestSharedVolumes:
    """A home that every node has: a folder that all share stands for a network's file system."""

    @staticmethod
    def home(swarm: Swarm, user: str, fence_after: float = FENCE_AFTER) -> dict[str, Any]:
        folder = swarm.shared / user
        folder.mkdir()
        folder.chmod(0o777)
        return {
            "volumes": {f"shared-{user}": "/home/jovyan"},
            "volume_driver": "local",
            "volume_driver_options": {"type": "none", "o": "bind", "device": f"/shared/{user}"},
            "volume_scope": "swarm",
            "fence_after": fence_after,
        }

    def test_a_file_moves_with_its_user(self, hub: Hub, swarm: Swarm, instance: str) -> None:
        home, (one, other) = self.home(swarm, "carol"), swarm.workers
        for number, node in enumerate((one, other)):
            assert hub.spawn(given(hub, "carol", **home, extra_placement_spec=on(swarm, node)))[-1].get("ready")
            assert swarm.node_of(f"{instance}-carol") is node
            if number == 0:
                write(swarm, f"{instance}-carol", "moved")
            assert read(swarm, f"{instance}-carol") == "moved"
            hub.halt("carol")

    @pytest.mark.parametrize("how", [KILLED, PAUSED, CUT_OFF])
    def test_a_server_moves_once_its_lost_node_must_have_ended_it(
        self, hub: Hub, swarm: Swarm, instance: str, how: str
    ) -> None:
        user = f"dave{how.replace(' ', '')}"
        home, (lost, _) = self.home(swarm, user), swarm.workers
        assert hub.spawn(given(hub, user, **home, extra_placement_spec=on(swarm, lost)))[-1].get("ready")
        service = f"{instance}-{user}"
        (swarm.shared / user / "notes").write_text("moved")
        given(hub, user, **home)
        with swarm.lost(lost, how):
            wait_until(lambda: not hub.is_running(user), timeout=15, what="the server is shown as stopped")
            ended = time.monotonic()
            events = hub.spawn(user)
            assert events[-1].get("ready"), events
            assert time.monotonic() - ended > FENCE_AFTER / 2
            assert any(f"on node {swarm.name_of(lost)}, which was lost" in event["message"] for event in events)
            assert swarm.node_of(service) is not lost
            assert read(swarm, service) == "moved"
        swarm.wait_until_state(lost, "ready")
        wait_until(lambda: not [n for n in lost.containers() if n.startswith(f"{service}.")], timeout=20)
        assert hub.is_running(user)
        hub.halt(user)

    def test_a_node_that_is_back_ends_the_wait(self, hub: Hub, swarm: Swarm) -> None:
        home, (lost, _) = self.home(swarm, "erin", fence_after=3600), swarm.workers
        assert hub.spawn(given(hub, "erin", **home, extra_placement_spec=on(swarm, lost)))[-1].get("ready")
        given(hub, "erin", **home)
        with swarm.lost(lost, CUT_OFF):
            wait_until(lambda: not hub.is_running("erin"), timeout=15, what="the server is shown as stopped")
            last = hub.spawn("erin")[-1]
            assert last.get("failed"), last
            assert "it may still write to your files" in last["message"]
        swarm.wait_until_state(lost, "ready")
        assert hub.spawn("erin")[-1].get("ready")
        hub.halt("erin")
