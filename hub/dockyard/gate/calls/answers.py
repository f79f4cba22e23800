"""What a hub is told: all of what is its own, of other things what it needs, of everything else nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dockyard.gate.policy.allowed import Allowed
from dockyard.gate.policy.checks import owner
from dockyard.gate.strict import Json

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
# The kit's own containers that are attached to users' networks.
ATTACHED = ("hub", "proxy")


def is_ours(allowed: Allowed, labels: Any) -> bool:
    return owner(labels) == allowed.project


def is_attached(allowed: Allowed, labels: Any) -> bool:
    """Is it the kit's hub or proxy?"""
    found = labels if isinstance(labels, dict) else {}
    return found.get(PROJECT) == allowed.project and found.get(SERVICE) in ATTACHED


def is_foreign(labels: Any) -> bool:
    """Does it say that it is somebody's? What says nothing may be what a hub has had before there was a gate."""
    found = labels if isinstance(labels, dict) else {}
    return bool(owner(found)) or any(name.startswith(("com.docker.compose.", "com.docker.stack.")) for name in found)


def _kept(whole: Any, *names: str) -> Json:
    found = whole if isinstance(whole, dict) else {}
    return {name: found[name] for name in names if name in found}


def kits_container(inspected: Json) -> Json:
    """Of the hub and the proxy: by what they are known, and where they are. Their environment has secrets."""
    config = inspected.get("Config") or {}
    labels = _kept(config.get("Labels"), PROJECT, SERVICE)
    return {
        **_kept(inspected, "Id", "Name", "State"),
        "Config": {**_kept(config, "Hostname"), "Labels": labels},
        "HostConfig": _kept(inspected.get("HostConfig"), "NetworkMode"),
        "NetworkSettings": _kept(inspected.get("NetworkSettings"), "Networks"),
        "Mounts": [],
    }


def listed(allowed: Allowed, container: Json) -> Json | None:
    """A container of the kit as a list tells of it; None where the hub need not know."""
    labels = container.get("Labels")
    if is_ours(allowed, labels):
        return container
    if not is_attached(allowed, labels):
        return None
    kept = _kept(container, "Id", "Names", "State", "Status", "NetworkSettings")
    return {**kept, "Labels": _kept(labels, PROJECT, SERVICE)}


def event(allowed: Allowed, known: Collection[str], told: Json) -> Json | None:
    """An event as the hub may hear it; None where it may not. `known` has ids of the hub's own containers."""
    actor = told.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    if told.get("Type") == "container":
        if is_ours(allowed, attributes):
            return told
        if not is_attached(allowed, attributes):
            return None
        attributes = _kept(attributes, "name", PROJECT, SERVICE)
    elif told.get("Type") == "network":
        # It has no label of the container that has joined or left.
        if attributes.get("container") not in known:
            return None
        attributes = _kept(attributes, "container")
    elif told.get("Type") == "service":
        if not str(attributes.get("name", "")).startswith(f"{allowed.project}-"):
            return None
        attributes = _kept(attributes, "name")
    elif told.get("Type") == "node":
        attributes = {key: value for key, value in attributes.items() if key.startswith(("state.", "availability."))}
    else:
        return None
    about = _kept(told, "Type", "time", "timeNano", "scope")
    # What follows is a command's text.
    action = str(told.get("Action", "")).partition(":")[0]
    return {**about, "Action": action, "Actor": {"ID": actor.get("ID", ""), "Attributes": attributes}}


def network(allowed: Allowed, listed: Json) -> Json:
    """A listed network: of others', which addresses are taken."""
    if is_ours(allowed, listed.get("Labels")) or listed.get("Name") == allowed.users_network:
        return listed
    pools = [_kept(pool, "Subnet") for pool in (listed.get("IPAM") or {}).get("Config") or ()]
    return {"Name": "", "Id": "", "Labels": {}, "IPAM": {"Config": pools}}


def node(inspected: Json) -> Json:
    return {
        **_kept(inspected, "ID", "UpdatedAt"),
        "Description": _kept(inspected.get("Description"), "Hostname"),
        "Spec": _kept(inspected.get("Spec"), "Role", "Availability"),
        "Status": _kept(inspected.get("Status"), "State", "Addr"),
    }


def info(told: Json) -> Json:
    """How large the machine is, and whether it is of a swarm."""
    swarm = _kept(told.get("Swarm"), "NodeID", "LocalNodeState", "ControlAvailable")
    return {**_kept(told, "ID", "ServerVersion", "OSType", "Architecture", "NCPU", "MemTotal"), "Swarm": swarm}


def labels_of_task(task: Json) -> Any:
    return ((task.get("Spec") or {}).get("ContainerSpec") or {}).get("Labels")
