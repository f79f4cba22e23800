"""Creation of missing folders that a server needs: parts of volumes (`subpath`), and host paths."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from docker.types import Mount

from dockerspawner._core import Core
from dockerspawner._engine import archive
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import misconfigured
from dockerspawner._errors.translation import EngineError, Failed, Unavailable, understood
from dockerspawner._records import ownership
from dockerspawner._storage import volume_owners
from dockerspawner._storage.accounts import ROOT_NAMES, Identity
from dockerspawner._storage.mounts import Mounted, is_host_path, normal, of_host_config, subpath_mistake, subpath_of
from dockerspawner._storage.preparation import MOUNTED, helper

# An older API version ignores the subpath and mounts the whole volume.
SUBPATHS = (1, 45)
NOT_OWN = "the user's name must be in the last part of the path, and in no part above it"
# Create a path below the target and set the owner of its last folder.
# Existing folders do not change. A new folder has its owner when it becomes visible.
# Arguments: owner, target, path, mark.
SCRIPT = """\
set -efu
umask 022
folder=$2
rest=$3
while [ -n "$rest" ]; do
    parent=$folder
    folder=$parent/${rest%%/*}
    case $rest in
        */*) rest=${rest#*/} owner=0:0 ;;
        *) rest= owner=$1 ;;
    esac
    if [ -L "$folder" ]; then
        echo "${folder#"$2"/} is a symbolic link"
        exit 1
    fi
    if [ ! -d "$folder" ]; then
        mkdir "$parent/.$4"
        chown -h "$owner" "$parent/.$4"
        mv "$parent/.$4" "$folder"
        # Another start was first.
        if [ -d "$folder/.$4" ]; then rmdir "$folder/.$4"; fi
    fi
done
"""
# Set the owner of a mounted host folder that the engine created. The path may have led elsewhere at the mount: only an
# empty folder of root's that has the path's last part changes. What is mounted can't change any more.
# Arguments: owner, target, last part of the path as mountinfo shows it.
GIVE = """\
set -eu
folder=$2
source=
while read -r _ _ _ root point _; do
    if [ "$point" = "$folder" ]; then source=$root; fi
done < /proc/self/mountinfo
case $source in
    / | */"$3") ;;
    *)
        echo "its path leads to another folder, ${source:-which is unknown}"
        exit 1
        ;;
esac
if [ ! -O "$folder" ]; then
    echo "it does not belong to root"
    exit 1
