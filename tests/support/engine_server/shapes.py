"""What the engine says of its objects, as JSON: keys and defaults are those of engine 26.1 (API 1.45)."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]

NEVER = "0001-01-01T00:00:00Z"
VERSION: Json = {
    "Platform": {"Name": "fake"},
    "Components": [],
    "Version": "26.1.5",
    "ApiVersion": "1.45",
    "MinAPIVersion": "1.24",
    "GitCommit": "",
    "GoVersion": "",
    "Os": "linux",
    "Arch": "amd64",
    "KernelVersion": "",
    "BuildTime": "",
}


def _each(names: str, value: Any = None) -> Json:
    return dict.fromkeys(names.split(), value)


_HOST: Json = {
    **_each(
        "CapAdd CapDrop Dns DnsOptions DnsSearch ExtraHosts GroupAdd Links SecurityOpt VolumesFrom BlkioWeightDevice"
        " BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps Devices DeviceCgroupRules"
        " DeviceRequests MemorySwappiness PidsLimit Ulimits Binds"
    ),
    **_each(
        "ContainerIDFile VolumeDriver Cgroup PidMode UTSMode UsernsMode Isolation CgroupParent CpusetCpus CpusetMems",
        "",
    ),
    **_each(
        "OomScoreAdj CpuShares Memory NanoCpus BlkioWeight CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime"
        " MemoryReservation MemorySwap CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth",
        0,
    ),
    **_each("AutoRemove Privileged PublishAllPorts ReadonlyRootfs OomKillDisable", False),
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "bridge",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "ConsoleSize": [0, 0],
    "CgroupnsMode": "host",
    "IpcMode": "private",
    "ShmSize": 67108864,
    "Runtime": "runc",
    "MaskedPaths": [],
    "ReadonlyPaths": [],
}

_CONFIG: Json = {
    **_each("Hostname Domainname User WorkingDir", ""),
    **_each("AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce", False),
    **_each("Env Cmd Volumes Entrypoint OnBuild"),
    "Labels": {},
}


@dataclass
class Container:
    """`asked` is the body of the create call; `networks` maps the names of networks to addresses."""

    id: str
    name: str
    image: str
    image_id: str
    asked: Json
    config: Json
    networks: dict[str, str]
    mounts: list[Json]
    created: int
    port: int
    status: str = "created"
    exit_code: int = 0
    error: str = ""
    oom: bool = False
    started: int = 0
    finished: int = 0
    log: str = ""
    waiting: list[Any] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused")

    @property
    def host(self) -> Json:
        given: Json = {key: value for key, value in (self.asked.get("HostConfig") or {}).items() if value is not None}
        host = {**_HOST, **given}
        if host["NetworkMode"] == "default":
            host["NetworkMode"] = "bridge"
        return host

    @property
    def labels(self) -> dict[str, str]:
        return self.config["Labels"] or {}


def object_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def stamp(nanoseconds: int) -> str:
    if not nanoseconds:
        return NEVER
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def config(asked: Json, image: Json, container_id: str) -> Json:
    """The container's Config: what was asked for over what the image has."""
    given = {key: value for key, value in asked.items() if key not in ("HostConfig", "NetworkingConfig")}
    given = {key: value for key, value in given.items() if value is not None}
    base: Json = image["Config"]
    asked_env = given.get("Env", [])
    names = {pair.partition("=")[0] for pair in asked_env}
    env = [*asked_env, *(pair for pair in base["Env"] or () if pair.partition("=")[0] not in names)]
    merged = {**_CONFIG, **{key: base[key] for key in ("Cmd", "Entrypoint", "WorkingDir", "User", "StopSignal")}}
    merged |= {key: value for key, value in given.items() if value or (key in merged and value is False)}
    return {**merged, "Env": env, "Hostname": merged["Hostname"] or container_id[:12]}


def inspected(one: Container) -> Json:
    files = f"/var/lib/docker/containers/{one.id}" if one.started else ""
    command = [*(one.config["Entrypoint"] or ()), *(one.config["Cmd"] or ())]
    return {
        "Id": one.id,
        "Created": stamp(one.created),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": {
            "Status": one.status,
            "Running": one.running,
            "Paused": one.status == "paused",
            "Restarting": False,
            "OOMKilled": one.oom,
            "Dead": False,
            "Pid": 4242 if one.running else 0,
            "ExitCode": one.exit_code,
            "Error": one.error,
            "StartedAt": stamp(one.started),
            "FinishedAt": stamp(one.finished),
        },
        "Image": one.image_id,
        "ResolvConfPath": files and f"{files}/resolv.conf",
        "HostnamePath": files and f"{files}/hostname",
        "HostsPath": files and f"{files}/hosts",
        "LogPath": files and f"{files}/{one.id}-json.log",
        "Name": f"/{one.name}",
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": one.host,
        "GraphDriver": {"Data": {}, "Name": "overlay2"},
        "Mounts": one.mounts,
        "Config": one.config,
        "NetworkSettings": _network_settings(one),
    }


