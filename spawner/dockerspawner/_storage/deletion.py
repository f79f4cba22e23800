"""What goes with a server, or with a user, that the hub deletes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import CaselessStrEnum

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import EngineError, Gone, Refused
from dockerspawner._records import ownership
from dockerspawner._records.database import containers_of_other_users, instances_on_record, volumes_of_others
from dockerspawner._records.ownership import Owner


def staying(
    volume: Mapping[str, Any],
    owner: Owner,
    used: Collection[str] = (),
    used_by_others: Collection[str] = (),
    instances: Collection[str] = (),
    former_users: Collection[str] = (),
) -> str | None:
    """Return why a listed volume outlives its server, or the user of an unnamed server; None if it is deleted.

    `used` are the volumes on record of the server, regardless of its name when they were created. `instances` are
    former values of the hub's `instance`. `former_users` are former names of the user; they apply only to volumes on
    record.
    """
    name, labels = volume["Name"], volume.get("Labels") or {}
    users = {owner.user, *former_users} if name in used else {owner.user}
    if labels.get(ownership.INSTANCE) not in {owner.instance, *instances} or labels.get(ownership.USER) not in users:
        return "it was not made for this user by this hub"
    if owner.server and labels.get(ownership.SERVER) != owner.server:
        if ownership.SERVER not in labels:
            return "it is the user's, not the server's"
        if name not in used:
            return "it is another server's"
    if name in used_by_others:
        return "another server uses it"
    options = volume.get("Options") or {}
    if options.get("device") and options.get("type") != "tmpfs":
        return f"its files are at {options['device']}"
    return None


class Deletion(Core):
    """The end of a server that is deleted, and of its user.

    - Its containers go, kept and sleeping ones, too; that of a user with those of all servers.
    - With `delete_policy` "delete" volumes go that this hub has made for that user, or for that named server.
    - Shared volumes, host paths, and what this hub has not made are never touched.
    """

    delete_policy = CaselessStrEnum(
        ["keep", "delete"],
        "keep",
        config=True,
        help="""Treatment of volumes when the hub deletes their user or named server. keep: the volumes stay, and so
        does a container that holds its user's files. delete: the spawner deletes volumes that this hub created and
        whose names belong to that user, by {username} or by code. With a named server, it deletes only volumes
        whose templates also contain {servername}. Volumes that several users share or have used, host paths,
        volumes whose files are elsewhere (NFS, a device) and third-party volumes always stay. Default: keep.""",
    )

    async def delete_forever(self) -> None:
        """Remove what `delete_policy` says. What has to stay behind is named in the error, and tried to the last."""
        await maybe_future(super().delete_forever())
        left: list[str] = []
        try:
            await self._delete_containers(left)
            if self.delete_policy == "delete":
                await self._delete_volumes(left)
        except EngineError as error:
            # It can't be asked what there is.
            left.append(f"whatever there is of {self.object_type} {self.object_name}, because {error}")
            if self.delete_policy == "delete":
                left.append(f"volumes {', '.join(sorted(self._names_now(left))) or 'of whatever name'}")
        if left:
            server = f"server {self.name} of {self.user.name}" if self.name else self.user.name
            raise failure(f"These stay behind of {server}: {'; '.join(left)}.", reason="delete")

    def _labels(self, labels: Mapping[str, str]) -> dict[str, list[str]]:
        return {"label": [f"{name}={value}" for name, value in labels.items()]}

    async def _delete_containers(self, left: list[str]) -> None:
        owner = self._owner
        found = await self._containers_of_user()
        for container_id in dict.fromkeys([*found, *([self.object_id] if self.object_id else [])]):
            container = await self._calls.inspect(container_id)
            if container is None:
                self._cleanup.note_removed(container_id)
                continue
            if not (container_id in found or owner.owns(container, container_id)):
                continue
            name = container["Name"].lstrip("/")
            try:
                if self.delete_policy == "keep" and await self._home_files.are_in(container):
                    await self._calls.end(container_id)
                    self._sleep.unpaused(container_id)
                    self.log.warning("Container %s stays: its user's files are in no volume", name)
                else:
                    await self._calls.remove(container_id, volumes=self.remove or self.delete_policy == "delete")
                    self._cleanup.note_removed(container_id)
                    self.log.info("Removed container %s, whose server is deleted", name)
            except EngineError as error:
                left.append(f"{self.object_type} {name}: {error}")
        if not left:
            self._gpus.give_back()
        await self._leave_network()

    async def _containers_of_user(self) -> list[str]:
        """List ids of the server's containers by label; for the unnamed server, of all servers of the user."""
        found: list[str] = []
        for instance in self._instances:
            labels = {ownership.INSTANCE: instance, ownership.USER: self.user.name}
            # JupyterHub also deletes the user's other servers. Their containers would keep volumes in use.
            if self.name:
                labels[ownership.SERVER] = self.name
            try:
                found += await self._calls.ids(labels)
            except (Gone, Refused) as error:
                # A proxy rejects lists. The container on record can be removed without a list.
                self.log.debug("Containers of %s can't be listed: %s", self.user.name, error)
        # Another user who was renamed may have containers labelled with this user's current name.
        theirs = containers_of_other_users(self) if found else set()
        return [container_id for container_id in found if container_id not in theirs]

    async def _delete_volumes(self, left: list[str]) -> None:
        used = self._history.volumes
        others = volumes_of_others(self)
        instances = {*self._instances, *instances_on_record(self)}
        for volume in await self._volumes_of_user(instances, left):
            name = volume["Name"]
            if reason := staying(volume, self._owner, used, others, instances, self._former_users):
                self.log.info("Volume %s stays: %s", name, reason)
                continue
            try:
                await self._remove_volume(name)
                self.log.info("Removed volume %s, whose %s is deleted", name, "server" if self.name else "user")
            except Gone:
                self.log.debug("Volume %s is gone already", name)
            except EngineError as error:
                left.append(f"volume {name}: {error}")

    async def _remove_volume(self, name: str) -> None:
        await perform(self.docker, "remove_volume", name)

    async def _volumes_of_user(self, instances: Collection[str], left: list[str]) -> Iterable[Mapping[str, Any]]:
        """Find the user's volumes: those that this hub created, those on record, and those that settings name."""
        found: dict[str, Mapping[str, Any]] = {}
        for instance in {self.instance, *instances}:
            labels = {ownership.INSTANCE: instance, ownership.USER: self.user.name}
            try:
                answer = await perform(self.docker, "volumes", filters=self._labels(labels))
            except Refused:
                if instance == self.instance:
                    raise
                # A proxy in front of the engine may allow only one instance.
                continue
            found |= {volume["Name"]: volume for volume in answer.get("Volumes") or ()}
        for name in {*self._names_now(left), *self._history.volumes} - found.keys():
            try:
                found[name] = await perform(self.docker, "inspect_volume", name)
            except Gone:
                continue
        return found.values()

    def _names_now(self, left: list[str]) -> set[str]:
        """As _own_volumes; where code of the operator fails, none, and what that leaves out is in `left`."""
        try:
            return self._own_volumes()
        except Exception as error:
            why = getattr(error, "jupyterhub_message", "") or f"{type(error).__name__}: {error}"
            self.log.error("The names of volumes of %s can't be computed: %s", self._log_name, why)
            left.append(
                "volumes that have neither this hub's labels nor a place in its records, because the settings volumes "
                f"and format_volume_name give no names for this user: {why.rstrip('.')}"
            )
            return set()

    def _own_volumes(self) -> set[str]:
        """Names that settings give now to volumes which are the user's, or the named server's, alone."""
        whose = ownership.SERVER if self.name else ownership.USER
        return {bind.source for bind in self._binds() if bind.is_volume and whose in self._labels_of(bind.template)}
