"""What the watch hears of a server, told to the hub: that it has died, that it has another address."""

from __future__ import annotations

import asyncio
from typing import Any

from dockerspawner._core import Core
from dockerspawner._engine.watch import Word
from dockerspawner._errors.failures import Died
from dockerspawner._errors.translation import EngineError, Gone, understood
from dockerspawner._records.database import save

# Seconds between two looks whether the hub has finished what is pending.
_PENDING_PAUSE = 0.05


class Reporting:
    """The server's part of the watch.

    A death is reported by poll_and_notify() at once, but never while the hub has something pending on this
    spawner: one that comes during a start is kept until the start has finished, one during a stop is dropped.
    """

    def __init__(self, server: Core) -> None:
        self._server = server
        self._report: asyncio.Task[None] | None = None
        # Has there been more news since that one looked?
        self._more = False
        self._out_of_memory_told = 0

    def listen(self) -> None:
        if self._server.object_id:
            self._server._watch.listen(self._server.object_id, self._on_state)

    def _on_state(self, word: Word) -> None:
        if word.id != self._server.object_id:
            return
        if word.out_of_memory_at > self._out_of_memory_told:
            self._out_of_memory_told = word.out_of_memory_at
            self._server.log.warning(
                "A process of %s was killed: the server has used up its memory", self._server.object_name
            )
        attempt = self._server._attempt
        if not word.running:
            attempt.ended.set()
        # A start asks for the address itself; its event may come when it is over.
        if word.running and (attempt.start_event_due or attempt.is_running or self._server.pending):
            attempt.start_event_due = False
            return
        self._more = True
        if self._report is None or self._report.done():
            self._report = asyncio.get_running_loop().create_task(self._tell_hub())

    async def _tell_hub(self) -> None:
        while self._more:
            while self._server._attempt.is_running or self._server.pending:  # noqa: ASYNC110  # the hub has no event for it
                await asyncio.sleep(_PENDING_PAUSE)
            self._more = False
            if not self._server.object_id:
                continue
            word = self._server._watch.last(self._server.object_id)
            try:
                await (self._update_route() if word is not None and word.running else self._server.poll_and_notify())
            except Exception:
                self._server.log.exception(
                    "What has happened to %s could not be told to the hub", self._server.object_name
                )

    async def _update_route(self) -> None:
        """Where the server has another address than the hub has on record, correct the record and the route."""
        try:
            address = await understood("inspect_container", self._server.get_ip_and_port())
        except (EngineError, Died) as error:
            # Somebody has taken it off its network: it is routed once it has an address there again.
            log = self._server.log.warning if isinstance(error, Gone) else self._server.log.debug
            log("The address of %s can't be had: %s", self._server.object_name, error)
            return
        server = self._server.server
        if server is None or self._server.pending or (server.ip, server.port) == address:
            return
        self._server.log.warning(
            "%s has moved from %s:%s to %s:%s", self._server.object_name, server.ip, server.port, *address
        )
        server.ip, server.port = address
        save(self._server)
        await self._server.user.settings["proxy"].add_user(self._server.user, self._server.name)

    def death(self, container: dict[str, Any]) -> Died:
        """How the main process of an inspected container has ended."""
        state = container["State"]
        code = int(state.get("ExitCode") or 0)
        word = self._server._watch.last(container["Id"])
        # The engine says OOMKilled also where only a child was killed, long before.
        out_of_memory = code == 137 and state.get("OOMKilled", False) and not (word and word.spared)
        memory = int((container.get("HostConfig") or {}).get("Memory") or 0)
        return Died(code, out_of_memory, state.get("Error") or "", memory)

    def fail_if_dead(self, container: dict[str, Any]) -> None:
        state = container["State"]
        # For the engine, a container in a restart loop is running.
        if not state["Running"] or (self._server._attempt.is_running and state.get("Restarting")):
            raise self.death(container)
