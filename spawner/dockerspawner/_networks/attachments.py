"""The hub, the proxy and their kin: containers that are attached to every user's network while its server runs."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerspawner._engine.client import Engine, described, perform
from dockerspawner._errors.translation import EngineError, Gone, NoSuchNetwork, Refused, Unavailable

# The engine mounts files of its own into each container, from a folder that is called by the container's id.
_OWN_FILES = re.compile(r"/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf) ")


def own_names(mounts: str, hostname: str) -> list[str]:
    """By what this process's container may be found, the surest first; `mounts` is its mountinfo."""
    return [*dict.fromkeys([*_OWN_FILES.findall(mounts), hostname])]


def is_own(container: Mapping[str, Any], name: str) -> bool:
    """Is an inspected container, found by one of `own_names`, this process's own? A name alone may be anybody's."""
    return container["Id"].startswith(name) or bool(container["Config"].get("Hostname") == name)


def matches(entry: str, container_id: str, name: str, labels: Mapping[str, str]) -> bool:
    """Is a container the one of this name or id, or has it all of the labels `label=value,label=value`?"""
    if "=" in entry:
        return all(labels.get(label) == value for label, _, value in (pair.partition("=") for pair in entry.split(",")))
    return name == entry or (len(entry) >= 12 and container_id.startswith(entry))


def _mounts() -> str:
    path = Path("/proc/self/mountinfo")
    return path.read_text() if path.exists() else ""


@dataclass
class Attached:
    """A container that is attached to users' networks; the names of all that it is on, and its addresses there."""

    id: str
    name: str
    aliases: list[str]
    networks: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)


def attached(container: Mapping[str, Any], hub_host: str, own: bool) -> Attached | None:
    """What is to be known of an inspected container; None where it can't be attached and has no need to be.

    The hub is called `hub_host` on users' networks, too: the process's own container is, and one that is called so
    on another network.
    """
    if container["HostConfig"]["NetworkMode"] == "host":
        return None
    networks: Mapping[str, Any] = container["NetworkSettings"]["Networks"]
    called = {alias for entry in networks.values() for alias in (entry or {}).get("Aliases") or ()}
    aliases = [hub_host] if hub_host and (own or hub_host in called) else []
    addresses = {(entry or {}).get("IPAddress", "") for entry in networks.values()} - {""}
    return Attached(container["Id"], container["Name"].lstrip("/"), aliases, set(networks), addresses)


