"""Validation of settings for the Docker SDK: known keys, and suggestions for unknown ones."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from docker import APIClient
from docker.errors import DockerException
from docker.types import ContainerSpec, EndpointSpec, HostConfig, Placement, Resources, TaskTemplate

from dockerspawner._settings.templates import nearest

# Maximum number of keys that a message lists.
_FEW = 30

Places = Mapping[str, Collection[str]]


class Mistake(ValueError):
    """An invalid setting; the message names the setting and the key."""


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {"self", "version"}


# Keys that each setting accepts.
CONTAINER: Places = {
    "extra_create_kwargs": _parameters(APIClient.create_container),
    "extra_host_config": _parameters(HostConfig),
}
SERVICE: Places = {
    "extra_create_kwargs": _parameters(APIClient.create_service),
    # The SDK lacks these limits, but the engine has them.
    "extra_container_spec": _parameters(ContainerSpec) | {"ulimits"},
    "extra_resources_spec": _parameters(Resources) | {"pids_limit"},
    "extra_placement_spec": _parameters(Placement),
    "extra_task_spec": _parameters(TaskTemplate),
    "extra_endpoint_spec": _parameters(EndpointSpec),
}

# Synonyms of keys, from the command line, compose files and the engine. The first known key counts.
_SYNONYMS = {
    "add_host": ("extra_hosts",),
    "blkio_device_read_bps": ("device_read_bps",),
    "blkio_device_read_iops": ("device_read_iops",),
    "blkio_device_write_bps": ("device_write_bps",),
    "blkio_device_write_iops": ("device_write_iops",),
    "cgroup": ("cgroupns",),
    "cgroupns_mode": ("cgroupns",),
    "cpu_realtime_period": ("cpu_rt_period",),
    "cpu_realtime_runtime": ("cpu_rt_runtime",),
    "cpuset": ("cpuset_cpus",),
    "cap": ("cap_add",),
    "dns_options": ("dns_opt",),
    "dns_option": ("dns_opt",),
    "entrypoint": ("entrypoint", "command"),
    "exposed_ports": ("ports",),
    "ipc": ("ipc_mode",),
    "log_driver": ("log_config", "log_driver"),
    "log_opt": ("log_config",),
    "logging": ("log_config", "log_driver"),
    "mem_swap": ("memswap_limit",),
    "memory_swap": ("memswap_limit",),
    "memory_swappiness": ("mem_swappiness",),
    "memswap": ("memswap_limit",),
    "nano_cpus": ("nano_cpus", "cpu_limit"),
    "pid": ("pid_mode",),
    "pids": ("pids_limit",),
    "readonly_rootfs": ("read_only",),
    "replicas_max_per_node": ("maxreplicas",),
    "restart": ("restart_policy",),
    "userns": ("userns_mode",),
    "uts": ("uts_mode",),
    "workdir": ("working_dir", "workdir"),
    "working_dir": ("working_dir", "workdir"),
}
# Synonyms of the spawner's settings.
_SETTINGS = {
    "args": "args",
    "auto_remove": "remove",
    "cmd": "cmd",
    "command": "cmd",
    "cpu_limit": "cpu_limit",
    "cpu_reservation": "cpu_guarantee",
    "cpus": "cpu_limit",
    "e": "environment",
    "env": "environment",
    "environment": "environment",
    "gpu": "gpus",
    "gpus": "gpus",
    "image": "image",
    "m": "mem_limit",
    "mem": "mem_limit",
    "mem_limit": "mem_limit",
    "mem_reservation": "mem_guarantee",
    "memory": "mem_limit",
    "memory_bytes": "mem_limit",
    "memory_reservation": "mem_guarantee",
    "mount": "mounts",
    "name": "name_template",
    "net": "network_name",
    "network": "network_name",
    "network_mode": "network_name",
    "networks": "network_name",
    "rm": "remove",
    "stop_grace_period": "stop_timeout",
    "stop_timeout": "stop_timeout",
    "v": "volumes",
    "volume": "volumes",
    "volumes": "volumes",
}
# For synonyms of both: the key that does the same as the setting.
_KEYS = {
    "cpus": "nano_cpus",
    "gpus": "device_requests",
    "e": "environment",
    "env": "environment",
    "mem": "mem_limit",
    "memory": "mem_limit",
    "memory_reservation": "mem_reservation",
    "net": "network_mode",
    "network": "network_mode",
    "expose": "ports",
    "p": "port_bindings",
    "ports": "port_bindings",
    "publish": "port_bindings",
    "v": "binds",
    "volume": "binds",
    "volumes": "binds",
}

# Examples of values whose form often differs in other tools.
_EXAMPLES = {
    "binds": '{"/srv/data": {"bind": "/data", "mode": "ro"}}',
    "cap_add": '["SYS_PTRACE"]',
    "cap_drop": '["ALL"]',
    "constraints": '["node.labels.gpu==1"]',
    "cpu_limit": "billionths of a processor, such as 2_000_000_000",
    "cpu_reservation": "billionths of a processor, such as 2_000_000_000",
    "device_requests": '[{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}]',
    "devices": '["/dev/fuse:/dev/fuse:rwm"]',
    "env": '{"NAME": "value"}',
    "environment": '{"NAME": "value"}',
    "extra_hosts": '{"name": "10.0.0.1"}',
    "group_add": '["users"]',
    "healthcheck": '{"test": ["CMD", "true"], "interval": 30_000_000_000}',
    "labels": '{"name": "value"}',
    "links": '{"container": "alias"}',
    "log_config": '{"type": "json-file", "config": {"max-size": "10m"}}',
    "mem_limit": 'bytes, such as 2147483648, or "2g"',
    "mem_reservation": 'bytes, such as 2147483648, or "2g"',
    "memswap_limit": 'bytes, such as 2147483648, or "2g"',
    "nano_cpus": "billionths of a processor, such as 2_000_000_000",
    "ports": '[8888, "9999/udp"]',
    "port_bindings": '{8888: ("127.0.0.1", 8000)}',
    "restart_policy": '{"Name": "on-failure", "MaximumRetryCount": 5}',
    "security_opt": '["no-new-privileges"]',
    "shm_size": 'bytes, such as 1073741824, or "1g"',
    "sysctls": '{"net.core.somaxconn": "1024"}',
    "tmpfs": '{"/tmp": "size=64m"}',
    "ulimits": '[{"name": "nofile", "soft": 65536, "hard": 65536}]',
    "volumes": '["/data"]',
}
# For these keys, the SDK would split a string into letters.
_NO_TEXT = frozenset({"constraints", "devices", "group_add", "mounts", "platforms", "preferences", "secrets"})
# Keys that accept a dict, or a list of name=value.
_PAIRS = frozenset({"env", "environment", "labels"})
# Inside of these, the SDK ignores unknown keys.
_INSIDE = {
    "device_requests": ("driver", "count", "device_ids", "capabilities", "options"),
    "healthcheck": ("test", "interval", "timeout", "retries", "start_period", "start_interval"),
    "log_config": ("type", "config"),
    "restart_policy": ("name", "maximum_retry_count", "condition", "delay", "max_attempts", "window"),
    "ulimits": ("name", "soft", "hard"),
}
_FORMS = {"string": "a text", "bool": "True or False", "int64": "a whole number", "int": "a whole number"}
_WRONG_FORM = re.compile(r"cannot unmarshal .* into Go struct field (?P<fields>[\w.]+) of type (?P<form>\S+)")
_RAISED = (TypeError, ValueError, AttributeError, LookupError, DockerException)


def check(setting: str, given: Any, places: Places) -> None:
    """Raise Mistake if `given`, the value of `setting`, has an unknown key or a wrong value."""
    if not isinstance(given, Mapping):
        raise Mistake(f"The setting {setting} must be a dict, not {type(given).__name__}")
    for key, value in given.items():
        if key not in places[setting]:
            raise Mistake(f'Unknown key "{key}" in the setting {setting}: {_advice(setting, str(key), places)}')
        _check_value(setting, key, value)


def unread(host_config: Mapping[str, Any]) -> list[str]:
    """List keys in the SDK's spelling in a `host_config` of the engine's spelling: the engine ignores them."""
    return [key for key in host_config if key in CONTAINER["extra_host_config"] and "_" in key]


def build(kind: Callable[..., Any], setting: str, given: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    """Return `kind(**given)`. If the SDK rejects `extra`, the value of `setting`, Mistake names the key."""
    try:
        return kind(**given)
    except _RAISED as error:
        for key in extra:
            try:
                kind(**{key: given[key]})
            except _RAISED as own:
                raise wrong(setting, key, given[key], own) from error
        raise Mistake(f"The Docker SDK rejects {setting} together with other settings: {_plain(error)}") from error


def wrong_form(refusal: str, places: Places) -> str:
    """Explain a rejected value whose type is wrong; empty for other rejections."""
    found = _WRONG_FORM.search(refusal)
    if found is None:
        return ""
    # The innermost known key: Healthcheck in Config.Healthcheck.Interval.
    fields = [_plainly(field) for field in reversed(found["fields"].split("."))]
    for field, (setting, keys) in itertools.product(fields, places.items()):
        if key := _same(field, keys) or next(iter(_synonyms(field, keys)), ""):
            form = _FORMS.get(found["form"], "a list" if found["form"].startswith("[]") else "a dict")
            takes = _EXAMPLES.get(key, form)
            return f'Wrong value for "{key}" in the setting {setting}: it takes {takes}'
    return ""


def _check_value(setting: str, key: str, value: Any) -> None:
    is_pairs = value is None or isinstance(value, Mapping | list | tuple)
    is_wrong = (key in _NO_TEXT and isinstance(value, str)) or (key in _PAIRS and not is_pairs)
    if is_wrong or (key == "host_config" and not isinstance(value, Mapping)):
        raise wrong(setting, key, value)
    for entry in value if isinstance(value, list | tuple) else [value]:
        if key in _INSIDE and isinstance(entry, Mapping):
            known = {name.replace("_", "") for name in _INSIDE[key]}
            for name in entry:
                if str(name).replace("_", "").lower() not in known:
                    known_to = f'"{key}" of the setting {setting}'
                    raise Mistake(f'Unknown key "{name}" in {known_to}, which takes {_EXAMPLES[key]}')


def wrong(setting: str, key: str, value: Any, error: Exception | None = None) -> Mistake:
    """Create the Mistake for a wrong `value` of `key` in `setting`."""
    shown = f" {value!r}" if isinstance(value, str | int | float) and len(str(value)) < 60 else ""
    why = f"it takes {_EXAMPLES[key]}" if key in _EXAMPLES else _plain(error) if error else "its type is wrong"
    return Mistake(f'Wrong value{shown} for "{key}" in the setting {setting}: {why}')


def _plain(error: Exception) -> str:
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(error))
    return re.sub(r"^\w+\.__init__\(\) ", "", text).rstrip(".")


def _plainly(key: str) -> str:
    """Convert a key from the spelling of the command line or the engine to the SDK's."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip().lstrip("-").replace("-", "_")).lower()


