"""Volumes that a start has made: writable for the server, whatever its uid, and with the skeleton of a home."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.types import HostConfig, Mount
from traitlets import TraitError, Unicode, validate

from dockerspawner._core import Core
from dockerspawner._engine import archive
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import EngineError, Failed, Gone, Refused, Unavailable, translating
from dockerspawner._records import ownership
from dockerspawner._records.database import save_state
from dockerspawner._storage.accounts import ROOT_NAMES, Identity, identity, notebook_user
from dockerspawner._storage.volumes import Bind

T = TypeVar("T")

# Where a helper has its volume: not where the server has it, which may be where the image has its programs.
MOUNTED = "/dockyard-volume"
# Lines of a helper's output that a failure shows.
HELPER_LINES = 5
# Copy what is missing, then give all of it to its owner. Arguments: owner, target, skeleton.
SCRIPT = """\
set -eu
umask 0
copy() {
    for from in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        to="$2/${from##*/}"
        if [ -d "$from" ] && [ ! -L "$from" ] && [ -d "$to" ]; then
            copy "$from" "$to"
        elif [ -e "$from" ] || [ -L "$from" ]; then
            [ -e "$to" ] || [ -L "$to" ] || cp -R -P "$from" "$to"
        fi
    done
}
if [ -n "$3" ]; then
    cd "$3"
    copy . "$2"
fi
chown -R -h "$1" "$2"
"""


def helper(
    image: str, name: str, volume: str, owner: Identity | str, skeleton: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Keyword arguments of create_container for what prepares one volume, and can do nothing else.

    Root without privileges but those that changing owners takes, no network, no mount but that volume.
    """
    return {
        "image": image,
        "name": name,
        "entrypoint": ["sh", "-c", SCRIPT, "sh", str(owner), MOUNTED, skeleton],
        "command": [],
        "user": "0:0",
        "working_dir": "/",
        "labels": dict(labels),
        "host_config": HostConfig(
            DEFAULT_DOCKER_API_VERSION,
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=["CHOWN", "DAC_OVERRIDE"],
            security_opt=["no-new-privileges"],
            # The engine has copied what the image has there when the server's container was created.
            mounts=[Mount(MOUNTED, volume, type="volume", no_copy=True)],
        ),
    }


