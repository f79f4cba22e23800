"""Complete and check the configuration after the files of hub/config.d have run.

If an operator's file replaces a whole list or dict, the kit's items in it are lost. `settle` adds them again, unless
the operator has set the same key. It refuses a configuration that would lose users' files. `try_out` loads the whole
configuration as the hub does, without starting anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.app import JupyterHub
from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue, PyFileConfigLoader

from dockerspawner import DockerSpawner, SwarmSpawner
from dockerspawner._storage.mounts import as_mounts, normal, of_host_config
from dockyard.hub import operatorconfig
from dockyard.settings.sources import Mistakes
from dockyard.signin import forms

CONFIG_FILE = Path("/srv/dockyard/jupyterhub_config.py")

# Seconds that the configuration may take where it is tried. On a machine with 15 busy processes, it takes a minute.
PATIENCE = 300.0

# Settings whose value may be a function, and methods of a subclass: only a start shows what they mount.
_FUNCTIONS = ("modify_spec_hook", "extra_create_kwargs", "extra_host_config", "extra_container_spec")
_METHODS = ("start", "volume_binds", "mount_binds")
_COMPLETED = (
    "environment",
    "extra_create_kwargs",
    "extra_host_config",
    "extra_container_spec",
    "extra_resources_spec",
    "extra_task_spec",
)
# A key of these settings whose own dict is completed, too. Other dicts stay whole: a log's type fits its options.
_COMPLETED_WITHIN = ("privileges",)


def settle(config: Config, kit: Config) -> list[str]:
    """Complete and check `config`. `kit` is its state before the operator's files ran.

    Returns a sentence for each addition. Raises `Mistakes` if users' files would be lost.
    """
    said: list[str] = []
    _complete_hub(config, kit, said)
    _complete_authenticator(config, kit, said)
    follow_base_url(config, kit)
    spawner = spawner_class(config)
    if issubclass(spawner, DockerSpawner):
        _complete_spawner(config, kit, spawner, said)
        if mistake := _lost_home(config, kit, spawner):
            raise Mistakes([mistake])
    return said


def effective(config: Config, cls: type[Any], name: str) -> Any:
    """Return the value that an instance of `cls` would have: from the most specific section, else the default."""
    value, found = None, False
    for section in cls.section_names():
        given_here = dict.get(config, section, {})
        if name in given_here:
            given = given_here[name]
            if isinstance(given, LazyConfigValue):
                given = copy.deepcopy(given)
                given = given.merge_into(value) if found else given
            value, found = given, True
    trait = cls.class_traits().get(name)
    default = copy.deepcopy(trait.default_value) if trait is not None else None
    if isinstance(value, LazyConfigValue):
        return value.get_value(default)
    return value if found else default


def spawner_class(config: Config) -> type[Any]:
    return _class_of(config, "spawner_class")


def authenticator_class(config: Config) -> type[Any]:
    return _class_of(config, "authenticator_class")


def base_url(config: Config) -> str:
    """Return the path of the hub, with a slash at each end."""
    given = effective(config, JupyterHub, "base_url") if _is_set(config, "base_url") else ""
    path = str(given or urlsplit(str(effective(config, JupyterHub, "bind_url") or "")).path)
    return f"/{path.strip('/')}/" if path.strip("/") else "/"


def follow_base_url(config: Config, kit: Config) -> None:
    """Adapt addresses that the kit has computed for a hub at `/`, unless the operator has set them."""
    path = base_url(config)
    if path == "/":
        return
    public = kit.JupyterHub.public_url
    if public and config.JupyterHub.public_url == public:
        config.JupyterHub.public_url = public.rstrip("/") + path
    routes = kit.ExternalProxy.extra_routes
    if config.ExternalProxy.extra_routes == routes:
        config.ExternalProxy.extra_routes = {
            route.removesuffix("/hub/") + path + "hub/": target for route, target in routes.items()
        }
    section = kit.JupyterHub.authenticator_class.__name__
    callback = dict.get(kit, section, {}).get("oauth_callback_url")
    if callback and callback == f"{public}/hub/oauth_callback" == config[section].get("oauth_callback_url"):
        config[section].oauth_callback_url = f"{public}{path}hub/oauth_callback"


def without_effect(config: Config, kit: Config, classes: Iterable[type[Any]]) -> list[str]:
    """Name the operator's settings that a more specific setting of the kit overrides."""
    found = []
    for cls in classes:
        sections = cls.section_names()
        for position, section in enumerate(sections):
            for name, value in dict.get(config, section, {}).items():
                if name in dict.get(kit, section, {}) and _same(kit[section][name], value):
                    continue
                for above in sections[position + 1 :]:
                    ours, now = dict.get(kit, above, {}), dict.get(config, above, {})
                    if name in ours and name in now and _same(ours[name], now[name]):
                        found.append(
                            f"c.{section}.{name} has no effect, since the kit sets c.{above}.{name}: "
                            f"write c.{above}.{name}"
                        )
    return list(dict.fromkeys(found))


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _is_set(config: Config, name: str) -> bool:
    return any(name in dict.get(config, section, {}) for section in JupyterHub.section_names())


