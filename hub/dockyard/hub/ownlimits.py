"""Whether hub/config.d may give servers more memory, cores or processes than settings and profiles do.

The gate holds servers to the amounts of settings and profiles, unless the operator's files may raise them. What they do
is known from the loaded configuration, except of code that runs at a start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from traitlets.config import Config

from dockyard.gate.policy.limits import Limits, limits
from dockyard.hub.configcheck import authenticator_class, effective, spawner_class
from dockyard.settings.overrides import overrides

# Settings of a spawner that have amounts.
_AMOUNTS = (
    "mem_limit",
    "cpu_limit",
    "cpu_guarantee",
    "swap",
    "extra_host_config",
    "extra_create_kwargs",
    "extra_resources_spec",
)
# Functions that run where no amount is chosen any more, or that are not given the spawner.
_HARMLESS = {"escape", "post_stop_hook"}
# Users choose values of traits by these, or a task has its resources there.
_UNKNOWN = ("apply_user_options", "extra_task_spec")
_KNOWN_MODULES = ("jupyterhub", "oauthenticator")


def may_raise(config: Config, kit: Config, settings: Any, profiles: Any) -> bool:
    """Whether `config`, which was `kit` before the operator's files, may give more than settings and profiles do."""
    cls = spawner_class(config)
    if cls is not spawner_class(kit) or _prepares_spawners(authenticator_class(config)):
        return True
    changed = _changed(config, kit, cls)
    if any(_has_code(value) for name, value in changed.items() if name not in _HARMLESS):
        return True
    if any(name in changed for name in _UNKNOWN):
        return True
    given: list[Mapping[str, Any]] = [{name: effective(config, cls, name) for name in _AMOUNTS if name in changed}]
    if "group_overrides" in changed:
        given += _of_groups(changed["group_overrides"])
    given += [override for override, _ in overrides(changed.get("profile_list"))]
    known = [override for override, _ in overrides(profiles)]
    return _most(settings, [*known, *given]) != _most(settings, known)


def _most(settings: Any, given: Iterable[Mapping[str, Any]]) -> Limits:
    amounts = {name: getattr(settings, name) for name in ("mem_limit", "cpu_limit", "cpu_guarantee", "pids_limit")}
    return limits(SimpleNamespace(**amounts, gate_limits="always"), given, Path())


def _changed(config: Config, kit: Config, cls: type[Any]) -> dict[str, Any]:
    """Traits of a class that the operator has changed, with their values."""
    sections = cls.section_names()
    names = {name for one in (config, kit) for section in sections for name in dict.get(one, section, {})}
    values = {name: (effective(config, cls, name), effective(kit, cls, name)) for name in names}
    return {name: now for name, (now, before) in values.items() if now is not before and now != before}


def _has_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_code, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_has_code, value))
    return callable(value)


def _of_groups(value: Any) -> Iterator[Mapping[str, Any]]:
    """What JupyterHub's group_overrides give."""
    for one in value.values() if isinstance(value, Mapping) else ():
        override = one.get("spawner_override") if isinstance(one, Mapping) else None
        if isinstance(override, Mapping):
            yield override


def _prepares_spawners(cls: type[Any]) -> bool:
    """Whether a third-party authenticator changes spawners before they start."""
    return any(
        "pre_spawn_start" in vars(parent) and not parent.__module__.startswith(_KNOWN_MODULES) for parent in cls.__mro__
    )
