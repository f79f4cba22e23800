"""Whose a thing is: asked of the engine once, and remembered where it can't change."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from dockyard.gate.calls import answers
from dockyard.gate.policy.allowed import Allowed
from dockyard.gate.policy.checks import INSTANCE, owner
from dockyard.gate.strict import Json, Refused
from dockyard.gate.upstream import Answer, Engine, Request

_FULL_ID = re.compile(r"[0-9a-f]{64}")
# A hub on one host has some hundreds.
_MOST = 20_000


class Rejected(Exception):
    """The engine has rejected the request: its answer is the gate's answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Owned:
    """The hub's own objects. For third-party objects, the gate answers as if they did not exist.

    The gate remembers containers and services by their full id, because their labels never change. It remembers
    networks by name until the hub removes them, and then sends their ids instead of the names. If it has to send a
    name, of a volume or of a new container's network, it asks the engine each time: the name may belong to another
    object by now.
    """

    def __init__(self, engine: Engine, allowed: Allowed) -> None:
        self._engine = engine
        self._allowed = allowed
        self._containers: dict[str, None] = {}
        self._networks: dict[str, str] = {}
        self._execs: dict[str, str] = {}
        self._services: dict[str, None] = {}

    async def _inspected(self, version: str, path: str) -> tuple[Answer, Json]:
        """Raise `Rejected` if the thing does not exist, or if the engine fails."""
        answer = await self._engine.ask(Request("GET", path), version)
        if answer.status != 200:
            raise Rejected(answer)
        return answer, answer.json()

    # Containers

    async def container(self, version: str, name: str, helper: bool = True) -> str:
        """The id of a container of the hub's, by which it is meant whatever is renamed meanwhile.

        Without `helper` a server's: nobody enters what prepares volumes.
        """
        if name in self._containers:
            return name
        _, found = await self.inspect(version, name)
        if not helper and not owner(found["Config"]["Labels"], INSTANCE):
            raise Refused(f"Container {name} prepares a volume, and does nothing else.")
        return str(found["Id"])

    async def inspect(self, version: str, name: str, kit: bool = False) -> tuple[Answer, Json]:
        """The engine's word on a container of the hub's; with `kit` also on the kit's own, without their secrets."""
        answer, found = await self._inspected(version, f"/containers/{name}/json")
        labels = (found.get("Config") or {}).get("Labels")
        if answers.is_ours(self._allowed, labels):
            self._remember_server(found["Id"], labels)
        elif kit and answers.is_attached(self._allowed, labels):
            found = answers.kits_container(found)
            answer = answer.replaced(found)
        else:
            raise Refused(f"No such container: {name}", 404)
        return answer, found

    async def check_leaving(self, version: str, name: str, network_id: str) -> None:
        """Refused unless it is ours, the kit's own, or on that network: what has gone may have left its name there."""
        if name in self._containers:
            return
        try:
            await self.inspect(version, name, kit=True)
        except Rejected as rejected:
            if rejected.answer.status != 404:
                raise
        except Refused:
            pass
        else:
            return
        _, network = await self._inspected(version, f"/networks/{network_id}")
        there = network.get("Containers") or {}
        if name not in there and name not in (one.get("Name") for one in there.values()):
            raise Refused(f"No such container: {name}", 404)

    @property
    def containers(self) -> Collection[str]:
        """Ids of the hub's own: of all that it has made, listed or asked about."""
        return self._containers.keys()

    def listed_containers(self, answer: Answer) -> None:
        for found in answer.json():
            self._remember_server(found["Id"], found.get("Labels"))

    def _remember_server(self, container_id: str, labels: Any) -> None:
        if owner(labels, INSTANCE) == self._allowed.project:
            self.made_container(container_id)

    def made_container(self, container_id: str) -> None:
        _remember(self._containers, container_id, None)

    def forget_container(self, container_id: str) -> None:
        self._containers.pop(container_id, None)

    def made_exec(self, exec_id: str, container_id: str) -> None:
        _remember(self._execs, exec_id, container_id)

    async def check_exec(self, version: str, exec_id: str) -> None:
        if not _FULL_ID.fullmatch(exec_id):
            raise Refused(f"No such exec instance: {exec_id}", 404)
        if exec_id not in self._execs:
            _, found = await self._inspected(version, f"/exec/{exec_id}/json")
            await self.container(version, str(found.get("ContainerID")))

    # Volumes

    async def volume(self, version: str, name: str) -> tuple[Answer, Json]:
        """The engine's word on a volume that a server may have."""
        answer, found = await self._inspected(version, f"/volumes/{name}")
        if not self._may_have(name, found.get("Labels")):
            raise Refused(f"get {name}: no such volume", 404)
        return answer, found

    async def check_volume(self, version: str, name: str) -> None:
        """Raise Refused if the volume belongs to another owner. A volume that does not exist may be created."""
        try:
            await self.volume(version, name)
        except Rejected as rejected:
            if rejected.answer.status != 404:
                raise
        except Refused:
            raise Refused(f"Volume {name} does not belong to this hub.") from None

    def _may_have(self, name: str, labels: Any) -> bool:
        is_unowned = self._allowed.unlabelled_volume(name) and not answers.is_foreign(labels)
        return is_unowned or answers.is_ours(self._allowed, labels)

    # Networks

    async def network(self, version: str, name: str) -> tuple[Answer, Json]:
        """The engine's word on a network that servers are on."""
        answer, found = await self._inspected(version, f"/networks/{name}")
        if not (answers.is_ours(self._allowed, found.get("Labels")) or found["Name"] == self._allowed.users_network):
            raise Refused(f"network {name} not found", 404)
        return answer, found

    async def check_network(self, version: str, name: str) -> None:
        """Raise Refused if servers may not be on the network."""
        if name != self._allowed.users_network:
            _, found = await self.network(version, name)
            self._remember_network(name, found)

    async def own_network(self, version: str, name: str) -> str:
        """The id of a network that the hub has made. Refused: all others, that of all servers too."""
        if name not in self._networks:
            _, found = await self.network(version, name)
            if found["Name"] == self._allowed.users_network:
                raise Refused(f"Network {name} belongs to the kit: only servers are attached to it.")
            self._remember_network(name, found)
            return str(found["Id"])
        return self._networks[name]

    def _remember_network(self, name: str, found: Json) -> None:
        # Not by the beginning of an id, which may be another's some day.
        if name == found["Name"] != self._allowed.users_network:
            _remember(self._networks, name, str(found["Id"]))

    def forget_network_called(self, name: str) -> None:
        self._networks.pop(name, None)

    def forget_network(self, network_id: str) -> None:
        for name in [name for name, known in self._networks.items() if known == network_id]:
            del self._networks[name]

    # The swarm's

    async def of_swarm(self, version: str, kind: str, name: str) -> tuple[Answer, Json]:
        """The engine's word on a service or a secret of the hub's: `kind` is services or secrets."""
        answer, found = await self._inspected(version, f"/{kind}/{name}")
        if not answers.is_ours(self._allowed, (found.get("Spec") or {}).get("Labels")):
            raise Refused(f"{kind[:-1]} {name} not found", 404)
        return answer, found

    async def service(self, version: str, name: str) -> str:
        """The id of a service of the hub's, asked about at most once where that is how it is named."""
        if name in self._services:
            return name
        _, found = await self.of_swarm(version, "services", name)
        self.made_service(str(found["ID"]))
        return str(found["ID"])

    def made_service(self, service_id: str) -> None:
        _remember(self._services, service_id, None)

    async def task(self, version: str, name: str) -> Answer:
        answer, found = await self._inspected(version, f"/tasks/{name}")
        if not answers.is_ours(self._allowed, answers.labels_of_task(found)):
            raise Refused(f"task {name} not found", 404)
        return answer


def _remember(known: dict[str, Any], key: str, value: Any) -> None:
    if len(known) >= _MOST:
        del known[next(iter(known))]
    known[key] = value
