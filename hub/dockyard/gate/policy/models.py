"""What the spawner sends, in the engine's own spelling. A field that is not here is refused."""

from __future__ import annotations

import hashlib
import posixpath
import re
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# What prepares a new volume (dockerspawner._storage.preparation.SCRIPT), by its SHA-256.
HELPER_SCRIPT = "7651a4fdcfe0188ce084f0e3afe627c4347bfe3a802fe75e1124cdd8896206a9"
# Where it has that volume. Where an image has its programs, the volume's would be run with the helper's capabilities.
HELPER_MOUNT = "/dockyard-volume"
# The kernel's folders, which also show the host.
KERNELS = ("/proc/", "/sys/", "/dev/")
# Seconds that a container may take to stop: `make down` waits for each.
LONGEST_STOP = 600

# The kernel's default limit of open files (fs.nr_open), and a bound for limits in bytes and processes.
_MOST_OPEN_FILES = 2**20
_MOST_OF_OTHERS = 2**40
_LARGEST_LOG = 2**30
# For a container without a log setting. The engine's default may have no limit, or send the log to another machine.
LOG_DRIVER, LOG_OPTIONS = "json-file", {"max-size": "10m", "max-file": "2"}
_LOG_SIZE = re.compile(r"([1-9]\d{0,9})([kmg]?)(?:i?b)?", re.ASCII)
_LOG_FILES = re.compile(r"[1-9]\d{0,2}", re.ASCII)

# The name of a container, a network or a volume. The engine has no limit of its length, and the log contains it.
ENGINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _forbidden(value: Any) -> Any:
    if not (value is None or value is False or value in ("", [], {})):
        raise ValueError("is not for users' servers")
    return value


def container_path(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or "\0" in value:
        raise ValueError("is no absolute path in the container")
    return value


def mount_target(value: str) -> str:
    """Check a path of a mount or working directory: not the root, nor the kernel's folders.

    A working directory below /proc/self/fd gave access to the host's files (CVE-2024-21626).
    """
    container_path(value)
    path = posixpath.normpath("/" + value.lstrip("/"))
    is_kernels = f"{path}/".startswith(KERNELS) and not f"{path}/".startswith("/dev/shm/")
    if path == "/" or is_kernels:
        raise ValueError("must not be /, nor in /proc, /sys or /dev (but /dev/shm may be)")
    return value


def _working_dir(value: str) -> str:
    return mount_target(value) if value else value


def _all_dropped(value: list[str]) -> list[str]:
    if "ALL" not in value:
        raise ValueError('has to be ["ALL"]: servers have no capabilities')
    return value


def _no_new_privileges(value: list[str]) -> list[str]:
    if not value or not all(re.fullmatch(r"no-new-privileges([:=]true)?", one) for one in value):
        raise ValueError('has to be ["no-new-privileges"]')
    return value


def _private(value: str) -> str:
    try:
        if IPv4Network(value).is_private:
            return value
    except ValueError:
        pass
    raise ValueError("is no private IPv4 network")


# For fields that docker-py always sends, and that must not be set.
Forbidden = Annotated[Any, AfterValidator(_forbidden)]
Path = Annotated[str, AfterValidator(mount_target)]
Folder = Annotated[str, AfterValidator(_working_dir)]
Count = Annotated[int, Field(ge=0)]
EngineName = Annotated[str, Field(pattern=f"^{ENGINE_NAME.pattern}$")]
Port = Annotated[str, Field(pattern=r"^[0-9]{1,5}/(tcp|udp)$")]
Cores = Annotated[str, Field(pattern=r"^[0-9,-]*$")]
# Other programs on the host, such as reverse proxies and schedulers, obey labels of containers.
# And whoever lists things reads all of their labels, of thousands of things.
OwnLabels = Annotated[
    dict[Annotated[str, Field(pattern=r"^dockyard\.[a-z]{1,32}$")], Annotated[str, Field(max_length=4096)]],
    Field(max_length=16),
]
AllDropped = Annotated[list[str], AfterValidator(_all_dropped)]
NoNewPrivileges = Annotated[list[str], AfterValidator(_no_new_privileges)]
Propagated = Literal["private", "rprivate", "slave", "rslave"]


class Empty(Strict):
    pass


class VolumeDriver(Strict):
    Name: str | None = None
    Options: dict[str, str] | None = None


class OfBind(Strict):
    Propagation: Propagated | None = None


class OfVolume(Strict):
    NoCopy: bool | None = None
    Labels: OwnLabels | None = None
    DriverConfig: VolumeDriver | None = None


class OfTmpfs(Strict):
    SizeBytes: Count | None = None
    Mode: Count | None = None


class Mount(Strict):
    Target: Path
    Source: str | None = None
    Type: Literal["volume", "bind", "tmpfs"]
    ReadOnly: bool | None = None
    BindOptions: OfBind | None = None
    VolumeOptions: OfVolume | None = None
    TmpfsOptions: OfTmpfs | None = None


class Gpu(Strict):
    Driver: Literal["", "nvidia"] | None = None
    Count: Annotated[int, Field(ge=-1)] | None = None
    DeviceIDs: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9:/.-]+$")]] | None = None
    Capabilities: list[list[Literal["gpu"]]]
    Options: Forbidden = None


