"""The settings from the environment, or all that is wrong in it at once."""

from __future__ import annotations

import os
import re
from typing import Any

from pydantic import ValidationError, create_model

from reading import Mistakes, sentence
from rules import Rules
from settings import Settings

# Stand for settings that are wrong, while the sign-in is looked at; defaults stand for the rest.
_SECRETS = ("user_password", "admin_password", "crypt_key", "cookie_secret", "proxy_auth_token")
_NEUTRAL = {"docker_gid": 0} | {name: f"{number:064}" for number, name in enumerate(_SECRETS)}

# Their rules have been looked at by then, and look at one another.
_OF_OVERLAYS = ("compose_file", "cert_file", "key_file", "acme_ca", "acme_email", "acme_root_file", "subdomains")
_GUARANTEES = ("mem_guarantee", "cpu_guarantee")
_OF_A_SWARM = (
    "spawner",
    "home_driver",
    "home_driver_opts",
    "shared_volumes",
    "cull_action",
    "network_isolation",
    "allow_internet",
)
_OF_NETWORKS = ("allow_internet",)
_LOOK_AT_OTHERS = (*_OF_OVERLAYS, *_GUARANTEES, *_OF_A_SWARM, *_OF_NETWORKS)
_ASIDE = {name: Settings.model_fields[name].default for name in _LOOK_AT_OTHERS}


class _Some(Rules):
    model_config = Settings.model_config


def some(*names: str) -> Any:
    """These settings alone, for a process that is not to have the others. Raises `Mistakes`, as load()."""
    fields = {name: Settings.model_fields[name] for name in names}
    wanted: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    try:
        return create_model("Some", __base__=_Some, **wanted)()
    except ValidationError as error:
        raise Mistakes([sentence(item, fields) for item in error.errors()]) from None


def load() -> Settings:
    """Read the environment. Raises `Mistakes` with all that is wrong in it."""
    # Here: it brings all ways to sign in, which take seconds to import.
    from signin import sign_in

    fields, lines = Settings.model_fields, []
    wrong: dict[str, Any] = {}
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [sentence(item, fields) for item in error.errors()]
        wrong = {name: _NEUTRAL.get(name, fields[name].default) for name in (str(e["loc"][0]) for e in error.errors())}
        settings = Settings(**(_ASIDE | wrong))
    lines += [line for line in sign_in(settings, os.environ).mistakes if not {*wrong} & _named(line)]
    if lines:
        raise Mistakes(lines)
    return settings


def _named(line: str) -> set[str]:
    """The settings that a sentence speaks of."""
    return {name.lower() for name in re.findall(r"[A-Z_]{4,}", line)}
