"""The settings from the environment, or all that is wrong in it at once."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from typing import Any

from pydantic import ValidationError, create_model

from dockyard.settings.fields import Settings
from dockyard.settings.rules import Rules
from dockyard.settings.sources import Mistakes, sentence

# In place of settings that are wrong, while the sign-in is checked; defaults are in place of the rest.
_SECRETS = ("user_password", "admin_password", "crypt_key", "cookie_secret", "proxy_auth_token")
_NEUTRAL = {"docker_gid": 0} | {name: sha256(name.encode()).hexdigest() for name in _SECRETS}

# Settings on which many rules depend.
_RULING = {"spawner", "compose_file"}


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
    from dockyard.signin.choice import sign_in

    fields = Settings.model_fields
    lines: list[str] = []
    wrong: dict[str, Any] = {}
    reported: set[str] = set()
    while True:
        try:
            settings = Settings(**wrong)
            break
        except ValidationError as error:
            found = error.errors()
        names = {str(item["loc"][0]) for item in found}
        # A setting that only contradicts the replacement of a wrong one is not reported.
        if not lines:
            lines, reported = [sentence(item, fields) for item in found], names
        # A default may contradict these settings, too.
        if not (names := names - wrong.keys()) and not (names := _RULING - wrong.keys()):
            raise Mistakes(lines)
        wrong |= {name: _NEUTRAL.get(name, fields[name].default) for name in names}
    lines += [line for line in sign_in(settings, os.environ).mistakes if not reported & _named(line)]
    if lines:
        raise Mistakes(lines)
    return settings


def _named(line: str) -> set[str]:
    """The settings that a sentence speaks of."""
    return {name.lower() for name in re.findall(r"[A-Z_]{4,}", line)}
