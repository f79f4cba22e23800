"""The kits on this engine, and the folder that each of them belongs to.

    kits.py check PROJECT FOLDER      exit 1 and a sentence, if the name belongs to a kit in another folder
    kits.py claim PROJECT FOLDER      check, refuse a new kit whose names could equal another kit's, record the folder
    kits.py destroy PROJECT FOLDER    check, refuse volumes of an unknown kit
    kits.py release PROJECT FOLDER    remove the record
    kits.py orphans PROJECT FOLDER    ids of containers whose service the compose files no longer have
    kits.py report PROJECT FOLDER     a line for `make doctor` for each problem

The record is an empty volume, PROJECT_kit-folder. It remains after `make down`, when no container shows the folder.
Labels of users' servers show nothing: a container inherits the labels of its image, and compose labels what it builds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COMPOSE = "com.docker.compose"
KIT, FOLDER = "dockyard.kit", "dockyard.folder"
OWNERS = ("dockyard.instance", "dockyard.helper")
# What dockerspawner._settings.naming.dns_escape makes of a user's name: safe characters, and bytes as - and two digits.
_ESCAPED = re.compile(r"(?:[a-z0-9]|-[0-9a-f]{2})*")


class Refused(Exception):
    """A refusal, with the sentence for the operator."""


@dataclass(frozen=True)
class Thing:
    """A container, volume or network, with the labels of _LABELS; a missing label is empty."""

    id: str
    labels: dict[str, str]

    def of_compose(self, project: str) -> bool:
        """Whether compose created it for this project. The labels of a user's server may be those of its image."""
        return self.labels.get(f"{COMPOSE}.project") == project and not any(map(self.labels.get, OWNERS))


@dataclass(frozen=True)
class Engine:
    """The engine's objects that kits may own."""

    containers: Sequence[Thing] = ()
    volumes: Sequence[Thing] = ()
    networks: Sequence[Thing] = ()

    def recorded(self, project: str) -> str:
        """Return the folder in the kit's record; empty if there is no record."""
        return next((one.labels[FOLDER] for one in self.volumes if _is_record(one, project)), "")

    def folders(self, project: str) -> list[str]:
        """Return the folders that the record and the kit's containers name."""
        started = [one.labels.get(f"{COMPOSE}.project.working_dir", "") for one in self._of_compose(project)]
        found = [self.recorded(project), *(path.removesuffix("/compose") for path in started)]
        return [path for path in dict.fromkeys(found) if path]

    def has_data(self, project: str) -> bool:
        """Whether there are volumes of this kit or of its users."""
        return any(one.of_compose(project) or one.labels.get(OWNERS[0]) == project for one in self.volumes)

    def kits(self) -> set[str]:
        """Return the names of all kits: they have a record, a database volume, or networks on a swarm."""
        named = {one.labels.get(KIT, "") for one in (*self.volumes, *self.networks)}
        with_database = (one for one in self.volumes if one.labels.get(f"{COMPOSE}.volume") == "hub-data")
        return {*named, *(one.labels.get(f"{COMPOSE}.project", "") for one in with_database)} - {""}

    def orphans(self, project: str, services: Iterable[str]) -> list[str]:
        """Return the ids of containers that compose created for services that are not in `services`.

        `docker compose up --remove-orphans` would also remove users' servers whose image has the project's label.
        """
        known = {*services}
        created = (one for one in self._of_compose(project) if one.labels.get(f"{COMPOSE}.config-hash"))
        regular = (one for one in created if one.labels.get(f"{COMPOSE}.oneoff") != "True")
        return [one.id for one in regular if one.labels.get(f"{COMPOSE}.service") not in known]

    def _of_compose(self, project: str) -> list[Thing]:
        return [one for one in self.containers if one.of_compose(project)]


def _is_record(volume: Thing, project: str) -> bool:
    return volume.labels.get(KIT) == project and bool(volume.labels.get(FOLDER))


def is_gone(folder: str) -> bool:
    """True only if it is certain: a folder below one that this user can't enter may exist."""
    if os.path.exists(folder):
        return False
    parent = os.path.dirname(folder)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    return not os.path.isdir(parent) or os.access(parent, os.X_OK)


def is_same(folder: str, other: str) -> bool:
    """Whether both paths are one folder, also through links."""
    try:
        return os.path.samefile(folder, other)
    except OSError:
        return folder == other


def is_kits(folder: str) -> bool:
    """Whether a kit is, or may be, in this folder."""
    return not is_gone(folder) and not is_gone(os.path.join(folder, "compose"))


def refuse_foreign(engine: Engine, project: str, here: str) -> None:
    for folder in engine.folders(project):
        if not is_same(folder, here) and is_kits(folder):
            raise Refused(
                f"the name {project} belongs to the kit in {folder} on this engine: write another "
                "COMPOSE_PROJECT_NAME in .env. If that folder is an old copy of this kit, rename or remove that folder"
            )


def refuse_unknown(engine: Engine, project: str, here: str) -> None:
    """Refuse to delete volumes if nothing shows that they belong to this folder's kit."""
    if engine.has_data(project) and not engine.folders(project):
        raise Refused(
            f"the engine has volumes of a kit {project}, and no record of its folder: if they are this kit's, run "
            "'make up' first, which records the folder. Otherwise write another COMPOSE_PROJECT_NAME in .env"
        )