def _class_of(config: Config, name: str) -> type[Any]:
    """Return the class that a setting of the hub names. Raises `Mistakes`."""
    value = effective(config, JupyterHub, name)
    try:
        found = JupyterHub.class_traits()[name].validate(JupyterHub, value)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise Mistakes([f"c.JupyterHub.{name} = {value!r} is not a class that the hub can load: {reason}"]) from None
    if isinstance(found, type):
        return found
    raise Mistakes([f"c.JupyterHub.{name} = {value!r} is not a class that the hub can load"])


# The hub


def _complete_hub(config: Config, kit: Config, said: list[str]) -> None:
    for name in ("services", "load_roles"):
        _complete(config, kit, name, _with_entries, said)
    for name in ("tornado_settings", "template_vars"):
        _complete(config, kit, name, _with_keys, said)
    _complete(config, kit, "template_paths", _with_items, said)
    _complete(config, kit, "logging_config", _with_filters, said)


def _complete(
    config: Config, kit: Config, name: str, how: Callable[[Any, Any], tuple[Any, list[str]]], said: list[str]
) -> None:
    value = effective(config, JupyterHub, name)
    wanted, added = how(value, kit.JupyterHub[name])
    if added:
        config.JupyterHub[name] = wanted
        said.append(_sentence(f"JupyterHub.{name}", added))


def _sentence(setting: str, added: list[str]) -> str:
    return f"c.{setting} was replaced: the kit adds {', '.join(added)} again"


