"""Servers on the host's network, where each server needs its own port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dockerspawner._core import Core
from dockerspawner._engine.client import perform
from dockerspawner._errors.failures import Died, failure, misconfigured
from dockerspawner._records import ownership
from dockerspawner._settings.deprecations import is_replaced

HOST = "host"
# Container label with the server's port on the host. A stopped container needs the port again.
PORT = "dockyard.port"
# Number of ports that the spawner may assign, counted from the configured one.
PORTS = 1000
LAST_PORT = 65535
# Number of retries of a start if another process took the port.
PORT_RETRIES = 3
# A server prints this if its port is in use. Needed if the host's ports can't be checked from here.
_IN_USE = re.compile(r"address (?:already )?in use|port \d+ is (?:already in use|not available)|EADDRINUSE", re.I)
# Timeout in seconds of the connection that checks whether a port is in use.
_ACCEPT_TIMEOUT = 1.0


def network_mode(network: str, extra_create: Mapping[str, Any], extra_host: Mapping[str, Any]) -> str:
    """Return the network mode of a container: from extra settings, else for `network`."""
    host_config = extra_create.get("host_config")
    given = host_config.get("NetworkMode") if isinstance(host_config, Mapping) else None
    return str(given or extra_host.get("network_mode") or network)


def mode_of(spec: Mapping[str, Any], default: str) -> str:
    """Return the network mode in arguments of create_container, or `default`."""
    # The engine ignores the case of keys.
    found = {key.lower(): value for key, value in (spec.get("host_config") or {}).items()}
    return str(found.get("networkmode") or default)


def is_shared(mode: str) -> bool:
    """Does the network mode give the container no address of its own?"""
    return mode in (HOST, "none") or mode.startswith("container:")


def candidates(first: int, reserved: Iterable[int]) -> Iterator[int]:
    """Yield ports from `first` that no other server has reserved."""
    taken = set(reserved)
    return (port for port in range(first, min(first + PORTS, LAST_PORT + 1)) if port not in taken)


def port_of(environment: Mapping[str, str]) -> int:
    """Return the port on which a server with this environment listens, 0 if unknown."""
    try:
        return urlsplit(environment.get("JUPYTERHUB_SERVICE_URL", "")).port or 0
    except ValueError:
        return 0


async def in_use(host: str, port: int, address: str) -> bool:
    """Does a process listen on the port of a host, as far as can be checked from here?

    `address` is the address that a server would listen on. If the host is this machine, a test bind checks the port.
    """
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _ACCEPT_TIMEOUT)
        writer.close()
        return True
    except (OSError, asyncio.TimeoutError):
        pass
    return host in ("127.0.0.1", "::1", "localhost") and _is_bound(address, port)


def _is_bound(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        # Like servers do: a closed connection must not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


class HostNetwork(Core):
    """Choice of the first free port, from `port`, for a server on the host's network.

    - The environment, the state and a container label contain the port.
    - If another process takes the port before the server listens, the spawner chooses the next one.
    """

    # The server's port on the host, 0 on other networks. Saved in the state.
    _host_port = 0
    # The configured value of `port`.
    _configured_port = 0

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        if port := state.get("host_port"):
            self._use_port(port)

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return {**state, "host_port": self._host_port} if self._host_port else state

    def clear_state(self) -> None:
        super().clear_state()
        if not self.object_id:
            self._use_port(0)

    def _use_port(self, port: int) -> None:
        """Set the server's port on the host; 0 restores the configured port."""
        if not self._host_port or self.port != self._host_port:
            self._configured_port = self.port
        self._host_port = port
        if self.has_trait("port"):
            self.set_trait("port", port or self._configured_port)
        else:
            # A subclass replaces the setting with a plain value.
            self.__dict__["port"] = port or self._configured_port

    def _check_network_mode(self, mode: str) -> None:
        # A subclass that determines the address itself may use any network.
        if is_replaced(self, "get_ip_and_port") or not is_shared(mode):
            return
        if mode != HOST:
            raise misconfigured(
                f"The hub can't reach a server whose network mode is {mode}. "
                "The setting network_name must name a Docker network that the hub reaches."
            )
        if self._is_isolated or self.block_link_local or self.extra_networks:
            setting = next(
                name for name in ("network_isolation", "block_link_local", "extra_networks") if self._is_set(name)
            )
            raise misconfigured(
                f"A server on the host's network can't join other networks, but {setting} requires one."
            )

    def _is_set(self, name: str) -> bool:
        return bool(self._is_isolated if name == "network_isolation" else getattr(self, name))

    async def _settle_port(self, mode: str) -> bool:
        """Choose the port for this network mode, once per start; return True if `port` changed."""
        self._check_network_mode(mode)
        before = self.port
        if mode != HOST:
            if self._host_port:
                self._use_port(0)
        else:
            attempt = self._attempt
            attempt.chosen_port = attempt.chosen_port or await self._free_port()
            self._use_port(attempt.chosen_port)
        return bool(self.port != before)

    async def _free_port(self) -> int:
        filters = {"label": [f"{ownership.INSTANCE}={self.instance}", PORT]}
        listed = await perform(self.docker, "containers", all=True, filters=filters)
        labels = [(container["Labels"], container.get("State") == "running") for container in listed]
        kept = {int(found[PORT]): running for found, running in labels if ownership.Owner.of(found) == self._owner}
        taken = {int(found[PORT]) for found, _ in labels} - kept.keys()
        for port, running in kept.items():
            # The server's own container uses, or used, this port.
            if port not in self._attempt.lost_ports and (running or await self._reserve(port)):
                return port
        first = self._configured_port if self._host_port and self.port == self._host_port else self.port
        # Ports of stopped containers are used only if no other port is free.
        for port in (
            *candidates(first, taken | self._attempt.lost_ports),
            *candidates(first, self._attempt.lost_ports),
        ):
            if await self._reserve(port):
                if port != first:
                    self.log.info("Port %i of the host is in use: %s uses port %i", first, self.object_name, port)
                return port
        raise failure(
            f"No port of the host from {first} to {min(first + PORTS - 1, LAST_PORT)} is free. Please try again later.",
            reason="ports",
            status=503,
        )

    async def _reserve(self, port: int) -> bool:
        """Reserve a free port against other starts of this process; False if it is in use."""
        reserved = self.engine.reserved_ports
        if reserved.setdefault(port, self) is not self:
            return False
        if await in_use(self._published_on(), port, self.ip):
            del reserved[port]
            return False
        return True

    def _port_label(self) -> dict[str, str]:
        return {PORT: str(self._host_port)} if self._host_port else {}

    def _release_ports(self) -> None:
        """Release the reservations: the container holds its port now, or needs none."""
        reserved = self.engine.reserved_ports
        for port in [port for port, spawner in reserved.items() if spawner is self]:
            del reserved[port]

    def _use_port_of(self, container: Mapping[str, Any]) -> None:
        """Use the port of a resumed container, which may differ from the port chosen for this start."""
        if (container.get("HostConfig") or {}).get("NetworkMode") == HOST:
            self._use_port(port_of(self._attempt.environment) or self.port)
        elif self._host_port:
            self._use_port(0)

    async def _lost_port(self, died: Died) -> bool:
        """Did the server exit because another process took its port? Then the next start chooses another port."""
        if not self._host_port or self._attempt.resumed or len(self._attempt.lost_ports) >= PORT_RETRIES:
            return False
        is_lost = await in_use(self._published_on(), self._host_port, self.ip)
        if not is_lost and not _IN_USE.search(await self._failures.details()):
            return False
        self.log.warning("%s %s: another process took port %i of the host", self.object_name, died, self._host_port)
        self._attempt.lost_ports |= {self._host_port}
        self._attempt.chosen_port = 0
        return True
