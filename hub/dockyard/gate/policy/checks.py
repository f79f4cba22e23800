"""What a body may say beyond its form: names, images, mounts, networks, as the settings allow them.

Each function gives the body anew, with the owner's label on it, and what the engine still has to be asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dockyard.gate.policy import models, services
from dockyard.gate.policy.allowed import Allowed
from dockyard.gate.strict import Json, Refused

INSTANCE, HELPER = "dockyard.instance", "dockyard.helper"
# Of all hubs (dockerspawner._networks.link_local). It leads nowhere.
DEAD_END = "link-local.dockyard"
DEAD_OVERLAY = "dockyard-link-local"
# The largest subnets that networks have (dockerspawner._networks.subnets): the pool is other kits', too.
USERS_PREFIX, EGRESS_PREFIX = 29, 22

Model = TypeVar("Model", bound=BaseModel)
# Modes of a bind of a volume, and of a path of the host, where z and Z would change labels of the host's files.
_MODES = {"rw", "ro", "z", "nocopy"}
_MODES_OF_PATHS = {"rw", "ro"}
_PROPAGATIONS = {"private", "rprivate", "slave", "rslave"}
_NO_GPUS = "which servers have only if GPUS or a profile gives them."
# Variables that NVIDIA's runtime ignores: the key of a web service.
_NOT_OF_THE_RUNTIME = {"NVIDIA_API_KEY"}


@dataclass
class WriteCall:
    """A body that may be sent if the engine shows that its volumes, networks and secrets are the kit's."""

    body: Json
    volumes: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)


