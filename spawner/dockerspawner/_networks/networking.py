"""Which network a user's server is on, and which address the hub calls."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from traitlets import Bool, Dict, List, Unicode

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.translation import Gone

# How often a start is tried again for networks that somebody removes meanwhile, as `make down` of another kit does.
NETWORK_RETRIES = 3

_LOOPBACK, _LOOPBACK_IPV6 = "127.0.0.1", "::1"


def internal_address(container: dict[str, Any], network: str, ipv6: bool = False) -> str:
    """Return a container's address on `network`: IPv6 if wanted and available, else IPv4. Gone without an address."""
    networks: dict[str, Any] = container["NetworkSettings"]["Networks"]
    entry = networks.get(network)
    if entry is None:
        attached = ", ".join(sorted(networks)) or "none"
        raise Gone(f"the container is not on network {network} (it is on: {attached})")
    families = ("GlobalIPv6Address", "IPAddress") if ipv6 else ("IPAddress", "GlobalIPv6Address")
    address = next((entry[family] for family in families if entry.get(family)), "")
    if not address:
        raise Gone(f"the container has no address on network {network}")
    return str(address)


def _is_every_address(address: str) -> bool:
    return not address or (_is_address(address) and ipaddress.ip_address(address).is_unspecified)


def called_at(published: str, host: str) -> str:
    """The address to call for a port that the engine publishes on `published`; `host` replaces "every address".

    A port on every IPv6 address is not published on IPv4 ones.
    """
    if not _is_every_address(published):
        return published
    return _LOOPBACK_IPV6 if ":" in published and host == _LOOPBACK else host


def published_address(container: dict[str, Any], port: int, host: str) -> tuple[str, int]:
    """Where the host publishes `port` of an inspected container; `host` replaces "every address".

    If the port is published on IPv4 and IPv6 addresses, that is the one of IPv4.
    """
    entries = container["NetworkSettings"]["Ports"].get(f"{port}/tcp")
    if not entries:
        raise Gone(f"port {port} of the container is not published")
    entry = min(entries, key=lambda one: ":" in one["HostIp"])
    return called_at(entry["HostIp"], host), int(entry["HostPort"])


def _host_of(endpoint: str) -> str:
    """The host of an engine's URL, 127.0.0.1 where it has none."""
    parts = urlsplit(endpoint)
    return (parts.hostname if parts.scheme in ("tcp", "http", "https") else None) or _LOOPBACK


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_own(host: str) -> bool:
    """Does a host name or address always mean the local network namespace (loopback or unspecified)?"""
    if not _is_address(host):
        return host.lower().rstrip(".") == "localhost"
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


