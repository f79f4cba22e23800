"""Where the paths of BIND_PATHS lead on the host: a symbolic link gives servers another place than its name says.

A container can't follow the host's links. `scripts/host_paths.py` does, and `scripts/check` hands the result over in
the variable HOST_PATHS. Without it, as on a swarm, nothing is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dockyard.settings.binds import READ_ONLY, has_engine, holds

VARIABLE = "HOST_PATHS"


class Link(NamedTuple):
    """An entry of BIND_PATHS, a path that it allows, and the real path of that."""

    entry: str
    path: str
    real: str

    def __str__(self) -> str:
        return f"BIND_PATHS has {self.entry}, and a symbolic link leads from {self.path} to {self.real}"


def _known() -> dict[str, list[str]]:
    found = json.loads(os.environ.get(VARIABLE) or "{}")
    return found if isinstance(found, dict) else {}


def links() -> list[Link]:
    """Paths that lead elsewhere. On macOS, folders of the system are links to those in /private."""
    found = [Link(*link) for link in _known().get("links", ())]
    found = [link._replace(real=link.real.removeprefix("/private") or "/") for link in found]
    return [link for link in found if link.real != os.path.normpath(link.path)]


def engines_own() -> list[str]:
    """The real paths of the engine's socket and of its folder."""
    return _known().get("own", [])


def mistakes(entries: Iterable[str]) -> Iterator[str]:
    """Links that lead to what BIND_PATHS may not have."""
    found = links()
    places = {entry: entry.removesuffix(READ_ONLY).removesuffix("/*") for entry in entries}
    places |= {link.entry: link.real for link in found if link.path == places.get(link.entry)}
    for link in found:
        if link.real == "/":
            yield f"{link}, which gives servers all of the host: remove it"
        elif has_engine(link.real) or any(holds(link.real, own) for own in engines_own()[:1]):
            yield f"{link}, where the engine's socket is. Who has that socket has the host, even read-only: remove it"
        elif other := next((entry for entry, place in places.items() if _overlap(link, entry, place)), ""):
            yield f"{link}. {other} is above or below that: a link in one could lead anywhere. Remove one of the two"


def _overlap(link: Link, entry: str, place: str) -> bool:
    return entry != link.entry and link.real != place and (holds(place, link.real) or holds(link.real, place))


def has_engines_folder(path: str) -> bool:
    """Is it, or has it, or is it in, the folder in which the engine keeps images, containers and volumes?"""
    return any(holds(path, own) or holds(own, path) for own in engines_own()[1:])
