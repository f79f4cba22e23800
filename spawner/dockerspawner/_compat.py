"""Names that code written for dockerspawner 14 calls or imports. Each works and logs its replacement."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jupyterhub
from traitlets import Unicode

from dockerspawner._core import Core
from dockerspawner._settings import templates
from dockerspawner._settings.deprecations import RENAMED, is_replaced
from dockerspawner._start import specs
from dockerspawner._storage.volumes import binds

# Replacement of each name that a spawner has only for subclasses.
REPLACED = {
    "executor": "docker()",
    "_docker": "docker()",
    "tls_client": "tls_config",
    "_eval_if_callable": "the setting itself",
    "_render_templates": "template_namespace()",
    "_volumes_to_binds": "volume_binds",
    "_get_ssl_alt_names": "ssl_alt_names",
    "_default_options_from_form": "options_from_form",
    "_default_cmd": "cmd",
    "_default_name_template": "name_template",
    "_default_use_hostname": "use_internal_hostname",
    "_default_use_ip": "use_internal_ip",
    "_default_network_name": "network_name",
    "_default_pull_policy": "pull_policy",
    "_get_default_format_volume_name": "format_volume_name",
}
# Names that a subclass may override, but that the spawner does not call.
UNCALLED = ("executor", "tls_client", "_eval_if_callable", "_render_templates", "_volumes_to_binds")

# (class, old name) pairs that are logged already.
_logged: set[tuple[type, str]] = set()


def _default_of(name: str, trait: str) -> Callable[[Any], Any]:
    """Create a method that returns the default of a trait."""

    def default(self: Any) -> Any:
        self._log_replaced(name)
        return self.trait_defaults(trait)

    default.__name__ = name
    return default


class OldNames(Core):
    """Helpers of dockerspawner 14 that subclasses call."""

    _executor: ThreadPoolExecutor | None = None
    _deprecated_aliases = RENAMED

    _default_options_from_form = _default_of("_default_options_from_form", "options_from_form")
    _default_cmd = _default_of("_default_cmd", "cmd")
    _default_name_template = _default_of("_default_name_template", "name_template")
    _default_use_hostname = _default_of("_default_use_hostname", "use_internal_hostname")
    _default_use_ip = _default_of("_default_use_ip", "use_internal_ip")
    _default_network_name = _default_of("_default_network_name", "network_name")
    _default_pull_policy = _default_of("_default_pull_policy", "pull_policy")
    _get_default_format_volume_name = _default_of("_get_default_format_volume_name", "format_volume_name")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in UNCALLED:
            if is_replaced(self, name):
                self._log_once(name, "The spawner does not call %s.%s: use %s instead")

    def _log_once(self, name: str, message: str) -> None:
        if (type(self), name) not in _logged:
            _logged.add((type(self), name))
            self.log.warning(message, type(self).__name__, name, REPLACED[name])

    def _log_replaced(self, name: str) -> None:
        self._log_once(name, "%s.%s is deprecated, use %s instead")
        message = f"{type(self).__name__}.{name} is deprecated, use {REPLACED[name]} instead"
        warnings.warn(message, DeprecationWarning, stacklevel=3)

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Deprecated: docker(). One thread, in which a subclass may run its own calls."""
        self._log_replaced("executor")
        if OldNames._executor is None:
            OldNames._executor = ThreadPoolExecutor(1)
        return type(self)._executor or OldNames._executor

    @property
    def tls_client(self) -> tuple[str, str] | None:
        """Deprecated: tls_config. Paths of the client's certificate and key, if configured."""
        self._log_replaced("tls_client")
        pair = self.tls_config.get("client_cert")
        return tuple(pair) if pair else None

    def _docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Deprecated: docker(). Call the Docker client in this thread."""
        if type(self)._docker is OldNames._docker:
            self._log_replaced("_docker")
        return getattr(self.client, method)(*args, **kwargs)

    def docker(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        if is_replaced(self, "_docker"):
            call = self.engine.slow.submit(lambda client: self._docker(method, *args, **kwargs), self._rank)
            return asyncio.wrap_future(call)
        return super().docker(method, *args, **kwargs)

    def _eval_if_callable(self, x: Any) -> Any:
        """Deprecated. Return `x`, or its result for this spawner if `x` is callable."""
        self._log_replaced("_eval_if_callable")
        return x(self) if callable(x) else x

    def _render_templates(self, obj: Any, ns: dict[str, Any] | None = None) -> Any:
        """Deprecated. Return `obj` with the placeholders in all its strings filled."""
        self._log_replaced("_render_templates")
        return templates.render(obj, self.template_namespace() if ns is None else ns)

    def _volumes_to_binds(self, volumes: Any, binds: dict[str, Any], mode: str = "rw") -> dict[str, Any]:
        """Deprecated: volume_binds. Add the binds of a `volumes` setting to `binds`."""
        self._log_replaced("_volumes_to_binds")
        return _add_binds(volumes, binds, mode, self._render_volume)

    def _get_ssl_alt_names(self) -> list[str]:
        """Deprecated: ssl_alt_names."""
        self._log_replaced("_get_ssl_alt_names")
        return self.trait_defaults("ssl_alt_names")  # type: ignore[return-value]


def _add_binds(settings: Any, found: dict[str, Any], mode: str, render: Callable[[str], str]) -> dict[str, Any]:
    for bind in binds(settings, mode, render):
        found[bind.source] = bind.as_bind()
    return found


# Modules


class UnicodeOrFalse(Unicode[Any, Any]):
    """A string, or False for no value."""

    info_text = "a text or False"

    def validate(self, obj: Any, value: Any) -> Any:
        return value if value is False else super().validate(obj, value)


def _deep_merge(dest: dict[Any, Any], src: dict[Any, Any]) -> dict[Any, Any]:
    """Merge `src` into `dest` itself; returns `dest`."""
    dest.update(specs.merge(dest, src))
    return dest


_HERE = {
    "UnicodeOrFalse": UnicodeOrFalse,
    "_deep_merge": _deep_merge,
    "_jupyterhub_xy": "{}.{}".format(*jupyterhub.version_info[:2]),
}
# Sources of the names that the modules of dockerspawner 14 import.
_ELSEWHERE = {
    "docker.errors": ("APIError",),
    "docker.types": (
        "ContainerSpec",
        "DriverConfig",
        "EndpointSpec",
        "Mount",
        "Placement",
        "Resources",
        "TaskTemplate",
    ),
    "docker.utils": ("kwargs_from_env",),
    "jupyterhub.spawner": ("Spawner",),
    "jupyterhub.traitlets": ("ByteSpecification", "Callable"),
    "tornado": ("web",),
    "traitlets": (
        "Any", "Bool", "CaselessStrEnum", "Dict", "Float", "Int", "Integer", "List", "Unicode", "Union", "default",
        "observe", "validate",
    ),
    "dockerspawner.volumenamingstrategy": ("default_format_volume_name",),
}  # fmt: skip
_SOURCES = {name: module for module, names in _ELSEWHERE.items() for name in names}
_MODULES = ("asyncio", "docker", "jupyterhub")


def old_name(module: str, name: str) -> Any:
    """Return what `from module import name` gave in dockerspawner 14; raise AttributeError for an unknown name."""
    if name in _HERE:
        found, instead = _HERE[name], "a definition of your own"
    elif name in _SOURCES:
        found, instead = getattr(importlib.import_module(_SOURCES[name]), name), _SOURCES[name]
    elif name in _MODULES:
        found, instead = importlib.import_module(name), f"import {name}"
    else:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is deprecated, use {instead}", DeprecationWarning, stacklevel=3)
    return found
