"""A network for each user's server, on which nobody is but the hub and the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from traitlets import Bool, CaselessStrEnum, List, TraitError, Unicode, Union, validate

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import EngineError
from dockerspawner._networks.attachments import Attachments
from dockerspawner._networks.subnets import MOST_ATTACHED, parse_pool
from dockerspawner._networks.user_networks import UserNetworks

PER_USER = "per-user"


class Isolation(Core):
    """Who reaches whom.

    - With per-user, a server reaches the hub, the proxy and, where it may, the internet; never another server.
    - Its network is there before its container, and goes with it.
    - A hub or a proxy that was made anew is on it again before the server's address is told.
    """

    network_isolation = CaselessStrEnum(
        ["shared", PER_USER],
        "shared",
        config=True,
        help="""shared: all servers are on `network_name`. per-user: each server has a network of its own, with
        the hub and `attached_containers` on it while it runs, and is not on `network_name`. Needs Docker 25, and
        a hub in a container of the engine or on its host; meant for up to about 200 running servers.""",
    )

    user_subnet_pool = Union(
        [List(Unicode()), Unicode()],
        default_value=["10.213.0.0/18"],
        config=True,
        help="""Private IPv4 addresses of users' networks: a network in CIDR form, or a list of them. Each server
        takes a /29 (default: 2048), the way to the internet a /22 at the end. Those of the first spawner count.""",
    )

    allow_internet = Bool(
        True,
        config=True,
        help="""With per-user: servers reach the internet, and what the engine's host listens to on all its
        addresses, by a common network on which they don't reach each other.""",
    )

    attached_containers = List(
        Unicode(),
        config=True,
        help="""With per-user: what servers and the users' browsers are to reach each other by, besides the hub's
        own container, which is found by itself: the proxy. Names or ids of containers, or their labels,
        `label=value,label=value`. Those of the first spawner count.""",
    )

    # Name of the network that is this server's alone, empty where it is on a shared one. Kept in the state.
    _own_network = ""

    @validate("user_subnet_pool")
    def _validate_pool(self, proposal: Any) -> list[str]:
        texts = [proposal.value] if isinstance(proposal.value, str) else proposal.value
        try:
            return [str(network) for network in parse_pool(texts)]
        except ValueError as error:
            raise TraitError(f"user_subnet_pool: {error}") from None

    def _use_internal_ip_default(self) -> bool:
        return self._is_isolated or super()._use_internal_ip_default()

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._own_network = state.get("network") or ""

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {"network": self._own_network} if self._own_network else state

    @property
    def _is_isolated(self) -> bool:
        return bool(self.network_isolation == PER_USER)

    @property
    def _networks(self) -> UserNetworks:
        networks: UserNetworks | None = self.engine.networks.get(self.instance)
        if networks is None:
            host = urlsplit(self.hub_connect_url or self.hub.api_url).hostname or ""
            attachments = Attachments(self.engine, self.attached_containers, host, self.log)
            pool = parse_pool(self.user_subnet_pool)
            networks = self.engine.networks[self.instance] = UserNetworks(
                self.engine, self.instance, pool, attachments, self._watch.owners, self.log
            )
        return networks

    def _observe(self) -> None:
        self._watch.observe(self._networks.attachments.heard)

    # What the container is made of

    def _egress_networks(self) -> list[str]:
        """The way to the internet, if isolated servers have one."""
        return [self._networks.egress] if self._is_isolated and self.allow_internet else []

    # Start

    async def _check_isolation(self) -> None:
        """A failure where the hub or the proxy could not be reached."""
        if not self._is_isolated:
            return
        self._observe()
        if not self.use_internal_ip:
            raise failure("network_isolation 'per-user' needs use_internal_ip, which is False.", reason="settings")
        attachments = self._networks.attachments
        found = await attachments.look()
        if attachments.missing:
            found = await attachments.look(anew=True)
        if attachments.missing:
            raise failure(
                f"The setting attached_containers names {', '.join(attachments.missing)}: there is no such container.",
                reason="settings",
            )
        if len(found) > MOST_ATTACHED:
            raise failure(
                f"The setting attached_containers names {len(found)} containers: with the hub's own there are at most "
                f"{MOST_ATTACHED}.",
                reason="settings",
            )
        host = attachments.hub_host
        if any(host in one.addresses for one in found):
            raise failure(
                f"Servers are to find the hub at {host}, which nobody reaches from another network. "
                "hub_connect_ip has to be a name.",
                reason="settings",
            )
        if not found and not self.allow_internet:
            raise failure(
                "The hub is in no container of this engine and attached_containers is empty: servers that may not "
                "reach the internet could not reach the hub either. One of them has to be set.",
                reason="settings",
            )

    async def _have_networks(self, name: str, anew: bool = False) -> None:
        await self._networks.make(name, self._owner, self._owners)
        # From now on a start that fails removes it.
        self._own_network = name
        if self.allow_internet:
            await self._networks.have_egress(anew)

    async def _use_network_of(self, container: Mapping[str, Any]) -> None:
        """Have the hub on the network of a container that the start adopts."""
        mode = container["HostConfig"]["NetworkMode"]
        if mode in (self.object_name, self._own_network):
            self._own_network = mode
            await self._reach()
        else:
            # Made for a shared network, and kept for what is in it.
            await self._drop_network()

    async def _recreate_own_network(self) -> bool:
        """Somebody has removed what was without a running container: made anew, under the old names."""
        if not self._own_network:
            return False
        await self._have_networks(self._own_network, anew=True)
        await self._reach()
        container = await perform(self.docker, "inspect_container", self.object_id)
        for name, entry in container["NetworkSettings"]["Networks"].items():
            if name not in (self._own_network, self._networks.egress):
                continue
            network = await perform(self.docker, "inspect_network", name)
            if (entry or {}).get("NetworkID") not in ("", None, network["Id"]):
                await perform(self.docker, "disconnect_container_from_network", self.object_id, name, force=True)
                await perform(self.docker, "connect_container_to_network", self.object_id, name)
        return True

    # While it runs, and after

    async def _reach(self) -> None:
        """Have the hub and the proxy on this server's network, whatever was made anew meanwhile."""
        if self._own_network:
            await self._networks.attachments.attach(self._own_network)

    def _observe_attachments(self) -> None:
        if self._own_network and self.object_id:
            # Before the watch lists for the first time: else it would do so twice.
            self._observe()

    async def _leave_network(self) -> None:
        """The network goes with the container; from that of one that is kept hub and proxy go, unless it sleeps."""
        if not self._own_network or self._sleep.paused_at:
            return
        if not self.object_id:
            await self._drop_network()
            return
        try:
            await self._networks.attachments.detach(self._own_network)
        except EngineError as error:
            self.log.warning("Network %s is still attached: %s", self._own_network, error)

    async def _drop_network(self) -> None:
        if self._own_network:
            name, self._own_network = self._own_network, ""
            try:
                await self._networks.remove(name)
            except EngineError as error:
                self.log.warning("Network %s is left for the next start: %s", name, error)
