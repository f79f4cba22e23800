"""No way from a server to link-local addresses, where clouds tell a machine its credentials."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from docker.types import IPAMConfig, IPAMPool
from traitlets import Bool

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, EngineError, NoSuchNetwork, Refused, understood
from dockerspawner._networks.networking import NETWORK_RETRIES

# One for all hubs of an engine, since subnets can't overlap. No server's network has a dot in its name.
NETWORK = "link-local.dockyard"
# The same of a swarm, whose networks have no dots.
OVERLAY = "dockyard-link-local"
SUBNET = "169.254.0.0/16"
# The first Docker API version (Docker 25) that can create a container on several networks.
SEVERAL_NETWORKS = (1, 44)


def dead_end() -> dict[str, Any]:
    """Keyword arguments of create_network: who is on it finds nobody at these addresses, the host neither."""
    bridge = "com.docker.network.bridge"
    return {
        "name": NETWORK,
        "driver": "bridge",
        "internal": True,
        # Engines before 25 would make a second one of the same name.
        "check_duplicate": True,
        "options": {f"{bridge}.enable_icc": "false", f"{bridge}.inhibit_ipv4": "true"},
        "ipam": IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)]),
    }


def api_version(text: str) -> tuple[int, ...]:
    """Split a Docker API version into its numbers."""
    return tuple(int(part) for part in text.split("."))


class LinkLocal(Core):
    """Servers are on a network that has these addresses and leads nowhere, so that no other way is taken."""

    block_link_local = Bool(
        False,
        config=True,
        help="""Servers reach no address in 169.254.0.0/16, where clouds tell a machine who it is, credentials
        too. The network link-local.dockyard is made for that, which all hubs of an engine have in common. Not for
        the networks host and none. On a swarm its operator makes it: `docker network create --driver overlay
        --internal --subnet 169.254.0.0/16 --ip-range 169.254.0.0/17 dockyard-link-local` (clouds have their
        services in the other half of these addresses). A resolver there can't be asked either: `dns`, as in
        extra_host_config, names another.""",
    )

    async def _check_several_networks(self) -> None:
        """Fail if the server needs several networks and the API version does not support them."""
        asked = {"block_link_local": self.block_link_local, "allow_internet": self._is_isolated and self.allow_internet}
        settings = " and ".join(name for name, is_asked in asked.items() if is_asked)
        if not settings:
            return
        asking = self.engine.quick.submit(lambda client: str(getattr(client, "api_version", "")))
        version = await understood("inspect_network", asyncio.wrap_future(asking))
        if version and api_version(version) < SEVERAL_NETWORKS:
            needed = ".".join(map(str, SEVERAL_NETWORKS))
            raise failure(
                f"Version {version} of Docker's API, which the hub uses, is too old for {settings}: "
                f"version {needed} is required. Ask an administrator to update Docker to version 25, "
                f"to remove an older version from client_kwargs, or to set {settings} to False.",
                reason="settings",
            )

    async def _make_dead_end(self) -> None:
        """Create the network again: this is the first server, or the network was removed while no server used it."""
        for tries_left in reversed(range(NETWORK_RETRIES)):
            await self._have_dead_end()
            with contextlib.suppress(EngineError):
                # A kept container asks for the one before, by its id.
                await perform(self.docker, "disconnect_container_from_network", self.object_id, NETWORK, force=True)
            try:
                await perform(self.docker, "connect_container_to_network", self.object_id, NETWORK)
                return
            except NoSuchNetwork:
                if not tries_left:
                    raise

    async def _have_dead_end(self) -> None:
        try:
            await perform(self.docker, "create_network", **dead_end())
        except Conflict:
            self.log.debug("Another server has made network %s meanwhile", NETWORK)
        except Refused as error:
            if "overlap" not in str(error):
                raise
            raise failure(
                f"Servers are to be kept from {SUBNET}, and another network of this engine has such addresses. "
                "It has to be removed, or the setting block_link_local be False.",
                reason="network",
            ) from error
