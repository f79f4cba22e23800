"""Binds and mounts of a container as the engine has them, and how several layers of them become one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker.errors import DockerException
from docker.types import DriverConfig, Mount
from docker.utils import convert_volume_binds

_HOST_PATH = re.compile(r"/|\\|[A-Za-z]:[\\/]")
_RELATIVE_PATH = re.compile(r"~|\.{1,2}(?:[/\\]|$)")
# A drive letter has a colon of its own.
_BIND = re.compile(r"((?:[A-Za-z]:(?=[\\/]))?[^:]*):([^:]+)(?::[^:/]*)?", re.S)


def is_host_path(source: str) -> bool:
    """Whether `source` is an absolute path of the host: of Unix, of a Windows drive, or of a Windows share."""
    return bool(_HOST_PATH.match(source))


def is_relative_path(source: str) -> bool:
    """Whether `source` is meant as a path of the host and is not absolute, as a shell would take it."""
    return bool(_RELATIVE_PATH.match(source))


@dataclass(frozen=True)
class Mounted:
    """What one setting mounts: binds as `source:target:mode`, typed mounts, and targets of `tmpfs`."""

    binds: Sequence[str] = ()
    mounts: Sequence[Mapping[str, Any]] = ()
    tmpfs: Sequence[str] = ()

    def sources(self) -> dict[str, str]:
        """The source of each target; empty for memory and for what the engine names."""
        found = {normal(target): source for source, target in map(_parts, self.binds)}
        for mount in self.mounts:
            found[normal(str(mount.get("Target") or ""))] = str(mount.get("Source") or "")
        return {**found, **{normal(target.partition(":")[0]): "" for target in self.tmpfs}}

    def without(self, targets: Iterable[str]) -> Mounted:
        """All but what is mounted at one of `targets`."""
        taken = set(targets)
        return Mounted(
            [bind for bind in self.binds if normal(_parts(bind)[1]) not in taken],
            [mount for mount in self.mounts if normal(str(mount.get("Target") or "")) not in taken],
            [target for target in self.tmpfs if normal(target.partition(":")[0]) not in taken],
        )


@dataclass(frozen=True)
class Replaced:
    """What a setting mounts at `target`, and what is mounted there, or nowhere, instead (None)."""

    target: str
    source: str
    by: str | None = field(default=None)

    def __str__(self) -> str:
        if self.by is None:
            return f"{self.source or 'tmpfs'} is configured for {self.target}, but not mounted"
        return f"{self.by or 'tmpfs'} is mounted at {self.target} instead of {self.source or 'tmpfs'}"


def layered(*layers: Mounted) -> Mounted:
    """All that the layers mount. Of what two mount at one target, that of the later layer counts."""
    below = Mounted()
    for above in layers:
        kept = below.without(above.sources())
        below = Mounted([*kept.binds, *above.binds], [*kept.mounts, *above.mounts], [*kept.tmpfs, *above.tmpfs])
    return below


def replaced(configured: Mounted, final: Mounted) -> list[Replaced]:
    """What is configured and, at its target, not mounted in the end."""
    there = final.sources()
    return [
        Replaced(target, source, there.get(target))
        for target, source in configured.sources().items()
        if there.get(target) != source
    ]


def of_host_config(host: Mapping[str, Any]) -> Mounted:
    """What a HostConfig mounts. The engine reads its keys in any case."""
    known = {key.lower(): value for key, value in host.items() if value}
    return Mounted(as_binds(known.get("binds")), as_mounts(known.get("mounts")), [*map(str, known.get("tmpfs") or ())])


def as_binds(given: Any, below: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    """Binds in the engine's spelling, of a list or a dict as the SDK takes them.

    An entry of a dict that has no target has that of `below`, the binds by source, for the same source.
    ValueError where that has none, either.
    """
    if isinstance(given, Mapping):
        entries = {}
        for source, entry in given.items():
            entry = dict(entry) if isinstance(entry, Mapping) else {"bind": entry, "mode": "rw"}
            if "bind" not in entry and source in (below or {}):
                entry = {**below[source], **entry}  # type: ignore[index]
            if not entry.get("bind"):
                raise ValueError(f"entry {source!r} of binds lacks a path in the container")
            entries[source] = entry
        return list(convert_volume_binds(entries))
    if isinstance(given, str):
        return [given]
    return [str(bind) for bind in given or ()]


def as_mounts(given: Any) -> list[Mapping[str, Any]]:
    """Mounts in the engine's spelling, of a list of dicts in that of the engine or of the SDK, or of texts.

    ValueError for one that is not a mount.
    """
    found: list[Mapping[str, Any]] = []
    for one in given or ():
        try:
            if isinstance(one, str):
                one = Mount.parse_mount_string(one)
            elif "Target" not in one:
                one = typed(one)
        except (ValueError, DockerException) as error:
            raise ValueError(f"entry {one!r} of mounts: {error}") from None
        found.append(one)
    return found


def typed(settings: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Mount:
    """The Mount of keyword arguments of docker.types.Mount. ValueError where they don't fit.

    Its type is bind where the source is an absolute path, tmpfs where there is no source but a tmpfs_size or
    tmpfs_mode, else volume. `labels` are those of a volume that the engine makes for it.
    """
    known = dict(settings)
    source, target = known.pop("source", None), known.pop("target", None)
    if not target:
        raise ValueError("the target is missing")
    if source and is_relative_path(source):
        raise ValueError(f"the source {source!r} must be an absolute path of the host, or the name of a volume")
    kind = known.pop("type", None)
    if kind is None:
        is_memory = not source and {"tmpfs_size", "tmpfs_mode"} & known.keys()
        kind = "tmpfs" if is_memory else "bind" if is_host_path(str(source or "")) else "volume"
    # Old releases of the SDK have no argument for it.
    subpath = known.pop("subpath", None)
    if subpath and (kind != "volume" or not source):
        raise ValueError("a subpath requires the type volume and a source")
    if subpath and (mistake := subpath_mistake(subpath)):
        raise ValueError(f"invalid subpath {subpath!r}: {mistake}")
    if kind == "volume" and labels:
        known["labels"] = {**labels, **(known.get("labels") or {})}
    try:
        driver = known.get("driver_config")
        if isinstance(driver, Mapping) and "Name" not in driver:
            known["driver_config"] = DriverConfig(**driver)
        mount = Mount(target=target, source=source, type=kind, **known)
    except (TypeError, ValueError, DockerException) as error:
        raise ValueError(str(error).removeprefix("Mount.__init__() got an ").rstrip(".")) from None
    if subpath:
        mount.setdefault("VolumeOptions", {})["Subpath"] = subpath
    return mount


def subpath_of(mount: Mapping[str, Any]) -> str:
    """The part of a volume that a mount in the engine's spelling shows, empty for all of it."""
    return str((mount.get("VolumeOptions") or {}).get("Subpath") or "")


def subpath_mistake(subpath: str) -> str:
    """What is wrong with a subpath, which has to stay inside its volume; empty if nothing is."""
    parts = subpath.split("/")
    if not parts[0] or "\0" in subpath:
        return "it must be a relative path"
    if any(part in ("", ".", "..") for part in parts):
        return 'it must not contain "..", "." or empty parts'
    if "{" in subpath or "}" in subpath:
        return "it contains a placeholder that can't be filled"
    return ""


def _parts(bind: str) -> tuple[str, str]:
    """Source and target of a bind; a text that has no source is a target."""
    found = _BIND.fullmatch(bind)
    return (found[1], found[2]) if found else ("", bind)


def normal(target: str) -> str:
    """A path in the container in the one spelling by which paths are compared."""
    return posixpath.normpath(target) if target else ""
