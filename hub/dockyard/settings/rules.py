"""What each setting has to be by itself. `contradictions.py` has what settings have to be together."""

from __future__ import annotations

import re
from typing import Any

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from dockyard.settings import db_url, sharing
from dockyard.settings.binds import bind_paths
from dockyard.settings.intervals import LEAST_IDLE
from dockyard.settings.names import begins_with_a_name
from dockyard.settings.sources import usable


class Rules(BaseSettings):
    """The rules for the settings that Settings declares. Each sees the value of its own setting only."""

    @field_validator("*", mode="before")
    @classmethod
    def _usable(cls, value: Any) -> Any:
        return usable(value)

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

    @field_validator("cull_idle_after", check_fields=False)
    @classmethod
    def _can_be_known(cls, value: int) -> int:
        if 0 < value < LEAST_IDLE:
            raise ValueError(
                f"must be 0 or at least {LEAST_IDLE}: the hub learns of a server's activity up to "
                f"{LEAST_IDLE} seconds later, and would stop servers that are in use"
            )
        return value

    @field_validator("cull_max_age", check_fields=False)
    @classmethod
    def _worth_it(cls, value: int) -> int:
        if 0 < value < 10:
            raise ValueError("must be 0 or at least 10")
        return value

    @field_validator("home_path", check_fields=False)
    @classmethod
    def _can_be_a_home(cls, value: str) -> str:
        if not sharing.is_home(value):
            raise ValueError("must be a user's home, such as /home/jovyan, and not a folder of the system")
        return value

    @field_validator("shared_volumes", check_fields=False)
    @classmethod
    def _of_the_form(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names: dict[str, str] = {}
        for one in map(sharing.parse, value):
            if names.setdefault(one.path, one.name) != one.name:
                raise ValueError(f"has two volumes at {one.path}: give each a path of its own")
        return value

    @field_validator("bind_paths", check_fields=False)
    @classmethod
    def _can_be_bound(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return bind_paths(value)

    @field_validator("cpu_limit", "cpu_guarantee", check_fields=False)
    @classmethod
    def _can_be_scheduled(cls, value: float | None) -> float | None:
        if value and value < 0.01:
            raise ValueError("must be 0.01 or more, the smallest value that the engine accepts")
        return value

    @field_validator("db_url", check_fields=False)
    @classmethod
    def _is_a_database(cls, value: SecretStr) -> SecretStr:
        if text := value.get_secret_value():
            db_url.parse(text)
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

    @field_validator("home_driver_opts", check_fields=False)
    @classmethod
    def _known_fields_of_options(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: cls._known_fields(text) for name, text in value.items()}

    @field_validator("home_volume", check_fields=False)
    @classmethod
    def _is_no_foreign_volume(cls, value: str) -> str:
        if not begins_with_a_name(value):
            raise ValueError(
                "must begin with {prefix} or your own text, and a hyphen, before {username}: otherwise a user could "
                "get any volume of the engine as home. Write HOME_VOLUME={prefix}-home-{username}"
            )
        return value