def read(model: type[Model], given: Json) -> Model:
    """Parse `given` as a model. Raises Refused with the first invalid field."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200] or model.__name__
        if first["type"] == "extra_forbidden":
            said = "is not among what a hub may ask for"
        elif first["type"] == "missing":
            said = "is missing"
        else:
            said = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise Refused(f"{where} {said}.") from None


def name(allowed: Allowed, text: str, what: str) -> str:
    """The name of something that the hub makes."""
    if not re.fullmatch(rf"{re.escape(allowed.project)}-[A-Za-z0-9_.-]{{1,200}}", text, re.ASCII):
        raise Refused(
            f"A {what} can't have the name {text[:255]!r}: a name must begin with COMPOSE_PROJECT_NAME and a "
            f"hyphen ({allowed.project}-), and at most 200 characters may follow."
        )
    return text


def container(allowed: Allowed, given: Json) -> WriteCall:
    if owner(given.get("Labels"), HELPER):
        return _helper(allowed, given)
    server = read(models.Server, given)
    host = server.HostConfig
    order = WriteCall(server.model_dump(exclude_unset=True))
    _image(allowed, server.Image)
    order.body["Labels"] = _labelled(allowed, server.Labels or {}, INSTANCE)
    mounts = [*(host.Mounts or ()), *map(_bind, host.Binds or ())]
    order.body["HostConfig"]["Binds"] = []
    order.body["HostConfig"]["Mounts"] = [_mount(allowed, mount, order) for mount in mounts]
    if host.LogConfig is None:
        order.body["HostConfig"]["LogConfig"] = {"Type": models.LOG_DRIVER, "Config": models.LOG_OPTIONS}
    if host.DeviceRequests and not allowed.gpus:
        raise Refused(f"DeviceRequests asks for GPUs, {_NO_GPUS}")
    _no_hidden_gpus(allowed, server.Env)
    allowed.limits.check_container(host)
    networks = (server.NetworkingConfig and server.NetworkingConfig.EndpointsConfig) or {}
    order.networks = {_network(one) for one in (host.NetworkMode, *networks)} - {DEAD_END}
    return order


def _helper(allowed: Allowed, given: Json) -> WriteCall:
    helper = read(models.Helper, given)
    order = WriteCall(helper.model_dump(exclude_unset=True))
    _image(allowed, helper.Image)
    order.body["Labels"] = _labelled(allowed, helper.Labels, HELPER)
    (mount,) = helper.HostConfig.Mounts
    _volume(allowed, mount.Source, order)
    order.body["HostConfig"]["Mounts"][0]["VolumeOptions"]["Labels"] = {INSTANCE: allowed.project}
    return order


def volume(allowed: Allowed, given: Json) -> WriteCall:
    made = read(models.Volume, given)
    order = WriteCall(made.model_dump(exclude_unset=True))
    _volume(allowed, made.Name, order)
    _driver(allowed, made.Driver, made.DriverOpts)
    order.body["Labels"] = _labelled(allowed, made.Labels or {}, INSTANCE)
    return order


def network(allowed: Allowed, given: Json) -> WriteCall:
    if given.get("Name") == DEAD_END:
        return WriteCall(read(models.DeadEnd, given).model_dump(exclude_unset=True, by_alias=True))
    made = read(models.Network, given)
    name(allowed, made.Name, "network")
    if bool(made.Internal) == bool(made.Options):
        raise Refused("A network has to be internal, or have com.docker.network.bridge.enable_icc=false.")
    subnet = IPv4Network(made.IPAM.Config[0].Subnet)
    if subnet.prefixlen < (least := USERS_PREFIX if made.Internal else EGRESS_PREFIX):
        raise Refused(f"Subnet {subnet} is larger than /{least}, which is what such a network takes.")
    if not any(subnet.subnet_of(pool) for pool in allowed.pool):
        pool = ", ".join(map(str, allowed.pool))
        raise Refused(
            f"Subnet {subnet} is not in the pool {pool}."
            if pool
            else "Servers have no networks of their own: NETWORK_ISOLATION is shared."
        )
    order = WriteCall(made.model_dump(exclude_unset=True, by_alias=True))
    order.body["Labels"] = _labelled(allowed, made.Labels, INSTANCE)
    return order


def service(allowed: Allowed, given: Json) -> WriteCall:
    made = read(services.Service, given)
    name(allowed, made.Name, "service")
    order = WriteCall(made.model_dump(exclude_unset=True))
    inside = made.TaskTemplate.ContainerSpec
    _image(allowed, inside.Image)
    order.body["Labels"] = _labelled(allowed, made.Labels, INSTANCE)
    order.body["TaskTemplate"]["ContainerSpec"]["Labels"] = _labelled(allowed, inside.Labels, INSTANCE)
    for text in inside.Env or ():
        if "{{" in text:
            raise Refused(f"{text.partition('=')[0][:200]} in Env has a template in it, which its node would fill in.")
    for mount in inside.Mounts or ():
        if "{{" in mount.model_dump_json():
            raise Refused(f"The mount at {mount.Target[:200]} has a template in it, which its node would fill in.")
    if inside.Mounts:
        mounts = [_mount(allowed, mount, order) for mount in inside.Mounts]
        order.body["TaskTemplate"]["ContainerSpec"]["Mounts"] = mounts
    if made.TaskTemplate.LogDriver is None:
        order.body["TaskTemplate"]["LogDriver"] = {"Name": models.LOG_DRIVER, "Options": models.LOG_OPTIONS}
    reserved = made.TaskTemplate.Resources and made.TaskTemplate.Resources.Reservations
    if reserved and reserved.GenericResources and not allowed.gpus:
        raise Refused(f"GenericResources asks for GPUs, {_NO_GPUS}")
    _no_hidden_gpus(allowed, inside.Env)
    allowed.limits.check_service(made.TaskTemplate.Resources)
    # A node makes them, or has them: nobody here can be asked whose they are.
    order.volumes.clear()
    order.networks = {attachment.Target for attachment in made.TaskTemplate.Networks} - {DEAD_OVERLAY}
    order.secrets = {secret.SecretID for secret in inside.Secrets or ()}
    return order


def secret(allowed: Allowed, given: Json) -> WriteCall:
    made = read(services.Secret, given)
    name(allowed, made.Name, "secret")
    order = WriteCall(made.model_dump(exclude_unset=True))
    order.body["Labels"] = _labelled(allowed, made.Labels, INSTANCE)
    return order


def pulled(allowed: Allowed, repository: str, version: str) -> dict[str, str]:
    """The query of a pull."""
    image = f"{repository}{'@' if ':' in version else ':'}{version}"
    if not version or ":" in repository.rpartition("/")[2] or "@" in repository:
        raise Refused("A pull names a repository, and one tag or digest of it.")
    _image(allowed, image)
    return {"fromImage": repository, "tag": version}


def _no_hidden_gpus(allowed: Allowed, environment: Iterable[str] | None) -> None:
    """Refuse variables with which NVIDIA's runtime gives GPUs. `void` only removes those that an image asks for."""
    if allowed.gpus:
        return
    for text in environment or ():
        name, _, value = text.partition("=")
        is_known = name in _NOT_OF_THE_RUNTIME or (name, value) == ("NVIDIA_VISIBLE_DEVICES", "void")
        if name.upper().startswith("NVIDIA_") and not is_known:
            raise Refused(f"{name[:200]} in Env asks NVIDIA's runtime for GPUs, {_NO_GPUS}")


def _image(allowed: Allowed, image: str) -> None:
    if not allowed.image(image):
        raise Refused(
            f"Image {image[:200]} is none of NOTEBOOK_IMAGE, ALLOWED_IMAGES and PROFILES_FILE: add it to one of them."
        )


def _labelled(allowed: Allowed, labels: Mapping[str, str], owner: str) -> dict[str, str]:
    """The labels, with the owner's, whatever they said of it; and never both kinds."""
    other = HELPER if owner == INSTANCE else INSTANCE
    if labels.get(owner, allowed.project) != allowed.project or other in labels:
        raise Refused(f"Labels.{owner} has to be {allowed.project}, the kit's own name.")
    return {**labels, owner: allowed.project}