fi
for entry in "$folder"/* "$folder"/.[!.]* "$folder"/..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then
        echo "it is not empty"
        exit 1
    fi
done
exec chown -h "$1" "$folder"
"""


def giving_helper(
    image: str, name: str, source: str, owner: Identity | str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Build the create_container arguments of a helper that sets the owner of a new, empty folder of the host."""
    spec = helper(image, name, "", owner, "", labels)
    last = posixpath.basename(posixpath.normpath(source))
    spec["entrypoint"] = ["sh", "-c", GIVE, "sh", str(owner), MOUNTED, as_in_mountinfo(last)]
    spec["host_config"]["Mounts"] = [Mount(MOUNTED, source, type="bind")]
    return spec


def as_in_mountinfo(name: str) -> str:
    """Escape a file name as Linux does in /proc/self/mountinfo."""
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", name)


def folder_above(path: str, folders: Iterable[str]) -> str:
    """Return one of `folders` that `path` is below, or an empty text."""
    inside = posixpath.normpath(path)
    return next((one for one in folders if inside.startswith(f"{posixpath.normpath(one).rstrip('/')}/")), "")


def folder_helper(
    image: str, name: str, mount: Mount, owner: Identity | str, path: str, mark: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Build the create_container arguments of a helper that creates `path` below `mount`.

    The helper has the same restrictions as the helper that prepares a volume.
    """
    spec = helper(image, name, "", owner, "", labels)
    spec["entrypoint"] = ["sh", "-c", SCRIPT, "sh", str(owner), MOUNTED, path, mark]
    spec["host_config"]["Mounts"] = [mount]
    return spec


class Folders(Core):
    """Missing folders of the current start.

    - The spawner creates a `subpath` of a volume before the server's start; a user's own subpath has the server's uid.
    - The engine creates a missing host path as root. If the path is the user's own, the spawner changes its owner.
    - Existing folders do not change.
    """

    # Of the current start: the mounts with a subpath.
    _partial_mounts: list[Mapping[str, Any]] = []
    # Of the current start: host paths of all settings, by target.
    _bound_paths: dict[str, str] = {}

    async def _note_folders(self, spec: Mapping[str, Any]) -> None:
        """Note and check the folders that arguments of create_container need."""
        mounted = of_host_config(spec.get("host_config") or {})
        paths = Mounted(binds=mounted.binds).sources()
        self._bound_paths = {target: source for target, source in paths.items() if is_host_path(source)}
        self._partial_mounts = [mount for mount in mounted.mounts if subpath_of(mount)]
        for mount in mounted.mounts:
            if (mount.get("VolumeOptions") or {}).get("Subpath") == "":
                raise misconfigured(f"A mount at {mount['Target']} has an empty subpath.")
        for mount in self._partial_mounts:
            subpath = subpath_of(mount)
            if mistake := subpath_mistake(subpath):
                raise misconfigured(f"A mount at {mount['Target']} has the invalid subpath {subpath!r}: {mistake}.")
            if not mount.get("Source"):
                raise misconfigured(f"A mount at {mount['Target']} has a subpath, but lacks a source.")
        if self._partial_mounts:
            await self._check_subpaths()

    async def _check_subpaths(self) -> None:
        version = await understood(
            "version", asyncio.wrap_future(self.engine.quick.submit(lambda client: client.api_version))
        )
        if tuple(int(part) for part in re.findall(r"\d+", str(version))[:2]) < SUBPATHS:
            raise misconfigured(
                f"The setting mounts has a subpath, which requires version {'.'.join(map(str, SUBPATHS))} of Docker's "
                f"API (Docker 26). The hub uses version {version}, which would mount the whole volume. Docker is too "
                "old, or client_kwargs sets an older version."
            )

    async def _make_subpaths(self) -> None:
        for mount in self._partial_mounts:
            await self._to_the_end(self._make_subpath(self.container_id, mount))

    async def _give_named_folders(self) -> None:
        if named := self._named_folders():
            await self._to_the_end(self._give_folders(self.container_id, named))

    # Parts of volumes

    async def _make_subpath(self, container_id: str, mount: Mapping[str, Any]) -> None:
        volume, subpath = mount["Source"], subpath_of(mount)
        labels = (mount.get("VolumeOptions") or {}).get("Labels") or {}
        is_personal = ownership.USER in labels or any(
            volume_owners.in_users_name(self, text) for text in (subpath, volume)
        )
        owner: Identity | str | None = self.volume_owner or "0:0"
        if is_personal and not self.volume_owner:
            owner = await self._who_will_run(container_id)
        whole = Mount(MOUNTED, volume, type="volume", no_copy=True)
        why = f"user {self._asked_user or 'of the image'} does not exist in the image"
        if owner:
            spec = folder_helper(
                self.image,
                self._helper_name,
                whole,
                owner,
                subpath,
                f"dockyard-{self._start_mark}",
                self._helper_labels,
            )
            why = await self._run_helper(spec)
        if why:
            raise misconfigured(
                f"Image {self.image} could not create folder {subpath} of volume {volume}: {why}. The image "
                "needs sh, mkdir, mv and chown, unless the folder exists."
            )

    async def _who_will_run(self, container_id: str) -> Identity | None:
        """Determine the server's identity from the files of a probe container: the server's files can't be read yet."""
        probe = helper(self.image, self._helper_name, "", "0:0", "", self._helper_labels)
        del probe["host_config"]["Mounts"]
        probe_id = (await perform(self.docker, "create_container", **probe))["Id"]
        try:
            who: Identity | None = await self._runs_as(container_id, files_of=probe_id)
            return who
        finally:
            await self._remove_helper(probe_id)

    # Paths of the host

    def _path_templates(self) -> dict[str, str]:
        """Map host paths to their templates, as far as these are known."""
        return {bind.source: bind.template for bind in self._binds()}

    def _named_folders(self) -> dict[str, bool]:
        """Map the targets of host paths that contain the user's name to whether the path is the user's own."""
        templates = self._path_templates()
        return {
            target: volume_owners.is_own_folder(self, source, templates.get(source, ""))
            for target, source in self._bound_paths.items()
            if volume_owners.is_named_folder(self, source, templates.get(source, ""))
        }

    async def _give_folders(self, container_id: str, named: Mapping[str, bool]) -> None:
        container = await self._calls.inspect(container_id)
        for mount in (container or {}).get("Mounts") or ():
            target = normal(mount["Destination"])
            if mount["Type"] == "bind" and mount.get("RW") and target in named:
                await self._give_folder(container or {}, mount["Source"], mount["Destination"], named[target])

    async def _give_folder(self, container: Mapping[str, Any], path: str, target: str, is_own: bool) -> None:
        """Change the owner of a folder that the engine created for this start, or for a failed start before it.

        If the folder may not be the user's own, fail instead.
        """
        found = await self._lone_entry(container["Id"], target)
        is_marked = self._is_marked(path)
        is_new = found is not None and (is_marked or found[1] >= nanoseconds(container["Created"]))
        if found is None or not is_new or not _is_as_made(found[0]):
            if is_marked:
                self._forget_mark(path)
            return
        who = await self._runs_as(container["Id"])
        owner = self.volume_owner or who
        if not owner or (who and archive.may_write(found[0], *who)):
            return
        # Marked before the attempt: otherwise the next start would treat the folder as an old one.
        self._mark(path, self._start_mark)
        if why := await self._why_not_given(container, path, owner) if is_own else NOT_OWN:
            text = (
                f"Folder {path} of the host did not exist. Docker created it as root, and its owner could not be "
                f"changed to uid {owner}: {why}. The folder must belong to that uid."
            )
            if str(container["Config"].get("User") or "").partition(":")[0] not in ROOT_NAMES:
                raise misconfigured(text)
            # A server that starts as root may change the owner itself.
            self.log.warning("%s", text)
        else:
            self.log.info("Docker created folder %s of the host; it belongs to uid %s now", path, owner)
        self._forget_mark(path)

    async def _why_not_given(self, container: Mapping[str, Any], path: str, owner: Identity | str) -> str:
        """Change the owner of a new folder; return why that failed, or an empty text."""
        writable = [str(mount.get("Source") or "") for mount in container.get("Mounts") or () if mount.get("RW")]
        if above := folder_above(path, filter(None, writable)):
            # The user may have replaced a folder on the way with a symbolic link to any folder of the host.
            return f"the server can write to {above} above it"
        spec = giving_helper(self.image, self._helper_name, path, owner, self._helper_labels)
        why: str = await self._run_helper(spec)
        return why

    async def _lone_entry(self, container_id: str, path: str) -> tuple[Any, int] | None:
        """Return the archive entry (owner, mode) and change time of an empty folder; None for anything else."""
        try:
            chunks, about = await perform(self.docker, "get_archive", container_id, path, chunk_size=8192)
            entry = await understood("get_archive", asyncio.to_thread(archive.lone_entry, chunks))
        except (Unavailable, Failed):
            raise
        except EngineError as error:
            self.log.debug("The owner of %s can't be read: %s", path, error)
            return None
        return (entry, nanoseconds(about["mtime"])) if entry is not None and entry.isdir() else None


def _is_as_made(entry: Any) -> bool:
    """Does a folder look like one that the engine created for a missing bind source?"""
    return (entry.uid, entry.gid, entry.mode & 0o7777) == (0, 0, 0o755)


def nanoseconds(time: str) -> int:
    """Convert a time in the engine's format to nanoseconds since the epoch."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", time)
    if not found:
        return 0
    zone = "+00:00" if found[3] in (None, "Z") else found[3]
    seconds = datetime.fromisoformat(found[1] + zone).astimezone(timezone.utc).timestamp()
    return int(seconds) * 10**9 + int((found[2] or "0").ljust(9, "0"))
