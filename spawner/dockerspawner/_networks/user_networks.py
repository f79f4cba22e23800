"""The networks of one hub's users on one engine: made of a pool of subnets, and removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from typing import Any

from docker.types import IPAMConfig, IPAMPool

from dockerspawner._engine.client import Engine, perform
from dockerspawner._errors.failures import failure
from dockerspawner._errors.translation import Conflict, EngineError, Failed, Gone, Refused, Unavailable
from dockerspawner._networks.attachments import Attachments
from dockerspawner._networks.subnets import Subnets, egress_candidates
from dockerspawner._records import ownership
from dockerspawner._records.ownership import Owner
from dockerspawner._settings.naming import DNS_LABEL, fit

Network = Mapping[str, Any]

MEND = "user_subnet_pool has to be given more addresses, or networks on this engine to be removed."


def user_network(name: str, subnet: IPv4Network, labels: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of create_network: nothing but what is attached to it is reached from there."""
    return {"internal": True, **_network(name, subnet, labels)}


def egress_network(name: str, subnet: IPv4Network, labels: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of create_network: the internet is reached from there, and nobody who is on it."""
    options = {"com.docker.network.bridge.enable_icc": "false"}
    return {"options": options, **_network(name, subnet, labels)}


def _network(name: str, subnet: IPv4Network, labels: Mapping[str, str]) -> dict[str, Any]:
    pools = [IPAMPool(subnet=str(subnet))]
    # Engines before 25 would make a second one of the same name.
    return {
        "name": name,
        "driver": "bridge",
        "check_duplicate": True,
        "ipam": IPAMConfig(pool_configs=pools),
        "labels": dict(labels),
    }


def labels_of(owner: Owner) -> dict[str, str]:
    return {ownership.INSTANCE: owner.instance, ownership.USER: owner.user, ownership.SERVER: owner.server}


def subnets_of(network: Network) -> Iterator[IPv4Network]:
    """The IPv4 subnets of an inspected or listed network."""
    for entry in (network.get("IPAM") or {}).get("Config") or ():
        subnet = ip_network(entry["Subnet"], strict=False) if entry.get("Subnet") else None
        if isinstance(subnet, IPv4Network):
            yield subnet


def orphans(networks: Iterable[Network], instance: str, owners: Iterable[Owner]) -> list[str]:
    """Names of the networks of this hub's users that have no container left."""
    alive = set(owners)
    found = [(network["Name"], network.get("Labels") or {}) for network in networks]
    return [
        name
        for name, labels in found
        if labels.get(ownership.INSTANCE) == instance and ownership.USER in labels and Owner.of(labels) not in alive
    ]


class UserNetworks:
    """Makes and removes users' networks.

    - Two servers never have the same subnet, and none one that somebody else on the engine has.
    - Nothing that a killed hub has left stays: it is removed before the first network is made.
    """

    def __init__(
        self,
        engine: Engine,
        instance: str,
        pool: Sequence[IPv4Network],
        attachments: Attachments,
        owners: Callable[[], Awaitable[set[Owner]]],
        log: logging.Logger,
    ) -> None:
        self._engine = engine
        self._instance = instance
        self._pool = pool
        self._subnets = Subnets(pool)
        self._owners = owners
        self._log = log
        self.attachments = attachments
        # Of networks that servers of this process use: their names and what they have taken of the pool.
        self._held: dict[str, IPv4Network | None] = {}
        self._listing: asyncio.Task[None] | None = None
        self._egress: asyncio.Task[None] | None = None

    @property
    def egress(self) -> str:
        """Name of the network by which all servers reach the internet."""
        return fit(f"{self._instance}-egress", DNS_LABEL)

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        return self._engine.send(method, args, kwargs, rank=1)

    async def make(self, name: str, owner: Owner, former: Collection[Owner] = ()) -> None:
        """Have the network of a server; a failure where there is one of somebody else, or the pool is used up."""
        await self._listed()
        is_new = name not in self._held
        self._held.setdefault(name, None)
        try:
            await self._make(name, owner, former)
        except BaseException:
            if is_new:
                self._held.pop(name, None)
            raise

    async def _make(self, name: str, owner: Owner, former: Collection[Owner]) -> None:
        for anew in (False, True):
            if anew:
                await self._listed(anew=True)
            while subnet := self._subnets.take():
                if await self._create(user_network(name, subnet, labels_of(owner)), subnet, [owner, *former]):
                    return
        raise failure(
            f"The pool {self._said()} is used up: {self._subnets.count} networks. {MEND}", reason="network", status=503
        )

    async def _create(self, network: dict[str, Any], subnet: IPv4Network, owners: Collection[Owner]) -> bool:
        """False where somebody else has the subnet. True: the network is there, made now or before."""
        name = network["name"]
        creating = asyncio.ensure_future(perform(self.docker, "create_network", **network))
        try:
            await asyncio.shield(creating)
        except Conflict:
            self._subnets.give_back(subnet)
            self._held[name] = await self._subnet_of_ours(name, owners)
            return True
        except (Refused, Failed) as error:
            self._subnets.give_back(subnet)
            if "overlap" not in str(error):
                raise
            self._subnets.block(subnet)
            return False
        except asyncio.CancelledError:
            # What was sent can't be called back.
            try:
                await asyncio.wait({creating})
                if not creating.exception():
                    await self.remove(name)
            except BaseException:
                self._listing = None
                raise
            finally:
                self._subnets.give_back(subnet)
            raise
        except BaseException:
            # It may have been made: listing it anew will tell.
            self._listing = None
            self._subnets.give_back(subnet)
            raise
        self._held[name] = subnet
        return True

    async def _subnet_of_ours(self, name: str, owners: Collection[Owner]) -> IPv4Network | None:
        """The subnet of a network that is there already; a failure where it is not this server's, or not the hub's."""
        network = await perform(self.docker, "inspect_network", name)
        labels = network.get("Labels") or {}
        if ownership.INSTANCE not in labels or Owner.of(labels) not in owners:
            raise failure(
                f"There is already a Docker network named {name} that does not belong to this server. "
                "Ask an administrator to remove it.",
                reason="conflict",
            )
        return next(subnets_of(network), None)

    async def have_egress(self, anew: bool = False) -> None:
        """Have the way to the internet; made once, or looked for `anew`."""
        if self._egress is None or (self._egress.done() and (anew or self._egress.exception())):
            self._egress = asyncio.get_running_loop().create_task(self._make_egress())
            self._egress.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._egress)

    async def _make_egress(self) -> None:
        for subnet in egress_candidates(self._pool):
            network = egress_network(self.egress, subnet, {ownership.INSTANCE: self._instance})
            self._subnets.block(subnet)
            if await self._create(network, subnet, [Owner(self._instance, "", "")]):
                used = self._held.pop(self.egress)
                self._subnets.block(used or subnet)
                return
        raise failure(f"The pool {self._said()} has no room for the way to the internet. {MEND}", reason="network")

    async def remove(self, name: str) -> None:
        """Remove a network with whatever is attached to it; one that has gone is no error."""
        try:
            await self.attachments.detach(name)
            await self._remove(name)
        except BaseException:
            # The next start sees to it.
            self._listing = None
            raise
        finally:
            subnet = self._held.pop(name, None)
            if subnet is not None:
                self._subnets.give_back(subnet)

    async def _remove(self, name: str) -> None:
        try:
            await perform(self.docker, "remove_network", name)
        except Gone:
            return
        except (Refused, Failed) as error:
            if "active endpoints" not in str(error):
                raise
            network = await perform(self.docker, "inspect_network", name)
            for container_id in network.get("Containers") or ():
                # Some go by themselves meanwhile.
                with contextlib.suppress(Gone, Failed):
                    await perform(self.docker, "disconnect_container_from_network", container_id, name, force=True)
            await perform(self.docker, "remove_network", name)

    # What there is

    async def _listed(self, anew: bool = False) -> None:
        """Know which subnets are in use, and have removed what nobody uses any more; one for all who ask."""
        listing = self._listing
        if listing is None or (listing.done() and (anew or listing.exception())):
            listing = self._listing = asyncio.get_running_loop().create_task(self._list())
            listing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(listing)

    async def _list(self) -> None:
        networks = await perform(self.docker, "networks")
        try:
            left = set(orphans(networks, self._instance, await self._owners())) - self._held.keys()
        except Unavailable:
            # The next start sees to it.
            left, self._listing = set(), None
        await self.attachments.look(anew=True)
        outcomes = await asyncio.gather(*(self._remove_orphan(name) for name in left))
        gone = {name for name, removed in zip(left, outcomes, strict=True) if removed}
        self._subnets.know(subnet for one in networks if one["Name"] not in gone for subnet in subnets_of(one))

    async def _remove_orphan(self, name: str) -> bool:
        try:
            await self.attachments.detach(name)
            await self._remove(name)
        except EngineError as error:
            self._log.warning("Network %s, which nobody uses, can't be removed now: %s", name, error)
            return False
        self._log.info("Removed network %s, which an earlier hub has left", name)
        return True

    def _said(self) -> str:
        return ", ".join(map(str, self._pool))
