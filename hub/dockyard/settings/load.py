"""The settings from the environment, or all that is wrong in it at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from pydantic import ValidationError, create_model
from pydantic.fields import FieldInfo

from dockyard.settings.contradictions import contradictions
from dockyard.settings.fields import Settings
from dockyard.settings.rules import Rules
from dockyard.settings.sources import Mistakes, sentence
from dockyard.settings.types import extra

_Model = TypeVar("_Model", bound=Rules)


class _Some(Rules):
    model_config = Settings.model_config


def some(*names: str) -> Any:
    """These settings alone, for a process that is not to have the others. Raises `Mistakes`, as load()."""
    wanted: dict[str, Any] = {name: (field.annotation, field) for name, field in Settings.model_fields.items()}
    settings, mistakes = _read(create_model("Some", __base__=_Some, **{name: wanted[name] for name in names}))
    if mistakes:
        raise Mistakes([*mistakes.values()])
    return settings


def load(check: Callable[[Settings], list[str]] = lambda settings: []) -> Settings:
    """Read the environment. Raises `Mistakes` with all that is wrong in it, and with what `check` finds."""
    settings, mistakes = _read(Settings)
    lines = [*mistakes.values()]
    # `check` sees a substitute of what is wrong: a line that names a wrong setting may be about the substitute.
    lines += [line for line in check(settings) if not mistakes.keys() & _named(line)]
    if lines:
        raise Mistakes(lines)
    return settings


def _read(model: type[_Model]) -> tuple[_Model, dict[str, str]]:
    """Read the environment: settings, with substitutes of those that are invalid, and a sentence for each mistake, by
    the setting that it is about."""
    fields = model.model_fields
    found: dict[str, str] = {}
    try:
        settings = model()
    except ValidationError as error:
        found = {str(item["loc"][0]): sentence(item, fields) for item in reversed(error.errors())}
        settings = model(**{name: _substitute(name, fields[name]) for name in found})
    valid = {name: getattr(settings, name) for name in fields if name not in found}
    for name, text in contradictions(valid, fields).items():
        given = os.environ.get(name.upper()) or fields[name].default
        found[name] = sentence({"loc": (name,), "type": "value_error", "msg": text, "input": given}, fields)
    return settings, {name: found[name] for name in fields if name in found}


def _substitute(name: str, field: FieldInfo) -> Any:
    """A valid value: the default, or where `scripts/env` generates one, a value that is no other setting's."""
    kind = extra(field)["generate"]
    if kind == "socket-gid":
        return 0
    return sha256(name.encode()).hexdigest() if kind else field.default


def _named(line: str) -> set[str]:
    """The settings that a sentence speaks of."""
    return {name.lower() for name in re.findall(r"[A-Z_]{4,}", line)}
