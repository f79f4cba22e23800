"""An oracle, written without a look at the gate: what in a container's, or a service's, configuration opens the host.

It reads keys as the engine does, whatever their case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What nobody's server has, whatever the value; empty ones are what the engine does anyway.
NEVER = [
    "autoremove",
    "cgroup",
    "cgroupparent",
    "containeridfile",
    "devicecgrouprules",
    "devices",
    "isolation",
    "links",
    "pidmode",
    "portbindings",
    "privileged",
    "publishallports",
    "runtime",
    "sysctls",
    "usernsmode",
    "utsmode",
    "volumesfrom",
]
# What no service has, nor its task, nor the container of that.
NEVER_OF_A_SERVICE = [
    "capabilityadd",
    "configs",
    "isolation",
    "mode",
    "networkattachmentspec",
    "oomscoreadj",
    "pluginspec",
    "runtime",
    "sysctls",
]
HARMLESS_MODES = {"ipcmode": {"", "none", "private"}, "cgroupnsmode": {"", "private"}}
SAFE_OPTIONS = {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}


def as_the_engine_reads(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): as_the_engine_reads(inner) for key, inner in value.items()}
    return [as_the_engine_reads(inner) for inner in value] if isinstance(value, list) else value


def twice(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        names = [key.lower() for key in value]
        yield from (f"{name} is there twice" for name in names if names.count(name) > 1)
        for inner in value.values():
            yield from twice(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from twice(inner)


def dangers(body: Any, images: set[str], paths: set[str], networks: set[str], project: str) -> list[str]:
    """All that is wrong with the body of a create. `paths` of the host and `networks` are those that servers have."""
    found = [*twice(body)]
    read = as_the_engine_reads(body)
    host = read.get("hostconfig") or {}
    helps = "dockyard.helper" in (read.get("labels") or {})
    found += [name for name in NEVER if host.get(name) or read.get(name)]
    # An empty list of these bares what the engine hides.
    found += [name for name in ("maskedpaths", "readonlypaths") if host.get(name) is not None]
    found += [f"{name} {host[name]}" for name, good in HARMLESS_MODES.items() if (host.get(name) or "") not in good]
    options = host.get("securityopt") or []
    if not options or set(options) - SAFE_OPTIONS:
        found.append(f"security options {options}")
    if "ALL" not in (host.get("capdrop") or []):
        found.append("capabilities are kept")
    added = set(host.get("capadd") or [])
    if added and (added - {"CHOWN", "DAC_OVERRIDE"} or not helps or host.get("networkmode") != "none"):
        found.append(f"capabilities {added}")
    if read.get("image") not in images:
        found.append(f"image {read.get('image')}")
    asked = {host.get("networkmode"), *((read.get("networkingconfig") or {}).get("endpointsconfig") or {})}
    if asked - networks and not (helps and asked == {"none"}):
        found.append(f"networks {asked}")
    found += [f"label {name}" for name in read.get("labels") or {} if not name.startswith("dockyard.")]
    if not {(read.get("labels") or {}).get(f"dockyard.{kind}") for kind in ("instance", "helper")} & {project}:
        found.append("no owner")
    if host.get("devicerequests"):
        found.append("device requests")
    if (host.get("logconfig") or {}).get("type", "local") not in ("local", "json-file"):
        found.append("log driver")
    found += _unlimited(host)
    if (host.get("restartpolicy") or {}).get("name") not in (None, "", "no"):
        found.append("restarts")
    targets = [*_targets(host), *(read.get("volumes") or {}), read.get("workingdir") or "/home"]
    # A helper works at the root.
    found += [f"place {target}" for target in targets if _is_kernels(target) and (target != "/" or not helps)]
    return [*found, *_mounted(host, paths, project)]


def dangers_of_a_service(body: Any, images: set[str], paths: set[str], networks: set[str], project: str) -> list[str]:
    """As `dangers`, of the body that makes a service."""
    read = as_the_engine_reads(body)
    task = read.get("tasktemplate") or {}
    inside = task.get("containerspec") or {}
    found = [*twice(body)]
    if (read.get("endpointspec") or {}).get("ports"):
        found.append("ports")
    found += [name for name in NEVER_OF_A_SERVICE if any(layer.get(name) for layer in (read, task, inside))]
    if {name: value for name, value in (inside.get("privileges") or {}).items() if value} != {"nonewprivileges": True}:
        found.append(f"privileges {inside.get('privileges')}")
    if "ALL" not in (inside.get("capabilitydrop") or []):
        found.append("capabilities are kept")
    if inside.get("image") not in images:
        found.append(f"image {inside.get('image')}")
    attached = [*(task.get("networks") or []), *(read.get("networks") or [])]
    if not attached or {one.get("target") for one in attached} - networks or any(len(one) > 1 for one in attached):
        found.append(f"networks {attached}")
    for labels in (read.get("labels") or {}, inside.get("labels") or {}):
        found += [f"label {name}" for name in labels if not name.startswith("dockyard.")]
        if labels.get("dockyard.instance") != project:
            found.append("no owner")
    if (task.get("logdriver") or {}).get("name", "local") not in ("local", "json-file"):
        found.append("log driver")
    found += _unlimited(inside)
    if (task.get("restartpolicy") or {}).get("condition") != "none":
        found.append("restarts")
    found += [f"place {target}" for target in [*_targets(inside), inside.get("dir") or "/home"] if _is_kernels(target)]
    return [*found, *_mounted(inside, paths, project)]


def _targets(host: Any) -> Iterator[str]:
    yield from (text.split(":")[1] for text in host.get("binds") or [] if ":" in text)
    yield from (mount.get("target") or "" for mount in host.get("mounts") or [])
    yield from host.get("tmpfs") or {}


def _is_kernels(path: str) -> bool:
    """Is it the root, or where the kernel shows what is the host's?"""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ".." in parts or not parts or (parts[0] in ("proc", "sys", "dev") and parts[:2] != ["dev", "shm"])


def _unlimited(host: Any) -> Iterator[str]:
    for ulimit in host.get("ulimits") or []:
        if ulimit.get("name") in ("nice", "rtprio") or not 0 <= ulimit.get("hard", -1) <= 2**50:
            yield f"ulimit {ulimit}"


def _mounted(host: Any, paths: set[str], project: str) -> Iterator[str]:
    sources = [(text.split(":")[0], text) for text in host.get("binds") or []]
    for mount in host.get("mounts") or []:
        options = mount.get("volumeoptions") or {}
        driver = options.get("driverconfig") or {}
        if driver.get("options") or driver.get("name") not in (None, "", "local") or options.get("subpath"):
            yield f"volume options {options}"
        if "shared" in str(mount.get("bindoptions")):
            yield "propagation"
        if mount.get("type") not in ("bind", "volume", "tmpfs"):
            yield f"mount of type {mount.get('type')}"
        if mount.get("source") or mount.get("type") == "bind":
            sources.append((mount.get("source") or "", str(mount)))
    if host.get("volumedriver") not in (None, "", "local"):
        yield "volume driver"
    for source, text in sources:
        if source not in paths and not source.startswith(f"{project}-"):
            yield f"source {source} of {text}"
        if "shared" in text.split(":", 2)[-1]:
            yield f"propagation of {text}"
        if source.startswith("/") and {"z", "Z"}.intersection(text.split(":", 2)[-1].split(",")):
            yield f"labels of {text}"