class Attachments:
    """Keeps the containers of `entries` and the hub's own on all networks that were asked for.

    One that was made anew is attached again to all of them as soon as it has started.
    """

    def __init__(self, engine: Engine, entries: Sequence[str], hub_host: str, log: logging.Logger) -> None:
        self._engine = engine
        self._entries = entries
        self.hub_host = hub_host
        self._log = log
        self._found: dict[str, Attached] = {}
        self._known = False
        self._looking: asyncio.Task[None] | None = None
        self._restoring: asyncio.Task[None] | None = None
        self._again = False
        self._connecting: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.networks: set[str] = set()
        # Entries for which there is no container.
        self.missing: list[str] = []

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        return self._engine.send(method, args, kwargs)

    async def look(self, anew: bool = False) -> list[Attached]:
        """The containers that are attached; asked for once, or where it is `anew`."""
        if not self._known or anew:
            # One for all who ask meanwhile.
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(self._look())
                self._looking.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(self._looking)
        return list(self._found.values())

    async def attach(self, network: str) -> None:
        """Have every container on `network`, now and whenever it is made anew. Nothing is asked where it is so."""
        self.networks.add(network)
        try:
            await self._connect_all(await self.look(), [network])
        except NoSuchNetwork:
            raise
        except Gone:
            # Made anew since it was looked for.
            await self._connect_all(await self.look(anew=True), [network])

    async def detach(self, network: str) -> None:
        """Take every container off `network`."""
        self.networks.discard(network)
        under_way = [task for (_, other), task in self._connecting.items() if other == network]
        if under_way:
            await asyncio.wait(under_way)
        leaving = [one for one in await self.look() if network in one.networks]
        await asyncio.gather(*(self._disconnect(one, network) for one in leaving))

    def heard(self, event: Mapping[str, Any] | None) -> None:
        """A container has started, or all was listed anew: is everything attached still?"""
        if not self.networks:
            return
        if event is not None:
            attributes = event["Actor"]["Attributes"]
            known = event["Actor"]["ID"], attributes.get("name", "")
            if not any(matches(entry, *known, attributes) for entry in self._entries):
                return
        if self._restoring is None or self._restoring.done():
            self._restoring = asyncio.get_running_loop().create_task(self._restore())
        else:
            # It may have looked before.
            self._again = True

    async def _restore(self) -> None:
        while True:
            self._again = False
            try:
                found = await self.look(anew=True)
                lacking = {one.name: len(self.networks - one.networks) for one in found}
                await self._connect_all(found, list(self.networks))
                for name, count in lacking.items():
                    if count:
                        self._log.warning("%s was attached again to %i networks of users", name, count)
            except EngineError as error:
                self._log.warning(
                    "Not everything is attached to users' networks; the next look is to mend it: %s", error
                )
            if not self._again:
                return

    async def _look(self) -> None:
        found: dict[str, Attached] = {}
        own = await self._own()
        missing = []
        containers = [own] if own else []
        for entry in self._entries:
            named = await self._of(entry)
            containers += named
            if not named:
                missing.append(entry)
        for container in containers:
            one = attached(container, self.hub_host, container is own)
            if one:
                found.setdefault(one.id, one)
        self._found, self.missing, self._known = found, missing, True

    async def _own(self) -> dict[str, Any] | None:
        for name in own_names(_mounts(), socket.gethostname()):
            container = await described(self.docker, "inspect_container", name)
            if container is not None and is_own(container, name):
                return container
        return None

    async def _of(self, entry: str) -> list[dict[str, Any]]:
        ids = [entry]
        if "=" in entry:
            listed = await perform(self.docker, "containers", filters={"label": entry.split(",")})
            ids = [summary["Id"] for summary in listed]
        return [container for one in ids if (container := await described(self.docker, "inspect_container", one))]

    async def _connect_all(self, found: Iterable[Attached], networks: Sequence[str]) -> None:
        wanted = [(one, network) for one in found for network in networks if network not in one.networks]
        connecting = [asyncio.shield(self._connecting_of(*pair)) for pair in wanted]
        for outcome in await asyncio.gather(*connecting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _connecting_of(self, one: Attached, network: str) -> asyncio.Task[None]:
        """The call under way that connects these two. It goes on where its callers are cancelled: it was sent."""
        key = (one.id, network)
        if key not in self._connecting:
            task = self._connecting[key] = asyncio.get_running_loop().create_task(self._connect(one, network))
            task.add_done_callback(lambda done: self._connecting.pop(key) and (done.cancelled() or done.exception()))
        return self._connecting[key]

    async def _connect(self, one: Attached, network: str) -> None:
        order = "connect_container_to_network"
        try:
            await perform(self.docker, order, one.id, network, aliases=one.aliases)
        except NoSuchNetwork:
            # Its server has gone meanwhile.
            if network in self.networks:
                raise
            return
        except Refused as error:
            if "already exists in network" not in str(error):
                raise
            now = await described(self.docker, "inspect_container", one.id)
            if now is not None and network not in now["NetworkSettings"]["Networks"]:
                # What the one before of this name has left.
                await perform(self.docker, "disconnect_container_from_network", one.name, network, force=True)
                await perform(self.docker, order, one.id, network, aliases=one.aliases)
        one.networks.add(network)

    async def _disconnect(self, one: Attached, network: str) -> None:
        one.networks.discard(network)
        try:
            await perform(self.docker, "disconnect_container_from_network", one.id, network, force=True)
        except Unavailable:
            one.networks.add(network)
            raise
        except EngineError as error:
            self._log.debug("%s had left network %s: %s", one.name, network, error)
