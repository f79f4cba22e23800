"""What a failed start or a failed stop has left is removed, in the background if the engine does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dockerspawner._core import Core
from dockerspawner._engine.retry import Retry
from dockerspawner._errors.translation import EngineError, Unavailable, understood
from dockerspawner._records import ownership
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.calls import Calls
from dockerspawner._start.certificates import Certs
from dockerspawner._start.gpus import Gpus
from dockerspawner._start.sleep import Sleep

# Seconds in which a container is removed that could not be removed at once.
SWEEP_FOR = 600.0


class Cleanup:
    """The cleanup after one server's starts and stops.

    - A container that the failed start created is removed; a container that it adopted is stopped and stays.
    - If a step fails, or if the engine did not answer a create call, the cleanup retries in the background.
    - The next start waits for the cleanup of the failed one, and ends the retries: it removes duplicates itself.
    """

    def __init__(self, server: Core, calls: Calls, certs: Certs, gpus: Gpus, sleep: Sleep, patience: float) -> None:
        self._server = server
        self._calls = calls
        self._certs = certs
        self._gpus = gpus
        self._sleep = sleep
        # Maximum seconds that a failed start waits for its cleanup.
        self._patience = patience
        self._undoing: asyncio.Task[None] | None = None
        # The retries in the background.
        self.sweeping: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Is the cleanup of a failed start still running?"""
        return self._undoing is not None and not self._undoing.done()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the cleanup for at most `seconds`; it continues if the caller is cancelled."""
        if self._undoing is not None:
            await asyncio.wait({self._undoing}, timeout=seconds)

    async def undo(self, attempt: StartAttempt, seconds: float) -> None:
        """Undo a failed start.

        After `seconds`, or if the caller is cancelled, the cleanup continues in the background.
        """
        if not self.is_running:
            # The hub takes the token away once the start has failed, maybe before the cleanup ends.
            self._undoing = asyncio.ensure_future(self._undo(attempt, self._server.api_token))
        await self.wait(min(seconds, self._patience))
        if self.is_running:
            self._server.log.info(
                "The cleanup after the failed start of %s continues in the background", self._server.object_name
            )

    async def _undo(self, attempt: StartAttempt, token: str) -> None:
        try:
            try:
                await self._undo_container(attempt, token)
                await self._certs.remove()
            finally:
                await self._server._forget_volumes()
        except Exception:
            # The start raises the reason of its failure instead.
            self._server.log.exception(
                "The cleanup after the failed start of %s is incomplete", self._server.object_name
            )

    async def _undo_container(self, attempt: StartAttempt, token: str) -> None:
        server = self._server
        made = await self._created(attempt)
        await server._volumes_settled()
        try:
            if made:
                server.object_id = made
                await understood("remove_container", server.remove_object())
                server.object_id = ""
            elif attempt.resumed:
                await understood("stop", server.stop_object())
            await self._release()
            done = not _may_have_created(attempt)
        except Exception as error:
            # Whatever a method of a subclass raises: the start reports why it failed.
            server.log.warning("What the start of %s has left can't be removed now: %s", server.object_name, error)
            server.object_id = "" if made else server.object_id
            done = not made and not _may_have_created(attempt)
        if not done:
            self.sweeping = asyncio.ensure_future(self._sweep(attempt, made, token))

    async def _release(self) -> None:
        """Release what a server has beside its container, for other servers."""
        self._gpus.give_back()
        await self._server._leave_network()

    def remove_later(self, container_id: str) -> None:
        """Retry in the background to remove the container of a stop that failed."""
        server, attempt = self._server, self._server._attempt

        def is_due() -> bool:
            # Otherwise the next start uses the container, and what belongs to it.
            return server.object_id == container_id and server._attempt is attempt

        async def remove() -> bool:
            await self._calls.remove(container_id, volumes=True)
            if is_due():
                self.note_removed(container_id)
                await self._release()
            server.log.info("Removed container %s, which a stop had left", container_id[:12])
            return True

        self.sweeping = asyncio.ensure_future(self._retry(is_due, remove))

    async def _sweep(self, attempt: StartAttempt, made: str, token: str) -> None:
        """Remove the container that a failed start created, as soon as the engine answers.

        `made` is its id; if that is empty, the container has labels of this server and `token` in its environment.
        """
        server = self._server

        def is_due() -> bool:
            return server._attempt is attempt

        async def remove() -> bool:
            for container_id in [made] if made else [word.id for word in await server._watch.of(server._owner)]:
                container = await self._calls.inspect(container_id) if container_id != server.object_id else None
                if container and ownership.token_of(container) == token:
                    await self._calls.remove(container_id, volumes=True)
                    if is_due():
                        await self._release()
                    server.log.info("Removed container %s, which a failed start had left", container_id[:12])
                    return True
            # Without an id, the engine may create the container later.
            return bool(made)

        await self._retry(is_due, remove)

    async def _retry(self, is_due: Callable[[], bool], remove: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Call `remove` until it returns True, no longer than `is_due`."""
        retry = Retry(0.2, 10, within=SWEEP_FOR)
        while is_due():
            try:
                if await remove():
                    return
            except EngineError as error:
                self._server.log.debug("A container of %s can't be removed now: %s", self._server.object_name, error)
            if not await retry.pause():
                return

    def note_removed(self, container_id: str) -> None:
        """A container of this server is gone."""
        self._sleep.unpaused(container_id)
        if container_id == self._server.object_id:
            self._server.object_id = ""

    async def _created(self, attempt: StartAttempt) -> str:
        """Return the id of the container that a start has created, empty if it has not.

        A create call that was sent can't be revoked: the cleanup waits for its answer.
        """
        if attempt.creating is None:
            return ""
        done, _ = await asyncio.wait({attempt.creating}, timeout=self._server.quick_timeout)
        for created in done:
            if not created.cancelled() and not created.exception():
                return str(created.result()[self._server.object_id_key])
        return ""


def _may_have_created(attempt: StartAttempt) -> bool:
    """Did the start send a create call that the engine has not answered?"""
    creating = attempt.creating
    if creating is None or creating.cancelled():
        return False
    return not creating.done() or isinstance(creating.exception(), Unavailable)