class NewVolumes(Core):
    """Volumes that the start under way has made.

    - One that the server can't write to is given to it, by a helper that runs once, before the server does.
    - A skeleton is copied into a new home, never over a file that is there.
    - A volume that was there before is never changed.
    - Where that fails or the start is cancelled the volume goes, so that the next start begins anew.
    - One that could not go, or whose start ended with the hub, the next start sees to.
    """

    volume_owner = Unicode(
        config=True,
        help="""Owner of volumes that a start makes, as uid or uid:gid. Default: who the server runs as (the user in
        extra_create_kwargs or of the image; of a server started as root, NB_UID and NB_GID), of volumes that
        are one user's and that it could not write to. With this set, of volumes that users share, too.""",
    )

    skeleton = Unicode(
        config=True,
        help="""Absolute path of a directory in the image whose content is copied into a new volume that is mounted
        as the home (notebook_dir, else the image's working directory). What the image has in the home itself
        the engine copies without this.""",
    )

    # Of the start under way: what marks volumes as made by it, and those that it has still to see to.
    _start_mark = ""
    _new_volumes: dict[str, Bind] = {}
    _helping: asyncio.Task[None] | None = None
    # Volumes that nobody has seen to yet, and the marks of the starts that have made them: kept in the state.
    _unprepared: dict[str, str] = {}
    # The `user` that settings ask for.
    _asked_user = ""

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._unprepared = state.get("unprepared") or {}

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {"unprepared": self._unprepared} if self._unprepared else state

    @validate("volume_owner")
    def _validate_volume_owner(self, proposal: Any) -> str:
        if proposal.value and not re.fullmatch(r"\d+(:\d+)?", proposal.value):
            raise TraitError(f"volume_owner takes a uid, or uid:gid in numbers, not {proposal.value!r}")
        return str(proposal.value)

    @validate("skeleton")
    def _validate_skeleton(self, proposal: Any) -> str:
        if proposal.value and not proposal.value.startswith("/"):
            raise TraitError(f"skeleton takes an absolute path in the image, not {proposal.value!r}")
        return str(proposal.value)

    def _begin_volumes(self) -> None:
        self._start_mark, self._new_volumes, self._helping = secrets.token_hex(8), {}, None

    def _note_volume(self, bind: Bind, made: Any, labels: Mapping[str, str]) -> None:
        """What the engine said to an order to make a volume: is it new, and ours to see to?"""
        mark = ((made or {}).get("Labels") or {}).get(ownership.START)
        if not mark or mark not in (self._start_mark, self._unprepared.get(bind.source)):
            return
        # One that is read only here may be written by others: it has the owner that is set.
        if self.volume_owner or (ownership.USER in labels and "ro" not in bind.mode.split(",")):
            self._new_volumes[bind.source] = bind
            self.engine.preparing.setdefault(bind.source, asyncio.Event())
            self._mark(bind.source, mark)

    async def _prepare_volumes(self) -> None:
        """See to the volumes that this start has made; wait for those that another one is seeing to."""
        for bind in self._binds():
            prepared = self.engine.preparing.get(bind.source)
            if prepared is not None and bind.source not in self._new_volumes:
                await prepared.wait()
        if self._new_volumes:
            await self._to_the_end(self._prepare_all(self.container_id))

    async def _to_the_end(self, helping: Coroutine[Any, Any, None]) -> None:
        """Await work of a helper. If the start is cancelled, the work continues: it is short, and cleans up."""
        self._helping = asyncio.ensure_future(helping)
        # After a cancelled start, no other code retrieves the result.
        self._helping.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._helping)

    async def _prepare_all(self, container_id: str) -> None:
        await self._sweep_helpers()
        for name, bind in list(self._new_volumes.items()):
            owner, skeleton = await self._wanted(container_id, bind)
            if owner or skeleton:
                self.log.info("Volume %s is new, and made %s's", name, owner or "the image")
                await self._help(bind, owner, skeleton)
            self._forget_mark(name)
            self._prepared(name)

    def _mark(self, name: str, mark: str) -> None:
        self._unprepared = {**self._unprepared, name: mark}
        save_state(self, unprepared=self._unprepared)

    def _is_marked(self, name: str) -> bool:
        """Did an earlier start leave this volume for the next start?"""
        return name in self._unprepared

    def _forget_mark(self, name: str) -> None:
        self._unprepared = {other: mark for other, mark in self._unprepared.items() if other != name}

    async def _sweep_helpers(self) -> None:
        sweep = self.engine.sweeps.get(self.instance)
        if sweep is None:
            sweep = self.engine.sweeps[self.instance] = asyncio.ensure_future(self._remove_old_helpers())
        if not sweep.done():
            await asyncio.wait({sweep})

    async def _remove_old_helpers(self) -> None:
        """Once in a process, before its first helper: those of a hub that was killed are still there."""
        filters = {"label": [f"{ownership.HELPER}={self.instance}"]}
        try:
            for found in await perform(self.docker, "containers", all=True, filters=filters):
                await self._remove_helper(found["Id"])
        except EngineError as error:
            self.log.warning("Containers with label %s may be left: %s", filters["label"][0], error)

    def _prepared(self, name: str) -> None:
        self._new_volumes.pop(name, None)
        if event := self.engine.preparing.pop(name, None):
            event.set()

    async def _wanted(self, container_id: str, bind: Bind) -> tuple[Identity | str, str]:
        """Whom a new volume is to be given to, empty where it is well as it is; and the skeleton for it."""
        entry = await self._entry(container_id, bind.target)
        skeleton = ""
        if self.skeleton:
            container = await perform(self.docker, "inspect_container", container_id)
            home = await self._home_files.path(container)
            skeleton = self.skeleton if bind.target.rstrip("/") == home.rstrip("/") else ""
        if entry is None:
            return "", ""
        if self.volume_owner:
            has = f"{entry.uid}:{entry.gid}" if ":" in self.volume_owner else str(entry.uid)
            return (self.volume_owner if skeleton or has != self.volume_owner else ""), skeleton
        # Whose directory the engine has copied from the image, with its owner, knows whose it has to be.
        if not self._asked_user and entry.uid and not skeleton:
            return "", ""
        who = await self._runs_as(container_id)
        if who is None or (not skeleton and archive.may_write(entry, *who)):
            return "", ""
        return who, skeleton

    async def _help(self, bind: Bind, owner: Identity | str, skeleton: str) -> None:
        """Run a helper on one volume. A failure where it can't be run, or does not succeed."""
        spec = helper(self.image, self._helper_name, bind.source, owner, skeleton, self._helper_labels)
        if why := await self._run_helper(spec):
            raise self._not_prepared(bind, owner, skeleton, why)

    @property
    def _helper_name(self) -> str:
        return f"{self.object_name[:48]}-{self._start_mark}"

    @property
    def _helper_labels(self) -> dict[str, str]:
        return {ownership.HELPER: self.instance}

    async def _run_helper(self, spec: Mapping[str, Any]) -> str:
        """Run a helper; return why it failed, empty on success. Unavailable if the engine does not answer."""
        await self._sweep_helpers()
        helper_id = ""
        try:
            helper_id = (await perform(self.docker, "create_container", **spec))["Id"]
            await perform(self.docker, "start", helper_id)
            code = await self._end_of(helper_id)
            said = await perform(self.docker, "logs", helper_id, tail=HELPER_LINES + 1) if code else b""
        except Unavailable:
            raise
        except EngineError as error:
            return str(sentence(error, self._failures.secrets()))
        finally:
            if helper_id:
                await self._remove_helper(helper_id)
        if not code:
            return ""
        why: str = await self._failures.excerpt(said, lines=HELPER_LINES, tail=HELPER_LINES + 1)
        return why or f"exit code {code}"

    async def _end_of(self, container_id: str) -> int:
        """The exit code of a container that ends by itself. Asked for in the quick lane: waiting takes a slow one."""
        deadline, pause = time.monotonic() + self.slow_timeout, 0.025
        while True:
            state = (await perform(self.docker, "inspect_container", container_id))["State"]
            if not state["Running"]:
                return int(state["ExitCode"])
            if time.monotonic() > deadline:
                raise Unavailable(f"it has not ended in {self.slow_timeout:g} s")
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 0.5)

    async def _remove_helper(self, helper_id: str) -> None:
        try:
            await self._calls.remove(helper_id, volumes=True)
        except EngineError as error:
            self.log.warning("Container %s has to be removed by hand: %s", helper_id[:12], error)

    def _not_prepared(self, bind: Bind, owner: Identity | str, skeleton: str, why: str) -> Exception:
        copying = f", with what the image has in {skeleton}" if skeleton else ""
        return failure(
            f"Volume {bind.source} is new, and could not be given to uid {owner} at {bind.target}{copying}: {why}. "
            f"It takes sh, chown and cp in image {self.image}; without them the image itself must have "
            f"{bind.target}, owned by that uid.",
            reason="volume",
        )

    async def _volumes_settled(self) -> None:
        """What is done to volumes is over, or never began; it needs the container."""
        if self._helping:
            await asyncio.wait({self._helping})

    async def _forget_volumes(self) -> None:
        """Remove the volumes that a start has made and not seen to. Nobody has used them.

        Those that an earlier start has made somebody may have used since.
        """
        for name in list(self._new_volumes):
            try:
                if self._unprepared.get(name) == self._start_mark:
                    await perform(self.docker, "remove_volume", name)
                    self._forget_mark(name)
            except EngineError as error:
                self.log.warning("Volume %s, which is new, is left for the next start: %s", name, error)
            finally:
                self._prepared(name)

    # Who may write where

    async def _read_archive(self, container_id: str, path: str, read: Callable[[Iterable[bytes]], T]) -> T:
        chunks, _ = await perform(self.docker, "get_archive", container_id, path, chunk_size=8192)
        return await translating("get_archive", asyncio.to_thread(read, chunks))

    async def _entry(self, container_id: str, path: str) -> Any:
        """Owner and mode of a path in a container, which need not run; None where that can't be told."""
        try:
            return await self._read_archive(container_id, path, archive.first_entry)
        except (Unavailable, Failed):
            raise
        except EngineError as error:
            self.log.debug("Nobody can tell whose %s is: %s", path, error)
            return None

    async def _runs_as(self, container_id: str, files_of: str = "") -> Identity | None:
        """Determine uid and gid of the server in a container, running or not; None if unknown.

        `files_of` is a container of the same image, for use if this container's files can't be read.
        """
        config = (await perform(self.docker, "inspect_container", container_id))["Config"]
        user = str(config.get("User") or "")
        if user.partition(":")[0] in ROOT_NAMES:
            environment = ownership.environment_of({"Config": config})
            return notebook_user(environment) or Identity(0, 0)
        if re.fullmatch(r"\d+:\d+", user):
            return identity(user)
        texts = []
        for path in ("/etc/passwd", "/etc/group") if ":" in user else ("/etc/passwd",):
            try:
                texts.append(await self._read_archive(files_of or container_id, path, archive.text_of))
            except (Gone, Refused):
                # Refused: by a proxy in front of the engine.
                texts.append("")
        # In a thread: a container's user may have written long files.
        return await asyncio.to_thread(identity, user, *texts)

    async def _not_writable(self) -> str:
        """A sentence on each mount of the container that its server can't write to, where settings say it may."""
        try:
            container = await self._calls.inspect(self.container_id)
            who = await self._runs_as(self.container_id) if container else None
            if container is None or who is None:
                return ""
            mounts = [mount for mount in container.get("Mounts") or () if mount.get("RW") and mount["Type"] != "tmpfs"]
            return "".join([await self._told_of(mount, who) for mount in mounts])
        except EngineError as error:
            self.log.debug("Nobody can tell where %s may write: %s", self.object_name, error)
            return ""

    async def _told_of(self, mount: Mapping[str, Any], who: Identity) -> str:
        target = mount["Destination"]
        entry = await self._entry(self.container_id, target)
        if entry is None or not entry.isdir() or archive.may_write(entry, who.uid, who.gid):
            return ""
        what = f"Volume {mount['Name']}" if mount["Type"] == "volume" else f"Path {mount['Source']} of the host"
        return (
            f" {what}, mounted at {target}, belongs to uid {entry.uid}, gid {entry.gid}: the server, which runs as "
            f"{who}, may not write there. Change its owner, or the server's user."
        )
