"""The containers that earlier starts have left: adopted if they still fit, else removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._engine.watch import Word
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, EngineError, Refused, understood
from dockerspawner._records import ownership
from dockerspawner._records.database import containers_of_others
from dockerspawner._records.ownership import Owner
from dockerspawner._settings.deprecations import is_replaced
from dockerspawner._settings.naming import DNS_LABEL, fit
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.calls import Calls
from dockerspawner._start.cleanup import Cleanup
from dockerspawner._start.home_files import HomeFiles
from dockerspawner._start.ready_check import JUPYTERHUB
from dockerspawner._start.sleep import Sleep

Resume = Callable[[StartAttempt, dict[str, Any]], Awaitable[None]]


class Adoption:
    """Decides which container a start adopts.

    - A third-party container is never changed.
    - A container that holds its user's files is never removed, unless `remove` says so.
    - No other container of this server runs beside the one that starts.
    """

    def __init__(
        self, server: Core, calls: Calls, home_files: HomeFiles, sleep: Sleep, cleanup: Cleanup, resume: Resume
    ) -> None:
        self._server = server
        self._calls = calls
        self._home_files = home_files
        self._sleep = sleep
        self._cleanup = cleanup
        self._resume = resume
        # The name of the last start's container, which the state knows.
        self.known_name = ""

    async def remove_duplicates(self, attempt: StartAttempt) -> bool:
        """Adopt or remove this server's containers with other names; True if one of them is resumed."""
        try:
            found: list[Word] = await self._own_containers(attempt)
        except EngineError:
            # Creating will tell.
            return False
        for word in found:
            if word.name == self._server.object_name:
                continue
            if self._server.remove:
                self._server.log.info("Removing container %s, which an earlier start has left", word.name)
                await self._calls.end_and_remove(word.id, word.running)
                self._cleanup.note_removed(word.id)
            elif self._is_to_be_adopted(attempt, word):
                container = await self._calls.inspect(word.id)
                if container:
                    self._server._learn_volumes(container)
                    await self.know_spec()
                    if await self.adopt_or_remove(attempt, container):
                        await self._take_name(word.id)
                        return True
            elif word.running:
                self._server.log.warning(
                    "Stopping container %s, which runs beside %s", word.name, self._server.object_name
                )
                await self._calls.end(word.id)
        return False

    async def _own_containers(self, attempt: StartAttempt) -> list[Word]:
        """List this server's containers by label, and by the id in the hub's state."""
        try:
            found: list[Word] = await self._server._watch.of(*self._server._owners)
        except Refused:
            # A proxy in front of the engine rejects lists.
            found = []
        if any(word.id != attempt.known_id for word in found):
            # Another server that was renamed may have a container labelled with this server's current name.
            theirs = containers_of_others(self._server)
            found = [word for word in found if word.id == attempt.known_id or word.id not in theirs]
        if attempt.known_id and attempt.known_id not in (word.id for word in found):
            # With labels of a former name or instance, or without labels.
            container = await self._calls.inspect(attempt.known_id)
            if container:
                owner, name = ownership.made_for(container, self._server._owner), container["Name"].lstrip("/")
                if owner != self._server._owner:
                    self._server._rename()
                found.append(Word(container["Id"], name, owner, container["State"]["Running"]))
        return found

    def _is_to_be_adopted(self, attempt: StartAttempt, word: Word) -> bool:
        """Is this the server's only container, under a former name?"""
        if word.id != attempt.known_id:
            return bool(word.name == self._server._former_name)
        # Otherwise the wanted name comes from another image: the container is kept for its own image.
        return bool(
            word.name == self._server._former_name
            or word.name != self.known_name
            or word.owner not in self._server._owners
        )

    async def _take_name(self, container_id: str) -> None:
        try:
            await perform(self._server.docker, "rename", container_id, self._server.object_name)
        except Conflict:
            # Another container has the name, and is not removed.
            container = await self._calls.inspect(container_id)
            if container:
                self._server._rename(container["Name"].lstrip("/"))
            self._server.log.warning(
                "Container %s keeps its name: the settings give a name that another container has",
                self._server.object_name,
            )

    async def know_spec(self) -> None:
        """Have the hash of what the container should be made of, before one is created."""
        await self._server._find_volumes()
        await self._server._create_kwargs()

    async def adopt_or_remove(self, attempt: StartAttempt, container: dict[str, Any]) -> bool:
        """Resume this server's `container` (True), or remove or rename it so that its name is free (False)."""
        if not self._server._owner.owns(container, attempt.known_id, self._server._instances):
            raise self._not_owned(container)
        if container["Id"] != attempt.known_id and self._is_of_another_server(container["Id"]):
            await self._move_aside(container)
            return False
        if not self._server.remove:
            renamed = ownership.made_for(container, self._server._owner) != self._server._owner
            stale = renamed or ownership.is_stale(container, attempt.spec_hash, await self._server._image_id())
            holds_home = await self._home_files.are_in(container)
            if holds_home:
                self._check_names(attempt, container)
            if stale and holds_home:
                self._server.log.warning(
                    "%s is resumed as it is, although its settings have changed: "
                    "its user's files are in no volume, and would go with the container",
                    self._server.object_name,
                )
            if holds_home or not (stale or self._sleep.force_recreate):
                await self._resume(attempt, container)
                return True
        self._server.log.info("Replacing container %s", self._server.object_name)
        if container["Id"] == self._server.object_id and is_replaced(self._server, "remove_object"):
            await understood("remove_container", self._server.remove_object())
        else:
            await self._calls.end_and_remove(container["Id"], container["State"]["Running"])
        self._cleanup.note_removed(container["Id"])
        return False

    def _not_owned(self, container: dict[str, Any]) -> Exception:
        owner = Owner.of(container["Config"].get("Labels") or {})
        self._server.log.error(
            "%s (%s) has the name that the server of %s needs, but labels of instance %r, user %r, server %r. If this "
            "hub (instance %r) created it, set DockerSpawner.instance to the value in the labels. Otherwise rename it. "
            "Removing it deletes its files.",
            self._server.object_name,
            container["Id"][:12],
            self._server._log_name,
            owner.instance,
            owner.user,
            owner.server,
            self._server.instance,
        )
        return failure(
            f"There is already a {self._server.object_type} named {self._server.object_name} that does not belong to "
            "this server. Ask an administrator to rename it.",
            reason="conflict",
        )

    def _check_names(self, attempt: StartAttempt, container: dict[str, Any]) -> None:
        """Fail where JupyterHub's server in a container with its user's files can't serve this user at this URL.

        The container's environment, which can't change, has the user's name and the URL.
        """
        if self._server.ready_check != JUPYTERHUB:
            return
        made_with = ownership.environment_of(container)
        for name, what, undo in (
            ("JUPYTERHUB_USER", "user", "Rename the user back"),
            ("JUPYTERHUB_SERVICE_PREFIX", "URL", "Restore the former URL"),
        ):
            former, today = made_with.get(name), attempt.environment.get(name)
            # Versions of JupyterHub quote URLs differently.
            if former and today and unquote(former) != unquote(today):
                # The next start finds the container under the name that it has.
                self._server._rename(container["Name"].lstrip("/"))
                self._server.log.error(
                    "%s (%s) is not started: it contains its user's files, but was created for the %s %s, which is %s "
                    "now. %s. Or copy the files with `docker cp` into a volume for the home, and remove the container.",
                    self._server.object_name,
                    container["Id"][:12],
                    what,
                    former,
                    today,
                    undo,
                )
                raise failure(
                    f"Your files are in a container that was created for the {what} {former} and can't start for "
                    f"{today}: ask an administrator to move them.",
                    reason="name",
                    status=409,
                )

    def _is_of_another_server(self, container_id: str) -> bool:
        """Does the hub's record of another server, which had this server's name before, contain the container?"""
        return container_id in containers_of_others(self._server)

    async def _move_aside(self, container: dict[str, Any]) -> None:
        """Rename another server's container; that server still finds it by id."""
        name = fit(f"{self._server.object_name}-{container['Id'][:12]}", DNS_LABEL)
        self._server.log.warning(
            "Renaming %s to %s: it belongs to another server, which was renamed", self._server.object_name, name
        )
        await perform(self._server.docker, "rename", container["Id"], name)
