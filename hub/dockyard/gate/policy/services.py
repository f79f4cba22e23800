"""What SwarmSpawner sends, in the engine's own spelling. A field that is not here is refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dockyard.gate.policy.models import (
    LONGEST_STOP,
    AllDropped,
    Count,
    EngineName,
    Folder,
    Forbidden,
    LogOptions,
    Mount,
    NoCheck,
    OwnLabels,
    Strict,
    Ulimit,
    limited_log,
    mount_target,
)

_BILLION = 10**9


def _secrets_file(value: str) -> str:
    """Check the path of a secret. A node puts a relative path below /run/secrets."""
    mount_target(value if value.startswith("/") else f"/run/secrets/{value}")
    return value


class SecretFile(Strict):
    Name: Annotated[str, AfterValidator(_secrets_file)]
    UID: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None
    GID: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None
    Mode: Count | None = None


class SecretReference(Strict):
    SecretID: EngineName
    SecretName: EngineName
    File: SecretFile


class NothingNew(Strict):
    NoNewPrivileges: Literal[True]
    CredentialSpec: Forbidden = None
    SELinuxContext: Forbidden = None


class Resolvers(Strict):
    Nameservers: list[str]


class TaskContainer(Strict):
    Image: str
    Labels: OwnLabels
    CapabilityDrop: AllDropped
    Privileges: NothingNew
    Command: list[str] | None = None
    Args: list[str] | None = None
    Env: list[str] | None = None
    Dir: Folder | None = None
    User: str | None = None
    Groups: list[Annotated[str, Field(pattern=r"^[0-9]+$")]] | None = None
    Mounts: list[Mount] | None = None
    Secrets: list[SecretReference] | None = None
    StopSignal: Annotated[str, Field(pattern=r"^[A-Z0-9+]*$")] | None = None
    StopGracePeriod: Annotated[int, Field(ge=0, le=LONGEST_STOP * _BILLION)] | None = None
    Hosts: list[str] | None = None
    DNSConfig: Resolvers | None = None
    Healthcheck: NoCheck | None = None
    ReadOnly: bool | None = None
    Init: bool | None = None
    Ulimits: list[Ulimit] | None = None
    Hostname: Forbidden = None
    TTY: Forbidden = None
    OpenStdin: Forbidden = None
    CapabilityAdd: Forbidden = None


class Discrete(Strict):
    Kind: EngineName
    Value: Count


class GenericResource(Strict):
    DiscreteResourceSpec: Discrete


class Most(Strict):
    NanoCPUs: Count | None = None
    MemoryBytes: Count | None = None
    Pids: Count | None = None


class Least(Strict):
    NanoCPUs: Count | None = None
    MemoryBytes: Count | None = None
    GenericResources: list[GenericResource] | None = None


class Sizes(Strict):
    Limits: Most | None = None
    Reservations: Least | None = None


class Where(Strict):
    Constraints: list[str] | None = None
    Preferences: list[dict[Literal["Spread"], dict[Literal["SpreadDescriptor"], str]]] | None = None


class NoRestart(Strict):
    Condition: Literal["none"]
    Delay: Literal[0] | None = None
    MaxAttempts: Literal[0] | None = None
    Window: Literal[0] | None = None


class LogTo(Strict):
    Name: Literal["json-file", "local"]
    Options: LogOptions | None = None

    @model_validator(mode="after")
    def _bounded(self) -> LogTo:
        limited_log(self.Name, self.Options)
        return self


class Attachment(Strict):
    Target: EngineName


class Task(Strict):
    ContainerSpec: TaskContainer
    RestartPolicy: NoRestart
    Networks: Annotated[list[Attachment], Field(min_length=1)]
    Resources: Sizes | None = None
    Placement: Where | None = None
    LogDriver: LogTo | None = None


class Endpoint(Strict):
    Mode: Literal["dnsrr"]
    Ports: Forbidden = None


class Service(Strict):
    """The service of a user's server: one task, which the swarm never starts again."""

    Name: EngineName
    Labels: OwnLabels
    TaskTemplate: Task
    EndpointSpec: Endpoint
    Mode: Forbidden = None
    Networks: Forbidden = None


class Secret(Strict):
    Name: EngineName
    Labels: OwnLabels
    Data: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
