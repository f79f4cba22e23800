"""The life of one user's server as a swarm service."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from dockerspawner._compat import old_name
from dockerspawner._core import SwarmCore
from dockerspawner._engine.watch import shared_watch
from dockerspawner._errors.failures import failure
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import Gone
from dockerspawner._networks.isolation import PER_USER
from dockerspawner._start.home_files import HomeFiles
from dockerspawner._swarm.calls import ServiceCalls
from dockerspawner._swarm.certificates import SwarmCerts
from dockerspawner._swarm.failures import SwarmFailures
from dockerspawner._swarm.homes import SwarmHomes
from dockerspawner._swarm.service import Service
from dockerspawner._swarm.tasks import Task
from dockerspawner._swarm.watch import SwarmWatch
from dockerspawner.dockerspawner import SLOW_START, DockerSpawner
from dockerspawner.systemuserspawner import SystemUser

# Seconds for which a task that no node can take is left to the swarm.
UNPLACED = 3.0
# Seconds that the log of a task may take, which its node has to send.
LOG_TIMEOUT = 5.0

STORY = {
    "new": (71, "The swarm looks for a node"),
    "pending": (71, "The swarm looks for a node"),
    "assigned": (72, "Node {node} was told to run the server"),
    "accepted": (73, "Node {node} will run the server"),
    "preparing": (74, "Node {node} fetches the image and makes the container"),
    "ready": (76, "Node {node} is ready to start the server"),
    "starting": (77, "Node {node} starts the server"),
    "running": (79, "The server runs on node {node}"),
}


class NotForSwarms(SwarmCore):
    """What a service can't have: refused with a sentence, or done by the swarm itself."""

    def _check_settings(self) -> None:
        super()._check_settings()
        asked = {
            "stop_action = 'pause': a service can't be frozen": self.stop_action == "pause",
            "network_isolation = 'per-user': use an overlay network for each group": self.network_isolation == PER_USER,
            "post_start_cmd: nobody but a node runs commands in its containers": bool(self.post_start_cmd),
            "links: services find each other by name": bool(self.links),
            "internal_ssl without network_name: keys are for a server's name": self.internal_ssl
            and not self.network_name,
        }
        if found := [text for text, is_asked in asked.items() if is_asked]:
            raise failure(f"On a swarm there is no {'; no '.join(found)}.", reason="settings")
        if self.extra_host_config:
            self.log.warning("extra_host_config is for containers: services take extra_container_spec and its kin")
        if self._limit("tmp_size"):
            self.log.warning("tmp_size is for containers: /tmp of a service is on the disk of its node")
        if self.skeleton or self.volume_owner:
            self.log.warning("skeleton and volume_owner are for one host: nodes make new volumes as the image has them")

    async def _find_volumes(self) -> None:
        """Volumes are on nodes: only the state knows volumes with a former name."""
        self._use_former_names({})
        found = self._named_volumes()
        formers = [bind for bind in found if bind.former and bind.former in self._history.names]
        self._use_former_names({bind.source: bind.former for bind in formers})

    async def _prepare_storage(self) -> None:
        pass

    async def _check_home_is_kept(self, container_id: str) -> None:
        # There is no container before its node starts it, and the manager may lack the image.
        pass

    async def _connect_networks(self, container_id: str) -> None:
        pass

    async def _not_writable(self) -> str:
        return ""


class NoHomeFiles(HomeFiles):
    """Files that no volume holds end with each task."""

    async def are_in(self, container: dict[str, Any]) -> bool:
        return False


class SwarmSpawner(NotForSwarms, SwarmHomes, Service, DockerSpawner):
    """A user's server as a service of a Docker Swarm, on whatever node the swarm chooses.

    As DockerSpawner, and:

    - What no node can take, or a node refuses, fails within seconds in the swarm's own words, and leaves no service.
    - A server whose node is lost is shown stopped; where it may start again, see SwarmHomes.
    """

    _calls_type = ServiceCalls
    _failures_type = SwarmFailures
    _certs_type = SwarmCerts
    _home_files_type = NoHomeFiles

    # A task may take long to end.
    _undo_within = 0.5

    @property
    def _watch(self) -> Any:
        return shared_watch(SwarmWatch, self.engine, self.instance, self.log)

    async def get_ip_and_port(self) -> tuple[str, int]:
        """Where the hub reaches the server; during a start, once it runs. Gone where there is no such address."""
        if self._attempt.is_running:
            await self._until_running()
        return await super().get_ip_and_port()

    async def _until_running(self) -> None:
        """Return when the task runs; tell how far it is. A failure where it never will."""
        unplaced = slow = 0.0
        node = state = ""
        while True:
            task = await self._look()
            now = time.monotonic()
            if task is not None:
                await self._calls.fail_if_ended(task)
                if task.running:
                    await self._remember_node(task)
                    return
                # Every task is told of what stands against it for a moment.
                unplaced = (unplaced or now) if task.state == "pending" and task.error else 0.0
                if unplaced and now > unplaced + UNPLACED:
                    raise self._no_node(task)
                if task.state != state:
                    state, slow = task.state, now + SLOW_START
                    node = node or (await self._calls.node_name(task.node) if task.node else "")
                    self._report_progress(*self._told(state, node))
            if now > self._attempt.clock.ready_end:
                raise failure(
                    f"The swarm has not started the server in time: {self._told(state, node)[1]}.", reason="timeout"
                )
            if slow and now > slow:
                self._report_progress(79, f"{self._told(state, node)[1]}, which takes its time")
                slow = 0.0

    @staticmethod
    def _told(state: str, node: str) -> tuple[int, str]:
        progress, text = STORY.get(state, STORY["new"])
        return progress, text.format(node=node)

    def _no_node(self, task: Task) -> Exception:
        where = f" (the user's files are on node {self._home_node['name']})" if self._wanted_node() else ""
        return failure(
            f"No node of the swarm can take the server{where}: {sentence(task.error, self._failures.secrets())}.",
            reason="unschedulable",
        )

    async def _look(self) -> Task | None:
        try:
            return await self._watch.look(self.object_id)  # type: ignore[no-any-return]
        except Gone:
            raise failure("The server's service was removed while it started.", reason="removed") from None

    async def _monitor_startup(self) -> None:
        slow = time.monotonic() + SLOW_START
        while True:
            task = await self._look()
            if task is not None:
                await self._calls.fail_if_ended(task)
            if time.monotonic() > slow:
                self._report_progress(85, "The server is running, but takes its time to answer")
                slow = float("inf")
            await asyncio.sleep(0.15)


class SwarmSystemUserSpawner(SystemUser, SwarmSpawner):
    """A system user's server as a service: their homes are at the same path on every node."""


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
