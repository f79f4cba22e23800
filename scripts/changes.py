"""Find services to recreate in which compose sees no change: a file that they read has changed, or their name is lost.

    python3 scripts/changes.py find IMAGE    prints their names; what changed goes to standard error
    python3 scripts/changes.py keep          after `compose up`: remembers what the containers have read

`find` gets from compose which files a service mounts, and hashes them in a container of IMAGE as root: the operator may
be unable to read a secret. `.env.applied` records what containers have read. It must not leave this machine: a short
secret could be guessed from its hash. A container that this file does not list, or that was restarted since, has read
the files as they were at its start.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

APPLIED = Path(".env.applied")
# Seconds. The kernel stamps files with the time of its last tick.
TICK = 0.1
# Empty variables that replace the proxy of Docker's client.
DIRECT = Path("compose/no-proxy.env")

# Runs in the container: prints hash and change time of each file below /content.
DIGEST = """
import hashlib, json, os
found = {}
for number in os.listdir("/content"):
    files = found[number] = {}
    top = os.path.join("/content", number)
    folders = os.walk(top) if os.path.isdir(top) else [("/content", [], [number])]
    for folder, below, names in folders:
        below[:] = [name for name in below if name != "__pycache__" and not name.startswith(".")]
        if os.path.isdir(top):
            files[os.path.relpath(folder, top) + "/"] = ["", os.stat(folder).st_ctime]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                about = os.stat(path)
                try:
                    digest = hashlib.sha256()
                    with open(path, "rb") as file:
                        while block := file.read(2**20):
                            digest.update(block)
                    content = digest.hexdigest()
                except OSError:
                    # A file server may refuse root.
                    content = f"{about.st_size} {about.st_mtime_ns}"
                files[os.path.relpath(path, top)] = [content, about.st_ctime]
print(json.dumps(found))
"""


# Runs in the hub: prints the names that can't be resolved. Retries, because a busy engine may fail once.
RESOLVE = """
import socket, sys
for name in sys.argv[1:]:
    for attempt in range(3):
        try:
            socket.getaddrinfo(name, None)
            break
        except OSError:
            pass
    else:
        print(name)
"""


class Content(NamedTuple):
    # Empty for a folder.
    digest: str
    # Seconds since 1970.
    changed: float


class Running(NamedTuple):
    container: str
    started: float


# By service, and by the name of a file for an operator.
Contents = dict[str, dict[str, Content]]


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def values(sheet: str) -> dict[str, str]:
    """Return the values of `.env`, which the checker has accepted."""
    lines = (line.partition("=") for line in sheet.splitlines() if not line.startswith("#"))
    return {name: value.strip("'") for name, _, value in lines}


def settings_by_path(sheet: str) -> dict[str, str]:
    """Return the NAME_FILE settings by their paths."""
    return {value: name for name, value in values(sheet).items() if name.endswith("_FILE") and value}


def mounted(config: Mapping[str, Any], folder: str) -> dict[str, set[str]]:
    """Return the paths that each service reads: files, and read-only folders of the kit itself."""
    found: dict[str, set[str]] = {}
    for name, service in config["services"].items():
        paths = found[name] = set()
        for volume in service.get("volumes") or ():
            source = volume.get("source", "")
            if name == "gate" and os.path.realpath(source) == os.path.realpath(os.path.join(folder, "hub/config.d")):
                # At each start of a server, the gate compares these with the checked files: it needs no restart.
                continue
            inside = os.path.realpath(source).startswith(os.path.realpath(folder) + os.sep)
            if volume.get("type") == "bind" and ((inside and volume.get("read_only")) or not os.path.isdir(source)):
                paths.add(source)
        for kind in ("secrets", "configs"):
            for one in service.get(kind) or ():
                paths.add(config[kind][one["source"]].get("file", ""))
    return {
        name: {path for path in paths if os.path.isfile(path) or os.path.isdir(path)} for name, paths in found.items()
    }


def inline(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the secrets and configs of each service that are not files. Compose compares only their names."""

    def text(about: Mapping[str, Any]) -> str:
        return json.dumps([about, environ.get(about.get("environment", ""))], sort_keys=True)

    return {
        name: {
            f"{kind}.{one['source']}": text(config[kind][one["source"]])
            for kind in ("secrets", "configs")
            for one in service.get(kind) or ()
            if "file" not in config[kind][one["source"]]
        }
        for name, service in config["services"].items()
    }