class Networking(Core):
    """How the hub and a user's server reach each other."""

    network_name = Unicode(
        "bridge",
        config=True,
        help="""Docker network of the container, on which the hub reaches the server. With "host", each server gets
        the first free port of the host, counted from `port`.""",
    )

    extra_networks = List(
        Unicode(),
        config=True,
        help="More Docker networks that the container is on. Placeholders as in name_template.",
    )

    links = Dict(
        config=True,
        help="""Links of the default bridge, {container: alias}. Other networks resolve containers' names
        without them.""",
    )

    use_internal_ip = Bool(
        config=True,
        help="""Call the server at the container's own address on `network_name`, instead of a port published
        on the host. Default: True unless the network is bridge or host.""",
    )

    use_internal_hostname = Bool(
        config=True,
        help="""Whether the hub calls the server by its container's name instead of an address. Default:
        True with internal_ssl, whose certificates contain that name. Not available with network_name "host".""",
    )

    host_ip = Unicode(
        config=True,
        help="""Address of the host on which Docker publishes the server's port when use_internal_ip is False. With
        network_name "host", the hub calls servers at this address. If it is `::`, the hub calls ports of a local
        engine at ::1. Default: the host in DOCKER_HOST if that is a tcp:// URL, else 127.0.0.1.""",
    )

    @property
    def _network(self) -> str:
        """The network on which the hub reaches the container that there is."""
        return self._own_network or str(self.network_name)

    async def _reach(self) -> None:
        """Have the hub where it reaches the server."""

    async def _leave_network(self) -> None:
        """The server has ended, its container may have gone."""

    def _use_internal_ip_default(self) -> bool:
        return self.network_name not in ("bridge", "host")

    def _use_internal_hostname_default(self) -> bool:
        return bool(self.internal_ssl)

    def _host_ip_default(self) -> str:
        return self._default_host_ip()

    def _default_host_ip(self) -> str:
        return _host_of(os.environ.get("DOCKER_HOST", ""))

    def _published_on(self) -> str:
        """The host to call where ports are published on every address."""
        if _is_every_address(self.host_ip):
            return _host_of(self.client_kwargs.get("base_url") or os.environ.get("DOCKER_HOST", ""))
        return str(self.host_ip)

    def get_network_ip(self, network_settings: dict[str, Any]) -> str:
        """The container's address on the hub's way to it, from an inspected container's NetworkSettings."""
        # A server that listens on an IPv6 address, such as Jupyter on ::, does not accept IPv4.
        return internal_address({"NetworkSettings": network_settings}, self._network, ipv6=":" in self.ip)

    def _why_silent(self, host: str) -> str:
        """Explain why a running server may not answer at `host`."""
        on_host = "Either the server does not listen there, or the hub can't reach that address."
        if self.object_type == "container":
            on_host += (
                " Ask an administrator to check host_ip: it must be an address of the Docker host that the hub reaches."
            )
        if self._host_port:
            return on_host
        if self.ip in ("", "0.0.0.0"):
            if not (self.use_internal_hostname or self.use_internal_ip or self._own_network):
                return on_host
            return f"Either the server does not listen there, or the hub can't reach network {self._network}."
        if self.ip != "::" and is_own(self.ip):
            why = f"The setting ip is {self.ip!r}: the server listens only inside its container. It must be 0.0.0.0."
        elif ":" in self.ip and ":" not in host:
            why = f"The setting ip is {self.ip!r}, but the hub calls the server by IPv4. It must be 0.0.0.0."
        else:
            why = f"The setting ip is {self.ip!r}: it must be an address inside the container, such as 0.0.0.0."
        return f"{why} Please contact an administrator."

    @property
    def internal_hostname(self) -> str:
        """The name by which the hub finds the server on a Docker network."""
        return self.container_name

    def _ssl_alt_names_default(self) -> list[str]:
        """The container's name, and where the port is published on the host; localhost is always among them."""
        names = [*self.trusted_alt_names, f"DNS:{self.internal_hostname}"]
        if self._asks_for_host_network or not (self.use_internal_hostname or self.use_internal_ip):
            host = self._published_on()
            host = host if self._asks_for_host_network else called_at(self.host_ip, host)
            names.append(f"IP:{host}" if _is_address(host) else f"DNS:{host}")
        return names

    def _more_networks(self) -> list[str]:
        return [self._fill("extra_networks", name) for name in self.extra_networks]

    async def _connect_networks(self, container_id: str) -> None:
        for network in self._more_networks():
            await perform(self.docker, "connect_container_to_network", container_id, network)

    @property
    def _asks_for_host_network(self) -> bool:
        """Do settings put servers on the host's network, as far as is known before a start?"""
        extra = self.extra_host_config
        return "host" in (self._wanted_network, extra.get("network_mode") if isinstance(extra, Mapping) else "")

    async def get_ip_and_port(self) -> tuple[str, int]:
        """Where the hub reaches the server. Gone where there is no such address."""
        if self.use_internal_hostname and not self._host_port:
            return self.internal_hostname, self.port
        container = await self._described()
        self._reporting.fail_if_dead(container)
        if container["HostConfig"]["NetworkMode"] == "host":
            return self._published_on(), self._host_port or self.port
        if self.use_internal_ip or self._own_network:
            return self.get_network_ip(container["NetworkSettings"]), self.port
        return published_address(container, self.port, self._published_on())

    async def _described(self) -> dict[str, Any]:
        """State and addresses of the container: as the watch knows them, or asked for where it does not."""
        if not self._attempt.is_running:
            word = await self._watch.word(self.object_id)
            if word is not None and word.described is not None:
                return dict(word.described)
        return await self._calls.existing()
