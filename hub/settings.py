"""Every setting of the kit, once: name, type, default, help. The only reader of the environment.

`.env.example` and the table in hub/README.md are printed from here. `load()` gives the hub its settings or raises
`Mistakes`, which lists all that is wrong, each with the variable's name and the mend; secrets are never in it.

Each setting is the environment variable of its name in capitals. A secret may be given as NAME_FILE instead, the path
of a file that holds it. An empty variable counts as one that is not set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class Mistakes(Exception):
    """What is wrong with the settings: `lines` has one sentence each, with the variable's name and how to mend it."""

    def __init__(self, lines: list[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


def setting(
    group: str,
    help: str,
    default: Any = ...,
    *,
    generate: str = "",
    pattern: str | None = None,
    **limits: Any,
) -> Any:
    """Declare one setting; without a default it is required. `generate` names the kind of value that `scripts/env`
    writes into a new `.env`: password, passphrase, hex, socket-gid."""
    return Field(
        default,
        description=help,
        pattern=pattern,
        json_schema_extra={"group": group, "generate": generate},
        **limits,
    )


def _true_or_false(value: Any) -> Any:
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str):
        if value.lower() not in known:
            raise ValueError("must be true or false")
        return known[value.lower()]
    return value


def _comma_separated(value: Any) -> Any:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def _address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0") from None
    return value


def _absolute(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError("must be an absolute path")
    return value


Switch = Annotated[bool, BeforeValidator(_true_or_false)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Address = Annotated[str, AfterValidator(_address)]
HostPath = Annotated[str, AfterValidator(_absolute)]

_MEMORY = r"^\d+(\.\d+)?[KMGT]?$"
_URL = r"^(https?://[^\s/]+(/\S*)?)?$"


class _Wrong(str):
    """Stands for a value that could not be had, and says why; validation turns it into a mistake."""


class FileSource(PydanticBaseSettingsSource):
    """NAME_FILE for secrets; and never beside NAME."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = field_name.upper()
        path = os.environ.get(f"{name}_FILE", "")
        if not path:
            return None, field_name, False
        if not is_secret(field):
            return _Wrong(f"is not a secret: write {name}= instead of {name}_FILE="), field_name, False
        if os.environ.get(name):
            return _Wrong(f"and {name}_FILE are both set: remove one of the two lines"), field_name, False
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            return (
                _Wrong(f"cannot be read from {name}_FILE ({why}): {_mend_of_file(error)}"),
                field_name,
                False,
            )

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}


def _mend_of_file(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"let the hub's user read it (chown {os.getuid()} FILE)"
    return "give the absolute path of a file that exists on this host"


class Settings(BaseSettings):
    """The settings of one kit, checked."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    compose_file: str = setting(
        "kit",
        "The compose files that make up this kit, ':' between them.",
        "compose/compose.yaml",
        pattern=r"^\S+$",
    )
    compose_project_name: str = setting(
        "kit",
        "The kit's name on this engine, prefix of its containers, volumes, networks and images. Two kits, two names.",
        "dockyard",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$",
    )

    bind_addr: Address = setting(
        "address", "Address on this machine to listen on; 0.0.0.0 lets other machines in.", "127.0.0.1"
    )
    port: int = setting("address", "Port to listen on.", 8000, ge=1, le=65535)

    auth: Literal["password"] = setting(
        "sign-in", "How users sign in. password: any name with USER_PASSWORD.", "password"
    )
    admin_users: Names = setting(
        "sign-in", "Administrators, comma between names. They sign in with ADMIN_PASSWORD.", ("admin",)
    )
    user_password: SecretStr = setting(
        "sign-in", "The password of all users, at least 8 characters.", generate="password", min_length=8
    )
    admin_password: SecretStr = setting(
        "sign-in",
        "The password of the administrators, at least 32 characters.",
        generate="passphrase",
        min_length=32,
    )

    notebook_image: str = setting(
        "servers",
        "Image of the users' servers; empty: the one that this kit builds. It must have jupyterhub-singleuser.",
        "",
        pattern=r"^\S*$",
    )
    pull_policy: Literal["ifnotpresent", "always", "never"] = setting(
        "servers", "When to pull the image: ifnotpresent, always or never.", "ifnotpresent"
    )
    mem_limit: str = setting(
        "servers", "Memory of each server, such as 512M or 2G; swap is off.", "2G", pattern=_MEMORY
    )
    cpu_limit: float | None = setting(
        "servers", "Cores for each server, such as 0.5 or 2; empty: no limit.", None, gt=0
    )
    pids_limit: int = setting("servers", "Processes and threads of each server.", 1024, ge=64)
    start_timeout: int = setting("servers", "Seconds that a server may take to start, pulling not counted.", 60, ge=5)
    named_servers: Switch = setting(
        "servers", "Users may have several servers, each with a name: true or false.", False
    )

    home_volume: str = setting(
        "storage",
        "Name of the volume that holds a user's home. {prefix} is COMPOSE_PROJECT_NAME; {username} must be in it.",
        "{prefix}-home-{username}",
        pattern=r"^[A-Za-z0-9_.{}-]*\{username\}[A-Za-z0-9_.{}-]*$",
    )

    cookie_secret: SecretStr = setting(
        "hub", "Signs the cookies: 64 hexadecimal digits. A new one signs everybody out.", generate="hex"
    )
    proxy_auth_token: SecretStr = setting(
        "hub",
        "What the hub and the proxy know each other by, at least 32 characters.",
        generate="hex",
        min_length=32,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        "hub", "How much the hub logs: DEBUG, INFO, WARNING or ERROR.", "INFO"
    )

    docker_socket: HostPath = setting("engine", "The Docker engine's socket on this host.", "/var/run/docker.sock")
    docker_gid: int = setting(
        "engine", "Group id of that socket, by which the hub may use it.", generate="socket-gid", ge=0
    )

    python_image: str = setting(
        "builds",
        "Base of all images: Debian 13 with Python. Where no registry can be reached, one like it is built.",
        "python:3.13-slim-trixie",
        pattern=r"^\S+$",
    )
    extra_ca_file: HostPath = setting(
        "builds",
        "Certificates of your own authority (PEM), trusted while images are built; never kept in them.",
        "",
    )
    pip_index_url: str = setting("builds", "Python package index to build from; empty: PyPI.", "", pattern=_URL)
    npm_registry: str = setting("builds", "npm registry to build from; empty: npm's own.", "", pattern=_URL)
    debian_mirror: str = setting("builds", "Debian mirror to build from; empty: deb.debian.org.", "", pattern=_URL)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return FileSource(settings_cls), env_settings

    @field_validator("*", mode="before")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        if isinstance(value, _Wrong):
            raise ValueError(str(value))
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip()):
            raise ValueError("is still a placeholder: write the real value, or remove .env to have a new one made")
        return value

    @field_validator("cookie_secret")
    @classmethod
    def _hexadecimal(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"([0-9a-fA-F]{2}){32,}", value.get_secret_value()):
            raise ValueError("must be 64 or more hexadecimal digits (openssl rand -hex 32)")
        return value

    @field_validator("admin_password")
    @classmethod
    def _differs(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value == info.data.get("user_password"):
            raise ValueError("must differ from USER_PASSWORD")
        return value

    @field_validator("home_volume")
    @classmethod
    def _known_fields(cls, value: str) -> str:
        unknown = set(re.findall(r"\{([^}]*)\}", value)) - {"prefix", "username", "servername"}
        if unknown or value.count("{") != value.count("}"):
            raise ValueError("knows {prefix}, {username} and {servername} only")
        return value


_PLACEHOLDER = re.compile(r"<.*>|change[-_ ]?me.*|replace[-_ ]?me.*|your[-_ ].*|x{3,}|todo|\.\.\.", re.IGNORECASE)


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def load() -> Settings:
    """Read the environment. Raises `Mistakes` with all that is wrong in it."""
    try:
        return Settings()
    except ValidationError as error:
        raise Mistakes([_sentence(item) for item in error.errors()]) from None


def _sentence(error: Mapping[str, Any]) -> str:
    name = str(error["loc"][0])
    field = Settings.model_fields[name]
    if error["type"] == "missing":
        return f"{name.upper()} is not set or empty. {field.description}"
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if error["type"] == "string_pattern_mismatch":
        text = "is not of the form that is asked for"
    if error["type"] in {"string_too_short", "too_short"}:
        text = "is too short"
    shown = "" if is_secret(field) or isinstance(error["input"], _Wrong) else f" (now: {error['input']!r})"
    return f"{name.upper()} {text}{shown}. {field.description}"
