"""What earlier starts have left: resumed where it is this server's and still fits, else replaced."""

from __future__ import annotations

import asyncio
import posixpath
import time
from typing import Any
from urllib.parse import unquote

from dockerspawner._core import Core
from dockerspawner._engine import archive
from dockerspawner._engine.client import perform
from dockerspawner._engine.watch import Word
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, EngineError, Gone, NameTaken, Refused, Unavailable, understood
from dockerspawner._records import ownership
from dockerspawner._records.database import containers_of_others, replace_state
from dockerspawner._records.ownership import Owner
from dockerspawner._settings.naming import DNS_LABEL, fit
from dockerspawner._start.attempt import StartAttempt
from dockerspawner._start.ready_check import JUPYTERHUB
from dockerspawner._storage.accounts import home_in

# Seconds for which a container is looked for whose creation nobody has answered.
SWEEP_FOR = 600.0


class Leftovers(Core):
    """How a start comes to its container.

    - A container of somebody else is never touched.
    - One that holds its user's files is never removed, unless `remove` says so.
    - No other container of this server goes on beside the one that starts.
    """

    # The name of the last start's container, which the state knows.
    _known_name = ""
    _undoing: asyncio.Task[None] | None = None
    # Maximum seconds that a failed start waits for its cleanup.
    _undo_within = 10.0
    _sweeping: asyncio.Task[None] | None = None

    async def _obtain(self) -> None:
        """Create a container, or adopt an existing one of this server that still fits.

        There is no lookup before: if a container has the name, the engine rejects the creation.
        """
        async with self._sleep.lock():
            await self._ensure_container()

    async def _ensure_container(self) -> None:
        self._forget_former_name()
        if await self._remove_duplicates():
            return
        if self._overrides("get_object"):
            existing = await understood("inspect_container", self.get_object())
            if existing:
                await self._know_spec()
                if await self._adopt_or_remove(existing):
                    return
        for _ in range(5):
            try:
                await self._create()
                return
            except NameTaken:
                existing = await self._inspect(self.object_name)
                if existing and await self._adopt_or_remove(existing):
                    return
        raise failure(f"The {self.object_type} name {self.object_name} is taken again and again.", reason="conflict")

    async def _create(self) -> None:
        attempt = self._attempt
        attempt.creating = asyncio.ensure_future(understood("create_container", self.create_object()))
        created = await asyncio.shield(attempt.creating)
        self.object_id = created[self.object_id_key]
        self._record_owner(self._owner)
        self._sleep.unpaused(attempt.known_id)
        await self._check_home_is_kept(self.object_id)
        await self._prepare_volumes()
        await self._certs.place()
        await self._connect_networks(self.object_id)

    async def _remove_duplicates(self) -> bool:
        """Adopt or remove this server's containers with other names; True if one of them is resumed."""
        try:
            found: list[Word] = await self._own_containers()
        except EngineError:
            # Creating will tell.
            return False
        for word in found:
            if word.name == self.object_name:
                continue
            if self.remove:
                self.log.info("Removing container %s, which an earlier start has left", word.name)
                await self._end_and_remove(word.id, word.running)
                self._note_removed(word.id)
            elif self._is_to_be_adopted(word):
                container = await self._inspect(word.id)
                if container:
                    self._learn_volumes(container)
                    await self._know_spec()
                    if await self._adopt_or_remove(container):
                        await self._take_name(word.id)
                        return True
            elif word.running:
                self.log.warning("Stopping container %s, which runs beside %s", word.name, self.object_name)
                await self._end(word.id)
        return False

    async def _own_containers(self) -> list[Word]:
        """List this server's containers by label, and by the id in the hub's state."""
        try:
            found: list[Word] = await self._watch.of(*self._owners)
        except Refused:
            # A proxy in front of the engine rejects lists.
            found = []
        if any(word.id != self._attempt.known_id for word in found):
            # Another server that was renamed may have a container labelled with this server's current name.
            theirs = containers_of_others(self)
            found = [word for word in found if word.id == self._attempt.known_id or word.id not in theirs]
        if self._attempt.known_id and self._attempt.known_id not in (word.id for word in found):
            # With labels of a former name or instance, or without labels.
            container = await self._inspect(self._attempt.known_id)
            if container:
                owner, name = ownership.made_for(container, self._owner), container["Name"].lstrip("/")
                if owner != self._owner:
                    self._rename()
                found.append(Word(container["Id"], name, owner, container["State"]["Running"]))
        return found

    def _is_to_be_adopted(self, word: Word) -> bool:
        """Is this the server's only container, under a former name?"""
        if word.id != self._attempt.known_id:
            return bool(word.name == self._former_name)
        # Otherwise the wanted name comes from another image: the container is kept for its own image.
        return bool(word.name == self._former_name or word.name != self._known_name or word.owner not in self._owners)

    async def _take_name(self, container_id: str) -> None:
        try:
            await perform(self.docker, "rename", container_id, self.object_name)
        except Conflict:
            # Another container has the name, and is not removed.
            container = await self._inspect(container_id)
            if container:
                self._rename(container["Name"].lstrip("/"))
            self.log.warning(
                "Container %s keeps its name: the settings give a name that another container has", self.object_name
            )

    async def _know_spec(self) -> None:
        """Have the hash of what the container should be made of, before one is created."""
        await self._find_volumes()
        await self._create_kwargs()

    async def _adopt_or_remove(self, container: dict[str, Any]) -> bool:
        """Resume this server's `container` (True), or remove or rename it so that its name is free (False)."""
        if not self._owner.owns(container, self._attempt.known_id, self._instances):
            raise self._not_owned(container)
        if container["Id"] != self._attempt.known_id and self._is_of_another_server(container["Id"]):
            await self._move_aside(container)
            return False
        if not self.remove:
            renamed = ownership.made_for(container, self._owner) != self._owner
            stale = renamed or ownership.is_stale(container, self._attempt.spec_hash, await self._image_id())
            holds_home = await self._holds_home(container)
            if holds_home:
                self._check_names(container)
            if stale and holds_home:
                self.log.warning(
                    "%s is resumed as it is, although its settings have changed: "
                    "its user's files are in no volume, and would go with the container",
                    self.object_name,
                )
            if holds_home or not (stale or self._sleep.force_recreate):
                await self._resume(container)
                return True
        self.log.info("Replacing container %s", self.object_name)
        if container["Id"] == self.object_id and self._overrides("remove_object"):
            await understood("remove_container", self.remove_object())
        else:
            await self._end_and_remove(container["Id"], container["State"]["Running"])
        self._note_removed(container["Id"])
        return False

    def _not_owned(self, container: dict[str, Any]) -> Exception:
        owner = Owner.of(container["Config"].get("Labels") or {})
        self.log.error(
            "%s (%s) has the name that the server of %s needs, but labels of instance %r, user %r, server %r. If this "
            "hub (instance %r) created it, set DockerSpawner.instance to the value in the labels. Otherwise rename it. "
            "Removing it deletes its files.",
            self.object_name,
            container["Id"][:12],
            self._log_name,
            owner.instance,
            owner.user,
            owner.server,
            self.instance,
        )
        return failure(
            f"There is already a {self.object_type} named {self.object_name} that does not belong to this server. "
            "Ask an administrator to rename it.",
            reason="conflict",
        )

    def _check_names(self, container: dict[str, Any]) -> None:
        """Fail where JupyterHub's server in a container with its user's files can't serve this user at this URL.

        The container's environment, which can't change, has the user's name and the URL.
        """
        if self.ready_check != JUPYTERHUB:
            return
        made_with = ownership.environment_of(container)
        for name, what, undo in (
            ("JUPYTERHUB_USER", "user", "Rename the user back"),
            ("JUPYTERHUB_SERVICE_PREFIX", "URL", "Restore the former URL"),
        ):
            former, today = made_with.get(name), self._attempt.environment.get(name)
            # Versions of JupyterHub quote URLs differently.
            if former and today and unquote(former) != unquote(today):
                # The next start finds the container under the name that it has.
                self._rename(container["Name"].lstrip("/"))
                self.log.error(
                    "%s (%s) is not started: it contains its user's files, but was created for the %s %s, which is %s "
                    "now. %s. Or copy the files with `docker cp` into a volume for the home, and remove the container.",
                    self.object_name,
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
        return container_id in containers_of_others(self)

    async def _move_aside(self, container: dict[str, Any]) -> None:
        """Rename another server's container; that server still finds it by id."""
        name = fit(f"{self.object_name}-{container['Id'][:12]}", DNS_LABEL)
        self.log.warning("Renaming %s to %s: it belongs to another server, which was renamed", self.object_name, name)
        await perform(self.docker, "rename", container["Id"], name)

    def _note_removed(self, container_id: str) -> None:
        self._sleep.unpaused(container_id)
        if container_id == self.object_id:
            self.object_id = ""

    async def _resume(self, container: dict[str, Any]) -> None:
        self._gpus.check_devices(container)
        self.object_id, self._attempt.resumed = container[self.object_id_key], True
        labels = container["Config"].get("Labels") or {}
        if ownership.INSTANCE in labels:
            self._record_owner(Owner.of(labels))
        self._record_owner(self._owner)
        self._attempt.environment = ownership.environment_of(container)
        self._use_port_of(container)
        if token := ownership.token_of(container):
            self.api_token = token
        self._sleep.unpaused(self.object_id)
        self._attempt.runs = container["State"]["Running"] and not self._sleep.force_recreate
        if self._sleep.force_recreate:
            await understood("stop", self.stop_object())
        elif container["State"].get("Paused"):
            await self._suspend_restarts(container, runs=True)
            await perform(self.docker, "unpause", self.object_id)
            return
        await self._suspend_restarts(container, self._attempt.runs)
        await self._certs.place()

    async def _holds_home(self, container: dict[str, Any]) -> bool:
        """Would removing the container delete the user's files?

        Without notebook_dir, the files may be in the working directory and in the user's HOME.
        """
        if self._home():
            return ownership.holds_home(container, await self._home_in(container))
        working_dir = posixpath.normpath(container["Config"].get("WorkingDir") or "/").lstrip("/")
        if working_dir and ownership.holds_home(container, f"/{working_dir}"):
            return True
        home = ownership.environment_of(container).get("HOME") or await self._home_of(container)
        home = posixpath.normpath(home).lstrip("/")
        if home or not working_dir:
            return ownership.holds_home(container, f"/{home}")
        return False

    async def _home_in(self, container: dict[str, Any]) -> str:
        """Return the absolute path of the user's files in a container: notebook_dir, else the working directory."""
        home = self._home()
        if not home.startswith("~"):
            return posixpath.normpath(posixpath.join(container["Config"].get("WorkingDir") or "/", home))
        user, _, rest = home[1:].partition("/")
        environment = ownership.environment_of(container)
        found = "" if user else environment.get("HOME", "")
        return posixpath.normpath(posixpath.join(found or await self._home_of(container, user), rest))

    async def _home_of(self, container: dict[str, Any], user: str = "") -> str:
        """Read the home of `user`, or else of the user who runs the server, from the container's /etc/passwd."""
        name = user or str(container["Config"].get("User") or "0").partition(":")[0]
        try:
            passwd = await self._read_archive(container["Id"], "/etc/passwd", archive.text_of)
        except (Gone, Refused):
            # Refused: by a proxy in front of the engine.
            passwd = ""
        # In a thread: the container's user may have written a long file.
        return await asyncio.to_thread(home_in, passwd, name) or "/"

    def _home(self) -> str:
        return self.format_string(self.notebook_dir) if self.notebook_dir else ""

    # A start that fails

    @property
    def _is_undoing(self) -> bool:
        """Is the cleanup of a failed start still running?"""
        return self._undoing is not None and not self._undoing.done()

    async def _until_undone(self, seconds: float | None = None) -> None:
        """Wait for the cleanup for at most `seconds`; it continues if the caller is cancelled."""
        if self._undoing is not None:
            await asyncio.wait({self._undoing}, timeout=seconds)

    async def _undo_start(self, attempt: StartAttempt, seconds: float) -> None:
        """Remove the container that this start created; stop and keep a container that it resumed.

        After `seconds`, or if the caller is cancelled, the cleanup continues in the background.
        """
        if not self._is_undoing:
            # The hub takes the token away once the start has failed, maybe before the cleanup ends.
            self._undoing = asyncio.ensure_future(self._undo(attempt, self.api_token))
        await self._until_undone(min(seconds, self._undo_within))
        if self._is_undoing:
            self.log.info("The cleanup after the failed start of %s continues in the background", self.object_name)

    async def _undo(self, attempt: StartAttempt, token: str) -> None:
        try:
            try:
                await self._undo_container(attempt, token)
                await self._certs.remove()
            finally:
                await self._forget_volumes()
        except Exception:
            # The start raises the reason of its failure instead.
            self.log.exception("The cleanup after the failed start of %s is incomplete", self.object_name)

    async def _undo_container(self, attempt: StartAttempt, token: str) -> None:
        made = await self._made(attempt)
        await self._volumes_settled()
        try:
            if made:
                self.object_id = made
                await understood("remove_container", self.remove_object())
                self.object_id = ""
            elif attempt.resumed:
                await understood("stop", self.stop_object())
            self._gpus.give_back()
            await self._leave_network()
            done = not _may_have_made(attempt)
        except Exception as error:
            # Whatever a method of a subclass raises: why the start failed is what is to be told.
            self.log.warning("What the start of %s has left can't be seen to now: %s", self.object_name, error)
            self.object_id = "" if made else self.object_id
            done = not made and not _may_have_made(attempt)
        if not done:
            self._sweeping = asyncio.ensure_future(self._sweep(attempt, made, token))

    async def _sweep(self, attempt: StartAttempt, made: str, token: str) -> None:
        """Remove what a failed start has made as soon as the engine lets us, for as long as no other start begins.

        That is the container `made`; where its id is not known, the one of this server with that token.
        """
        deadline, pause = time.monotonic() + SWEEP_FOR, 0.2
        while time.monotonic() < deadline and self._attempt is attempt:
            try:
                ids = [made] if made else [word.id for word in await self._watch.of(self._owner)]
                for container_id in ids:
                    container = await self._inspect(container_id) if container_id != self.object_id else None
                    if container and ownership.token_of(container) == token:
                        await self._remove(container_id, volumes=True)
                        # Else they are the next start's.
                        if self._attempt is attempt:
                            self._gpus.give_back()
                            await self._leave_network()
                        self.log.info("Removed container %s, which a failed start had left", container_id[:12])
                        return
                if made:
                    return
            except EngineError as error:
                self.log.debug("What the start of %s may have made can't be seen now: %s", self.object_name, error)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 10)

    async def _remove_later(self, container_id: str) -> None:
        """Remove what a stop has left: to the hub, which forgets it, it does not run any more."""
        deadline, pause, attempt = time.monotonic() + SWEEP_FOR, 0.2, self._attempt

        def is_ours() -> bool:
            # Else it is the next start's.
            return self.object_id == container_id and self._attempt is attempt

        while time.monotonic() < deadline and is_ours():
            try:
                await self._remove(container_id, volumes=True)
                if is_ours():
                    self._note_removed(container_id)
                    self._gpus.give_back()
                    await self._leave_network()
                self.log.info("Removed container %s, which a stop had left", container_id[:12])
                return
            except EngineError as error:
                self.log.debug("Container %s can't be removed yet: %s", container_id[:12], error)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 10)

    async def _made(self, attempt: StartAttempt) -> str:
        """The id of the container that this start has created, empty where it has not.

        A create that was sent can't be called back: its answer is waited for.
        """
        if attempt.creating is None:
            return ""
        done, _ = await asyncio.wait({attempt.creating}, timeout=self.quick_timeout)
        for created in done:
            if not created.cancelled() and not created.exception():
                return str(created.result()[self.object_id_key])
        return ""

    # A server that gets another name

    async def rename(self, old_name: str, new_name: str) -> None:
        """Remove the kept container, which is for the old name; volumes are found again under the names they have.

        Fails where the container holds its user's files: they would go with it.
        """
        container = await self._inspect(self.object_id) if self.object_id else None
        if container is not None:
            if await self._holds_home(container):
                raise failure(
                    f"Server {old_name} can't be renamed: its files are inside its container.",
                    reason="name",
                    status=409,
                )
            await self._end_and_remove(container["Id"], container["State"]["Running"])
        self._sleep.unpaused(self.object_id)
        self._gpus.give_back()
        self.object_id = ""
        await self._leave_network()
        replace_state(self)


def _may_have_made(attempt: StartAttempt) -> bool:
    """Did the start send a create call that the engine has not answered?"""
    creating = attempt.creating
    if creating is None or creating.cancelled():
        return False
    return not creating.done() or isinstance(creating.exception(), Unavailable)
