"""Descriptions of request bodies for the gate's log. They omit environments, which contain users' tokens."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from dockyard.gate.strict import Json

# Maximum characters of a text, and maximum number of mounts.
_LONGEST, _MOST = 300, 50


def container(body: Json) -> Json:
    """Return a container's image, user, mounts and command."""
    host = body.get("HostConfig") or {}
    mounts = [
        *map(_mount, host.get("Mounts") or ()),
        *(f"tmpfs:{target}" for target in host.get("Tmpfs") or {}),
        *(f":{target}" for target in body.get("Volumes") or {}),
    ]
    return _server(body, body.get("Labels"), body.get("User"), mounts, [body.get("Entrypoint"), body.get("Cmd")])


def service(body: Json) -> Json:
    """Return the same of a service, with its name."""
    inside = body["TaskTemplate"]["ContainerSpec"]
    mounts = [
        *map(_mount, inside.get("Mounts") or ()),
        *(f"secret:{one['File']['Name']}" for one in inside.get("Secrets") or ()),
    ]
    command = [inside.get("Command"), inside.get("Args")]
    return thing(body) | _server(inside, body.get("Labels"), inside.get("User"), mounts, command)


def command(body: Json) -> Json:
    """Return the user and the command's hash of a process in a server."""
    return _cut({"uid": body.get("User") or "", "command": digest([None, body.get("Cmd")])})


def thing(body: Json) -> Json:
    """Return the name and the user of a network, a volume or a secret."""
    return _cut({"name": body.get("Name") or "", "user": (body.get("Labels") or {}).get("dockyard.user", "")})


def digest(command: list[Any]) -> str:
    """Return the SHA-256 of a JSON array of entrypoint and arguments, which may contain secrets."""
    return hashlib.sha256(json.dumps(command).encode()).hexdigest()


def _server(inside: Json, labels: Any, uid: Any, mounts: list[str], command: list[Any]) -> Json:
    found = {
        "image": inside.get("Image") or "",
        "user": (labels or {}).get("dockyard.user", ""),
        "uid": uid or "",
        "mounts": [mount[:_LONGEST] for mount in mounts[:_MOST]],
        "command": digest(command),
    }
    return _cut(found | ({"more mounts": len(mounts) - _MOST} if len(mounts) > _MOST else {}))


def _mount(mount: Json) -> str:
    source = mount.get("Source") or ("tmpfs" if mount["Type"] == "tmpfs" else "")
    return f"{source}:{mount['Target']}:{'ro' if mount.get('ReadOnly') else 'rw'}"


def _cut(found: Json) -> Json:
    return {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in found.items()}
