"""Settings in, keyword arguments of create_container out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.types import DeviceRequest, HostConfig, Mount

from dockerspawner._errors.failures import misconfigured
from dockerspawner._settings.sdk_keys import build, wrong
from dockerspawner._storage.mounts import Mounted, as_binds, as_mounts, layered, of_host_config

CPU_PERIOD = 100_000
# The weight of one processor, and the least that the kernel takes.
CPU_SHARES = 1024
_FEWEST_SHARES = 2
TMP = "/tmp"

# Made anew by the hub at each spawn.
_FLEETING = frozenset({"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"})


@dataclass(frozen=True)
class Server:
    """Everything that defines the container of one server.

    Memory is in bytes; `cpu_limit` and `cpu_guarantee` are in processors. Without `swap`, the memory limit includes
    swap. `tmp_size` is the size of a tmpfs at /tmp, in bytes, which any other mount there replaces. `publish_on` is a
    host address, empty if the port is not published. `extra_create` and `extra_host` use the Docker SDK's spelling, and
    override the other fields. Their mounts are added to `binds` and `mounts`, and replace only mounts at the same
    target.
    """

    image: str
    name: str
    command: list[str] | None
    environment: dict[str, str]
    port: int
    network: str
    publish_on: str = ""
    links: dict[str, str] = field(default_factory=dict)
    binds: dict[str, dict[str, str]] = field(default_factory=dict)
    mount_points: list[str] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    mem_limit: int | None = None
    swap: bool = True
    cpu_limit: float | None = None
    mem_guarantee: int | None = None
    cpu_guarantee: float | None = None
    tmp_size: int | None = None
    devices: list[DeviceRequest] = field(default_factory=list)
    extra_create: dict[str, Any] = field(default_factory=dict)
    extra_host: dict[str, Any] = field(default_factory=dict)


def container(server: Server) -> dict[str, Any]:
    """Build the keyword arguments of create_container, with `host_config` in the engine's spelling.

    Mistake if an extra setting has an invalid value.
    """
    spec: dict[str, Any] = {
        "image": server.image,
        "name": server.name,
        "command": server.command,
        "environment": server.environment,
        "volumes": server.mount_points,
        "ports": {f"{server.port}/tcp": {}},
    }
    extra = dict(server.extra_create)
    if isinstance(extra.get("environment"), list | tuple):
        # Merged instead of replaced: the environment contains the API token.
        extra["environment"] = as_dict(extra["environment"])
    spec = merge(spec, extra)
    if "volumes" in extra:
        spec["volumes"] = [*dict.fromkeys([*server.mount_points, *_mount_points(extra["volumes"])])]
    given = dict(spec.get("host_config") or {})
    configured = Mounted(as_binds(server.binds), server.mounts)
    mounted = layered(configured, _extra_mounts(server), of_host_config(given))
    make = partial(HostConfig, DEFAULT_DOCKER_API_VERSION)
    host = build(make, "extra_host_config", _host(server, mounted), server.extra_host)
    given = {key: value for key, value in given.items() if key.lower() not in ("binds", "mounts")}
    return {**spec, "host_config": merge(host, given)}


def _extra_mounts(server: Server) -> Mounted:
    extra = server.extra_host
    try:
        return Mounted(as_binds(extra.get("binds"), server.binds), as_mounts(extra.get("mounts")), [*_tmpfs(extra)])
    except (TypeError, ValueError) as error:
        raise misconfigured(f"The setting extra_host_config is invalid: {error}.") from None


def _tmpfs(extra: Mapping[str, Any]) -> dict[str, str]:
    """Return targets and options of `tmpfs` in extra_host_config, which may be a string, a list or a dict."""
    given = extra.get("tmpfs") or ()
    if isinstance(given, Mapping):
        return dict(given)
    pairs = (str(one).partition(":") for one in ([given] if isinstance(given, str) else given))
    return {target: options for target, _, options in pairs}


def _mount_points(volumes: Any) -> list[str]:
    return [volumes] if isinstance(volumes, str) else [*(volumes or ())]


def _host(server: Server, mounted: Mounted) -> dict[str, Any]:
    host: dict[str, Any] = {"binds": [*mounted.binds], "network_mode": server.network}
    if mounted.mounts:
        host["mounts"] = [*mounted.mounts]
    if server.links:
        host["links"] = server.links
    if server.devices:
        host["device_requests"] = server.devices
    if server.publish_on:
        host["port_bindings"] = {server.port: (server.publish_on,)}
    if server.mem_limit is not None:
        host["mem_limit"] = server.mem_limit
    if server.cpu_limit is not None:
        period = server.extra_host.get("cpu_period") or CPU_PERIOD
        if not isinstance(period, int):
            raise wrong("extra_host_config", "cpu_period", period)
        host |= {"cpu_period": period, "cpu_quota": int(server.cpu_limit * period)}
    if server.mem_guarantee is not None:
        host["mem_reservation"] = server.mem_guarantee
    if server.cpu_guarantee is not None:
        # A weight: what it comes to where every processor is wanted.
        host["cpu_shares"] = max(_FEWEST_SHARES, int(server.cpu_guarantee * CPU_SHARES))
    host = merge(host, {key: value for key, value in server.extra_host.items() if key not in ("binds", "mounts")})
    if server.tmp_size and TMP not in mounted.sources():
        # The engine's default is noexec, with which packages that have a build step fail.
        host["tmpfs"] = {TMP: f"exec,mode=1777,size={server.tmp_size}", **_tmpfs(server.extra_host)}
    if not server.swap and host.get("mem_limit"):
        # To the engine a limit of memory and swap together; without one it allows as much swap as memory.
        host.setdefault("memswap_limit", host["mem_limit"])
    return host


def merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`base` overridden by `extra`; where both have a mapping, these are merged the same way."""
    merged = dict(base)
    for key, value in extra.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def without_restarts(host_config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a `host_config` in the engine's spelling into its restart policy (empty without one) and the rest."""
    policy = {str(key).lower(): value for key, value in (host_config.get("RestartPolicy") or {}).items()}
    if policy.get("name") in (None, "", "no"):
        return {}, dict(host_config)
    count = {"MaximumRetryCount": policy["maximumretrycount"]} if policy.get("maximumretrycount") else {}
    return {"Name": policy["name"], **count}, {k: v for k, v in host_config.items() if k != "RestartPolicy"}


def spec_hash(spec: Mapping[str, Any]) -> str:
    """The same for two containers that a server could use in turn.

    Covers what create_container is given, except the name and what the hub makes anew at each spawn.
    """
    lasting = {key: value for key, value in spec.items() if key != "name"}
    environment = as_dict(spec.get("environment"))
    lasting["environment"] = {key: value for key, value in environment.items() if key not in _FLEETING}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True, default=str).encode()).hexdigest()[:16]


def as_dict(pairs: Mapping[str, str] | Iterable[str] | None) -> dict[str, str]:
    """Labels or environment as a dict; the engine also takes a list of `name=value`."""
    if isinstance(pairs, Mapping):
        return dict(pairs)
    split = (pair.partition("=") for pair in pairs or ())
    return {name: value for name, _, value in split}
