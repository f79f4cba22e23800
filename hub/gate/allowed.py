"""What the settings allow: images, volumes, paths of the host, networks, GPUs, amounts."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from gate import patience
from gate.limits import Limits, limits

log = logging.getLogger("gate")

# What an escaped name of a user, of a server or of whatever else a template has in braces may consist of.
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_FILLED = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
# How an entry of BIND_PATHS ends that servers may only read.
READ_ONLY = ":ro"
# Folders with the sockets of engines, and these themselves.
_SOCKETS = re.compile(
    r"(/var)?/run(/([^/]*\.sock|docker(/.*)?|containerd(/.*)?|podman(/.*)?|crio(/.*)?|user(/.*)?))?", re.ASCII
)
# No name of an image or a volume is longer, and what is takes a pattern of two placeholders hours.
_LONGEST = 512
# Where compose mounts hub/config.d.
OPERATORS = Path("/srv/dockyard/config.d")


def canonical(image: str) -> str:
    """An image reference as repository:tag or repository@digest, whichever of its parts were written."""
    repository, at, digest = image.partition("@")
    folder, slash, last = repository.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}@{digest}" if at else f"{folder}{slash}{name}:{tag or 'latest'}"


def filled(template: str, **values: str) -> str:
    """A pattern of the texts that a template can become; each of `values` is a pattern of one placeholder's."""
    parts = re.split(r"(\{[^{}]*\})", template)
    # The unnamed server's name is empty.
    patterns = {f"{{{name}}}": pattern for name, pattern in {"servername": f"(?:{_FILLED})?", **values}.items()}
    return "".join(patterns.get(part, _FILLED) if _PLACEHOLDER.fullmatch(part) else re.escape(part) for part in parts)


def begins_with_a_name(template: str) -> bool:
    """Does a volume's name begin with the kit's name or with another of the operator's, and a separator?

    A name that begins with a user's text can be that of any volume of the engine. So can `x{username}`.
    """
    before, braces, _ = re.sub(r"\{prefix\}", "kit", template).partition("{")
    return not braces or re.fullmatch(r"[A-Za-z0-9].*[-_.]", before) is not None


def matched(pattern: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, text, re.ASCII) if len(text) <= _LONGEST else None


def _fits(regex: str, text: str) -> bool:
    """Does a user's text match as in the spawner, which allows inline flags and anchors?"""
    try:
        return patience.fullmatch(regex, text) is not None
    except patience.TooSlow:
        # The regular expression may belong to a profile that the user did not choose.
        log.warning("validation_regex %s takes too long for a text of %i characters: simplify it", regex, len(text))
        return False


def _with_value(template: str) -> str:
    """A pattern of what a template can become, in which the user's text is the group `value`; it may be there twice."""
    before, placeholder, after = template.partition("{value}")
    whole = before + placeholder + after.replace(placeholder, "{again}")
    return filled(whole, value="(?P<value>.+)", again="(?P=value)")


@dataclass(frozen=True)
class Allowed:
    """`images` and `volumes` are patterns of whole names; `labelled` those of the volumes that begin with a user's
    text: one of them without the kit's label may be another program's. `binds` are absolute paths, or `/path/*` for
    what is directly in a directory, with `:ro` where servers may only read. `drivers` has patterns of options by the
    name of each volume driver but the engine's own. `typed` are images of which users write a part: a pattern in which
    that is the group `value`, and what it has to match."""

    project: str
    images: tuple[str, ...]
    typed: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    labelled: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    gpus: bool = False
    pool: tuple[IPv4Network, ...] = (IPv4Network("10.213.0.0/18"),)
    drivers: tuple[tuple[str, Mapping[str, str]], ...] = field(default=())
    swarm: bool = False
    limits: Limits = field(default=Limits())

    @property
    def users_network(self) -> str:
        return f"{self.project}_users"

    def image(self, reference: str) -> bool:
        """May servers be made of it?"""
        name = canonical(reference)
        spellings = {reference, name, name.removesuffix(":latest")}
        return any(matched(pattern, one) for pattern in self.images for one in spellings) or any(
            _fits(regex, found["value"])
            for pattern, regex in self.typed
            for one in spellings
            if (found := matched(pattern, one))
        )

    def volume(self, name: str) -> bool:
        """Is it a name of a volume that servers may have? Whose the volume is, the engine has to say."""
        return any(matched(pattern, name) for pattern in (self._own, *self.volumes))

    def unlabelled_volume(self, name: str) -> bool:
        """May a volume of this name that has no labels be one that the hub had before it labelled them?"""
        patterns = {self._own, *self.volumes}.difference(self.labelled)
        return any(matched(pattern, name) for pattern in patterns)

    @property
    def _own(self) -> str:
        return rf"{re.escape(self.project)}-{_FILLED}"

    def driver(self, name: str, options: Mapping[str, str]) -> bool:
        """May a volume have this driver with these options? The engine's own without options always."""
        if name in ("", "local") and not options:
            return True
        return any(
            name == driver
            and options.keys() == patterns.keys()
            and all(matched(patterns[key], options[key]) for key in options)
            for driver, patterns in self.drivers
        )

    def bind(self, path: str, read_only: bool = False) -> bool:
        """May this path of the host be mounted, to write into it or read-only?

        Never what is further down: who writes to a mounted directory could leave a link there that leads elsewhere.
        Nor what a node of a swarm would read as a template, in which "/" and ".." can be had without being written,
        or what is an entry and no path.
        """
        if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or re.search("[{:]", path):
            return False
        entries = {path, f"{posixpath.dirname(path).rstrip('/')}/*"}
        return not entries.isdisjoint(self.binds) or (
            read_only and not {f"{entry}{READ_ONLY}" for entry in entries}.isdisjoint(self.binds)
        )


