"""Hints about valid settings: amounts above those of this machine, doubtful choices.

Each function reads the settings that it needs, and returns sentences. The check reports invalid settings instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dockyard.settings import hostpaths, machine, profilesfile
from dockyard.settings.binds import READ_ONLY
from dockyard.settings.contradictions import is_this_machine
from dockyard.settings.load import some
from dockyard.settings.sources import Mistakes
from dockyard.settings.types import in_bytes, readable

MEMINFO = Path("/proc/meminfo")


def hints() -> list[str]:
    """All hints for the settings in the environment."""
    found = [*of_the_machine(profiles()), *machine.hints(os.environ, profiles()), *of_tmp_size(profiles())]
    for names, hint in ((("bind_paths",), of_bind_paths), (_OF_SIGN_IN, of_sign_in), (_OF_EFFECT, without_effect)):
        with suppress(Mistakes):
            found += hint(some(*names))
    return found


def profiles() -> Any:
    """Return the profiles of PROFILES_FILE; none if they are invalid."""
    try:
        return profilesfile.load(os.environ.get("PROFILES_FILE", ""))
    except Mistakes:
        return []


def machine_memory() -> int:
    """Return the bytes of memory of the machine that runs users' servers; 0 if unknown.

    On a swarm, `scripts/check` passes those of the largest node as MACHINE_MEMORY.
    """
    if given := os.environ.get("MACHINE_MEMORY", ""):
        return int(given) if given.isdigit() else 0
    if os.environ.get("SPAWNER") == "swarm":
        return 0
    try:
        lines = MEMINFO.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration, ValueError):
        return 0


def of_the_machine(profiles: Any) -> Iterator[str]:
    """Yield amounts of memory above that of the machine."""
    amounts: dict[str, int] = {}
    for name in ("mem_limit", "mem_guarantee"):
        try:
            amounts[name.upper()] = getattr(some(name), name) or 0
        except Mistakes:
            continue
    for path, override in profilesfile.overrides(profiles):
        for name in ("mem_limit", "mem_guarantee"):
            try:
                amounts[f"PROFILES_FILE, {path}.{name}"] = in_bytes(override.get(name) or 0)
            except ValueError:
                continue
    total = machine_memory()
    where = "any node of the swarm" if os.environ.get("SPAWNER") == "swarm" else "this machine"
    for name, amount in amounts.items():
        if total and amount > total:
            yield (
                f"{name}={readable(amount)} is more memory than {where} has ({readable(total)}): one server could use "
                "all of it. Write less"
            )


def of_tmp_size(profiles: Any) -> Iterator[str]:
    """Sizes of /tmp in profiles, on a swarm."""
    if os.environ.get("SPAWNER") == "swarm":
        for path, override in profilesfile.overrides(profiles):
            if override.get("tmp_size"):
                yield f"PROFILES_FILE, {path}.tmp_size has no effect on a swarm: /tmp is on the disk of each node"


# Folders of the host that hold more than data: keys, accounts, programs, jobs that root runs.
_OF_THE_HOST = re.compile(
    r"/((home|Users)(/[^/]+(/\.[^/]+)?)?|root(/.*)?|etc(/.*)?|boot(/.*)?|proc(/.*)?|sys(/.*)?|dev(/.*)?|bin|sbin|lib\w*|"
    r"usr(/(bin|sbin|lib\w*|local|local/s?bin))?|opt|srv|mnt|media|"
    r"var(/(lib|log|cache|mail|tmp|www|backups))?|var/lib/(docker|containerd|kubelet|libvirt)(/.*)?|var/spool(/.*)?)"
)
_OF_DATA = {"/opt", "/srv", "/mnt", "/media"}


def of_bind_paths(settings: Any) -> Iterator[str]:
    """Yield paths with which an attacker who controls the hub could take over the host or its users."""
    links = hostpaths.links()
    for entry in settings.bind_paths:
        path = entry.removesuffix(READ_ONLY).removesuffix("/*")
        led = (
            str(link)
            for link in links
            if link.entry == entry and _is_of_the_host(link.real, link.path == path and "*" in entry)
        )
        found = f"BIND_PATHS has {entry}" if _is_of_the_host(path, "*" in entry) else next(led, "")
        if not found:
            continue
        what = (
            "read keys and passwords"
            if entry.endswith(READ_ONLY)
            else "write .ssh/authorized_keys, cron jobs or programs"
        )
        yield (
            f"{found}, where the host's users and programs keep more than data. An attacker who "
            f"controls the hub could {what} there. Name a folder for the servers alone, such as /srv/data"
        )


def _is_of_the_host(path: str, directly: bool) -> bool:
    """Has it more than data? `directly`: servers mount what is directly in it, which is data in some folders."""
    is_known = _OF_THE_HOST.fullmatch(path) is not None and not (directly and path in _OF_DATA)
    return is_known or hostpaths.has_engines_folder(path)


_OF_SIGN_IN = ("compose_file", "spawner", "public_url", "bind_addr", "auth")


def of_sign_in(settings: Any) -> Iterator[str]:
    """Yield a hint if passwords cross a network unencrypted."""
    is_encrypted = settings.public_url.startswith("https:")
    if settings.auth == "password" and not is_encrypted and not is_this_machine(settings.bind_addr):
        yield (
            f"BIND_ADDR={settings.bind_addr} with plain HTTP: passwords cross the network unencrypted. Use HTTPS "
            "(compose/README.md), unless the network is trusted"
        )


_OF_EFFECT = (
    "compose_file", "cert_file", "acme_email", "acme_root_file", "auth", "oauth_client_id", "oauth_callback_url",
    "cull_action", "max_sleeping", "sleep_max_age", "compose_project_name", "home_volume", "shared_volumes",
    "volume_owner", "network_isolation", "user_subnet_pool", "spawner",
)  # fmt: skip


def without_effect(settings: Any) -> Iterator[str]:
    """Yield settings that have no effect because of another setting."""
    cases = (
        ("acme_email", settings.cert_file, "with CERT_FILE"),
        ("acme_root_file", settings.cert_file, "with CERT_FILE"),
        ("oauth_client_id", settings.auth in ("password", "github"), f"with AUTH={settings.auth}"),
        ("oauth_callback_url", settings.auth == "password", "with AUTH=password"),
        ("max_sleeping", settings.cull_action != "sleep", "without CULL_ACTION=sleep"),
        ("sleep_max_age", settings.cull_action != "sleep", "without CULL_ACTION=sleep"),
        ("volume_owner", not settings.shared_volumes, "without SHARED_VOLUMES"),
        ("user_subnet_pool", settings.network_isolation != "per-user", "without NETWORK_ISOLATION=per-user"),
    )
    for name, switched_off, why in cases:
        if switched_off and getattr(settings, name) != type(settings).model_fields[name].default:
            yield f"{name.upper()} has no effect {why}"