def _is_beginning_of_a_name(text: str) -> bool:
    """Whether an escaped user name can begin with this text. The name of a named server follows `--`."""
    for part in text.split("--"):
        if not _ESCAPED.fullmatch(part):
            return False
        raw = re.sub(rb"-([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), part.encode())
        escaped = re.findall("-([0-9a-f]{2})", part)
        if any(re.fullmatch("[a-z0-9]", bytes.fromhex(two).decode("latin-1")) for two in escaped):
            return False
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            # A character whose last bytes are still to come.
            if error.end != len(raw) or error.reason != "unexpected end of data":
                return False
    return True


def can_clash(one: str, other: str) -> bool:
    """Whether a user's object in one kit can have the name of an object in the other kit.

    Both kits name users' objects PROJECT-NAME. User `2-home` of the kit `lab` and user `2dhome` of the kit `lab-2` have
    a container of the same name: lab-2-2dhome.
    """
    short, long = sorted((one, other), key=len)
    if not long.startswith(f"{short}-"):
        return False
    rest = long[len(short) + 1 :]
    # Names of shared volumes are not escaped.
    return rest.split("-")[0] == "shared" or any(map(_is_beginning_of_a_name, (rest, rest.removesuffix("-"))))


def clashing(engine: Engine, project: str) -> list[str]:
    return sorted(name for name in engine.kits() if can_clash(name, project))


def refuse_clash(engine: Engine, project: str) -> None:
    """Refuse a new kit. A kit that has data here keeps its name, by which its volumes are found."""
    if project not in engine.kits() and not engine.has_data(project) and (others := clashing(engine, project)):
        other = others[0]
        continued = f"{other}_{project[len(other) + 1 :]}" if project.startswith(other) else f"{project}2"
        example = "" if clashing(engine, continued) else f", such as {continued}"
        raise Refused(
            f"the kit {other} is on this engine, and names of its users' servers and volumes could equal those of "
            f"{project}. Write another COMPOSE_PROJECT_NAME in .env{example}: neither name may continue the other with "
            "a hyphen"
        )


def notes(engine: Engine, project: str) -> list[str]:
    return [
        f"The kits {project} and {name} are on this engine, and names of their users' servers and volumes could be "
        "equal. A user whose name is taken by the other kit can't start a server. Give the next kit a name that does "
        "not continue another with a hyphen"
        for name in clashing(engine, project)
    ]


# The engine itself.

_LABELS = [
    *(f"{COMPOSE}.{name}" for name in ("project", "project.working_dir", "service", "volume", "config-hash", "oneoff")),
    *(KIT, FOLDER),
    *OWNERS,
]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"'docker {' '.join(arguments[:2])}' failed: {done.stderr.strip()}")
    return done.stdout


def listed(kind: str, identity: str, *options: str) -> list[Thing]:
    labels = ",".join(f'{{{{json (.Label "{name}")}}}}' for name in _LABELS)
    lines = docker(kind, "ls", *options, "--format", f"[{{{{json .{identity}}}}},{labels}]").splitlines()
    return [Thing(str(first), dict(zip(_LABELS, rest, strict=True))) for first, *rest in map(json.loads, lines)]


def look() -> Engine:
    return Engine(
        listed("container", "ID", "--all", "--no-trunc"),
        listed("volume", "Name"),
        listed("network", "ID", "--no-trunc"),
    )


def record(project: str, here: str) -> None:
    labels = ("--label", f"{KIT}={project}", "--label", f"{FOLDER}={here}")
    docker("volume", "create", *labels, f"{project}_kit-folder")


def claim(project: str, here: str) -> None:
    engine = look()
    refuse_foreign(engine, project, here)
    refuse_clash(engine, project)
    for line in notes(engine, project):
        print(f"dockyard: {line}", file=sys.stderr)
    recorded = engine.recorded(project)
    if recorded and is_same(recorded, here):
        return
    if recorded:
        release(project)
    record(project, here)
    # Another kit may have been faster.
    refuse_foreign(look(), project, here)


def release(project: str) -> None:
    docker("volume", "rm", "--force", f"{project}_kit-folder")


def destroy(project: str, here: str) -> None:
    engine = look()
    refuse_foreign(engine, project, here)
    refuse_unknown(engine, project, here)


def report(project: str, here: str) -> int:
    engine = look()
    try:
        refuse_foreign(engine, project, here)
    except Refused as refused:
        sentence = str(refused)
        print(f"  - {sentence[0].upper()}{sentence[1:]}", file=sys.stderr)
        return 1
    for line in notes(engine, project):
        print(f"  ~ {line}", file=sys.stderr)
    return 0


def main(verb: str, project: str, here: str) -> int:
    try:
        if verb == "check":
            refuse_foreign(look(), project, here)
        elif verb == "claim":
            claim(project, here)
        elif verb == "destroy":
            destroy(project, here)
        elif verb == "release":
            release(project)
        elif verb == "orphans":
            services = docker("compose", "config", "--services").split()
            print("".join(f"{one}\n" for one in look().orphans(project, services)), end="")
        elif verb == "report":
            return report(project, here)
        else:
            raise SystemExit(f"unknown: {verb}")
    except Refused as refused:
        print(f"dockyard: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
