"""Volumes and binds of a user's server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from docker.types import Mount
from jupyterhub.traitlets import Callable as CallableTrait
from traitlets import Dict
from traitlets.config import LoggingConfigurable

from dockerspawner import ownership
from dockerspawner.engine import Conflict, perform
from dockerspawner.naming import VOLUME_NAME, fit

Settings = Mapping[str, "str | Mapping[str, str]"]


@dataclass(frozen=True)
class Bind:
    """`source` (a volume's name, or an absolute path of the host) seen as `target` in the container.

    `template` is what the source was rendered from.
    """

    source: str
    target: str
    mode: str
    propagation: str = ""
    template: str = ""

    @property
    def is_volume(self) -> bool:
        return not self.source.startswith("/")

    def as_bind(self) -> dict[str, str]:
        spelled = {"bind": self.target, "mode": self.mode}
        return {**spelled, "propagation": self.propagation} if self.propagation else spelled

    def as_mount(self) -> Mount:
        return Mount(
            target=self.target,
            source=self.source,
            type="volume" if self.is_volume else "bind",
            read_only="ro" in self.mode.split(","),
            propagation=self.propagation or None,
        )


def default_format_volume_name(template: str, spawner: Any) -> str:
    """Fill the placeholders of `template` from the spawner's template_namespace()."""
    return template.format(**spawner.template_namespace())


def binds(settings: Settings, mode: str, render: Callable[[str], str]) -> list[Bind]:
    """One Bind per entry of a `volumes` setting; `mode` where the entry names none.

    A volume's name is kept as it was rendered up to the 255 characters that the engine takes, so that a
    volume is found again whatever made it; one that the engine would refuse is cut and given a hash of the
    whole.
    """
    found = []
    for source, value in settings.items():
        entry = {"bind": value} if isinstance(value, str) else value
        name = render(source)
        found.append(
            Bind(
                source=name if name.startswith("/") else fit(name, VOLUME_NAME),
                target=render(entry["bind"]),
                mode=entry.get("mode", mode),
                propagation=entry.get("propagation", ""),
                template=source,
            )
        )
    return found


class Volumes(LoggingConfigurable):
    """What is mounted into a user's server."""

    volumes = Dict(
        config=True,
        help="""Volumes and host paths to mount: {source: path in the container}, or
        {source: {"bind": path, "mode": "rw", "propagation": "rshared"}}. A source without a leading / is the
        name of a volume, made when it is missing. Placeholders as in name_template.""",
    )

    read_only_volumes = Dict(config=True, help="As `volumes`, mounted read-only.")

    format_volume_name = CallableTrait(
        default_format_volume_name,
        config=True,
        help="callable(template, spawner) that fills a template of `volumes` and `read_only_volumes`.",
    )

    def _binds(self) -> list[Bind]:
        def render(template: str) -> str:
            return self.format_volume_name(template, self)  # type: ignore[no-any-return]

        return binds(self.volumes, "rw", render) + binds(self.read_only_volumes, "ro", render)

    async def _have_volumes(self, driver: str | None) -> None:
        """Make the volumes that are missing, so that they carry labels; one that is there stays as it is."""
        for volume in {bind.source: bind for bind in self._binds() if bind.is_volume}.values():
            labels = self._labels_of(volume)
            try:
                await perform(self.docker, "create_volume", volume.source, driver=driver, labels=labels)
            except Conflict:
                # There is one, of another driver.
                self.log.debug("Volume %s is there already", volume.source)

    def _labels_of(self, volume: Bind) -> dict[str, str]:
        """Whose the volume is: this hub's, and where its template names them, this user's and this server's."""
        labels = {ownership.INSTANCE: self.instance}
        if re.search(r"\{(safe_|raw_)?username\}", volume.template):
            labels[ownership.USER] = self.user.name
        if re.search(r"\{(raw_)?servername\}", volume.template):
            labels[ownership.SERVER] = self.name
        return labels

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The first use of each source, keyed by source; the others are in mount_binds."""
        first: dict[str, dict[str, str]] = {}
        for bind in self._binds():
            first.setdefault(bind.source, bind.as_bind())
        return first

    @property
    def mount_binds(self) -> list[Mount]:
        """Second and further uses of a source, which a dict keyed by source can't hold."""
        seen: set[str] = set()
        again = []
        for bind in self._binds():
            if bind.source in seen:
                again.append(bind.as_mount())
            seen.add(bind.source)
        return again

    @property
    def volume_mount_points(self) -> list[str]:
        return sorted(bind["bind"] for bind in self.volume_binds.values())
