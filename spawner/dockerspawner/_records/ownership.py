"""Which containers are ours, and what may be done with one that is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

INSTANCE = "dockyard.instance"
USER = "dockyard.user"
SERVER = "dockyard.server"
SPEC = "dockyard.spec"
# Of a volume: which start has made it.
START = "dockyard.start"
# Of a container that is no server: the instance that it helps.
HELPER = "dockyard.helper"

Container = Mapping[str, Any]


@dataclass(frozen=True)
class Owner:
    """One server of one user of one hub."""

    instance: str
    user: str
    server: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Owner:
        return cls(labels.get(INSTANCE, ""), labels.get(USER, ""), labels.get(SERVER, ""))

    def labels(self, spec: str) -> dict[str, str]:
        """The labels of a container of this server that was made from the spec with that hash."""
        return {INSTANCE: self.instance, USER: self.user, SERVER: self.server, SPEC: spec}

    def owns(self, container: Container, known_id: str = "", instances: Collection[str] = ()) -> bool:
        """Does this inspected container belong to this server?

        The id in the hub's own state decides. Without it, our labels decide: `instances` are former values of the
        instance. A container without our labels is this server's if its environment names the user and the server.
        """
        if known_id and container["Id"] == known_id:
            return True
        labels = container["Config"].get("Labels") or {}
        if INSTANCE in labels:
            owner = Owner.of(labels)
            return replace(owner, instance=self.instance) == self and owner.instance in (self.instance, *instances)
        return "JUPYTERHUB_USER" in environment_of(container) and made_for(container, self) == self


def made_for(container: Container, owner: Owner) -> Owner:
    """Replace names in `owner` with the user and server that a container was created for, as far as known."""
    labels = container["Config"].get("Labels") or {}
    if USER in labels:
        made = Owner.of(labels)
        return replace(owner, user=made.user, server=made.server)
    environment = environment_of(container)
    user, server = environment.get("JUPYTERHUB_USER"), environment.get("JUPYTERHUB_SERVER_NAME", owner.server)
    return replace(owner, user=user, server=server) if user else owner


def environment_of(container: Container) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in container["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs}


def token_of(container: Container) -> str:
    """The API token with which a container's server was started, empty where it has none."""
    environment = environment_of(container)
    return environment.get("JUPYTERHUB_API_TOKEN") or environment.get("JPY_API_TOKEN") or ""


def is_stale(container: Container, spec: str, image_id: str) -> bool:
    """Was it made from another spec or another image? One that we didn't make counts as unchanged."""
    made_from = (container["Config"].get("Labels") or {}).get(SPEC)
    if not made_from or not spec:
        return False
    return made_from != spec or bool(image_id and container.get("Image") != image_id)


def holds_home(container: Container, home: str = "") -> bool:
    """Would the user's files go with the container, because no volume and no bind covers their home?

    `home` is where the files are; without one, the working directory. Memory (tmpfs) holds nothing that a container
    which comes next could lose.
    """
    home = (home or container["Config"].get("WorkingDir") or "/").rstrip("/")
    if not home:
        # They may be anywhere: a mount that the server can write to is taken for their place.
        return not any(outlives(mount) and mount.get("RW", True) for mount in container.get("Mounts") or ())
    deepest = _mount_of(container, home)
    return deepest is None or not (outlives(deepest) or deepest["Type"] == "tmpfs")


def is_kept(container: Container, path: str) -> bool:
    """Whether files at an absolute path of the container are on a mount that outlives it."""
    deepest = _mount_of(container, path)
    return deepest is not None and outlives(deepest)


def _mount_of(container: Container, path: str) -> Mapping[str, Any] | None:
    """Return the mount that a path is on; None if it is on the container's own file system."""
    memory = (container.get("HostConfig") or {}).get("Tmpfs") or ()
    mounts = [*(container.get("Mounts") or ()), *({"Type": "tmpfs", "Destination": target} for target in memory)]
    covering = [mount for mount in mounts if f"{path}/".startswith(f"{mount['Destination'].rstrip('/')}/")]
    return max(covering, key=lambda mount: len(mount["Destination"].rstrip("/")), default=None)


def outlives(mount: Mapping[str, Any]) -> bool:
    """Is it found again by the container that comes next? A volume that the engine named is not."""
    if mount.get("Type") == "volume":
        return not re.fullmatch(r"[0-9a-f]{64}", mount.get("Name", ""))
    return mount.get("Type") == "bind"
