"""Binds and mounts of a container in the engine's spelling, and merging several layers of them."""

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
# A drive letter is followed by a colon, which does not separate source and target.
_BIND = re.compile(r"((?:[A-Za-z]:(?=[\\/]))?[^:]*):([^:]+)(?::[^:/]*)?", re.S)


def is_host_path(source: str) -> bool:
    """Is `source` an absolute host path: of Unix, of a Windows drive, or of a Windows share?"""
    return bool(_HOST_PATH.match(source))


def is_relative_path(source: str) -> bool:
    """Is `source` a relative host path, as a shell would read it?"""
    return bool(_RELATIVE_PATH.match(source))


@dataclass(frozen=True)
class Mounted:
    """Mounts of one setting: binds as `source:target:mode`, typed mounts, and targets of `tmpfs`."""

    binds: Sequence[str] = ()
    mounts: Sequence[Mapping[str, Any]] = ()
    tmpfs: Sequence[str] = ()

    def sources(self) -> dict[str, str]:
        """Map each target to its source; the source is empty for tmpfs and anonymous volumes."""
        found = {normal(target): source for source, target in map(_parts, self.binds)}
        for mount in self.mounts:
            found[normal(str(mount.get("Target") or ""))] = str(mount.get("Source") or "")
        return {**found, **{normal(target.partition(":")[0]): "" for target in self.tmpfs}}

    def without(self, targets: Iterable[str]) -> Mounted:
        """Return a copy without the mounts at `targets`."""
        taken = set(targets)
        return Mounted(
            [bind for bind in self.binds if normal(_parts(bind)[1]) not in taken],
            [mount for mount in self.mounts if normal(str(mount.get("Target") or "")) not in taken],
            [target for target in self.tmpfs if normal(target.partition(":")[0]) not in taken],
        )


@dataclass(frozen=True)
class Replaced:
    """A configured mount at `target` that is replaced by `by`, or dropped (None)."""

    target: str
    source: str
    by: str | None = field(default=None)

    def __str__(self) -> str:
        if self.by is None:
            return f"{self.source or 'tmpfs'} is configured for {self.target}, but not mounted"
        return f"{self.by or 'tmpfs'} is mounted at {self.target} instead of {self.source or 'tmpfs'}"


def layered(*layers: Mounted) -> Mounted:
    """Merge layers of mounts. If two layers mount at one target, the later layer counts."""
    below = Mounted()
    for above in layers:
        kept = below.without(above.sources())
        below = Mounted([*kept.binds, *above.binds], [*kept.mounts, *above.mounts], [*kept.tmpfs, *above.tmpfs])
    return below


def replaced(configured: Mounted, final: Mounted) -> list[Replaced]:
    """List configured mounts that are not mounted at their targets."""
    there = final.sources()
    return [
        Replaced(target, source, there.get(target))
        for target, source in configured.sources().items()
        if there.get(target) != source
    ]


def of_host_config(host: Mapping[str, Any]) -> Mounted:
    """Read the mounts of a HostConfig. The engine ignores the case of its keys."""
    known = {key.lower(): value for key, value in host.items() if value}
    return Mounted(as_binds(known.get("binds")), as_mounts(known.get("mounts")), [*map(str, known.get("tmpfs") or ())])


def as_binds(given: Any, below: Mapping[str, Mapping[str, str]] | None = None) -> list[str]:
    """Convert binds in the SDK's spelling, a list or a dict, to the engine's spelling.

    If an entry of a dict lacks a target, the entry of `below` for the same source provides it. ValueError if that
    lacks a target, too.
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
    """Convert mounts to the engine's spelling: dicts in the spelling of the engine or the SDK, or strings.

    ValueError for an invalid mount.
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
    """Create a Mount from keyword arguments of docker.types.Mount; ValueError if they are invalid.

    The default type is bind if the source is an absolute path, tmpfs if there is no source but a tmpfs_size or
    tmpfs_mode, else volume. `labels` are for a volume that the engine creates for the mount.
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
    # Old releases of the SDK lack this argument.
    subpath = known.pop("subpath", None)
    if subpath == "":
        raise ValueError("the subpath is empty")
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
    """Return the subpath of a mount in the engine's spelling, empty without one."""
    return str((mount.get("VolumeOptions") or {}).get("Subpath") or "")


def subpath_mistake(subpath: str) -> str:
    """Describe why a subpath is invalid, or could point outside its volume; empty if it is valid."""
    parts = subpath.split("/")
    if not parts[0] or "\0" in subpath:
        return "it must be a relative path"
    if any(part in ("", ".", "..") for part in parts):
        return 'it must not contain "..", "." or empty parts'
    if "{" in subpath or "}" in subpath:
        return "it contains a placeholder that can't be filled"
    return ""


def _parts(bind: str) -> tuple[str, str]:
    """Split a bind into source and target; a string without a source is a target."""
    found = _BIND.fullmatch(bind)
    return (found[1], found[2]) if found else ("", bind)


def normal(target: str) -> str:
    """Normalize a path in the container for comparison."""
    return posixpath.normpath(target) if target else ""