class Ulimit(Strict):
    """Without rtprio and nice, with which a server would get processors before all other programs."""

    Name: Literal["core", "fsize", "memlock", "nofile", "nproc", "stack"]
    Soft: Count
    Hard: Count

    @model_validator(mode="after")
    def _bounded(self) -> Ulimit:
        most = _MOST_OPEN_FILES if self.Name == "nofile" else _MOST_OF_OTHERS
        if max(self.Soft, self.Hard) > most:
            raise ValueError(f"has {self.Name} above {most}")
        return self


LogOptions = dict[Literal["max-size", "max-file", "compress"], str]


def limited_log(driver: str, options: LogOptions | None) -> None:
    """Raise ValueError if a container's log has no limit or a large one. The driver local has default limits."""
    given = options or {}
    if driver == "json-file" and "max-size" not in given:
        raise ValueError("needs max-size, as in {'max-size': '10m', 'max-file': '2'}")
    size = _LOG_SIZE.fullmatch(given.get("max-size", "20m").lower())
    files = _LOG_FILES.fullmatch(given.get("max-file", "1" if driver == "json-file" else "5"))
    if not size or not files or int(size[1]) * 1024 ** " kmg".index(size[2] or " ") * int(files[0]) > _LARGEST_LOG:
        raise ValueError("needs max-size and max-file that allow 1 GiB at most")


class LogTo(Strict):
    Type: Literal["json-file", "local"]
    Config: LogOptions | None = None

    @model_validator(mode="after")
    def _bounded(self) -> LogTo:
        limited_log(self.Type, self.Config)
        return self


class NoCheck(Strict):
    """No health check: the engine would run its command again and again."""

    Test: Annotated[list[Literal["NONE"]], Field(min_length=1, max_length=1)]
    Interval: Forbidden = None
    Timeout: Forbidden = None
    Retries: Forbidden = None
    StartPeriod: Forbidden = None
    StartInterval: Forbidden = None


class NoRestart(Strict):
    Name: Literal["", "no"] = ""
    MaximumRetryCount: Forbidden = None


class Storage(Strict):
    size: Annotated[str, Field(pattern=r"^[0-9]+[kKmMgGtT]?[bB]?$")]


class ServerHost(Strict):
    """A server's HostConfig."""

    NetworkMode: str
    CapDrop: AllDropped
    SecurityOpt: NoNewPrivileges
    Binds: list[str] | None = None
    Mounts: list[Mount] | None = None
    Tmpfs: dict[Path, Annotated[str, Field(pattern=r"^[a-z0-9=,]*$")]] | None = None
    DeviceRequests: list[Gpu] | None = None
    Memory: Count | None = None
    MemorySwap: Annotated[int, Field(ge=-1)] | None = None
    MemoryReservation: Count | None = None
    MemorySwappiness: Annotated[int, Field(ge=0, le=100)] | None = None
    CpuPeriod: Count | None = None
    CpuQuota: Count | None = None
    CpuShares: Count | None = None
    NanoCpus: Count | None = None
    CpusetCpus: Cores | None = None
    CpusetMems: Cores | None = None
    BlkioWeight: Annotated[int, Field(ge=0, le=1000)] | None = None
    PidsLimit: Annotated[int, Field(ge=-1)] | None = None
    ShmSize: Count | None = None
    OomScoreAdj: Annotated[int, Field(ge=0, le=1000)] | None = None
    Ulimits: list[Ulimit] | None = None
    StorageOpt: Storage | None = None
    LogConfig: LogTo | None = None
    Init: bool | None = None
    ReadonlyRootfs: bool | None = None
    IpcMode: Literal["", "none", "private"] | None = None
    CgroupnsMode: Literal["", "private"] | None = None
    RestartPolicy: NoRestart | None = None
    GroupAdd: list[Annotated[str, Field(pattern=r"^[0-9]+$")]] | None = None
    Dns: list[str] | None = None
    DnsOptions: list[str] | None = None
    DnsSearch: list[str] | None = None
    ExtraHosts: list[str] | None = None
    VolumeDriver: Literal["", "local"] | None = None
    AutoRemove: Forbidden = None
    CapAdd: Forbidden = None
    Devices: Forbidden = None
    Links: Forbidden = None
    PortBindings: Forbidden = None
    Privileged: Forbidden = None
    PublishAllPorts: Forbidden = None


class Networking(Strict):
    EndpointsConfig: dict[str, Empty | None] | None = None


