"""Check `.env`, the files that it names and hub/config.d before anything starts.

python -m dockyard.hub.envcheck check <.env      print a line for each mistake ("  - ") and each hint ("  ~ ");
                                                     print the hash of hub/config.d on standard output if its files
                                                     give servers no more memory, cores or processes than settings and
                                                     profiles do
python -m dockyard.hub.envcheck base-url <.env   print the path of the hub
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dockyard.gate.policy.operators import digest
from dockyard.hub import operatorconfig
from dockyard.settings import certificates, envfile, hints, hostpaths, machine, profilesfile, pulling
from dockyard.settings.contradictions import overlays_of
from dockyard.settings.load import some
from dockyard.settings.sources import Mistakes
from dockyard.signin.choice import load, prefixes

if TYPE_CHECKING:
    from traitlets.config import Config

_NOT_TEXT = "The file is not UTF-8 text: save it as UTF-8, or remove it, and 'make up' makes a new one"


def check(text: str) -> list[str]:
    """All that is wrong with a sheet, whose files are where compose mounts them."""
    if "\0" in text:
        return [_NOT_TEXT]
    values, mistakes = envfile.read(text)
    mistakes += envfile.unknown(values, prefixes())
    for name in ("EXTRA_CA_FILE", "LOGO_FILE"):
        mounted = envfile.SECRETS / name.removesuffix("_FILE").lower()
        if values.get(name, "").startswith("/") and (why := _unreadable(mounted)):
            mistakes.append(f"{name} {values[name]} cannot be read by the hub's user ({why})")
    envfile.adopt(values)
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
        subdomains = values.get("SUBDOMAINS", "").lower() in {"1", "true"}
        found += certificates.mistakes(envfile.SECRETS / "cert", envfile.SECRETS / "key", host, subdomains)
    if values.get("ACME_ROOT_FILE"):
        try:
            certificates.certificates("ACME_ROOT_FILE", envfile.SECRETS / "acme_root")
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
    mounted = envfile.SECRETS / "registry_auth"
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


def own_configuration(tried: bool) -> tuple[list[str], list[str], str]:
    """Return mistakes in the files of hub/config.d, hints, and the files' hash if they raise no limits of servers.

    If not `tried`, the files are compiled, not run.
    """
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
    envfile.adopt(envfile.read(text)[0])
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
    raise SystemExit(f"unknown verb: {verb}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
