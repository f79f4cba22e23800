"""The owner of a volume, determined by the origin of its name."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MethodType
from typing import Any

from traitlets.config import LazyConfigValue

from dockerspawner import ownership
from dockerspawner.mounts import Mounted
from dockerspawner.naming import dns_escape, legacy_escape

# Number of made-up users for which a name is computed, to detect a name that users share.
_OTHERS = 8

_USER = re.compile(r"\{(safe_|raw_)?username\}")
_SERVER = re.compile(r"\{(raw_)?servername\}")


def named_for_user(template: str) -> bool:
    """Does a template have a placeholder for the user?"""
    return bool(_USER.search(template))


def labels(spawner: Any, template: str, standard: Iterable[Callable[..., str]]) -> dict[str, str]:
    """Return the labels of the volume that `template` names: for the hub, and for its user and server if it has one.

    `standard` are the values of format_volume_name that only fill placeholders.
    """
    found = {ownership.INSTANCE: spawner.instance}
    by_placeholder = spawner.format_volume_name in standard and named_for_user(template)
    if by_placeholder or (template and _is_computed(spawner, template)):
        found[ownership.USER] = spawner.user.name
    if _SERVER.search(template):
        found[ownership.SERVER] = spawner.name
    return found


def _is_computed(spawner: Any, template: str) -> bool:
    """Is the name computed for this user, and different for every other user?

    - A name from placeholders or format_volume_name is computed for made-up users who differ only in their names.
    - A name from a hook or a subclass must contain the user's name. A name in the configuration is for all users.
    """
    name = spawner._render_volume(template)
    distinct = _differs_for_others(spawner, template, name) if name != template else False
    if distinct or not contains_name(name, _spellings(spawner)):
        return bool(distinct)
    return distinct is None or template not in configured_sources(spawner)


def _differs_for_others(spawner: Any, template: str, name: str) -> bool | None:
    """Do all users have different volume names? None if names for other users can't be computed."""
    known: dict[tuple[Any, ...], bool | None] = vars(spawner).setdefault("_distinct_names", {})
    key = spawner.user.name, template, name
    if key not in known:
        known[key] = _try_others(spawner, template, name)
    return known[key]


def _try_others(spawner: Any, template: str, name: str) -> bool | None:
    # A copy, because the spawner is in use.
    other: Any = copy.copy(spawner)
    form: Any = spawner.format_volume_name
    if getattr(form, "__self__", None) is spawner:
        other._trait_values["format_volume_name"] = MethodType(form.__func__, other)
    names = {name}
    for number in range(_OTHERS):
        mark = hashlib.sha256(f"{spawner.user.name}{number}".encode()).hexdigest()[:6]
        other._trait_values["user"] = _OtherUser(
            spawner.user, f"{spawner.user.name}{mark}" if number % 2 else f"{mark}{spawner.user.name}", number
        )
        try:
            found = other.format_volume_name(template, other)
        except Exception:
            # For example, format_volume_name may look up the user in a table.
            return None
        if found in names:
            return False
        names.add(found)
    return True


class _OtherUser:
    """A user who differs from another user only in name and id."""

    def __init__(self, user: Any, name: str, number: int) -> None:
        self._user = user
        self.name, self.escaped_name, self.id = name, name, -1 - number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._user, name)


def contains_name(text: str, spellings: Iterable[str]) -> bool:
    """Does `text` contain one of the spellings as a whole word?"""
    return any(re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text) for name in spellings if name)


def _spellings(spawner: Any) -> set[str]:
    """Return the spellings of the user's name that hooks usually write into volume names."""
    name: str = spawner.user.name
    found = {name, spawner.escaped_name, str(getattr(spawner.user, "escaped_name", "")), dns_escape(name)}
    found |= {legacy_escape(name), *(re.sub(r"[^A-Za-z0-9]+", by, name) for by in ("-", "_", ".", ""))}
    return found | {one.lower() for one in found}


def in_users_name(spawner: Any, text: str) -> bool:
    """Does `text`, from a template or code, contain the user's name?"""
    return contains_name(text, _spellings(spawner)) and text not in configured_sources(spawner)


def configured_sources(spawner: Any) -> set[str]:
    """Collect the names and paths in the configuration itself, including profiles and group overrides."""
    found = set(_sources("volumes", type(spawner).volumes.default_value or {}))
    for cls in type(spawner).__mro__:
        if cls.__name__ in spawner.config:
            for key, value in spawner.config[cls.__name__].items():
                found.update(_sources(key, value))
    return found


def _sources(key: Any, value: Any) -> Iterator[str]:
    if isinstance(value, LazyConfigValue):
        value = value.get_value([] if key in ("mounts", "profile_list") else {})
    if key in ("volumes", "read_only_volumes", "binds") and isinstance(value, Mapping):
        yield from map(str, value)
    elif key == "binds" and isinstance(value, list | tuple):
        yield from Mounted(binds=list(map(str, value))).sources().values()
    if isinstance(value, Mapping):
        yield from (value[name] for name in ("source", "subpath", "Subpath") if isinstance(value.get(name), str))
        for inner_key, inner in value.items():
            yield from _sources(inner_key, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _sources("", inner)