def shown(path: str, below: str, folder: str, settings: Mapping[str, str]) -> str:
    """Return the name of a file for an operator: its setting, its place in the kit, or its path."""
    if path in settings:
        return settings[path]
    whole = os.path.normpath(os.path.join(path, below)) if below else path
    return (
        os.path.relpath(whole, folder).replace("hub/config.d", "config.d")
        if whole.startswith(folder + os.sep)
        else whole
    )


def is_read(name: str) -> bool:
    """Whether a service may read a file: not backups of editors, nor documentation."""
    return not name.startswith(".") and not name.endswith(("~", ".md", ".pyc"))


def mount(number: int, path: str) -> str:
    """Return Docker's option that mounts a path to hash. `--volume` would create a missing path as a folder."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(["type=bind", f"src={path}", f"dst=/content/{number}", "readonly"])
    return f"--mount={text.getvalue()}"


def keyed(salt: str, text: str) -> str:
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest() if text else ""


def contents(config: Mapping[str, Any], image: str, salt: str, folder: str, sheet: str) -> Contents:
    """Return what each service would read if it started now."""
    settings = settings_by_path(sheet)
    paths = mounted(config, folder)
    every = sorted(set().union(*paths.values()))
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--user=0", "--read-only", "--cap-drop=ALL"]
    command += ["--cap-add=DAC_READ_SEARCH", "--security-opt=no-new-privileges", "--entrypoint=python3"]
    command += [f"--env={line}" for line in DIRECT.read_text().splitlines() if not line.startswith("#")]
    digests = json.loads(run(*command, *map(mount, range(len(every)), every), image, "-", text=DIGEST)) if every else {}
    files = {
        path: {
            shown(path, below if os.path.isdir(path) else "", folder, settings): Content(keyed(salt, digest), changed)
            for below, (digest, changed) in digests[str(number)].items()
            if is_read(os.path.basename(below.rstrip("/"))) or below == "./" or not os.path.isdir(path)
        }
        for number, path in enumerate(every)
    }
    found: Contents = {name: {} for name in paths}
    for name, read in paths.items():
        for path in read:
            found[name].update(files[path])
    for name, texts in inline(config, {**values(sheet), **os.environ}).items():
        for key, text in texts.items():
            found[name][key] = Content(keyed(salt, text), 0)
    return found


def running(project: str) -> dict[str, Running]:
    """Return the running containers of the kit's own services."""
    labels = [f"com.docker.compose.project={project}", "com.docker.compose.oneoff=False"]
    ids = run("docker", "ps", "--quiet", "--no-trunc", *(f"--filter=label={label}" for label in labels)).split()
    if not ids:
        return {}
    form = '{{index .Config.Labels "com.docker.compose.service"}} {{.Id}} {{.State.StartedAt}}'
    lines = (line.split() for line in run("docker", "inspect", f"--format={form}", *ids).splitlines())
    return {service: Running(container, seconds(started)) for service, container, started in lines}