def _bind(text: str) -> models.Mount:
    """Convert a bind to a mount: a mount of a volume can have labels, and one of a path does not create the path."""
    source, target, mode = (*text.split(":", 2), "rw")[:3] if ":" in text else ("", "", "")
    try:
        models.container_path(target)
    except ValueError:
        raise Refused(f"HostConfig.Binds has {text[:200]!r}, not of the form source:/target:mode.") from None
    try:
        models.mount_target(target)
    except ValueError as error:
        raise Refused(f"HostConfig.Binds has {text[:200]!r}, whose target {error}.") from None
    modes, is_path = set(mode.split(",")), source.startswith("/")
    propagations = modes & _PROPAGATIONS if is_path else set()
    unknown = modes - propagations - (_MODES_OF_PATHS if is_path else _MODES)
    if unknown or len(propagations) > 1:
        raise Refused(f"HostConfig.Binds has the mode {mode[:50]!r}, which users' servers may not have.")
    given: Json = {"Target": target, "Source": source, "Type": "bind", "ReadOnly": "ro" in modes}
    if propagations:
        given["BindOptions"] = {"Propagation": propagations.pop()}
    if not is_path:
        given |= {"Type": "volume", "VolumeOptions": {"NoCopy": "nocopy" in modes}}
    return read(models.Mount, given)


def _mount(allowed: Allowed, mount: models.Mount, order: WriteCall) -> Json:
    """The mount anew. A volume that the engine makes for it has the owner's label: without, it would be anybody's."""
    options = {"bind": mount.BindOptions, "volume": mount.VolumeOptions, "tmpfs": mount.TmpfsOptions}
    if any(given for kind, given in options.items() if kind != mount.Type):
        raise Refused(f"The mount at {mount.Target[:200]} has options of another type than {mount.Type}.")
    sent = mount.model_dump(exclude_unset=True)
    if mount.Type == "bind":
        _host_path(allowed, mount)
    elif mount.Type == "tmpfs":
        if mount.Source:
            raise Refused(f"The mount at {mount.Target[:200]} is in memory and has a source.")
    else:
        of_volume = mount.VolumeOptions or models.OfVolume()
        if driver := of_volume.DriverConfig:
            _driver(allowed, driver.Name, driver.Options)
        if mount.Source:
            _volume(allowed, mount.Source, order)
        labels = _labelled(allowed, of_volume.Labels or {}, INSTANCE)
        sent["VolumeOptions"] = {**(sent.get("VolumeOptions") or {}), "Labels": labels}
    return sent


def _host_path(allowed: Allowed, mount: models.Mount) -> None:
    path = mount.Source or ""
    if allowed.bind(path):
        return
    if not allowed.bind(path, read_only=True):
        raise Refused(f"Path {path[:200]} of the host is not among BIND_PATHS: add it there.")
    if not mount.ReadOnly:
        raise Refused(f"BIND_PATHS allows path {path[:200]} of the host read-only: mount it with the mode ro.")
    if mount.BindOptions and mount.BindOptions.Propagation not in (None, "rprivate"):
        raise Refused(
            f"BIND_PATHS allows path {path[:200]} of the host read-only. With the propagation "
            f"{mount.BindOptions.Propagation}, later mounts of the host could be writable there: remove it."
        )


def _volume(allowed: Allowed, volume: str, order: WriteCall) -> None:
    if not allowed.volume(volume):
        raise Refused(
            f"Volume {volume[:200]} is not called as HOME_VOLUME or a profile says, and does not begin with "
            f"{allowed.project}-: call it so."
        )
    order.volumes.add(volume)


def _driver(allowed: Allowed, driver: str | None, options: Mapping[str, str] | None) -> None:
    if not allowed.driver(driver or "", options or {}):
        raise Refused(
            f"A volume of driver {driver or 'local'} with options {', '.join(sorted(options or ())) or 'none'} is not "
            "in HOME_DRIVER and HOME_DRIVER_OPTS: such a volume could contain any file of the host."
        )


def _network(text: str) -> str:
    if text in ("default", "bridge", "host", "none") or not models.ENGINE_NAME.fullmatch(text):
        raise Refused(f"HostConfig.NetworkMode or a network is {text!r}: servers are on the kit's own networks.")
    return text


def names_of_ours(allowed: Allowed, labels: Iterable[str]) -> bool:
    """Does a label filter let through nothing but what is the hub's own?"""
    return bool({f"{INSTANCE}={allowed.project}", f"{HELPER}={allowed.project}"}.intersection(labels))


def owner(labels: Any, *names: str) -> str:
    """Whose the thing with these labels is, empty where it is nobody's."""
    found = labels if isinstance(labels, dict) else {}
    return next((str(found[name]) for name in names or (INSTANCE, HELPER) if found.get(name)), "")
