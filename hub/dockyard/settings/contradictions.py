"""What settings have to be together. Each rule names the setting to change; the order of declarations has no effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo

from dockyard.settings import db_url, sharing
from dockyard.settings.binds import holds
from dockyard.settings.names import filled, matched
from dockyard.settings.passwords import is_guessable
from dockyard.settings.types import in_bytes, is_address, readable


class Unknown(Exception):
    """A rule reads a setting that is invalid by itself, or that the process does not have."""


class Known:
    """The valid settings as attributes. Reading another setting raises `Unknown`, which ends the rule."""

    def __init__(self, values: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> None:
        self._values = values
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name not in self._values:
            raise Unknown(name)
        return self._values[name]

    def default(self, name: str) -> Any:
        """The default as it is declared, which is text for an amount of memory."""
        return self._fields[name].default

    def is_changed(self, name: str) -> bool:
        """Whether a setting differs from its default."""
        return bool(getattr(self, name) != self.default(name))


# Returns what is wrong with the setting `name`, to be read after it, and how to fix it; or an empty text.
Rule = Callable[[Known, str], str]
_RULES: list[tuple[str, Rule]] = []


def contradictions(values: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Return what is wrong with settings that are valid by themselves: at most one text for each name."""
    known = Known(values, fields)
    found: dict[str, str] = {}
    for name, rule in _RULES:
        try:
            text = rule(known, name) if name in values and name not in found else ""
        except Unknown:
            continue
        if text:
            found[name] = text
    return found


def overlays_of(compose_file: str) -> set[str]:
    """Return the overlays that COMPOSE_FILE names: compose/compose.tls.yaml is tls."""
    return set(re.findall(r"(?:^|[:/])compose\.([\w-]+)\.yaml(?=:|$)", compose_file))


def is_this_machine(host: str) -> bool:
    """Whether a machine reaches itself with this name or address."""
    return ip_address(host).is_loopback if is_address(host) else f".{host}".endswith(".localhost")


def reached_by(settings: Known) -> str:
    """Return the setting with which other machines reach the hub; empty if they do not."""
    if not is_this_machine(settings.bind_addr):
        return f"BIND_ADDR={settings.bind_addr}"
    if settings.proxies_in_front:
        return f"PROXIES_IN_FRONT={settings.proxies_in_front}"
    host = urlsplit(settings.public_url).hostname or ""
    return f"PUBLIC_URL={settings.public_url}" if host and not is_this_machine(host) else ""


