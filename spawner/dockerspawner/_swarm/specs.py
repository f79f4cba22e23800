"""Settings in, keyword arguments of create_service out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docker.types import (
    ContainerSpec,
    EndpointSpec,
    Mount,
    Placement,
    Resources,
    RestartPolicy,
    TaskTemplate,
    Ulimit,
)

from dockerspawner._settings.sdk_keys import Mistake, build
from dockerspawner._start.specs import as_dict, merge
from dockerspawner._storage.mounts import Mounted, as_mounts, layered

BILLION = 1_000_000_000


@dataclass(frozen=True)
class Service:
    """All that the service of one server is made of.

    Memory is in bytes; processors may be fractions. `network`, the first of `networks`, is the one by which the hub
    reaches the server; where there is none, or `publish`, its port is published by the node. `node` is the id of the
    one that the server has to be on, empty where any will do. The `extra_...` are keyword arguments of the SDK's
    classes of these names, and have the last word; `extra_resources` also takes `pids_limit`, and
    `extra_container` takes `ulimits`.
    """

    image: str
    name: str
    command: list[str] | None
    environment: dict[str, str]
    port: int
    networks: list[str] = field(default_factory=list)
    publish: bool = False
    mounts: list[Mount] = field(default_factory=list)
    secrets: list[Mapping[str, Any]] = field(default_factory=list)
    mem_limit: int | None = None
    cpu_limit: float | None = None
    mem_guarantee: int | None = None
    cpu_guarantee: float | None = None
    generic_resources: dict[str, int] = field(default_factory=dict)
    stop_timeout: int | None = None
    node: str = ""
    extra_container: dict[str, Any] = field(default_factory=dict)
    extra_resources: dict[str, Any] = field(default_factory=dict)
    extra_placement: dict[str, Any] = field(default_factory=dict)
    extra_task: dict[str, Any] = field(default_factory=dict)
    extra_endpoint: dict[str, Any] = field(default_factory=dict)
    extra_create: dict[str, Any] = field(default_factory=dict)


def service(server: Service) -> dict[str, Any]:
    """Keyword arguments of create_service.

    One task, which the swarm never starts again: the hub starts servers. Its name resolves to the task's own address.
    """
    task: dict[str, Any] = {
        "container_spec": _container(server),
        "resources": _resources(server),
        "placement": _placement(server),
        "restart_policy": RestartPolicy(condition="none"),
        "networks": server.networks,
        **server.extra_task,
    }
    spec: dict[str, Any] = {
        "task_template": build(TaskTemplate, "extra_task_spec", task, server.extra_task),
        "name": server.name,
        "endpoint_spec": _endpoint(server),
    }
    spec = merge(spec, server.extra_create)
    container = spec["task_template"]["ContainerSpec"]
    if mounts := _mounts(server, container.get("Mounts")):
        container = {**container, "Mounts": mounts}
    return {**spec, "task_template": {**spec["task_template"], "ContainerSpec": container}}


def _mounts(server: Service, extra: Any) -> list[Mapping[str, Any]]:
    """Merge the server's mounts with `extra` ones. If two have the same target, the extra one counts."""
    return [*layered(Mounted(mounts=server.mounts), Mounted(mounts=as_mounts(extra))).mounts]


def _container(server: Service) -> ContainerSpec:
    given: dict[str, Any] = {
        "image": server.image,
        "args": server.command,
        "env": server.environment,
        # The swarm would hold a server back until it is healthy, and end one that is too busy to answer.
        "healthcheck": {"Test": ["NONE"]},
    }
    if server.stop_timeout is not None:
        given["stop_grace_period"] = server.stop_timeout * BILLION
    extra = dict(server.extra_container)
    if isinstance(extra.get("env"), Mapping | list | tuple):
        extra["env"] = {**server.environment, **as_dict(extra["env"])}
    if "labels" in extra:
        extra["labels"] = as_dict(extra["labels"])
    # Added instead of replaced: the user's home and keys are among the server's mounts.
    if mounts := _mounts(server, extra.pop("mounts", None)):
        given["mounts"] = mounts
    if secrets := [*server.secrets, *(extra.pop("secrets", None) or [])]:
        given["secrets"] = secrets
    ulimits = extra.pop("ulimits", None)
    made: ContainerSpec = build(ContainerSpec, "extra_container_spec", {**given, **extra}, extra)
    if ulimits:
        # The SDK's ContainerSpec lacks these limits.
        made["Ulimits"] = build(_ulimits, "extra_container_spec", {"ulimits": ulimits}, {"ulimits": ulimits})
    return made


def _ulimits(ulimits: Any) -> list[Ulimit]:
    return [one if isinstance(one, Ulimit) else Ulimit(**one) for one in ulimits]


def _resources(server: Service) -> Resources:
    extra = dict(server.extra_resources)
    pids = extra.pop("pids_limit", None)
    given = {
        "mem_limit": server.mem_limit,
        "cpu_limit": _nano(server.cpu_limit),
        "mem_reservation": server.mem_guarantee,
        "cpu_reservation": _nano(server.cpu_guarantee),
        "generic_resources": server.generic_resources or None,
    }
    for key in ("mem_limit", "mem_reservation", "cpu_limit", "cpu_reservation"):
        if isinstance(extra.get(key), str):
            raise Mistake(
                f'Wrong value {extra[key]!r} for "{key}" in the setting extra_resources_spec: it takes a number'
            )
    resources: Resources = build(Resources, "extra_resources_spec", {**given, **extra}, extra)
    if pids:
        # The SDK knows of no such limit.
        resources.setdefault("Limits", {})["Pids"] = pids
    return resources


def _placement(server: Service) -> Placement:
    extra = dict(server.extra_placement)
    constraints = list(extra.pop("constraints", None) or [])
    if server.node:
        constraints.append(f"node.id=={server.node}")
    given = {"constraints": constraints or None, **extra}
    placement: Placement = build(Placement, "extra_placement_spec", given, extra)
    return placement


def _endpoint(server: Service) -> EndpointSpec:
    endpoint: dict[str, Any] = {}
    # The swarm's routing mesh needs the endpoint mode vip.
    if "ports" not in server.extra_endpoint:
        # A virtual IP would close idle websockets, and needs IPVS in the kernel.
        endpoint["mode"] = "dnsrr"
        if server.publish:
            endpoint["ports"] = [{"TargetPort": server.port, "Protocol": "tcp", "PublishMode": "host"}]
    given = {**endpoint, **server.extra_endpoint}
    made: EndpointSpec = build(EndpointSpec, "extra_endpoint_spec", given, server.extra_endpoint)
    return made


def _nano(processors: float | None) -> int | None:
    return None if processors is None else int(processors * BILLION)
