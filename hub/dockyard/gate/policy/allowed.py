"""What the settings allow: images, volumes, paths of the host, networks, GPUs, amounts."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from dockyard.gate.policy import patience
from dockyard.gate.policy.limits import Limits, limits
from dockyard.settings.binds import READ_ONLY
from dockyard.settings.names import FILLED, begins_with_a_name, canonical, filled, matched
from dockyard.settings.overrides import overrides

log = logging.getLogger("gate")

# Where compose mounts hub/config.d.
OPERATORS = Path("/srv/dockyard/config.d")


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
    """What servers may have.

    `images` and `volumes` are patterns of whole names. `labelled` are those of volumes that begin with a user's text:
    such a volume needs the kit's label, because it could belong to another program. `binds` are absolute paths,
    or `/path/*` for the entries of a directory; `:ro` means read-only. `drivers` has patterns of options for each
    volume driver except the engine's own. `typed` are images of which users write a part: a pattern that has this part
    as the group `value`, and a pattern that the part must match.
    """

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
        """Whether servers may have this image."""
        name = canonical(reference)
        spellings = {reference, name, name.removesuffix(":latest")}
        return any(matched(pattern, one) for pattern in self.images for one in spellings) or any(
            _fits(regex, found["value"])
            for pattern, regex in self.typed
            for one in spellings
            if (found := matched(pattern, one))
        )

    def volume(self, name: str) -> bool:
        """Whether servers may have a volume of this name. The caller has to ask the engine for its owner."""
        return any(matched(pattern, name) for pattern in (self._own, *self.volumes))

    def unlabelled_volume(self, name: str) -> bool:
        """Whether a volume of this name without labels may be the hub's, which once created volumes without labels."""
        patterns = {self._own, *self.volumes}.difference(self.labelled)
        return any(matched(pattern, name) for pattern in patterns)

    @property
    def _own(self) -> str:
        return rf"{re.escape(self.project)}-{FILLED}"

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
        """Whether this path of the host may be mounted.

        Never a path below an allowed one: a user could leave a link in a mounted directory that leads elsewhere. Nor a
        path that a node of a swarm would fill in as a template, which could yield "/" and "..". Nor a path with a
        colon, which could be an entry of BIND_PATHS.
        """
        if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or re.search("[{:]", path):
            return False
        entries = {path, f"{posixpath.dirname(path).rstrip('/')}/*"}
        return not entries.isdisjoint(self.binds) or (
            read_only and not {f"{entry}{READ_ONLY}" for entry in entries}.isdisjoint(self.binds)
        )


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
