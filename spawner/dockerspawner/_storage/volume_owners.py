"""The owner of a volume, determined by the origin of its name."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MethodType
from typing import Any

from jupyterhub.utils import url_escape_path
from traitlets import TraitType
from traitlets.config.loader import LazyConfigValue

from dockerspawner._records import ownership
from dockerspawner._settings.naming import dns_escape, legacy_escape
from dockerspawner._storage.mounts import Mounted, is_host_path
from dockerspawner.volumenamingstrategy import STANDARD

_USER = re.compile(r"\{(safe_|raw_)?username\}")
_SERVER = re.compile(r"\{(raw_)?servername\}")


def named_for_user(template: str) -> bool:
    """Does a template have a placeholder for the user?"""
    return bool(_USER.search(template))


def labels(spawner: Any, template: str) -> dict[str, str]:
    """Return the labels of the volume that `template` names: for the hub, and for its user and server if it has one."""
    found = {ownership.INSTANCE: spawner.instance}
    is_filled = named_for_user(template) and spawner.format_volume_name in STANDARD
    if is_filled or (template and _is_computed(spawner, template)):
        found[ownership.USER] = spawner.user.name
    if _SERVER.search(template):
        found[ownership.SERVER] = spawner.name
    return found


def _is_computed(spawner: Any, template: str) -> bool:
    """Is the name computed for this user, and different for every other user?

    - A name from a hook or a subclass must contain the user's name. A name in the configuration is for all users.
    - A name from an operator's format_volume_name is the user's if it contains the user's name, and its template does
      not.
    - Any other name is computed for two made-up users who differ only in their names. An operator's function may have
      side effects, such as creating a folder, so that it is not called for them unless necessary.
    """
    name = spawner._render_volume(template)
    if is_host_path(name):
        return False
    if name == template:
        return in_users_name(spawner, name)
    spelled = spellings(spawner, spawner.user.name)
    if spawner.format_volume_name not in STANDARD and not contains_name(template, spelled):
        local, at, _ = spawner.user.name.partition("@")
        if contains_name(name, spelled | (spellings(spawner, local) if at else set())):
            return True
    return _differs_for_others(spawner, template, name)


def _differs_for_others(spawner: Any, template: str, name: str) -> bool:
    """Do this user and two made-up users have different volume names?"""
    known: dict[tuple[Any, ...], bool] = vars(spawner).setdefault("_distinct_names", {})
    key = spawner.user.name, template, name
    if key not in known:
        known[key] = _try_others(spawner, template, name)
    return known[key]


def _try_others(spawner: Any, template: str, name: str) -> bool:
    # A copy, because the spawner is in use.
    other: Any = copy.copy(spawner)
    # Observers would note the changes of the copy for the spawner.
    other.unobserve_all()
    form: Any = spawner.format_volume_name
    if getattr(form, "__self__", None) is spawner and other.has_trait("format_volume_name"):
        other.set_trait("format_volume_name", MethodType(form.__func__, other))
    mark, user = hashlib.sha256(spawner.user.name.encode()).hexdigest()[:12], spawner.user
    names, is_spelled = {name}, contains_name(name, spellings(spawner, user.name))
    for number, invented in enumerate((f"{user.name}{mark[:6]}", f"{mark[6:]}{user.name}")):
        other.set_trait("user", _OtherUser(user, invented, number))
        try:
            found = other.format_volume_name(template, other)
        except Exception:
            # For example, format_volume_name may look up the user in a table.
            return False
        # If only made-up users get their own names, a table has this user: other users may have the same entry.
        if found in names or (not is_spelled and contains_name(found, spellings(spawner, invented))):
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


def contains_name(text: str, ways: Iterable[str]) -> bool:
    """Does `text` contain one of the spellings as a whole word?"""
    return any(re.search(_word(name), text) for name in ways if name)


def _word(name: str) -> str:
    return rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"


def spellings(spawner: Any, user: str) -> set[str]:
    """Return the spellings of a user's name that hooks usually write into volume names."""
    found = {old for old, _ in _ways(spawner, user, user)}
    return found | {one.lower() for one in found}


def counterparts(spawner: Any, former: str) -> list[tuple[str, str]]:
    """Return pairs of spellings: of the user's former name, and of the present name."""
    return list(_ways(spawner, former, spawner.user.name))


def _ways(spawner: Any, one: str, other: str) -> Iterator[tuple[str, str]]:
    ways: list[Callable[[str], str]] = [str, spawner.escape, url_escape_path, dns_escape, legacy_escape]
    yield from ((way(one), way(other)) for way in ways)
    for by in ("-", "_", ".", ""):
        yield re.sub(r"[^A-Za-z0-9]+", by, one), re.sub(r"[^A-Za-z0-9]+", by, other)


def replaced_name(text: str, old: str, new: str) -> str:
    """Replace each word `old` in `text` with `new`."""
    return re.sub(_word(old), lambda _: new, text) if old else text


def in_users_name(spawner: Any, text: str) -> bool:
    """Does `text`, from a template or code, contain the user's name?"""
    return contains_name(text, spellings(spawner, spawner.user.name)) and text not in configured_sources(spawner)


def is_own_folder(spawner: Any, path: str, template: str = "") -> bool:
    """Does the last part of a host path contain the user's name, and no other part?

    A path below a user's folder may lead anywhere, because the user can create symbolic links there.
    """
    *above, last = _named_parts(spawner, path, template) or [False]
    return last and not any(above)


def is_named_folder(spawner: Any, path: str, template: str = "") -> bool:
    """Does a host path, from a template or code, contain the user's name?"""
    return any(_named_parts(spawner, path, template))


def _named_parts(spawner: Any, path: str, template: str) -> list[bool]:
    """Tell for each part of a path whether it contains the user's name, by a placeholder if the template has one."""
    parts = [part for part in re.split(r"[/\\]", path) if part]
    spelled = [contains_name(part, spellings(spawner, spawner.user.name)) for part in parts]
    if path in configured_sources(spawner):
        return [False for _ in parts]
    if named_for_user(template):
        by_placeholder = [named_for_user(part) for part in re.split(r"[/\\]", template) if part]
        if len(by_placeholder) == len(parts):
            # An operator's format_volume_name may fill placeholders with something else.
            is_filled = spawner.format_volume_name in STANDARD
            return [by and (is_filled or has) for by, has in zip(by_placeholder, spelled, strict=True)]
    return spelled


def configured_sources(spawner: Any) -> set[str]:
    """Collect the names and paths in the configuration itself, including profiles and group overrides."""
    found: set[str] = set()
    for cls in type(spawner).__mro__:
        for setting in ("volumes", "read_only_volumes", "mounts"):
            value = vars(cls).get(setting)
            # A property may compute names for one user.
            found.update(_sources(setting, value.default() if isinstance(value, TraitType) else value))
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
