"""The profiles that users choose from, in a YAML file of the operator's; error messages name the line.

    python -m dockyard.settings.profilesfile <profiles.yaml      exit 1 and a line for each mistake

profiles.schema.json describes the file for editors; what counts is the spawner's own reading of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from traitlets import TraitError

from dockerspawner import DockerSpawner
from dockerspawner._profiles.list import Mistakes as WrongProfiles
from dockyard.settings.sources import Mistakes
from dockyard.settings.types import guarantee, limit, tmp_size

# Where compose mounts what PROFILES_FILE names.
MOUNTED = Path("/srv/dockyard/profiles.yaml")
ROOT = "profile_list"


def load(wanted: str, mounted: Path = MOUNTED) -> Any:
    """The profiles as the spawner's profile_list takes them; none where the setting PROFILES_FILE, `wanted`, is empty.

    Mistakes, all at once, where something is wrong with them.
    """
    if not wanted:
        return []
    try:
        profiles, mistakes = read(mounted.read_text())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise Mistakes(
            [f"PROFILES_FILE {wanted} cannot be read ({why}): name a file that exists and that uid 1000 may read."]
        ) from None
    if mistakes:
        raise Mistakes([f"PROFILES_FILE {wanted}, {line}" for line in mistakes])
    return profiles


def read(text: str) -> tuple[Any, list[str]]:
    """The profiles in a text, and what is wrong in it, each "line 7: ..."."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        profiles = yaml.safe_load(text) or []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return [], [f"line {mark.line + 1 if mark else 1}: is no YAML: {error.problem or error.context}"]
    except yaml.YAMLError as error:
        return [], [f"line 1: is no YAML: {error}"]
    places = dict(_places(tree, ROOT)) if tree else {}
    found = [(line, f"{_last(path)} is there twice") for path, line in _repeated(tree, ROOT)] if tree else []
    amounts = dict(_amounts(profiles))
    others = [(path, said) for path, said in _complaints(profiles) if path not in amounts]
    found += [(_line_of(path, places), said) for path, said in [*amounts.items(), *others]]
    return profiles, [f"line {line}: {said}" for line, said in sorted(found)]


# Settings of a profile that are amounts of memory, and their parsers.
_MEMORY: dict[str, Callable[[Any], int | None]] = {
    "mem_limit": limit,
    "mem_guarantee": guarantee,
    "tmp_size": tmp_size,
}


def overrides(node: Any, path: str = ROOT) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every docker_override in the profiles, with its path."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "docker_override" and isinstance(value, dict):
                yield f"{path}.{name}", value
            else:
                yield from overrides(value, f"{path}.{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from overrides(value, f"{path}[{number}]")


def _amounts(profiles: Any) -> Iterator[tuple[str, str]]:
    """Yield path and error message of each invalid amount of memory, by the rules of MEM_LIMIT.

    The spawner rejects a number of bytes in quotes: this function replaces it with a number.
    """
    for path, override in overrides(profiles):
        for name, read in _MEMORY.items():
            value = override.get(name)
            # A profile may remove a limit, or contain a placeholder for the user's text.
            if value is None or not isinstance(value, str | int | float) or "{" in str(value):
                continue
            try:
                amount = read(value)
            except ValueError as error:
                yield f"{path}.{name}", f"{name} {error}"
                continue
            if not str(value)[-1:].isalpha():
                override[name] = amount


def _complaints(profiles: Any) -> list[tuple[str, str]]:
    """Path and complaint of all that the spawner does not take."""
    try:
        DockerSpawner(profile_list=profiles)
    except TraitError as error:
        if not isinstance(error.__cause__, WrongProfiles):
            return [(ROOT, str(error))]
        return [(m.path, f"{_last(m.path)} {m.message}") for m in error.__cause__.mistakes]
    return []


def _places(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    """Every path in a document with its line, from 1."""
    yield path, node.start_mark.line + 1
    for below, key, value in _below(node, path):
        yield from _places(value, below)
        if key is not None:
            yield below, key.start_mark.line + 1


def _repeated(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    """Keys that their mapping has had already, of which YAML keeps the last only."""
    seen: set[str] = set()
    for below, key, value in _below(node, path):
        if key is not None:
            if below in seen:
                yield below, key.start_mark.line + 1
            seen.add(below)
        yield from _repeated(value, below)


def _below(node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node | None, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield f"{path}.{key.value}", key, value
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield f"{path}[{number}]", None, value


def _line_of(path: str, places: Mapping[str, int]) -> int:
    """The line of a path, or of the nearest one above that is in the file."""
    while path and path not in places:
        path = re.sub(r"(\.[^.\[]*|\[\d+\])$", "", path) if re.search(r"[.\[]", path) else ""
    return places.get(path, 1)


def _last(path: str) -> str:
    """The end of a path, as people name it."""
    return path.rpartition(".")[2] if "." in path else path.replace(ROOT, "profile")


if __name__ == "__main__":
    wrong = read(sys.stdin.read())[1]
    print("".join(f"  - {line}\n" for line in wrong), end="", file=sys.stderr)
    sys.exit(1 if wrong else 0)
