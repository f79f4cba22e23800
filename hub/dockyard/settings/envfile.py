"""The file `.env`: how it is read, and what is printed for it from the settings.

    python -m dockyard.settings.envfile example    print .env.example
    python -m dockyard.settings.envfile table      print the table of hub/README.md

Compose, python-dotenv and a shell script each read `.env` in their own way. They read alike whatever `read` accepts.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dockyard.settings.fields import Settings
from dockyard.settings.types import is_secret

SECRETS = Path("/run/secrets")

_PLAIN = re.compile(r"""[^\s'"`$#\\]*""")
_QUOTED = re.compile(r"""'(?:[^'\\\r\n]|\\(?![\\']))*'""")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Variables of the hub's container itself, which gets all of `.env`.
_OF_THE_CONTAINER = {"HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONHOME", "PYTHONPATH"}


def fields() -> dict[str, FieldInfo]:
    """The settings by the names that they have in `.env`."""
    return {name.upper(): field for name, field in Settings.model_fields.items()}


def known_names() -> set[str]:
    return {*fields(), *(f"{name}_FILE" for name, field in fields().items() if is_secret(field))}


def read(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the values of `.env`, and its wrong lines. A wrong line still gives its value, if it has one."""
    values: dict[str, str] = {}
    mistakes: list[str] = []
    if text.startswith("\ufeff"):
        text = text[1:]
        # Other readers take it for a part of the name.
        if _NAME.match(text):
            mistakes.append("Line 1 begins with a byte order mark: save the file without one, or begin it with #")
    if "\r" in text:
        mistakes.append("The file has Windows line ends: sed -i 's/\\r$//' .env")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for binding in parse_stream(io.StringIO(text)):
        # A line without "=" may be a part of a secret.
        name = binding.key or "" if "=" in binding.original.string else ""
        if complaint := _complaint(binding):
            line = binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\n"))
            mistakes.append(f"Line {line}{f', {name},' if name else ''} {complaint}")
        elif name in values:
            mistakes.append(f"{name} is set twice: remove one of the two lines")
        if name:
            values[name] = binding.value or ""
    return values, mistakes


def _complaint(binding: Binding) -> str:
    statement = binding.original.string.strip()
    if not statement or statement.startswith("#"):
        return ""
    name, equals, value = statement.partition("=")
    if not equals or not _NAME.fullmatch(name):
        return "is not of the form NAME=value, with no blank around the name"
    written = binding.original.string.strip("\r\n")
    if statement != written:
        return "has a blank at its beginning or end: remove it"
    if name in _OF_THE_CONTAINER:
        return "is a variable that the hub's container needs as it is: remove it"
    if _PLAIN.fullmatch(value) or _QUOTED.fullmatch(value):
        return ""
    if "\n" in value:
        return "goes over several lines: a value has one; put a longer secret in a file and name it by NAME_FILE="
    if value.startswith("'") and _QUOTED.match(value):
        return "goes on after its closing quote: put a comment on a line of its own"
    if "'" in value.strip("'") or "\\\\" in value or value.endswith("\\'"):
        return "has a single quote or backslash that is read in several ways: choose a value without, or NAME_FILE="
    return f"""holds blanks, quotes, $, # or \\ that are read in several ways: write {name}='...' with single quotes"""


def unknown(names: Iterable[str], prefixes: tuple[str, ...]) -> list[str]:
    """Report names that are not settings but look like one. Other names, and those that begin with one of the prefixes,
    are the operator's."""
    known = known_names()
    lines = []
    for name in names:
        if (
            name not in known
            and not name.startswith(prefixes)
            and (near := difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8))
        ):
            lines.append(f"{name} is not a setting; did you mean {near[0]}?")
    return lines


def adopt(values: dict[str, str]) -> None:
    """Have a sheet's values in the environment, as compose gives them to the hub: what is there already goes before,
    and NAME_FILE is where secrets are mounted, /run/secrets/name."""
    files = known_names() - set(fields())
    for name, value in values.items():
        if name in files and value.startswith("/"):
            value = str(SECRETS / name.removesuffix("_FILE").lower())
        os.environ.setdefault(name, value)


def default(field: FieldInfo) -> str:
    if field.is_required() or field.default is None:
        return ""
    if isinstance(field.default, SecretStr):
        return field.default.get_secret_value()
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return ",".join(field.default) if isinstance(field.default, tuple | dict) else str(field.default)


def example() -> str:
    """The text of .env.example: required settings and the address are set, the others shown with their defaults."""
    lines = [
        "# Dockyard's settings. `make up` makes .env from this file and fills in the values in <...>.",
        "# One line each, NAME=value. Blanks, #, $, quotes and backslashes need single quotes: NAME='a $ value'.",
        "# A secret can stay in a file of its own: NAME_FILE=/absolute/path instead of NAME=.",
        "# Printed by `make settings`: to change a default or a text, change hub/dockyard/settings/fields.py.",
    ]
    group = ""
    for name, field in fields().items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        if extra["group"] != group:
            group = str(extra["group"])
            lines += ["", f"## {group}"]
        kind = extra["generate"]
        if kind:
            setting = f"{name}=<{kind}>"
        elif group in {"kit", "address"}:
            setting = f"{name}={default(field)}"
        else:
            setting = f"#{name}={default(field)}"
        lines += [f"# {field.description}", setting]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The settings as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in fields().items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        shown = f"`{default(field)}`" if default(field) else ("generated" if extra["generate"] else "")
        also = f" Or `{name}_FILE`." if is_secret(field) else ""
        rows.append(f"| `{name}` | {shown} | {field.description}{also} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print({"example": example, "table": table}[sys.argv[1]](), end="")
