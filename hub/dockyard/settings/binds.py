"""BIND_PATHS: paths of the host that servers may mount."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

# Suffix of an entry of BIND_PATHS that servers may only read.
READ_ONLY = ":ro"
# Folders that contain sockets of engines, and the sockets.
_SOCKETS = re.compile(
    r"(/var)?/run(/([^/]*\.sock|docker(/.*)?|containerd(/.*)?|podman(/.*)?|crio(/.*)?|user(/.*)?))?", re.ASCII
)


def bind_paths(entries: Iterable[str]) -> tuple[str, ...]:
    """Normalize the entries of BIND_PATHS: /path, /path/*, /path:ro or /path/*:ro.

    Raises ValueError if an entry has another form, gives control of the host, or is below another entry.
    """
    found: list[str] = []
    seen: list[str] = []
    for entry in entries:
        whole, suffix = (entry.removesuffix(READ_ONLY), READ_ONLY) if entry.endswith(READ_ONLY) else (entry, "")
        path = whole.rstrip("/").removesuffix("/*").rstrip("/")
        if whole.startswith("/") and path == "":
            raise ValueError(
                f"has {entry!r}, which is not an absolute path below the host's root: name folders that servers need"
            )
        # Of two slashes at the beginning, normpath keeps both.
        if not re.match("/[^/]", path) or posixpath.normpath(path) != path or re.search(r"[*:\s]", path):
            raise ValueError(
                f"has {entry!r}, which is not an absolute path, nor /path/* for the directories in /path. Both may "
                f"end with {READ_ONLY}"
            )
        if has_engine(path):
            raise ValueError(
                f"has {entry!r}, which contains the engine's socket: a server with that socket controls the host, even "
                "if it is read-only. Remove that entry"
            )
        for other in seen:
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                raise ValueError(f"has {path} and {other}, one below the other: a link in one could lead anywhere")
        seen.append(path)
        found.append(whole.rstrip("/") + suffix)
    return tuple(found)


def has_engine(path: str) -> bool:
    """Is it where an engine's socket usually is?"""
    return _SOCKETS.fullmatch(path) is not None


def holds(entry: str, path: str) -> bool:
    """Whether a server with a mount that an entry of BIND_PATHS allows has this path of the host."""
    return f"{path}/".startswith(f"{entry.removesuffix(READ_ONLY).removesuffix('/*')}/")