def _network_settings(one: Container) -> Json:
    networks = _networks(one)
    bridge = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": one.id if one.started else "",
        "SandboxKey": f"/var/run/docker/netns/{one.id[:12]}" if one.running else "",
        "Ports": _ports(one),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridge.get("EndpointID", ""),
        "Gateway": bridge.get("Gateway", ""),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": bridge.get("IPAddress", ""),
        "IPPrefixLen": bridge.get("IPPrefixLen", 0),
        "IPv6Gateway": "",
        "MacAddress": bridge.get("MacAddress", ""),
        "Networks": networks,
    }


def _networks(one: Container) -> Json:
    up = one.running
    return {
        name: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": None,
            "MacAddress": "02:42:7f:00:00:01" if up else "",
            "NetworkID": object_id(f"network {name}"),
            "EndpointID": one.id if up else "",
            "Gateway": "127.0.0.1" if up else "",
            "IPAddress": address if up else "",
            "IPPrefixLen": 8 if up else 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DriverOpts": None,
            "DNSNames": [one.name, one.id[:12]] if name != "bridge" else None,
        }
        for name, address in one.networks.items()
    }


def _ports(one: Container) -> Json:
    if not one.running:
        return {}
    bindings = one.host["PortBindings"] or {}
    exposed = dict.fromkeys([*(one.config.get("ExposedPorts") or {}), *bindings])
    published = {
        port: [{"HostIp": entry.get("HostIp") or "0.0.0.0", "HostPort": str(one.port)} for entry in entries]
        for port, entries in bindings.items()
    }
    return {**exposed, **published}


def summarised(one: Container) -> Json:
    """An entry of the list of containers."""
    networks = {name: {**entry, "DNSNames": None} for name, entry in _networks(one).items()}
    return {
        "Id": one.id,
        "Names": [f"/{one.name}"],
        "Image": one.image,
        "ImageID": one.image_id,
        "Command": " ".join([*(one.config["Entrypoint"] or ()), *(one.config["Cmd"] or ())]),
        "Created": one.created // 10**9,
        "Ports": [entry for port, bound in _ports(one).items() for entry in _port_entries(port, bound)],
        "Labels": one.labels,
        "State": one.status,
        "Status": _status(one),
        "HostConfig": {"NetworkMode": one.host["NetworkMode"]},
        "NetworkSettings": {"Networks": networks},
        "Mounts": one.mounts,
    }


def _port_entries(port: str, bound: list[Json] | None) -> list[Json]:
    number, _, protocol = port.partition("/")
    entry: Json = {"PrivatePort": int(number), "Type": protocol}
    return [{"IP": one["HostIp"], **entry, "PublicPort": int(one["HostPort"])} for one in bound or ()] or [entry]


def _status(one: Container) -> str:
    if one.status == "created":
        return "Created"
    if one.running:
        return "Up Less than a second" + (" (Paused)" if one.status == "paused" else "")
    return f"Exited ({one.exit_code}) Less than a second ago"


def image(name: str) -> Json:
    """An image that is made like the tests' tiny one: its server is killed when it is to stop."""
    empty = {key: value for key, value in _CONFIG.items() if key != "Labels"}
    return {
        "Id": f"sha256:{object_id(f'image {name}')}",
        "RepoTags": [name],
        "RepoDigests": [],
        "Parent": "",
        "Comment": "",
        "Created": stamp(time.time_ns()),
        "DockerVersion": "",
        "Author": "",
        "Config": {
            **empty,
            "Image": "",
            "Cmd": ["httpd", "-f", "-p", "8888", "-h", "/www"],
            "Env": ["PATH=/bin"],
            "WorkingDir": "/home/jovyan",
            "Labels": None,
            "StopSignal": "SIGKILL",
        },
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 2_000_000,
        "GraphDriver": {"Data": {}, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{object_id(name)}"]},
        "Metadata": {"LastTagTime": stamp(time.time_ns())},
    }


def network(name: str, asked: Json) -> Json:
    return {
        "Name": name,
        "Id": object_id(f"network {name}"),
        "Created": stamp(time.time_ns()),
        "Scope": "swarm" if asked.get("Driver") == "overlay" else "local",
        "Driver": asked.get("Driver") or "bridge",
        "EnableIPv6": False,
        "IPAM": asked.get("IPAM") or {"Driver": "default", "Options": None, "Config": [{"Subnet": "127.0.0.0/8"}]},
        "Internal": bool(asked.get("Internal")),
        "Attachable": bool(asked.get("Attachable")),
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": asked.get("Options") or {},
        "Labels": asked.get("Labels") or {},
    }


def volume(name: str, asked: Json) -> Json:
    return {
        "CreatedAt": stamp(time.time_ns()),
        "Driver": asked.get("Driver") or "local",
        "Labels": asked.get("Labels"),
        "Mountpoint": f"/var/lib/docker/volumes/{name}/_data",
        "Name": name,
        "Options": asked.get("DriverOpts") or None,
        "Scope": "local",
    }