class _Config(Strict):
    """What docker-py sends of every container."""

    Image: str
    Env: list[str] | None = None
    ExposedPorts: dict[Port, Empty] | None = None
    Volumes: dict[Path, Empty] | None = None
    StopSignal: Annotated[str, Field(pattern=r"^[A-Z0-9+]*$")] | None = None
    StopTimeout: Annotated[int, Field(ge=0, le=LONGEST_STOP)] | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    AttachStdin: Forbidden = None
    Domainname: Forbidden = None
    Healthcheck: NoCheck | None = None
    # Others on its network would find it by that name, where they look for the hub.
    Hostname: Forbidden = None
    MacAddress: Forbidden = None
    NetworkDisabled: Forbidden = None
    OpenStdin: Forbidden = None
    Runtime: Forbidden = None
    StdinOnce: Forbidden = None
    Tty: Forbidden = None


class Server(_Config):
    """The container of a user's server."""

    Labels: OwnLabels | None = None
    HostConfig: ServerHost
    NetworkingConfig: Networking | None = None
    Cmd: list[str] | None = None
    Entrypoint: list[str] | None = None
    User: str | None = None
    WorkingDir: Folder | None = None


class HelperOptions(Strict):
    NoCopy: Literal[True]


def _helpers_mount(value: str) -> str:
    if value != HELPER_MOUNT:
        raise ValueError(f"has to be {HELPER_MOUNT}")
    return value


class HelperMount(Strict):
    Target: Annotated[str, AfterValidator(_helpers_mount)]
    Source: EngineName
    Type: Literal["volume"]
    ReadOnly: Forbidden = None
    VolumeOptions: HelperOptions


class HelperHost(Strict):
    NetworkMode: Literal["none"]
    CapDrop: AllDropped
    CapAdd: list[Literal["CHOWN", "DAC_OVERRIDE"]]
    SecurityOpt: NoNewPrivileges
    Mounts: Annotated[list[HelperMount], Field(min_length=1, max_length=1)]


def _helps(value: list[str]) -> list[str]:
    sh, option, script, zero, owner, target, skeleton = value
    if (sh, option, zero) != ("sh", "-c", "sh") or hashlib.sha256(script.encode()).hexdigest() != HELPER_SCRIPT:
        raise ValueError("is not the script that prepares volumes")
    if not re.fullmatch(r"\d+(:\d+)?", owner, re.ASCII):
        raise ValueError("has no uid and gid")
    _helpers_mount(target)
    container_path(skeleton or "/")
    return value


class Helper(_Config):
    """The container that prepares one new volume, once, and can do nothing else."""

    Labels: OwnLabels
    Env: Forbidden = None
    HostConfig: HelperHost
    NetworkingConfig: Forbidden = None
    Cmd: Forbidden = None
    Entrypoint: Annotated[list[str], Field(min_length=7, max_length=7), AfterValidator(_helps)]
    User: Literal["0:0"]
    WorkingDir: Literal["/"]


class Volume(Strict):
    Name: EngineName
    Driver: str | None = None
    DriverOpts: dict[str, str] | None = None
    Labels: OwnLabels | None = None


class Pool(Strict):
    Subnet: Annotated[str, AfterValidator(_private)]
    IPRange: Forbidden = None
    Gateway: Forbidden = None
    AuxiliaryAddresses: Forbidden = None


class Ipam(Strict):
    Driver: Literal["default"] | None = None
    Config: Annotated[list[Pool], Field(min_length=1, max_length=1)]
    Options: Forbidden = None


class NetworkOptions(Strict):
    icc: Literal["false"] = Field(alias="com.docker.network.bridge.enable_icc")


class Network(Strict):
    """A network of one server's own, which is internal; or the one way to the internet, on which none sees another."""

    Name: EngineName
    Driver: Literal["bridge"]
    IPAM: Ipam
    Labels: OwnLabels
    Internal: Literal[True] | None = None
    Options: NetworkOptions | None = None
    CheckDuplicate: bool | None = None


def _link_local(value: Ipam) -> Ipam:
    if value.Config[0].Subnet != "169.254.0.0/16":
        raise ValueError("has to be 169.254.0.0/16")
    return value


class DeadEndOptions(NetworkOptions):
    inhibited: Literal["true"] = Field(alias="com.docker.network.bridge.inhibit_ipv4")


class DeadEnd(Strict):
    """The network that keeps servers from link-local addresses (`dockerspawner._networks.link_local`).

    All hubs share it.
    """

    Name: Literal["link-local.dockyard"]
    Driver: Literal["bridge"]
    IPAM: Annotated[Ipam, AfterValidator(_link_local)]
    Internal: Literal[True]
    Options: DeadEndOptions
    CheckDuplicate: bool | None = None


class Endpoint(Strict):
    Aliases: list[EngineName] | None = None
    IPAMConfig: Forbidden = None
    Links: Forbidden = None
    DriverOpts: Forbidden = None


class Connect(Strict):
    Container: EngineName
    EndpointConfig: Endpoint | None = None


class Disconnect(Strict):
    Container: EngineName
    Force: bool | None = None


class Exec(Strict):
    Cmd: list[str]
    Container: EngineName | None = None
    User: str | None = None
    Env: list[str] | None = None
    WorkingDir: Path | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    AttachStdin: Forbidden = None
    Privileged: Forbidden = None
    Tty: Forbidden = None


class ExecStart(Strict):
    Detach: Forbidden = None
    Tty: Forbidden = None