def lost(config: Mapping[str, Any], containers: Mapping[str, Running]) -> set[str]:
    """Return running services whose name the hub can't resolve, as after `docker swarm leave`.

    A new container gets the name back.
    """
    if "hub" not in containers:
        return set()
    on = {name: set(service.get("networks") or ()) for name, service in config["services"].items()}
    names = [name for name in containers if on.get(name, set()) & on["hub"]]
    command = ["docker", "exec", containers["hub"].container, "python3", "-c", RESOLVE, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return set(done.stdout.split()) & set(names)


def networks(project: str) -> dict[str, str]:
    """Return the ids of the kit's networks."""
    form = '{{.Label "com.docker.compose.network"}} {{.ID}}'
    of_project = f"--filter=label=com.docker.compose.project={project}"
    listed = run("docker", "network", "ls", "--no-trunc", of_project, f"--format={form}")
    return dict(line.split() for line in listed.splitlines())


def seconds(moment: str) -> float:
    """Convert the engine's time stamp, with up to nine digits after the point, to seconds since 1970."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp() + float(f"0.{fraction or 0}")


def changes(now: Mapping[str, Content], service: Running, applied: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what differs from what a running service has read."""
    if applied is None or (applied["container"], applied["started"]) != tuple(service):
        for name, content in sorted(now.items()):
            # A folder changes if a file in it is added or removed.
            if content.changed > service.started - TICK:
                yield f"{name} changed after the start of this container"
        return
    before = applied["files"]
    for name in sorted(name for name in {*now, *before} if (now[name].digest if name in now else before[name])):
        if name not in before:
            yield f"{name} is new"
        elif name not in now:
            yield f"{name} was removed"
        elif now[name].digest != before[name]:
            yield f"{name} changed"


def load() -> dict[str, Any]:
    try:
        found = json.loads(APPLIED.read_text())
        return found if isinstance(found, dict) and isinstance(found.get("salt"), str) else {}
    except (OSError, ValueError):
        return {}


def save(record: Mapping[str, Any]) -> None:
    draft = APPLIED.with_name(f"{APPLIED.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(record, file)
        os.replace(draft, APPLIED)
    except OSError as error:
        sys.exit(f"dockyard: {APPLIED.absolute()} could not be written: {error.strerror}")


def find(image: str) -> Iterable[str]:
    """Return the services to recreate. Prints what changed, and saves the present state for `keep`."""
    record = load()
    salt = record.get("salt") or secrets.token_hex(32)
    config = json.loads(run("docker", "compose", "config", "--format", "json"))
    now = contents(config, image, salt, os.path.realpath("."), Path(".env").read_text())
    before = running(config["name"])
    nameless = lost(config, before)
    stale = []
    for name in sorted(now.keys() & before.keys()):
        found = list(changes(now[name], before[name], record.get("applied", {}).get(name)))
        found += ["the engine has lost its name on the network"] * (name in nameless)
        for line in found:
            print(f"  {name}: {line}", file=sys.stderr)
        if found:
            stale.append(name)
    pending = {name: {key: content.digest for key, content in read.items()} for name, read in now.items()}
    nets = {name: keyed(salt, json.dumps(about, sort_keys=True)) for name, about in config.get("networks", {}).items()}
    state = {"pending": pending, "pending_networks": nets, "before": before, "stale": stale}
    save({**record, "salt": salt, "project": config["name"], **state})
    return stale


def keep() -> None:
    """Record what the running containers have read. Print which of them compose recreated by itself."""
    record = load()
    before, applied = record.get("before", {}), record.get("applied", {})
    now = running(record.get("project", ""))
    for name, service in sorted(now.items()):
        recreated = name in before and before[name][0] != service.container
        if recreated and name not in record.get("stale", ()):
            print(f"  {name}: its settings or its image changed", file=sys.stderr)
        if name in record.get("pending", {}) and (recreated or name not in record.get("stale", ())):
            applied[name] = {
                "container": service.container,
                "started": service.started,
                "files": record["pending"][name],
            }
    known = record.get("networks", {})
    made = networks(record.get("project", ""))
    for name, number in made.items():
        wanted = record.get("pending_networks", {}).get(name)
        if known.get(name, [])[:1] != [number]:
            known[name] = [number, wanted]
        elif known[name][1] != wanted:
            print(
                f"  network {name}: its settings changed: apply them with 'make down', then 'make up'", file=sys.stderr
            )
    save(
        {
            "salt": record.get("salt", secrets.token_hex(32)),
            "applied": {name: applied[name] for name in now if name in applied},
            "networks": {name: known[name] for name in made},
        }
    )


def main(verb: str, *arguments: str) -> None:
    if verb == "find":
        print("\n".join(find(*arguments)))
    else:
        keep()


if __name__ == "__main__":
    main(*sys.argv[1:])