def _rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for each of these settings. The first rule of a setting that is broken is reported."""

    def register(rule: Rule) -> Rule:
        _RULES.extend((name, rule) for name in names)
        return rule

    return register


def _has(settings: Known, overlay: str) -> bool:
    return overlay in overlays_of(settings.compose_file)


# Sign-in


@_rule("admin_password")
def _differs(settings: Known, name: str) -> str:
    is_same = settings.admin_password.get_secret_value() and settings.admin_password == settings.user_password
    return "must differ from USER_PASSWORD" if is_same else ""


@_rule("user_password", "admin_password")
def _is_hard_to_guess(settings: Known, name: str) -> str:
    password = getattr(settings, name).get_secret_value()
    if not password or settings.auth != "password" or settings.allow_weak_password:
        return ""
    host = urlsplit(settings.public_url).hostname or ""
    others = reached_by(settings)
    if not others or not is_guessable(password, (settings.compose_project_name, *host.split("."))):
        return ""
    return (
        f"is easily guessed (common words, rows of keys, repetitions). With {others}, other machines reach "
        "the hub: write another password (openssl rand -hex 20 creates one), or ALLOW_WEAK_PASSWORD=true"
    )


# One host, or a swarm


@_rule("cull_action")
def _can_be_done(settings: Known, name: str) -> str:
    if settings.cull_action == "sleep" and settings.spawner == "swarm":
        return "is for one host, because a swarm can't pause servers: write CULL_ACTION=stop"
    return ""


@_rule("network_isolation")
def _is_for_one_host(settings: Known, name: str) -> str:
    if settings.network_isolation == "per-user" and settings.spawner == "swarm":
        return "is for one host, where networks are made in no time: write NETWORK_ISOLATION=shared"
    return ""


@_rule("home_driver")
def _is_for_a_swarm(settings: Known, name: str) -> str:
    if settings.home_driver and settings.spawner != "swarm":
        return "is for a swarm: remove it; on one host homes are plain volumes"
    return ""


@_rule("home_scope", "fence_after", "registry", "users_subnet")
def _has_no_effect_on_one_host(settings: Known, name: str) -> str:
    if settings.spawner != "docker" or not settings.is_changed(name):
        return ""
    instead = "; on one host, the engine chooses the addresses" if name == "users_subnet" else ""
    return f"is for a swarm and has no effect on one host: remove it{instead}"


@_rule("pull_policy")
def _has_no_effect_on_a_swarm(settings: Known, name: str) -> str:
    if settings.is_changed(name) and settings.spawner == "swarm":
        return "is for one host: remove it; on a swarm, each node pulls the images that it lacks"
    return ""


@_rule("tmp_size")
def _is_of_one_host(settings: Known, name: str) -> str:
    if settings.tmp_size not in {0, in_bytes(settings.default(name))} and settings.spawner == "swarm":
        return "is for one host: remove it; on a swarm, /tmp is on the disk of each node without limit"
    return ""


@_rule("bind_addr")
def _is_everywhere(settings: Known, name: str) -> str:
    if settings.spawner != "swarm" or settings.bind_addr in {"0.0.0.0", "::"}:
        return ""
    return (
        "has no effect on a swarm, which publishes ports on all addresses of a node: write "
        "BIND_ADDR=0.0.0.0, and restrict access with a firewall"
    )


# Networks


@_rule("allow_internet")
def _can_be_blocked(settings: Known, name: str) -> str:
    if settings.allow_internet or settings.network_isolation != "shared":
        return ""
    return (
        "needs NETWORK_ISOLATION=per-user to be false, because the shared network leads to the internet: write "
        "NETWORK_ISOLATION=per-user, or block servers with the host's firewall (chain DOCKER-USER)"
    )


@_rule("user_dns")
def _can_be_asked(settings: Known, name: str) -> str:
    near = [text for text in settings.user_dns if ip_address(text).is_link_local]
    if not near or settings.allow_metadata:
        return ""
    return (
        f"has {near[0]}, and servers do not reach link-local addresses: name another address, or write "
        "ALLOW_METADATA=true"
    )


# Storage


@_rule("home_driver_opts")
def _has_its_driver(settings: Known, name: str) -> str:
    if settings.home_driver_opts and not settings.home_driver:
        return "are options of HOME_DRIVER, which is not set: write HOME_DRIVER=local, or remove them"
    wrong = settings.home_driver_opts.keys() - {"type", "o", "device", "size"}
    if settings.home_driver == "local" and wrong:
        return f"knows type, o and device with HOME_DRIVER=local, not {min(wrong)}"
    return ""


@_rule("home_volume")
def _is_no_volume_of_the_kit(settings: Known, name: str) -> str:
    project = settings.compose_project_name
    if settings.home_volume.replace("{prefix}", project).partition("{")[0] != f"{project}_":
        return ""
    return (
        f"begins like the kit's own volumes, such as {project}_hub-data. A user could get one as home: write "
        "HOME_VOLUME={prefix}-home-{username}"
    )


@_rule("shared_volumes")
def _is_on_one_host(settings: Known, name: str) -> str:
    if not settings.shared_volumes or settings.spawner != "swarm":
        return ""
    return (
        "would be other volumes on each node of a swarm: mount a shared file system in the same place on all "
        "nodes, and name it in hub/config.d (compose/README.md)"
    )


@_rule("shared_volumes")
def _is_beside_the_home(settings: Known, name: str) -> str:
    for one in map(sharing.parse, settings.shared_volumes):
        if one.path == settings.home_path:
            return f"has a volume at {one.path}, which is HOME_PATH: give that volume another path"
    return ""


@_rule("shared_volumes")
def _is_no_home(settings: Known, name: str) -> str:
    for one in map(sharing.parse, settings.shared_volumes):
        volume = f"{settings.compose_project_name}-shared-{one.name}"
        home = settings.home_volume.replace("{prefix}", settings.compose_project_name)
        if matched(filled(home), volume):
            return (
                f"has {one.name!r}, whose volume {volume} could be a user's home according to HOME_VOLUME: write "
                "HOME_VOLUME={prefix}-home-{username}"
            )
    return ""


@_rule("docker_socket")
def _is_in_no_bind_path(settings: Known, name: str) -> str:
    inside = [entry for entry in settings.bind_paths if holds(entry, settings.docker_socket)]
    if not inside or not settings.is_changed(name):
        return ""
    return (
        f"is in {inside[0]}, which BIND_PATHS allows servers to mount: a server with that socket controls "
        "the host. Remove that path from BIND_PATHS"
    )


# Amounts


@_rule("mem_guarantee")
def _is_within_the_limit(settings: Known, name: str) -> str:
    guarantee, limit = settings.mem_guarantee, settings.mem_limit
    return f"must not be more than MEM_LIMIT={readable(limit)}" if guarantee and limit and guarantee > limit else ""


@_rule("cpu_guarantee")
def _is_within_the_cores(settings: Known, name: str) -> str:
    guarantee, limit = settings.cpu_guarantee, settings.cpu_limit
    return f"must not be more than CPU_LIMIT={limit:g}" if guarantee and limit and guarantee > limit else ""


# Addresses and HTTPS


@_rule("public_url")
def _is_https(settings: Known, name: str) -> str:
    if not _has(settings, "tls") or settings.public_url.startswith("https://"):
        return ""
    return (
        "must begin with https://, since COMPOSE_FILE names compose/compose.tls.yaml: "
        "write PUBLIC_URL=https:// and the host's name"
    )


@_rule("acme_ca")
def _is_the_only_source(settings: Known, name: str) -> str:
    if settings.is_changed(name) and settings.cert_file:
        return "and CERT_FILE are both set, two ways to a certificate: remove one of the two"
    return ""


@_rule("http_port", "https_port", "cert_file", "acme_email", "acme_root_file", "acme_ca")
def _has_its_overlay(settings: Known, name: str) -> str:
    if not settings.is_changed(name) or _has(settings, "tls"):
        return ""
    return "is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE, or remove it"


@_rule("https_port")
def _is_another_port(settings: Known, name: str) -> str:
    return "and HTTP_PORT must be two ports" if settings.https_port == settings.http_port else ""


@_rule("https_port")
def _is_what_users_type(settings: Known, name: str) -> str:
    typed = urlsplit(settings.public_url).port
    if _has(settings, "tls") and typed not in {None, settings.https_port}:
        return f"must be {typed}, the port in PUBLIC_URL"
    return ""


@_rule("key_file")
def _is_one_of_a_pair(settings: Known, name: str) -> str:
    if bool(settings.key_file) != bool(settings.cert_file):
        return "and CERT_FILE belong together: one of them is set, the other is not"
    return ""


@_rule("subdomains")
def _has_names(settings: Known, name: str) -> str:
    if not settings.subdomains:
        return ""
    if settings.spawner == "swarm":
        return "is for one host so far: remove it"
    host = urlsplit(settings.public_url).hostname or ""
    if "." not in host or is_address(host):
        return (
            "needs a host in PUBLIC_URL that has names below it, such as https://hub.example.org (on one machine: "
            f"http://hub.localhost:8000), not {host or 'none'}"
        )
    if _has(settings, "tls") and not settings.cert_file:
        return (
            f"needs a certificate for *.{host}, which ACME gives only to who can change the DNS: write CERT_FILE "
            "and KEY_FILE"
        )
    return ""


# The database


@_rule("db_url")
def _is_of_the_overlay(settings: Known, name: str) -> str:
    address = settings.db_url.get_secret_value()
    if not address or not _has(settings, "postgres") or db_url.parse(address).host == "postgres":
        return ""
    return (
        "names another database than the server that compose/compose.postgres.yaml brings: "
        "remove DB_URL, or that file from COMPOSE_FILE"
    )


@_rule("postgres_password")
def _is_wanted(settings: Known, name: str) -> str:
    if _has(settings, "postgres") and not settings.postgres_password.get_secret_value():
        return "is not set or empty (openssl rand -hex 32 makes one)"
    return ""
