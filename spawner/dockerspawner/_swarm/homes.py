"""Where a user's files are on a swarm: on one node or on all, and that two servers never write to them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from docker.types import Mount
from traitlets import CaselessStrEnum, Float, List, Unicode

from dockerspawner._core import SwarmCore
from dockerspawner._engine.client import described, perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict
from dockerspawner._records import ownership
from dockerspawner._swarm.tasks import Task

NODE, SWARM = "node", "swarm"
# Seconds that a server which ends itself may need for that.
ENDING = 15.0
# Seconds for which a start waits for an earlier server to end, or a volume to be free.
PATIENCE = 15.0


def scope(mounts: Iterable[Mount]) -> str:
    """NODE where some of the user's own files are in a volume of one node, SWARM where all can be had on any node.

    Empty where there is nothing of the user's own. A path of the host counts as one that all nodes have.
    """
    found = ""
    for mount in mounts:
        options = mount.get("VolumeOptions") or {}
        if mount["ReadOnly"] or mount["Type"] not in ("bind", "volume"):
            continue
        if mount["Type"] == "bind" or _is_shared(options.get("DriverConfig") or {}):
            found = found or SWARM
        elif ownership.USER in (options.get("Labels") or {}):
            found = NODE
    return found


def _is_shared(driver: Mapping[str, Any]) -> bool:
    options = driver.get("Options") or {}
    # The local driver mounts what `device` names: an export, a directory; a tmpfs is of one node.
    return driver.get("Name", "local") != "local" or ("device" in options and options.get("type") != "tmpfs")


class SwarmHomes(SwarmCore):
    """Which node a server may be on, and when.

    - Files on one node are found again: the server is on that node, or the user is told why it can't be. So are those
      that a hub on one host has left, where it is a manager of the swarm now.
    - Files that any node can have are given to a new server only when the earlier one has ended, as its node says; or
      when that node has been lost for `fence_after` seconds, by which time a server that reaches nobody has ended
      itself, and the earlier one does not answer.
    """

    volume_scope = CaselessStrEnum(
        ["auto", NODE, SWARM],
        "auto",
        config=True,
        help="""Where the files in a user's own volumes are. node: on the node of the first start, and later ones are
        there, too. swarm: on all nodes. auto: swarm where their driver or its options name a place, and for paths of
        the host; else node.""",
    )

    fence_after = Float(
        300,
        min=0,
        config=True,
        help="""Seconds for which a node has to be lost before a server of that node is started elsewhere on the same
        files. Servers are told to end themselves when they have reached nobody for a little less
        (DOCKYARD_FENCE_AFTER); an image that does not do this should not be used with such files. 0: it is started at
        once.""",
    )

    fence_contacts = List(
        Unicode(),
        config=True,
        help="""What a server tries to reach besides the hub (DOCKYARD_FENCE_CONTACTS), as host:port: while one of
        them is reached, it is not cut off, though the hub is down.""",
    )

    # The node with the user's files, and the task that a node was lost with. Kept in the state.
    _home_node: dict[str, Any] = {}
    _lost: dict[str, Any] = {}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._home_node = state.get("home_node") or {}
        self._lost = state.get("lost_task") or {}

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        kept = {"home_node": self._home_node, "lost_task": self._lost}
        return state | {name: value for name, value in kept.items() if value}

    @property
    def _scope(self) -> str:
        found = scope(self._service_mounts())
        return str(self.volume_scope) if found and self.volume_scope != "auto" else found

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        if self.fence_after and self._scope == SWARM:
            # Earlier, by what ending may take.
            env["DOCKYARD_FENCE_AFTER"] = f"{self.fence_after - min(ENDING, self.fence_after / 4):g}"
            env["DOCKYARD_FENCE_CONTACTS"] = " ".join(self.fence_contacts)
        return env

    def _wanted_node(self) -> str:
        """The id of the node that the server has to be on, empty where any will do."""
        return self._home_node.get("id", "") if self._scope == NODE else ""

    async def _remember_node(self, task: Task) -> None:
        if self._scope == NODE and not self._home_node:
            self._home_node = {"id": task.node, "name": await self._calls.node_name(task.node)}

    async def _find_home(self) -> None:
        """Files that are on the hub's own node and not on record: of a hub that was on one host, or lost its state."""
        if self._home_node or self._scope != NODE:
            return
        if any([await self._volume(name) for name in sorted(self._own_volumes())]):
            here = (await perform(self.docker, "info"))["Swarm"]["NodeID"]
            self._home_node = {"id": here, "name": await self._calls.node_name(here)}
            self.log.info("The files of %s are on this node, %s", self.user.name, self._home_node["name"])

    async def _check_home(self) -> None:
        """A failure where the user's files can't be had now; waits where that is a matter of seconds."""
        if self._lost:
            await self._until_fenced()
        await self._find_home()
        if not self._wanted_node():
            return
        name, node = self._home_node["name"], await self._calls.node(self._home_node["id"])
        why = ""
        if node is None:
            why = "has left the swarm. An administrator has to bring it back, or to bring the files elsewhere"
        elif not self._calls.is_ready(node):
            why = "is down. Please try again when it is back"
        elif node["Spec"]["Availability"] != "active":
            why = f"takes no servers now (it is set to {node['Spec']['Availability']}). Please try again later"
        if why:
            raise failure(f"Your files are on node {name} of the swarm, which {why}.", reason="node", status=503)

    # Two writers

    async def _note_end(self, task: Task) -> None:
        """Keep what has to be known of a task before its service is removed: is it out of reach?"""
        if not task.occupies or self._scope != SWARM:
            return
        node = await self._calls.node(task.node)
        if node is None or self._calls.is_ready(node):
            return
        self._lost = {"task": task.id, "node": task.node, "name": node["Description"]["Hostname"], "since": time.time()}
        if self.server:
            self._lost |= {"host": self.server.ip, "port": self.server.port}
        self.log.warning("%s may still run on node %s, which is lost", self.object_name, self._lost["name"])

    async def _until_fenced(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while why := await self._still_writes():
            if time.monotonic() > deadline:
                raise failure(why, reason="node", status=503)
            self._report_progress(55, why)
            await asyncio.sleep(1)
        self._lost = {}

    async def _still_writes(self) -> str:
        """Why the earlier server may still write to the user's files, empty where it does not."""
        # The swarm keeps the task of a removed service until its node has said that it ended.
        task = await described(self.docker, "inspect_task", self._lost["task"])
        if task is None or not Task.of(task).occupies:
            return ""
        node = await self._calls.node(self._lost["node"])
        if node is None:
            # Whoever removed it knows that it is off.
            return ""
        name = self._lost["name"]
        if self._calls.is_ready(node):
            return f"Your earlier server on node {name} is being ended."
        # A node that was back for a moment has begun anew.
        left = max(self._lost["since"], _seconds(node["UpdatedAt"])) + self.fence_after - time.time()
        if left > 0:
            return (
                f"Your earlier server is on node {name}, which was lost: it may still write to your files. "
                f"A new one can be started in {left:.0f} s, or as soon as that node is back."
            )
        if "host" in self._lost and await self._ready.answers_at(self._lost["host"], self._lost["port"], 2):
            return f"Your earlier server still answers, although node {name} is lost to the swarm: please go on there."
        return ""

    # Deletion

    async def _remove_volume(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await super()._remove_volume(name)
                return
            except Conflict:
                # Its container goes a moment after its task.
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.25)

    async def _delete_volumes(self, left: list[str]) -> None:
        """Those on the manager that the hub asks; a node's own volumes are removed there by nobody else than itself."""
        await super()._delete_volumes(left)
        if not self._home_node:
            return
        here = (await perform(self.docker, "info"))["Swarm"]["NodeID"]
        if here != self._home_node["id"] and (own := self._own_volumes()):
            left.append(f"volumes {', '.join(sorted(own))} on node {self._home_node['name']}: remove them there")


def _seconds(time_of_engine: str) -> float:
    """Seconds since the epoch of a time as the engine writes it, to nanoseconds."""
    return datetime.fromisoformat(time_of_engine[:19] + "+00:00").timestamp()
