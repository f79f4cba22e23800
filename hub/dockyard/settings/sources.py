"""How settings are read from the environment, and what is said of those that are wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from dockyard.settings.types import HIDDEN, extra, is_secret

_PLACEHOLDER = re.compile(r"<.*>|change[-_ ]?me.*|replace[-_ ]?me.*|your[-_ ].*|x{3,}|todo|\.\.\.", re.IGNORECASE)


class Mistakes(Exception):
    """What is wrong with the settings: `lines` has one sentence each, with the variable's name and the fix."""

    def __init__(self, lines: list[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


class Wrong(str):
    """Stands for a value that could not be had, and says why; validation turns it into a mistake."""


class FileSource(PydanticBaseSettingsSource):
    """NAME_FILE for secrets; and never beside NAME."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = field_name.upper()
        path = os.environ.get(f"{name}_FILE", "")
        if not path:
            return None, field_name, False
        if not is_secret(field):
            return Wrong(f"is not a secret: write {name}= instead of {name}_FILE="), field_name, False
        if os.environ.get(name):
            return Wrong(f"and {name}_FILE are both set: remove one of the two lines"), field_name, False
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            return (
                Wrong(f"cannot be read from {name}_FILE ({why}): {mend_of_file(error)}"),
                field_name,
                False,
            )

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in self.settings_cls.model_fields.items())
        return {name: value for name, value in found if value is not None}


def mend_of_file(error: Exception) -> str:
    """Return the fix for a file that compose mounts and that could not be read."""
    if isinstance(error, PermissionError):
        return f"let the hub's user read it (chown {os.getuid()} FILE)"
    return "give the absolute path of a file that exists on this host"


def usable(value: Any) -> Any:
    """The value as it is; ValueError where it could not be had, or is what an example has in its place."""
    if isinstance(value, Wrong):
        raise ValueError(str(value))
    if isinstance(value, str) and _PLACEHOLDER.fullmatch(value.strip()):
        raise ValueError("is still a placeholder: write the real value, or remove .env to have a new one made")
    return value


def sentence(error: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    """What one of pydantic's errors says of the setting that it is about; a secret's value is not in it."""
    name = str(error["loc"][0])
    field = fields[name]
    if error["type"] == "missing":
        return f"{name.upper()} is not set or empty. {field.description}"
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if error["type"] == "string_pattern_mismatch":
        text = "is not of the form that is asked for"
    if error["type"] in {"string_too_short", "too_short"}:
        text = "is too short"
    may_be_secret = is_secret(field) or extra(field)["hidden"] or error["type"] == HIDDEN
    hidden = may_be_secret or isinstance(error["input"], Wrong)
    shown = "" if hidden else f" (now: {_without_password(repr(error['input']))})"
    return f"{name.upper()} {text}{shown}. {field.description}"


def _without_password(text: str) -> str:
    """Replace the user and the password of each URL in a text with ***."""
    return re.sub(r"//[^/\s]*@", "//***@", text)
