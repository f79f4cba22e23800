"""Rules for single settings and for their combinations. The message of each broken rule contains the fix."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

from dockyard.gate.policy.allowed import begins_with_a_name, bind_paths, filled, holds, matched
from dockyard.hub import culling, database
from dockyard.settings import sharing
from dockyard.settings.passwords import is_guessable
from dockyard.settings.sources import HIDDEN, usable
from dockyard.settings.types import in_bytes, is_address, readable

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def overlays_of(compose_file: str) -> set[str]:
    """Return the overlays that COMPOSE_FILE names: compose/compose.tls.yaml is tls."""
    return set(re.findall(r"(?:^|[:/])compose\.([\w-]+)\.yaml(?=:|$)", compose_file))


def overlays(info: ValidationInfo) -> set[str]:
    return overlays_of(info.data.get("compose_file", ""))


def on_swarm(info: ValidationInfo) -> bool:
    return info.data.get("spawner") == "swarm"


def on_one_host(info: ValidationInfo) -> bool:
    return info.data.get("spawner") == "docker"


def is_this_machine(host: str) -> bool:
    """Whether a machine reaches itself with this name or address."""
    return ip_address(host).is_loopback if is_address(host) else f".{host}".endswith(".localhost")


def reached_by(info: ValidationInfo) -> str:
    """Return the setting with which other machines reach the hub; empty if they do not."""
    address = info.data.get("bind_addr", "127.0.0.1")
    if not is_this_machine(address):
        return f"BIND_ADDR={address}"
    if in_front := info.data.get("proxies_in_front"):
        return f"PROXIES_IN_FRONT={in_front}"
    host = urlsplit(url := info.data.get("public_url", "")).hostname or ""
    return f"PUBLIC_URL={url}" if host and not is_this_machine(host) else ""


class Rules(BaseSettings):
    """The rules for the settings that Settings declares; a later one may look at those before it."""

    @field_validator("*", mode="before")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        return usable(value)

    @field_validator("pip_index_url", "npm_registry", "debian_mirror", mode="before", check_fields=False)
    @classmethod
    def _has_no_credentials(cls, value: Any) -> Any:
        if isinstance(value, str) and re.search("[@?#]", value):
            raise PydanticCustomError(
                HIDDEN,
                "contains a user name, a password or a query. A build would show it in `ps`, in the history of images, "
                "and to users. Name a mirror that needs none, such as a caching proxy in your network",
            )
        return value

    @field_validator("cookie_secret", check_fields=False)
    @classmethod
    def _hexadecimal(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"([0-9a-fA-F]{2}){32,}", value.get_secret_value()):
            raise ValueError("must be 64 or more hexadecimal digits (openssl rand -hex 32)")
        return value

    @field_validator("crypt_key", check_fields=False)
    @classmethod
    def _keys(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[0-9a-fA-F]{64}(;[0-9a-fA-F]{64})*", value.get_secret_value()):
            raise ValueError("must be 64 hexadecimal digits (openssl rand -hex 32), several with ; between")
        return value

    @field_validator("admin_password", check_fields=False)
    @classmethod
    def _differs(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value == info.data.get("user_password"):
            raise ValueError("must differ from USER_PASSWORD")
        return value

    @field_validator("user_password", "admin_password", check_fields=False)
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        data = info.data
        if data.get("auth") != "password" or data.get("allow_weak_password", True) or not (others := reached_by(info)):
            return value
        host = urlsplit(data.get("public_url", "")).hostname or ""
        if is_guessable(value.get_secret_value(), (data.get("compose_project_name", ""), *host.split("."))):
            raise ValueError(
                f"is easily guessed (common words, rows of keys, repetitions). With {others}, other machines reach "
                "the hub: write another password (openssl rand -hex 20 creates one), or ALLOW_WEAK_PASSWORD=true"
            )
        return value

    @field_validator("cull_idle_after", check_fields=False)
    @classmethod
    def _can_be_known(cls, value: int) -> int:
        if 0 < value < culling.SMALLEST:
            raise ValueError(
                f"must be 0 or at least {culling.SMALLEST}: the hub learns of a server's activity up to "
                f"{culling.SMALLEST} seconds later, and would stop servers that are in use"
            )
        return value

    @field_validator("cull_max_age", check_fields=False)
    @classmethod
    def _worth_it(cls, value: int) -> int:
        if 0 < value < 10:
            raise ValueError("must be 0 or at least 10")
        return value

    @field_validator("cull_action", check_fields=False)
    @classmethod
    def _can_be_done(cls, value: str, info: ValidationInfo) -> str:
        if value == "sleep" and on_swarm(info):
            raise ValueError("is for one host, because a swarm can't pause servers: write CULL_ACTION=stop")
        return value

    @field_validator("network_isolation", check_fields=False)
    @classmethod
    def _is_for_one_host(cls, value: str, info: ValidationInfo) -> str:
        if value == "per-user" and on_swarm(info):
            raise ValueError("is for one host, where networks are made in no time: write NETWORK_ISOLATION=shared")
        return value

    @field_validator("allow_internet", check_fields=False)
    @classmethod
    def _can_be_kept_from(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("network_isolation") == "shared":
            raise ValueError(
                "needs NETWORK_ISOLATION=per-user to be false, because the shared network leads to the internet: write "
                "NETWORK_ISOLATION=per-user, or block servers with the host's firewall (chain DOCKER-USER)"
            )
        return value

    @field_validator("user_dns", check_fields=False)
    @classmethod
    def _can_be_asked(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if (near := [text for text in value if ip_address(text).is_link_local]) and not info.data.get("allow_metadata"):
            raise ValueError(
                f"has {near[0]}, and servers do not reach link-local addresses: name another address, or write "
                "ALLOW_METADATA=true"
            )
        return value

    @field_validator("home_driver", check_fields=False)
    @classmethod
    def _is_of_a_swarm(cls, value: str, info: ValidationInfo) -> str:
        if value and not on_swarm(info):
            raise ValueError("is for a swarm: remove it; on one host homes are plain volumes")
        return value

    @field_validator("home_scope", "fence_after", "registry", "users_subnet", check_fields=False)
    @classmethod
    def _has_no_effect_on_one_host(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if on_one_host(info) and value != cls.model_fields[name].default:
            instead = "; on one host, the engine chooses the addresses" if name == "users_subnet" else ""
            raise ValueError(f"is for a swarm and has no effect on one host: remove it{instead}")
        return value

    @field_validator("pull_policy", check_fields=False)
    @classmethod
    def _has_no_effect_on_a_swarm(cls, value: str, info: ValidationInfo) -> str:
        if value != "ifnotpresent" and on_swarm(info):
            raise ValueError("is for one host: remove it; on a swarm, each node pulls the images that it lacks")
        return value

    @field_validator("tmp_size", check_fields=False)
    @classmethod
    def _is_of_one_host(cls, value: int, info: ValidationInfo) -> int:
        if value not in {0, in_bytes(cls.model_fields["tmp_size"].default)} and on_swarm(info):
            raise ValueError("is for one host: remove it; on a swarm, /tmp is on the disk of each node without limit")
        return value

    @field_validator("home_driver_opts", check_fields=False)
    @classmethod
    def _has_its_driver(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        driver = info.data.get("home_driver")
        if value and driver == "":
            raise ValueError("are options of HOME_DRIVER, which is not set: write HOME_DRIVER=local, or remove them")
        if driver == "local" and (wrong := value.keys() - {"type", "o", "device", "size"}):
            raise ValueError(f"knows type, o and device with HOME_DRIVER=local, not {min(wrong)}")
        return {name: cls._known_fields(text) for name, text in value.items()}

    @field_validator("home_path", check_fields=False)
    @classmethod
    def _can_be_a_home(cls, value: str) -> str:
        if not sharing.is_home(value):
            raise ValueError("must be a user's home, such as /home/jovyan, and not a folder of the system")
        return value

    @field_validator("shared_volumes", check_fields=False)
    @classmethod
    def _of_the_form(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and on_swarm(info):
            raise ValueError(
                "would be other volumes on each node of a swarm: mount a shared file system in the same place on all "
                "nodes, and name it in hub/config.d (compose/README.md)"
            )
        places: set[tuple[str, str]] = set()
        for one in map(sharing.parse, value):
            if one.path == info.data.get("home_path"):
                raise ValueError(f"has a volume at {one.path}, which is HOME_PATH: give that volume another path")
            if {path: name for name, path in places}.get(one.path, one.name) != one.name:
                raise ValueError(f"has two volumes at {one.path}: give each a path of its own")
            places.add((one.name, one.path))
            volume = f"{info.data.get('compose_project_name')}-shared-{one.name}"
            home = info.data.get("home_volume", "").replace("{prefix}", str(info.data.get("compose_project_name")))
            if home and matched(filled(home), volume):
                raise ValueError(
                    f"has {one.name!r}, whose volume {volume} could be a user's home according to HOME_VOLUME: write "
                    "HOME_VOLUME={prefix}-home-{username}"
                )
        return value

    @field_validator("bind_paths", check_fields=False)
    @classmethod
    def _can_be_bound(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return bind_paths(value)

    @field_validator("docker_socket", check_fields=False)
    @classmethod
    def _is_in_no_bind_path(cls, value: str, info: ValidationInfo) -> str:
        if inside := [entry for entry in info.data.get("bind_paths", ()) if holds(entry, value)]:
            raise ValueError(
                f"is in {inside[0]}, which BIND_PATHS allows servers to mount: a server with that socket controls "
                "the host. Remove that path from BIND_PATHS"
            )
        return value

    @field_validator("mem_guarantee", check_fields=False)
    @classmethod
    def _within_the_limit(cls, value: int | None, info: ValidationInfo) -> int | None:
        limit = info.data.get("mem_limit")
        if value and limit and value > limit:
            raise ValueError(f"must not be more than MEM_LIMIT={readable(limit)}")
        return value

    @field_validator("cpu_limit", "cpu_guarantee", check_fields=False)
    @classmethod
    def _can_be_scheduled(cls, value: float | None) -> float | None:
        if value and value < 0.01:
            raise ValueError("must be 0.01 or more, the smallest value that the engine accepts")
        return value

    @field_validator("cpu_guarantee", check_fields=False)
    @classmethod
    def _within_the_cores(cls, value: float | None, info: ValidationInfo) -> float | None:
        limit = info.data.get("cpu_limit")
        if value and limit and value > limit:
            raise ValueError(f"must not be more than CPU_LIMIT={limit:g}")
        return value

    @field_validator("public_url", check_fields=False)
    @classmethod
    def _is_https(cls, value: str, info: ValidationInfo) -> str:
        if "tls" in overlays(info) and not value.startswith("https://"):
            raise ValueError(
                "must begin with https://, since COMPOSE_FILE names compose/compose.tls.yaml: "
                "write PUBLIC_URL=https:// and the host's name"
            )
        return value

    @field_validator("bind_addr", check_fields=False)
    @classmethod
    def _is_everywhere(cls, value: str, info: ValidationInfo) -> str:
        if on_swarm(info) and value not in {"0.0.0.0", "::"}:
            raise ValueError(
                "has no effect on a swarm, which publishes ports on all addresses of a node: write "
                "BIND_ADDR=0.0.0.0, and restrict access with a firewall"
            )
        return value

    @field_validator("http_port", "https_port", check_fields=False)
    @classmethod
    def _has_its_listener(cls, value: int, info: ValidationInfo) -> int:
        if value != cls.model_fields[str(info.field_name)].default and "compose_file" in info.data:
            cls._has_its_overlay(str(value), info)
        return value

    @field_validator("https_port", check_fields=False)
    @classmethod
    def _is_what_users_type(cls, value: int, info: ValidationInfo) -> int:
        if value == info.data.get("http_port"):
            raise ValueError("and HTTP_PORT must be two ports")
        typed = urlsplit(info.data.get("public_url", "")).port
        if "tls" in overlays(info) and typed not in {None, value}:
            raise ValueError(f"must be {typed}, the port in PUBLIC_URL")
        return value

    @field_validator("cert_file", "acme_email", "acme_root_file", check_fields=False)
    @classmethod
    def _has_its_overlay(cls, value: str, info: ValidationInfo) -> str:
        if value and "tls" not in overlays(info):
            raise ValueError("is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE, or remove it")
        return value

    @field_validator("key_file", check_fields=False)
    @classmethod
    def _is_one_of_a_pair(cls, value: str, info: ValidationInfo) -> str:
        if "cert_file" in info.data and bool(value) != bool(info.data["cert_file"]):
            raise ValueError("and CERT_FILE belong together: one of them is set, the other is not")
        return value

    @field_validator("acme_ca", check_fields=False)
    @classmethod
    def _is_the_only_source(cls, value: str, info: ValidationInfo) -> str:
        if value != LETS_ENCRYPT and info.data.get("cert_file"):
            raise ValueError("and CERT_FILE are both set, two ways to a certificate: remove one of the two")
        return cls._has_its_overlay(value, info) if value != LETS_ENCRYPT else value

    @field_validator("subdomains", check_fields=False)
    @classmethod
    def _has_names(cls, value: bool, info: ValidationInfo) -> bool:
        host = urlsplit(info.data.get("public_url", "")).hostname or ""
        if value and on_swarm(info):
            raise ValueError("is for one host so far: remove it")
        if value and ("." not in host or is_address(host)):
            raise ValueError(
                "needs a host in PUBLIC_URL that has names below it, such as https://hub.example.org (on one machine: "
                f"http://hub.localhost:8000), not {host or 'none'}"
            )
        if value and "tls" in overlays(info) and info.data.get("cert_file") == "":
            raise ValueError(
                f"needs a certificate for *.{host}, which ACME gives only to who can change the DNS: write CERT_FILE "
                "and KEY_FILE"
            )
        return value

    @field_validator("db_url", check_fields=False)
    @classmethod
    def _is_a_database(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if not (text := value.get_secret_value()):
            return value
        url = database.parse(text)
        if "postgres" in overlays(info) and url.host != "postgres":
            raise ValueError(
                "names another database than the server that compose/compose.postgres.yaml brings: "
                "remove DB_URL, or that file from COMPOSE_FILE"
            )
        return value

    @field_validator("postgres_password", check_fields=False)
    @classmethod
    def _is_wanted(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if "postgres" in overlays(info) and not value.get_secret_value():
            raise ValueError("is not set or empty (openssl rand -hex 32 makes one)")
        return value

    @field_validator("github_allowed_organizations", "github_admin_teams", check_fields=False)
    @classmethod
    def _organizations(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        form = "org:team" if info.field_name == "github_admin_teams" else "org or org:team"
        wanted = r"[\w-]+(:[\w.-]+)" + ("" if form == "org:team" else "?")
        if wrong := [name for name in value if not re.fullmatch(wanted, name)]:
            raise ValueError(f"has {wrong[0]!r}, which is not of the form {form}, as in GitHub's URLs")
        return value

    @field_validator("home_volume", check_fields=False)
    @classmethod
    def _known_fields(cls, value: str) -> str:
        unknown = set(re.findall(r"\{([^}]*)\}", value)) - {"prefix", "username", "servername"}
        if unknown or value.count("{") != value.count("}"):
            raise ValueError("knows {prefix}, {username} and {servername} only")
        return value

    @field_validator("home_volume", check_fields=False)
    @classmethod
    def _is_no_foreign_volume(cls, value: str, info: ValidationInfo) -> str:
        if not begins_with_a_name(value):
            raise ValueError(
                "must begin with {prefix} or your own text, and a hyphen, before {username}: otherwise a user could "
                "get any volume of the engine as home. Write HOME_VOLUME={prefix}-home-{username}"
            )
        project = info.data.get("compose_project_name", "")
        if value.replace("{prefix}", project).partition("{")[0] == f"{project}_":
            raise ValueError(
                f"begins like the kit's own volumes, such as {project}_hub-data. A user could get one as home: write "
                "HOME_VOLUME={prefix}-home-{username}"
            )
        return value