def bind_paths(entries: Iterable[str]) -> tuple[str, ...]:
    """The entries of BIND_PATHS: /path, /path/*, /path:ro or /path/*:ro. ValueError where one is none of these, gives
    away the host, or lies below another."""
    found: list[str] = []
    seen: list[str] = []
    for entry in entries:
        whole, suffix = (entry.removesuffix(READ_ONLY), READ_ONLY) if entry.endswith(READ_ONLY) else (entry, "")
        path = whole.rstrip("/").removesuffix("/*").rstrip("/")
        if whole.startswith("/") and path == "":
            raise ValueError(
                f"has {entry!r}, which is no absolute path below the host's root: name the folders that servers need"
            )
        # Of two slashes at the beginning, normpath keeps both.
        if not re.match("/[^/]", path) or posixpath.normpath(path) != path or re.search(r"[*:\s]", path):
            raise ValueError(
                f"has {entry!r}, which is no absolute path, nor /path/* for what is directly in /path; either may "
                f"end with {READ_ONLY}"
            )
        if _SOCKETS.fullmatch(path):
            raise ValueError(
                f"has {entry!r}, where the engine's socket is: who has that socket has the host, even read-only. "
                "Remove it"
            )
        for other in seen:
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                raise ValueError(f"has {path} and {other}, one below the other: a link in one could lead anywhere")
        seen.append(path)
        found.append(whole.rstrip("/") + suffix)
    return tuple(found)


def holds(entry: str, path: str) -> bool:
    """Does a server that mounts what an entry of BIND_PATHS allows have this path of the host?"""
    return f"{path}/".startswith(f"{entry.removesuffix(READ_ONLY).removesuffix('/*')}/")


def overrides(profiles: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every docker_override in the profiles, with what the text that a user writes there has to match."""
    if isinstance(profiles, Mapping):
        if isinstance(override := profiles.get("docker_override"), Mapping):
            yield override, profiles.get("validation_regex") or ".*"
        for value in profiles.values():
            yield from overrides(value)
    elif isinstance(profiles, list):
        for value in profiles:
            yield from overrides(value)


def allowed(settings: Any, profiles: Any) -> Allowed:
    """What settings and profiles (as their file has them) allow."""
    project = settings.compose_project_name
    images = [re.escape(canonical(image)) for image in (settings.notebook_image, *settings.allowed_images) if image]
    typed: list[tuple[str, str]] = []
    templates, gpus = [settings.home_volume], settings.gpus not in ("", "0")
    for override, regex in overrides(profiles):
        if isinstance(image := override.get("image"), str):
            if "{value}" in image:
                typed.append((_with_value(image), regex))
            else:
                images.append(filled(canonical(image)))
        mounts = [mount.get("source") for mount in override.get("mounts") or () if isinstance(mount, Mapping)]
        templates += [source for source in [*(override.get("volumes") or ()), *mounts] if isinstance(source, str)]
        gpus = gpus or bool(override.get("gpus"))
    prefix = re.escape(project)
    names = {template: filled(template, prefix=prefix) for template in templates if not template.startswith("/")}
    return Allowed(
        project,
        images=tuple(images),
        typed=tuple(typed),
        volumes=tuple(names.values()),
        labelled=tuple(name for template, name in names.items() if not begins_with_a_name(template)),
        binds=settings.bind_paths,
        gpus=gpus,
        pool=_pool(settings),
        drivers=tuple(_drivers(settings, prefix)),
        swarm=settings.spawner == "swarm",
        limits=limits(settings, [override for override, _ in overrides(profiles)], OPERATORS),
    )


def _pool(settings: Any) -> tuple[IPv4Network, ...]:
    """Where servers' own networks are, if they have them."""
    return tuple(map(IPv4Network, settings.user_subnet_pool)) if settings.network_isolation == "per-user" else ()


def _drivers(settings: Any, prefix: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The driver of users' homes on a swarm, with its options."""
    if settings.home_driver or settings.home_driver_opts:
        options = {name: filled(text, prefix=prefix) for name, text in settings.home_driver_opts.items()}
        yield settings.home_driver or "local", options
