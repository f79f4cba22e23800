"""Every setting of the kit, once: name, type, default, help. The only reader of the environment.

`.env.example` and the table in hub/README.md are printed from here. `load()` gives the hub its settings or raises
`Mistakes`, which lists all that is wrong, each with the variable's name and the mend; secrets are never in it.

Each setting is the environment variable of its name in capitals. A secret may be given as NAME_FILE instead, the path
of a file that holds it. An empty variable counts as one that is not set.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import database
import sharing
from kinds import MEMORY, URL, Address, HostPath, Names, Origin, Switch, in_bytes, setting
from reading import FileSource, Mistakes, sentence, usable

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def overlays_of(compose_file: str) -> set[str]:
    """Which overlays COMPOSE_FILE names: compose/compose.tls.yaml is tls."""
    return set(re.findall(r"(?:^|[:/])compose\.([\w-]+)\.yaml(?=:|$)", compose_file))


def overlays(info: ValidationInfo) -> set[str]:
    return overlays_of(info.data.get("compose_file", ""))


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

    public_url: Origin = setting(
        "address",
        "What users type, such as https://hub.example.org; empty: the address and port below. No path.",
        "",
        validate_default=True,
    )
    bind_addr: Address = setting(
        "address", "Address on this machine to listen on; 0.0.0.0 lets other machines in.", "127.0.0.1"
    )
    port: int = setting("address", "Port to listen on.", 8000, ge=1, le=65535)

    http_port: int = setting(
        "tls", "With compose/compose.tls.yaml: the port that is sent on to HTTPS; ACME wants 80.", 80, ge=1, le=65535
    )
    https_port: int = setting("tls", "With compose/compose.tls.yaml: the port of HTTPS.", 443, ge=1, le=65535)
    cert_file: HostPath = setting(
        "tls", "Certificate of PUBLIC_URL's host and its issuers' (PEM); empty: one is had by ACME.", ""
    )
    key_file: HostPath = setting("tls", "The certificate's private key (PEM).", "", validate_default=True)
    acme_ca: str = setting(
        "tls",
        "Where certificates are had: an authority's ACME directory.",
        LETS_ENCRYPT,
        pattern=r"^https://\S+$",
    )
    acme_email: str = setting(
        "tls", "Where that authority writes to about certificates; empty: nowhere.", "", pattern=r"^([^@\s]+@[^@\s]+)?$"
    )
    acme_root_file: HostPath = setting(
        "tls", "Certificates (PEM) that vouch for ACME_CA itself; empty: the well-known ones.", ""
    )

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
    mem_limit: str = setting("servers", "Memory of each server, such as 512M or 2G; swap is off.", "2G", pattern=MEMORY)
    cpu_limit: float | None = setting(
        "servers", "Cores for each server, such as 0.5 or 2; empty: no limit.", None, gt=0
    )
    mem_guarantee: str = setting(
        "servers",
        "Memory that a server keeps when memory runs short, such as 512M; empty: none.",
        "",
        pattern=f"{MEMORY}|^$",
    )
    cpu_guarantee: float | None = setting(
        "servers", "Cores that a server gets where all are wanted, such as 0.5; empty: an equal share.", None, gt=0
    )
    profiles_file: HostPath = setting(
        "servers", "File of profiles that users choose from (YAML, see hub/README.md); empty: there is no choice.", ""
    )
    gpus: str = setting(
        "servers",
        "GPUs of each server: all, a number, or empty for none; profiles may say more.",
        "",
        pattern=r"^(all|\d*)$",
    )
    pids_limit: int = setting("servers", "Processes and threads of each server.", 1024, ge=64)
    start_timeout: int = setting("servers", "Seconds that a server may take to start, pulling not counted.", 60, ge=5)
    named_servers: Switch = setting(
        "servers", "Users may have several servers, each with a name: true or false.", False
    )

    cull_idle_after: int = setting(
        "culling", "Seconds without activity after which a server is stopped, at least 10; 0: never.", 0, ge=0
    )
    cull_max_age: int = setting(
        "culling", "Seconds after which a server is stopped however active it is, at least 10; 0: never.", 0, ge=0
    )
    cull_action: Literal["stop", "sleep"] = setting(
        "culling",
        "What stopping does, by the culler or by users. sleep: the server is frozen and wakes with its kernels; "
        "it gives processors back, not memory.",
        "stop",
    )
    max_sleeping: int = setting(
        "culling", "Servers that may sleep at a time; of more, the oldest are ended. 0: no limit.", 50, ge=0
    )
    sleep_max_age: int = setting(
        "culling", "Seconds that a server may sleep before it is ended; 0: for ever.", 7 * 24 * 3600, ge=0
    )

    home_volume: str = setting(
        "storage",
        "Name of the volume that holds a user's home. {prefix} is COMPOSE_PROJECT_NAME; {username} must be in it.",
        "{prefix}-home-{username}",
        pattern=r"^[A-Za-z0-9_.{}-]*\{username\}[A-Za-z0-9_.{}-]*$",
    )

    shared_volumes: Names = setting(
        "storage",
        "Volumes that users share, name:/path, name:/path:ro or name:/path:ro@group, comma between them.",
        (),
    )
    volume_owner: str = setting(
        "storage",
        "Owner of shared volumes, uid:gid: who the notebook image's servers run as.",
        "1000:100",
        pattern=r"^\d+:\d+$",
    )
    delete_data_with_user: Switch = setting(
        "storage", "Delete a user's home when the user is deleted in the hub: true or false.", False
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
    db_url: SecretStr = setting(
        "hub",
        "The hub's database, such as postgresql://user:password@host:5432/name; empty: SQLite on a volume, or the "
        "server of compose/compose.postgres.yaml.",
        "",
        validate_default=True,
    )
    postgres_password: SecretStr = setting(
        "hub",
        "Password of the database server of compose/compose.postgres.yaml, which keeps the one that it was made with.",
        "",
        generate="hex",
        validate_default=True,
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
    pip_index_url: str = setting("builds", "Python package index to build from; empty: PyPI.", "", pattern=URL)
    npm_registry: str = setting("builds", "npm registry to build from; empty: npm's own.", "", pattern=URL)
    debian_mirror: str = setting("builds", "Debian mirror to build from; empty: deb.debian.org.", "", pattern=URL)

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
        return usable(value)

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

    @field_validator("cull_idle_after", "cull_max_age")
    @classmethod
    def _worth_it(cls, value: int) -> int:
        if 0 < value < 10:
            raise ValueError("must be 0 or at least 10")
        return value

    @field_validator("shared_volumes")
    @classmethod
    def _of_the_form(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            sharing.parse(entry)
        return value

    @field_validator("mem_guarantee")
    @classmethod
    def _within_the_limit(cls, value: str, info: ValidationInfo) -> str:
        limit = info.data.get("mem_limit")
        if value and limit and in_bytes(value) > in_bytes(limit):
            raise ValueError(f"must not be more than MEM_LIMIT={limit}")
        return value

    @field_validator("cpu_guarantee")
    @classmethod
    def _within_the_cores(cls, value: float | None, info: ValidationInfo) -> float | None:
        limit = info.data.get("cpu_limit")
        if value and limit and value > limit:
            raise ValueError(f"must not be more than CPU_LIMIT={limit:g}")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_https(cls, value: str, info: ValidationInfo) -> str:
        if "tls" in overlays(info) and not value.startswith("https://"):
            raise ValueError(
                "must begin with https://, since COMPOSE_FILE names compose/compose.tls.yaml: "
                "write PUBLIC_URL=https:// and the host's name"
            )
        return value

    @field_validator("https_port")
    @classmethod
    def _is_what_users_type(cls, value: int, info: ValidationInfo) -> int:
        typed = urlsplit(info.data.get("public_url", "")).port
        if "tls" in overlays(info) and typed not in {None, value}:
            raise ValueError(f"is another port than {typed}, which PUBLIC_URL has: write one of them twice")
        return value

    @field_validator("cert_file", "acme_email", "acme_root_file")
    @classmethod
    def _has_its_overlay(cls, value: str, info: ValidationInfo) -> str:
        if value and "tls" not in overlays(info):
            raise ValueError("is for HTTPS: name compose/compose.tls.yaml in COMPOSE_FILE, or remove it")
        return value

    @field_validator("key_file")
    @classmethod
    def _is_one_of_a_pair(cls, value: str, info: ValidationInfo) -> str:
        if "cert_file" in info.data and bool(value) != bool(info.data["cert_file"]):
            raise ValueError("and CERT_FILE belong together: one of them is set, the other is not")
        return value

    @field_validator("acme_ca")
    @classmethod
    def _is_the_only_source(cls, value: str, info: ValidationInfo) -> str:
        if value != LETS_ENCRYPT and info.data.get("cert_file"):
            raise ValueError("and CERT_FILE are both set, two ways to a certificate: remove one of the two")
        return cls._has_its_overlay(value, info) if value != LETS_ENCRYPT else value

    @field_validator("db_url")
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

    @field_validator("postgres_password")
    @classmethod
    def _is_wanted(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if "postgres" in overlays(info) and not value.get_secret_value():
            raise ValueError("is not set or empty (openssl rand -hex 32 makes one)")
        return value

    @property
    def database(self) -> str:
        """The address of the hub's database, password and all."""
        if text := self.db_url.get_secret_value():
            url = database.parse(text)
        elif "postgres" in overlays_of(self.compose_file):
            url = database.of_the_overlay(self.postgres_password.get_secret_value())
        else:
            return database.SQLITE
        return url.render_as_string(hide_password=False)

    @field_validator("home_volume")
    @classmethod
    def _known_fields(cls, value: str) -> str:
        unknown = set(re.findall(r"\{([^}]*)\}", value)) - {"prefix", "username", "servername"}
        if unknown or value.count("{") != value.count("}"):
            raise ValueError("knows {prefix}, {username} and {servername} only")
        return value


def load() -> Settings:
    """Read the environment. Raises `Mistakes` with all that is wrong in it."""
    try:
        return Settings()
    except ValidationError as error:
        raise Mistakes([sentence(item, Settings.model_fields) for item in error.errors()]) from None