def _with_entries(value: Any, ours: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    """Add entries whose name is missing."""
    if not isinstance(value, list | tuple):
        return value, []
    names = {entry.get("name") for entry in value if isinstance(entry, Mapping)}
    missing = [entry for entry in ours if entry["name"] not in names]
    return [*value, *missing], [str(entry["name"]) for entry in missing]


def _with_items(value: Any, ours: list[str]) -> tuple[Any, list[str]]:
    if not isinstance(value, list | tuple):
        return value, []
    missing = [item for item in ours if item not in value]
    return [*value, *missing], missing


def _with_keys(value: Any, ours: Mapping[str, Any], within: Iterable[str] | None = None) -> tuple[Any, list[str]]:
    """Add missing keys, also in the dicts `within`, by default in all. Headers and cookie options have no case."""
    if not isinstance(value, Mapping):
        return value, []
    found, added = dict(value), []
    known = {str(key).lower(): key for key in found}
    for key, wanted in ours.items():
        if key.lower() not in known:
            found[key] = wanted
            added.append(key)
        elif isinstance(wanted, Mapping) and (within is None or key in within):
            there = known[key.lower()]
            found[there], below = _with_keys(found[there], wanted)
            added += [f"{key}.{name}" for name in below]
    return found, added


def _with_filters(value: Any, ours: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Mask secrets in each handler: the kit's own, and those of the operator."""
    if not isinstance(value, Mapping):
        return value, []
    found, added = _with_keys(value, {"filters": ours["filters"]})
    handlers = dict(found.get("handlers") or {})
    for name in {**ours["handlers"], **handlers}:
        handler = dict(handlers.get(name) or {})
        missing = [one for one in ours["filters"] if one not in (handler.get("filters") or ())]
        if missing:
            handler["filters"] = [*(handler.get("filters") or ()), *missing]
            added.append(f"the filter {', '.join(missing)} of the handler {name}")
        handlers[name] = handler
    return {**found, "handlers": handlers}, added


def _complete_authenticator(config: Config, kit: Config, said: list[str]) -> None:
    cls = authenticator_class(config)
    if cls is not kit.JupyterHub.authenticator_class and not forms.has_own_forms(cls):
        config.JupyterHub.authenticator_class = forms.own_forms(cls)
        said.append("c.JupyterHub.authenticator_class was replaced: the kit keeps rejecting forms of other sites")


# Users' servers


def _complete_spawner(config: Config, kit: Config, cls: type[Any], said: list[str]) -> None:
    for name in _COMPLETED:
        ours = effective(kit, cls, name)
        if cls.class_traits().get(name) and isinstance(ours, Mapping):
            ours = {key: value for key, value in ours.items() if value is not None}
            wanted, added = _with_keys(effective(config, cls, name), ours, _COMPLETED_WITHIN)
            if added:
                config[cls.__name__][name] = wanted
                said.append(_sentence(f"{cls.__name__}.{name}", added))
    if not _keeps_containers(config, kit, cls) and (missing := _missing_volumes(config, kit, cls)):
        config[cls.__name__].volumes = {**missing, **effective(config, cls, "volumes")}
        said.append(_sentence(f"{cls.__name__}.volumes", list(missing)))


def _keeps_containers(config: Config, kit: Config, cls: type[Any]) -> bool:
    """Whether the operator keeps containers, and with them files outside of volumes."""
    is_service = issubclass(cls, SwarmSpawner)
    return not is_service and not effective(config, cls, "remove") and bool(effective(kit, cls, "remove"))


def _missing_volumes(config: Config, kit: Config, cls: type[Any]) -> dict[str, Any]:
    """Return the kit's volumes that are not mounted and whose paths are free."""
    volumes, mounts = effective(config, cls, "volumes"), _mounts(config, cls)
    if not isinstance(volumes, Mapping):
        return {}
    taken = {normal(target) for target, _ in mounts}
    source, home = _home_volume(kit, cls)
    found = {}
    for name, given in effective(kit, cls, "volumes").items():
        if name in volumes or (name == source and _home_is_elsewhere(config, kit, cls, home)):
            continue
        targets = [normal(target) for target, _ in _targets(given)]
        covered = _covering(mounts, home) if name == source else []
        if not covered and not taken.intersection(targets):
            found[name] = given
    return found


def _lost_home(config: Config, kit: Config, cls: type[Any]) -> str:
    """Return why a stopped server would lose users' files; empty if it keeps them, or if only a start shows it."""
    is_service = issubclass(cls, SwarmSpawner)
    if not is_service and not effective(config, cls, "remove"):
        return ""
    source, home = _home_volume(kit, cls)
    if _is_decided_at_start(config, cls) or _home_is_elsewhere(config, kit, cls, home):
        return ""
    if (covering := _covering(_mounts(config, cls), home)) and covering[-1][1]:
        return ""
    setting = f"c.{cls.__name__}"
    otherwise = "" if is_service else f", or {setting}.remove = False"
    return (
        f"{setting} has no volume at {home}, and a stopped server is removed: users' files would be lost. "
        f"Write {setting}.volumes[{source!r}] = {home!r} and mount nothing else there{otherwise}"
    )


def _home_volume(kit: Config, cls: type[Any]) -> tuple[str, str]:
    """Return the volume of users' homes and its path in the kit's configuration."""
    source, target = next(iter(effective(kit, cls, "volumes").items()))
    return source, normal(str(target))


def _home_is_elsewhere(config: Config, kit: Config, cls: type[Any], home: str) -> bool:
    """Whether the operator has moved users' files to another folder on a volume."""
    if any(parent.__name__ == "SystemUser" for parent in cls.__mro__):
        # It mounts homes of the host.
        return True
    folder = effective(config, cls, "notebook_dir")
    if not folder or folder == effective(kit, cls, "notebook_dir") or normal(folder).startswith(f"{home}/"):
        return False
    covering = _covering(_mounts(config, cls), normal(folder))
    return bool(covering) and covering[-1][1]


def _is_decided_at_start(config: Config, cls: type[Any]) -> bool:
    """Whether an operator's function may mount something."""
    own = [parent for parent in cls.__mro__ if not parent.__module__.startswith(("dockerspawner", "jupyterhub"))]
    return any(callable(effective(config, cls, name)) for name in _FUNCTIONS) or any(
        name in vars(parent) for parent in own for name in _METHODS
    )


def _covering(mounts: Iterable[tuple[str, bool]], folder: str) -> list[tuple[str, bool]]:
    """Return the mounts at or above `folder`; the last one is effective. A path with a placeholder may be any path."""
    found = [
        (target, keeps)
        for target, keeps in ((normal(target), keeps) for target, keeps in mounts)
        if "{" in target or folder == target or folder.startswith(f"{target.rstrip('/')}/")
    ]
    return sorted(found, key=lambda mount: len(mount[0]))


def _mounts(config: Config, cls: type[Any]) -> list[tuple[str, bool]]:
    """Return all mount paths, each with whether its files outlive the container for every user."""
    found: list[tuple[str, bool]] = []
    for name in ("volumes", "read_only_volumes"):
        value = effective(config, cls, name)
        for entry in value.values() if isinstance(value, Mapping) else ():
            found += _targets(entry)
    host, service = effective(config, cls, "extra_host_config"), effective(config, cls, "extra_container_spec")
    # The spawner refuses invalid entries at a start.
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        found += _typed(effective(config, cls, "mounts"))
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        if isinstance(service, Mapping):
            found += _typed(service.get("mounts"))
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        if isinstance(host, Mapping) and not issubclass(cls, SwarmSpawner):
            found += [(target, bool(source)) for target, source in of_host_config(host).sources().items()]
    return found


def _typed(mounts: Any) -> list[tuple[str, bool]]:
    return [
        (str(mount.get("Target")), bool(mount.get("Source")) and mount.get("Type") not in ("tmpfs", "image"))
        for mount in as_mounts(mounts)
    ]


def _targets(entry: Any) -> list[tuple[str, bool]]:
    """Return the paths of an entry of `volumes`, each with whether every user has it."""
    found = []
    for one in entry if isinstance(entry, list | tuple) else [entry]:
        target, groups = (one.get("bind"), one.get("groups")) if isinstance(one, Mapping) else (one, None)
        found.append((str(target or ""), not groups))
    return found


# The whole configuration, as the hub loads it

# What the last configuration was before the operator's files, if there are any.
kits: list[Config] = []


def adopt(config: Config) -> list[str]:
    """Run the operator's files with `config`, then complete and check it. Raises `Mistakes`.

    Returns lines for the hub's log.
    """
    folder = operatorconfig.FOLDER
    if not operatorconfig.files(folder):
        return []
    kit = _snapshot(config)
    kits[:] = [kit]
    operatorconfig.run(config, folder)
    said = settle(config, kit)
    classes = [JupyterHub, spawner_class(config), authenticator_class(config)]
    return said + without_effect(config, kit, classes)


def try_out(path: Path = CONFIG_FILE) -> tuple[Config | None, list[str], list[str]]:
    """Load the hub's configuration. Return it, its mistakes, and what only a start can show."""
    try:
        # Standard output is for the caller: `envfile base-url` prints a path there.
        with contextlib.redirect_stdout(sys.stderr), operatorconfig.within(PATIENCE):
            config = PyFileConfigLoader(path.name, str(path.parent)).load_config()
            wrong, unknown = _wrong_values(config)
            return config, wrong or _fails_at_start(config), unknown
    except SystemExit as ended:
        cause = ended.__context__
        if isinstance(cause, operatorconfig.Failed) and cause.of_the_place:
            return None, [], [f"{line}. That can't be tried before the hub starts" for line in cause.lines]
        return None, list(cause.lines) if isinstance(cause, Mistakes) else [str(ended.code)], []
    except operatorconfig.TooSlow as error:
        return None, [f"{operatorconfig.SHOWN} can't be checked: {error}"], []
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return None, [f"{operatorconfig.SHOWN} produces a configuration that can't be checked: {said}"], []


class _Unknown(logging.Handler):
    """Collects warnings of traitlets about names that a class does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if "not recognized" in said:
            # Config option `volumess` not recognized by `DockerSpawner`.  Did you mean `volumes`?
            self.found.append(f"{operatorconfig.SHOWN}: {' '.join(said.split())}")


def _wrong_values(config: Config) -> tuple[list[str], list[str]]:
    """Return the errors of values that traits of the hub or the spawner reject, and names without a trait."""
    found = []
    log = logging.getLogger("dockyard.config")
    unknown = _Unknown()
    log.addHandler(unknown)
    log.propagate = False
    makers: tuple[Callable[[], object], ...] = (
        lambda: JupyterHub(config=copy.deepcopy(config)),
        lambda: spawner_class(config)(config=copy.deepcopy(config), user=None, log=log),
    )
    for make in makers:
        try:
            make()
        except TraitError as error:
            found.append(f"{operatorconfig.SHOWN}: {next(iter(str(error).splitlines()), '')}")
        except Exception as error:
            # An operator's class may need objects that only a running hub has.
            log.debug("%s", error)
    log.removeHandler(unknown)
    return found, unknown.found


def _fails_at_start(config: Config) -> list[str]:
    """What the hub itself rejects while it starts: users, roles, services. Tried with an empty database in memory.

    Not the assignment of roles, which depends on users and groups in the hub's database.
    """
    logging.disable(logging.CRITICAL)
    try:
        app = JupyterHub(config=copy.deepcopy(config))
        app.db_url, app.db_kwargs = "sqlite://", {}
        app.init_db()
        app.init_hub()
        app.init_oauth()
        found = [*_error_of("JupyterHub.services", app.init_services)]
        # An authenticator that manages roles asks a server for them.
        if not app.authenticator.manage_roles:
            found += _error_of("JupyterHub.load_roles", lambda: asyncio.run(app.init_role_creation()))
            # Users get the roles.
            if not found:
                found += _error_of("Authenticator", lambda: asyncio.run(app.init_users()))
        return found
    except TraitError as error:
        return [f"{operatorconfig.SHOWN}: {next(iter(str(error).splitlines()), '')}"]
    except Exception:
        # A class of the operator may need what only a hub has.
        return []
    finally:
        logging.disable(logging.NOTSET)


def _error_of(section: str, step: Callable[[], object]) -> Iterator[str]:
    try:
        step()
    except (OSError, SystemExit):
        # For want of a network, or of the hub's keys.
        return
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        yield f"{operatorconfig.SHOWN}: c.{section} keeps the hub from starting: {type(error).__name__}: {first}"


def _snapshot(config: Config) -> Config:
    """Return a deep copy."""
    return Config({name: {key: copy.deepcopy(value) for key, value in config[name].items()} for name in config})
