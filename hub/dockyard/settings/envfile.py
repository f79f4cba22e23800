"""Print `.env.example` from the settings, and check `.env` and hub/config.d before anything starts.

    python -m dockyard.settings.envfile check <.env      print a line for each mistake ("  - ") and each hint ("  ~ ");
                                                         print the hash of hub/config.d on standard output if its files
                                                         give servers no more memory, cores or processes than settings
                                                         and profiles do
    python -m dockyard.settings.envfile base-url <.env   print the path of the hub
    python -m dockyard.settings.envfile example          print .env.example
    python -m dockyard.settings.envfile table            print the table of hub/README.md

Compose, python-dotenv and a shell script each read `.env` in their own way. They read alike whatever `check` accepts.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dockyard.gate.policy.operators import digest
from dockyard.settings import certificates, hints, hostpaths, machine, profilesfile, pulling
from dockyard.settings.fields import Settings
from dockyard.settings.load import load, some
from dockyard.settings.rules import overlays_of
from dockyard.settings.sources import Mistakes
from dockyard.settings.types import is_secret
from dockyard.signin.choice import PREFIX, prefixes

if TYPE_CHECKING:
    from traitlets.config import Config

SECRETS = Path("/run/secrets")

_PLAIN = re.compile(r"""[^\s'"`$#\\]*""")
_QUOTED = re.compile(r"""'(?:[^'\\\r\n]|\\(?![\\']))*'""")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Variables of the hub's container itself, which gets all of `.env`.
_OF_THE_CONTAINER = {"HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONHOME", "PYTHONPATH"}

_NOT_TEXT = "The file is not UTF-8 text: save it as UTF-8, or remove it, and 'make up' makes a new one"


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


def unknown(names: Iterator[str] | list[str]) -> list[str]:
    """Names that are no setting but look like one. Others are the operator's own and pass."""
    known = known_names()
    others = (PREFIX, *prefixes())
    lines = []
    for name in names:
        if (
            name not in known
            and not name.startswith(others)
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


def check(text: str) -> list[str]:
    """All that is wrong with a sheet, whose files are where compose mounts them."""
    if "\0" in text:
        return [_NOT_TEXT]
    values, mistakes = read(text)
    mistakes += unknown(list(values))
    for name in ("EXTRA_CA_FILE", "LOGO_FILE"):
        if values.get(name, "").startswith("/") and (why := _unreadable(SECRETS / name.removesuffix("_FILE").lower())):
            mistakes.append(f"{name} {values[name]} cannot be read by the hub's user ({why})")
    adopt(values)
    for reading in (load, lambda: profilesfile.load(values.get("PROFILES_FILE", ""))):
        try:
            reading()
        except Mistakes as found:
            mistakes += found.lines
    mistakes += machine.mistakes(os.environ, hints.profiles())
    return mistakes + of_the_edge(values) + of_the_registry(values) + of_the_images(pulling.mistakes) + of_the_host()


def of_the_edge(values: dict[str, str]) -> list[str]:
    """What only the overlay for HTTPS minds: certificates, where compose mounts them, and the address as written."""
    found = []
    public = values.get("PUBLIC_URL", "")
    if "tls" in overlays_of(values.get("COMPOSE_FILE", "")) and public.endswith("/"):
        found.append(f"PUBLIC_URL ends with /, which compose/compose.tls.yaml can't have: {public.rstrip('/')}")
    if values.get("CERT_FILE") and values.get("KEY_FILE"):
        host = urlsplit(public).hostname or ""
        found += certificates.mistakes(
            SECRETS / "cert", SECRETS / "key", host, values.get("SUBDOMAINS", "").lower() in {"1", "true"}
        )
    if values.get("ACME_ROOT_FILE"):
        try:
            certificates.certificates("ACME_ROOT_FILE", SECRETS / "acme_root")
        except certificates.Wrong as wrong:
            found.append(str(wrong))
    return found


def of_the_images(what: Callable[[Any, Any], Iterable[str]]) -> list[str]:
    """Return what a function of `pulling` finds; nothing if a setting or profile that it depends on is invalid."""
    try:
        settings = some("compose_project_name", "notebook_image", "allowed_images", "spawner", "pull_policy")
        profiles = profilesfile.load(os.environ.get("PROFILES_FILE", ""))
    except Mistakes:
        return []
    return [] if settings.spawner == "swarm" else list(what(settings, profiles))


def of_the_host() -> list[str]:
    """Links on the host, as far as BIND_PATHS is right."""
    try:
        return list(hostpaths.mistakes(some("bind_paths").bind_paths))
    except Mistakes:
        return []


def of_the_registry(values: dict[str, str]) -> list[str]:
    """Return mistakes in REGISTRY_AUTH_FILE. It must contain the credentials: hub and nodes lack credential helpers."""
    path = values.get("REGISTRY_AUTH_FILE", "")
    if not path.startswith("/"):
        return []
    mounted = SECRETS / "registry_auth"
    if why := _unreadable(mounted):
        return [
            f"REGISTRY_AUTH_FILE {path} cannot be read by the hub's user ({why}): name a file that exists, and let "
            f"the hub's user read it (chown {os.getuid()} FILE; chmod 600 FILE)"
        ]
    try:
        config = json.loads(mounted.read_text())
        entries = list(config["auths"].values())
        complete = any(entry.get("auth") or entry.get("identitytoken") for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        config, complete = {}, False
    if not complete:
        return [
            f'REGISTRY_AUTH_FILE {path} contains no credentials: it must be a Docker config.json with "auths" in it'
        ]
    if helper := next((name for name in ("credsStore", "credHelpers") if config.get(name)), ""):
        return [
            f"REGISTRY_AUTH_FILE {path} names {helper}, a program that the hub lacks: remove {helper} from the file"
        ]
    if config.get("proxies"):
        return [
            f"REGISTRY_AUTH_FILE {path} contains proxies, which users' servers would get: remove them from the file"
        ]
    return []


def _unreadable(path: Path) -> str:
    try:
        path.open("rb").close()
    except OSError as error:
        return str(error.strerror)
    return ""


def socket_mistake() -> str:
    """What is wrong with DOCKER_SOCKET and DOCKER_GID, tried as the hub's user; empty if all is well."""
    path = Path("/run/docker.sock")
    if not path.exists() or os.access(path, os.R_OK | os.W_OK):
        return ""
    now = os.environ.get("DOCKER_GID")
    return f"DOCKER_GID does not open the engine's socket: write DOCKER_GID={path.stat().st_gid} (now: {now})."


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


def own_configuration(tried: bool) -> tuple[list[str], list[str], str]:
    """Return mistakes in the files of hub/config.d, hints, and the files' hash if they raise no limits of servers.

    If not `tried`, the files are compiled, not run.
    """
    from dockyard.hub import operatorconfig

    doubts = operatorconfig.hints(operatorconfig.FOLDER)
    try:
        if not operatorconfig.compiled(operatorconfig.FOLDER) or not tried:
            return [], doubts, ""
    except Mistakes as found:
        return found.lines, doubts, ""
    # Imported here: it imports the hub and all authenticators, which takes seconds.
    from dockyard.hub import configcheck

    before = digest(operatorconfig.FOLDER)
    config, mistakes, unknown = configcheck.try_out()
    return mistakes, doubts + unknown, before if config is not None and not _may_raise_limits(config) else ""


def _may_raise_limits(config: Config) -> bool:
    from dockyard.hub import configcheck, ownlimits

    try:
        settings, profiles = load(), profilesfile.load(os.environ.get("PROFILES_FILE", ""))
        return not configcheck.kits or ownlimits.may_raise(config, configcheck.kits[0], settings, profiles)
    except Exception:
        # An operator's values and classes can raise any exception.
        return True


def own_path(text: str) -> str:
    """Return the path of the hub, which hub/config.d may set; / if it is unknown."""
    adopt(read(text)[0])
    from dockyard.hub import configcheck

    config, _, _ = configcheck.try_out()
    return configcheck.base_url(config) if config is not None else "/"


def main(verb: str) -> int:
    if verb == "check":
        try:
            mistakes = check(sys.stdin.buffer.read().decode())
        except UnicodeDecodeError:
            mistakes = [_NOT_TEXT]
        mistakes += [line for line in [socket_mistake()] if line]
        wrong, doubts, checked = own_configuration(not mistakes)
        for line in mistakes + wrong:
            print(f"  - {line}", file=sys.stderr)
        for line in hints.hints() + of_the_images(pulling.hints) + doubts:
            print(f"  ~ {line}", file=sys.stderr)
        if checked:
            print(checked)
        return 1 if mistakes or wrong else 0
    if verb == "base-url":
        print(own_path(sys.stdin.read()))
        return 0
    print({"example": example, "table": table}[verb](), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