def _same(key: str, known: Collection[str]) -> str:
    squeezed = key.replace("_", "")
    forms = {squeezed, f"{squeezed}s", squeezed.removesuffix("s")}
    return next((one for one in sorted(known) if one.replace("_", "") in forms), "")


def _synonyms(key: str, known: Collection[str]) -> list[str]:
    return [one for one in (_KEYS.get(key, ""), *_SYNONYMS.get(key, ())) if one in known]


def _advice(setting: str, given: str, places: Places) -> str:
    key = _plainly(given)
    if same := _same(key, places[setting]):
        return f'the nearest known key is "{same}"'
    ways = [f"the setting {_SETTINGS[key]}"] if key in _SETTINGS else []
    if key == "host_config" and places is SERVICE:
        ways = ["the setting extra_container_spec"]
    for place in (setting, *(other for other in places if other != setting)):
        if found := _synonyms(key, places[place]) or ([same] if (same := _same(key, places[place])) else []):
            ways.append(f'"{found[0]}"' if place == setting else f'"{found[0]}" in {place}')
            break
    if ways:
        return f"use {' or '.join(ways)}"
    if given[:1].isupper() and places is CONTAINER:
        return 'the engine\'s own spelling is allowed in extra_create_kwargs["host_config"]'
    if near := nearest(key, places[setting]):
        return f'the nearest known key is "{near}"'
    known = sorted(places[setting])
    return f"known keys are {', '.join(known)}" if len(known) <= _FEW else "no known key is similar"
