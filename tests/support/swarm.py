"""A real swarm on this machine: each node an engine of `nested`, which can be lost in several ways and come back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import docker.errors

from support.nested import Node, nodes
from support.wait import wait_until

# What a lost node is to the rest of its swarm. One that is cut off goes on by itself.
KILLED, PAUSED, CUT_OFF = "killed", "paused", "cut off"

# Seconds between two signs of life that nodes give their manager: a loss shows after 2 to 4 s, at the swarm's own 5 s
# after 12 to 15. Too short where a manager begins to lead, be it the same again: nodes look for it at intervals of up
# to 8 s, and those that it has not seen in time it takes for lost, with all that runs there.
HEARTBEAT = 1
USUAL_HEARTBEAT = 5

Task = dict[str, Any]


class Swarm:
    """Nodes of one swarm, its managers first; `shared` is a folder of this machine that all have as /shared."""

    def __init__(self, managers: Sequence[Node], workers: Sequence[Node], shared: Path, heartbeat: int) -> None:
        self.managers = list(managers)
        self.workers = list(workers)
        self.shared = shared
        self._heartbeat = heartbeat
        self._lost: dict[Node, str] = {}
        self._ids: dict[Node, str] = {}

    @property
    def nodes(self) -> list[Node]:
        return [*self.managers, *self.workers]

    @property
    def outside(self) -> str:
        """The address of this machine as all nodes see it."""
        return self.managers[0].outside

    def form(self) -> None:
        # The last leads, so that a hub whose manager is the first can lose its leader.
        *others, first = self.managers
        first.client.swarm.init(first.address, dispatcher_heartbeat_period=self._heartbeat * 10**9)
        tokens = first.client.swarm.attrs["JoinTokens"]
        where = [f"{first.address}:2377"]
        for node in others:
            # Each changes who must agree; two at once stand in each other's way.
            node.client.swarm.join(where, tokens["Manager"], advertise_addr=node.address)
        with ThreadPoolExecutor() as pool:
            joins = [
                pool.submit(node.client.swarm.join, where, tokens["Worker"], advertise_addr=node.address)
                for node in self.workers
            ]
            for join in joins:
                join.result()
        self._ids = {node: str(node.client.info()["Swarm"]["NodeID"]) for node in self.nodes}
        for node in self.nodes:
            self.wait_until_state(node, "ready")

    # What managers say

    @property
    def manager(self) -> Node:
        """A manager that is not lost."""
        return next(node for node in self.managers if node not in self._lost)

    @property
    def client(self) -> docker.DockerClient:
        return self.manager.client

    @property
    def leader(self) -> Node:
        """AssertionError where there is none."""
        for entry in self.client.api.nodes():
            if (entry.get("ManagerStatus") or {}).get("Leader"):
                return self.node(entry["ID"])
        raise AssertionError("the swarm has no leader")

    def has_quorum(self) -> bool:
        """Do the managers agree, so that orders are carried out?"""
        try:
            return self.leader not in self._lost
        except (docker.errors.APIError, AssertionError):
            return False

    def id_of(self, node: Node) -> str:
        return self._ids[node]

    def name_of(self, node: Node) -> str:
        """As the swarm calls it."""
        return str(node.container.name)

    def node(self, node_id: str) -> Node:
        return next(node for node, known in self._ids.items() if known == node_id)

    def state(self, node: Node) -> str:
        """ready, down, unknown or disconnected; empty where no manager can tell, as while they choose a leader."""
        try:
            return str(self.client.api.inspect_node(self.id_of(node))["Status"]["State"])
        except docker.errors.APIError:
            return ""

    def wait_until_state(self, node: Node, state: str, timeout: float = 30) -> None:
        wait_until(lambda: self.state(node) == state, timeout, what=f"{node.container.name} is {state}")

    def tasks(self, service: str = "", **filters: Any) -> list[Task]:
        """The tasks of a service by its name, or of all, the newest first; none where the service is gone."""
        try:
            found = self.client.api.tasks({"service": service, **filters} if service else filters)
        except docker.errors.NotFound:
            return []
        return sorted(found, key=lambda task: task["CreatedAt"], reverse=True)

    def running(self, service: str) -> Task | None:
        """The task of a service that runs and is to run."""
        found = self.tasks(service, **{"desired-state": "running"})
        return next((task for task in found if task["Status"]["State"] == "running"), None)

    def node_of(self, service: str) -> Node:
        """Where a service of one task runs."""
        task = self.running(service)
        assert task, self.tasks(service)
        return self.node(task["NodeID"])

    def container_of(self, service: str) -> Any:
        """The container of a service of one task, as the engine of its node has it."""
        task = self.running(service)
        assert task, self.tasks(service)
        return self.node(task["NodeID"]).client.containers.get(task["Status"]["ContainerStatus"]["ContainerID"])

    def wait_until_idle(self) -> None:
        """Return when nothing is left of services that were removed."""
        known = {service["ID"] for service in self.client.api.services()}
        wait_until(lambda: {task["ServiceID"] for task in self.tasks()} <= known, timeout=60, what="tasks are gone")

    # Orders

    def change(self, node: Node, **spec: Any) -> None:
        """Change a node's spec: `Availability` ("active", "pause", "drain"), `Labels` (all that it has)."""

        def changed() -> bool:
            known = self.client.api.inspect_node(self.id_of(node))
            try:
                self.client.api.update_node(self.id_of(node), known["Version"]["Index"], {**known["Spec"], **spec})
            except docker.errors.APIError as error:
                # Its state was noted between the two.
                if "out of sequence" not in str(error):
                    raise
                return False
            return True

        wait_until(changed, timeout=10, what=f"{node.container.name} is changed")

    def drain(self, node: Node) -> None:
        """Have all its tasks end, and give it no more until `recover`."""
        self.change(node, Availability="drain")

    def led_by_another_than(self, node: Node) -> Node:
        """Have some other manager lead; returns it."""
        if self.leader is node:
            with self.lost(node, CUT_OFF):
                wait_until(self.has_quorum, timeout=60, what="another manager leads")
            self.wait_until_state(node, "ready", timeout=180)
        return self.leader

    def label(self, node: Node, **labels: str) -> None:
        """Add labels to those that a node has."""
        known = self.client.api.inspect_node(self.id_of(node))["Spec"].get("Labels") or {}
        self.change(node, Labels={**known, **labels})

    # Losses

    def lose(self, node: Node, how: str) -> None:
        """Have a node killed, paused or cut off, until it is brought back."""
        {KILLED: node.switch_off, PAUSED: node.freeze, CUT_OFF: node.unplug}[how]()
        self._lost[node] = how

    def bring_back(self, node: Node) -> None:
        """Return when its engine answers; what the swarm knows of it by then is another matter."""
        {KILLED: node.switch_on, PAUSED: node.thaw, CUT_OFF: node.plug_in}[self._lost.pop(node)]()

    @contextmanager
    def lost(self, node: Node, how: str) -> Iterator[None]:
        self.lose(node, how)
        try:
            yield
        finally:
            if node in self._lost:
                self.bring_back(node)

    def recover(self) -> None:
        """Have all nodes back, ready and active, whatever a test has done to them."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.bring_back, list(self._lost)))
        wait_until(self.has_quorum, timeout=90, what="the managers agree")
        for node in self.nodes:
            self.wait_until_state(node, "ready", timeout=180)
            if self.client.api.inspect_node(self.id_of(node))["Spec"]["Availability"] != "active":
                self.change(node, Availability="active")

    @contextmanager
    def locked(self, manager: Node) -> Iterator[None]:
        """Have a manager wait for the key of the swarm, as one that was restarted does."""
        with self.beating(USUAL_HEARTBEAT):
            self._update(autolock_managers=True)
            key = self.client.swarm.get_unlock_key()
            manager.stop()
            manager.start()
            yield
            manager.client.swarm.unlock(key)
            wait_until(self.has_quorum, timeout=60, what="the managers agree")
            for node in self.nodes:
                self.wait_until_state(node, "ready")
            self._update(autolock_managers=False)

    @contextmanager
    def beating(self, heartbeat: int) -> Iterator[None]:
        """Have another heartbeat, in seconds."""
        usual, self._heartbeat = self._heartbeat, heartbeat
        self._update()
        yield
        self._heartbeat = usual
        self._update()

    def _update(self, **settings: Any) -> None:
        self.client.swarm.reload()
        self.client.swarm.update(name="default", dispatcher_heartbeat_period=self._heartbeat * 10**9, **settings)

    # Images and leavings

    def load(self, image: str) -> None:
        """Have an image of the outer engine on all nodes."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.load(image), self.nodes))

    def clean(self, instance: str) -> None:
        """Remove the services that carry this name; what else does goes with the nodes."""
        api = self.client.api
        for service in api.services():
            labels = service["Spec"].get("Labels") or {}
            if labels.get("dockyard.instance") == instance or service["Spec"]["Name"].startswith(instance):
                api.remove_service(service["ID"])
        self.wait_until_idle()


@contextmanager
def swarm(
    managers: int = 1, workers: int = 2, heartbeat: int = HEARTBEAT, seed: str = "", **settings: Any
) -> Iterator[Swarm]:
    """`seed` and `settings` are those of `nodes`."""
    with tempfile.TemporaryDirectory(prefix="dyt-shared-") as folder:
        Path(folder).chmod(0o777)
        with nodes(managers + workers, shared=Path(folder), seed=seed, **settings) as found:
            swarm = Swarm(found[:managers], found[managers:], Path(folder), heartbeat)
            swarm.form()
            yield swarm
