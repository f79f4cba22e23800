"""Volumes that users share: SHARED_VOLUMES to the spawner's `volumes`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Places that hold what the server itself needs.
_OF_THE_SYSTEM = re.compile(r"/(bin|boot|dev|etc|lib|opt|proc|root|run|sbin|sys|tmp|usr|var)(/.*)?|/home(/jovyan)?")
# Folders that are not a home, nor contain one.
_NO_HOME = re.compile(r"/(bin|boot|dev|etc|lib|lib64|proc|run|sbin|sys|tmp|usr)(/.*)?|/(home|opt|srv|var)")
_FORM = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*):(?P<path>/[^:@]+)(:(?P<mode>ro|rw))?(@(?P<group>.+))?")


@dataclass(frozen=True)
class Shared:
    """One entry: the volume `name` at `path`, read-only or not, for a group or (empty) for everybody."""

    name: str
    path: str
    mode: str
    group: str


def parse(text: str) -> Shared:
    """An entry of the form name:/path[:ro][@group]; ValueError where it is none."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise ValueError(f"has {text!r}, which is not of the form name:/path, name:/path:ro or name:/path:ro@group")
    path = match["path"].rstrip("/")
    if posixpath.normpath(path) != path or _OF_THE_SYSTEM.fullmatch(path):
        raise ValueError(f"has {text!r}, but {match['path']} is the system's own: take a path such as /shared/data")
    return Shared(match["name"], path, match["mode"] or "rw", match["group"] or "")


def is_home(path: str) -> bool:
    """Whether a volume can be mounted at this path as a user's home."""
    return posixpath.normpath(path) == path and not re.match("/(/|$)", path) and not _NO_HOME.fullmatch(path)


def volumes(shared: Iterable[Shared], project: str) -> dict[str, Any]:
    """As the spawner's `volumes`: {"<project>-shared-<name>": [targets, with those who may write first]}."""
    found: dict[str, Any] = {}
    for one in sorted(shared, key=lambda one: one.mode != "rw"):
        target = {"bind": one.path, "mode": one.mode} | ({"groups": [one.group]} if one.group else {})
        found.setdefault(f"{project}-shared-{one.name}", []).append(target)
    return found
