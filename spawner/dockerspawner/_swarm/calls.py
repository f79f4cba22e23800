"""The calls to Docker on the service of a server, on its tasks and their nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from dockerspawner._core import SwarmCore
from dockerspawner._engine.client import described, perform
from dockerspawner._engine.retry import Retry
from dockerspawner._errors.failures import failure
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import EngineError, Gone, NoSuchImage, Unavailable
from dockerspawner._records.ownership import token_of
from dockerspawner._swarm import specs
from dockerspawner._swarm.tasks import Task, current

# Seconds beyond its own for which an ended server's task is waited for.
GRACE = 10.0
# Seconds for which an order that had no answer is looked up; a manager has taken 20 s to say that it had none.
LOOK_UP = 5.0
# What the engine gives a task to end where nobody says otherwise.
_STOP_TIMEOUT = 10


class ServiceCalls:
    """Calls on services, which go with their server: ending one removes it."""

    def __init__(self, server: SwarmCore) -> None:
        self._server = server

    async def existing(self) -> dict[str, Any]:
        """The service in use; Gone where there is none."""
        found: dict[str, Any] | None = await self.inspect(self._server.container_id)
        if found is None:
            raise Gone(f"No such service: {self._server.object_name}")
        return found

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """The service, with what an inspected container has, too; None where there is none."""
        service = await described(self._server.docker, "inspect_service", name)
        if service is None:
            return None
        task = await self.task_of(service["ID"])
        spec = service["Spec"]
        container = spec["TaskTemplate"]["ContainerSpec"]
        seen: dict[str, Any] = {"State": {"Status": "new", "Running": False}}
        if task is not None:
            address = await self._node_address(task.node) if task.ports else ""
            seen = task.as_inspected(service["ID"], address)
        return {
            **service,
            **seen,
            "Id": service["ID"],
            "Name": spec["Name"],
            "Config": {"Labels": spec.get("Labels") or {}, "Env": container.get("Env") or []},
        }

    async def tasks_of(self, service: str) -> dict[str, dict[str, Any]]:
        """The tasks of a service as `GET /tasks` has them, by their ids."""
        try:
            answers = await perform(self._server.docker, "tasks", filters={"service": service})
            return {answer["ID"]: answer for answer in answers}
        except Gone:
            return {}

    async def task_of(self, service: str) -> Task | None:
        return current(Task.of(answer) for answer in (await self.tasks_of(service)).values())

    async def node(self, node_id: str) -> dict[str, Any] | None:
        return await described(self._server.docker, "inspect_node", node_id) if node_id else None

    async def _node_address(self, node_id: str) -> str:
        node = await self.node(node_id)
        return str(((node or {}).get("Status") or {}).get("Addr") or "")

    async def ids(self, labels: Mapping[str, str]) -> list[str]:
        filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
        listed = await perform(self._server.docker, "services", filters=filters)
        return [service["ID"] for service in listed]

    async def find_after_timeout(self) -> dict[str, Any] | None:
        """The service of a create whose manager was lost: the swarm may have made it.

        None also where nobody can tell in time: a service that shows later is removed then.
        """
        try:
            service = await asyncio.wait_for(self.inspect(self._server.object_name), LOOK_UP)
        except (Unavailable, asyncio.TimeoutError):
            return None
        ours = service and self._server._owner.owns(service) and token_of(service) == self._server.api_token
        return service if ours else None

    async def remove(self, container_id: str, volumes: bool) -> None:
        task = await self.task_of(container_id)
        grace = float(_STOP_TIMEOUT)
        if task is not None:
            await self._server._note_end(task)
            grace = await self._grace(container_id)
        with contextlib.suppress(Gone):
            await perform(self._server.docker, "remove_service", container_id)
        self._server._watch.stopped(container_id)
        if task is not None and task.alive:
            await self._wait_for_end(task, grace)
        await self._server._certs.remove()

    async def _grace(self, service_id: str) -> float:
        """Seconds of grace that the swarm gives the service's task to stop."""
        service = await described(self._server.docker, "inspect_service", service_id)
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"] if service else {}
        period = container.get("StopGracePeriod")
        return float(_STOP_TIMEOUT) if period is None else period / specs.BILLION

    async def _wait_for_end(self, task: Task, seconds: float) -> None:
        """Wait for the task of a removed service: its server may still write. Not for one that nobody hears of."""
        retry = Retry(0.05, 0.5, within=seconds + GRACE)
        while not retry.is_over:
            try:
                answer = await described(self._server.docker, "inspect_task", task.id)
            except EngineError as error:
                self._server.log.warning(
                    "Whether the server of %s has ended can't be asked: %s", self._server.object_name, error
                )
                return
            if answer is None or not Task.of(answer).occupies:
                return
            if not self.is_ready(await self.node(task.node)):
                return
            await retry.pause()
        self._server.log.warning("The server of %s has not ended in %g s", self._server.object_name, seconds + GRACE)

    async def end(self, container_id: str) -> None:
        await self.remove(container_id, volumes=True)

    async def stop(self, container_id: str, seconds: int | None) -> None:
        """Nothing: removing a service ends it."""

    async def end_and_remove(self, container_id: str, running: bool) -> None:
        await self.remove(container_id, volumes=True)

    async def fail_if_ended(self, task: Task) -> None:
        """Raise what its user is told of a task that will never run, or runs no more."""
        if task.alive:
            return
        why = sentence(task.error, self._server._failures.secrets())
        if task.state == "rejected":
            where = await self.node_name(task.node)
            if "o such image" in task.error:
                raise NoSuchImage(f"Image {self._server.image} is not on node {where}, which could not pull it: {why}")
            raise failure(f"Node {where} of the swarm rejected the server: {why}", reason="rejected")
        if task.state not in ("complete", "failed"):
            where = await self.node_name(task.node)
            raise failure(f"The server on node {where} was lost: {why or task.state}.", reason="lost")
        self._server._reporting.fail_if_dead(task.as_inspected())

    async def node_name(self, node_id: str) -> str:
        """What an operator calls a node."""
        node = await self.node(node_id)
        return str(node["Description"]["Hostname"]) if node else node_id or "?"

    @staticmethod
    def is_ready(node: Mapping[str, Any] | None) -> bool:
        return bool(node) and node["Status"]["State"] == "ready"  # type: ignore[index]
