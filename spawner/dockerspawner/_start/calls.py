"""The calls to Docker on the container of a server, and on other containers of this hub."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

from dockerspawner._core import Core
from dockerspawner._engine.client import described, perform
from dockerspawner._engine.retry import Retry
from dockerspawner._errors.translation import BeingRemoved, EngineError, Gone, Unavailable
from dockerspawner._records.ownership import token_of
from dockerspawner._start.certificates import volume_of_certs

# Seconds between two inspections of a slowly stopping container, if a wait call is not possible.
STOP_PAUSE = 0.5
# Seconds in which the engine kills a container after its grace period.
KILLED_WITHIN = 10.0


class Calls(Protocol):
    """What a spawner can do with the objects that servers run in: containers, or services of a swarm."""

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """The object as the engine describes an inspected container; None if it does not exist."""

    async def existing(self) -> dict[str, Any]:
        """The object in use; Gone if it does not exist."""

    async def ids(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of all objects with these labels, running or not."""

    async def end(self, container_id: str) -> None:
        """End a server; a container stays, a service is removed."""

    async def stop(self, container_id: str, seconds: int | None) -> None:
        """End a server and keep its object, where it can be kept; `seconds` is its grace period."""

    async def end_and_remove(self, container_id: str, running: bool) -> None:
        """End a server with its grace period, then remove its object with its anonymous volumes."""

    async def remove(self, container_id: str, volumes: bool) -> None:
        """Remove an object, with its anonymous volumes if `volumes`; return when its name is free."""

    async def find_after_timeout(self) -> dict[str, Any] | None:
        """The object of a create call that was not answered in time: the engine may have created it."""


class ContainerCalls:
    """Calls on containers."""

    def __init__(self, server: Core) -> None:
        self._server = server

    async def inspect(self, name: str) -> dict[str, Any] | None:
        return await described(self._server.docker, "inspect_container", name)

    async def existing(self) -> dict[str, Any]:
        """The container in use; Gone where there is none."""
        found = await self.inspect(self._server.object_id)
        if found is None:
            raise Gone(f"No such {self._server.object_type}: {self._server.object_name}")
        return found

    async def ids(self, labels: Mapping[str, str]) -> list[str]:
        """Ids of all containers with these labels, running or not."""
        filters = {"label": [f"{name}={value}" for name, value in labels.items()]}
        return [found["Id"] for found in await perform(self._server.docker, "containers", all=True, filters=filters)]

    async def find_after_timeout(self) -> dict[str, Any] | None:
        """The container of a create that was not answered in time: the engine may have made it."""
        retry = Retry(0.5, growth=1, within=self._server.quick_timeout)
        while not retry.is_over:
            if container := await self.inspect(self._server.object_name):
                ours = self._server._owner.owns(container) and token_of(container) == self._server.api_token
                return container if ours else None
            await retry.pause()
        return None

    async def end(self, container_id: str) -> None:
        """Stop a container, which stays."""
        with contextlib.suppress(Gone, BeingRemoved):
            await self.stop(container_id, self._server.stop_timeout)

    async def stop(self, container_id: str, seconds: int | None) -> None:
        """Return when the container has stopped. `seconds` is its grace period; None means its own stop timeout."""
        began = time.monotonic()
        try:
            await perform(self._server.docker, "stop", container_id, timeout=seconds)
        except Unavailable as error:
            # The SDK waits for slow_timeout plus `seconds`. If `seconds` is None, it adds 10 seconds.
            if not error.timed_out or not await self._stops_late(container_id, seconds, began):
                raise

    async def _stops_late(self, container_id: str, seconds: int | None, began: float) -> bool:
        """Wait for a container whose stop call timed out; False if it exceeds its grace period."""
        while True:
            container = await self.inspect(container_id)
            if container is None or not container["State"]["Running"]:
                return True
            allowed = container["Config"].get("StopTimeout") if seconds is None else seconds
            if allowed is None:
                return False
            # For the engine, a negative number means no limit.
            left = began + allowed + KILLED_WITHIN - time.monotonic() if allowed >= 0 else self._server.slow_timeout
            if left <= 0:
                return False
            try:
                await perform(self._server.docker, "wait", container_id, timeout=min(left, self._server.slow_timeout))
            except EngineError:
                # A timeout, or a rejection by a proxy. The next inspection decides whether to continue.
                await asyncio.sleep(STOP_PAUSE)

    async def end_and_remove(self, container_id: str, running: bool) -> None:
        """Stop a container with its grace period, then remove it with its anonymous volumes."""
        if running:
            await self.end(container_id)
        await self.remove(container_id, volumes=True)

    async def remove(self, container_id: str, volumes: bool) -> None:
        """Remove a container; without `volumes`, its anonymous volumes stay, but not the one with its keys."""
        keys = "" if volumes else volume_of_certs(await self.inspect(container_id) or {})
        await self._remove_container(container_id, volumes)
        if keys:
            with contextlib.suppress(Gone):
                await perform(self._server.docker, "remove_volume", keys)

    async def _remove_container(self, container_id: str, volumes: bool) -> None:
        try:
            await perform(self._server.docker, "remove_container", container_id, v=volumes, force=True)
            return
        except Gone:
            return
        except BeingRemoved:
            self._server.log.debug("%s is being removed already", self._server.object_name)
        retry = Retry(0.1, growth=1, within=self._server.quick_timeout)
        while await self.inspect(container_id):
            if not await retry.pause():
                raise Unavailable(f"container {container_id[:12]} has not gone in {self._server.quick_timeout:g} s")
